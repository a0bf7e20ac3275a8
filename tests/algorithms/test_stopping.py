"""A job that is told to end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np

from tests.algorithms.trainer import csv, lay_out


def test_what_learns_in_one_go_ends_at_once(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(1, (4000, 60))
    options = {"num_topics": 20, "feature_dim": 60, "mini_batch_size": 4000}
    lay_out(tmp_path, options, {"train": ("text/csv;label_size=0", csv(counts))})
    code = "import sys; from clary.algorithms.job import main; sys.exit(main())"
    environment = {**os.environ, "CLARY_ALGORITHM": "lda", "SAGEMAKER_BASE_DIR": str(tmp_path)}
    job = subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
    with job:
        assert job.stdout is not None
        next(line for line in job.stdout if "Final configuration" in line)
        job.send_signal(signal.SIGTERM)
        assert job.wait(60) in (128 + signal.SIGTERM, -signal.SIGTERM)
    assert not list((tmp_path / "model").iterdir())
