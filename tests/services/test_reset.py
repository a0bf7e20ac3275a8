"""A reset of an open platform ends everything that runs before it answers."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from urllib.request import Request, urlopen

from tests.jobs import bucket, job
from tests.platform import Platform, started, until

from .test_components import archive, host, specification
from .test_components import create as create_component
from .test_functions import call
from .test_functions import create as create_function
from .test_training import script, unfed

ENDLESS = "import time\nprint('up', flush=True)\nwhile True: time.sleep(0.1)\n"


def _in_runs(platform: Platform) -> list[int]:
    """The processes that belong to runs: shims and what they have started."""
    found = []
    for pid in platform.pids():
        with contextlib.suppress(OSError):
            if f"{platform.home}/runs/" in os.readlink(f"/proc/{pid}/fd/1"):
                found.append(pid)
    return found


def test_nothing_runs_on_after_a_reset(home: Path) -> None:
    with started(home / "h", "--open") as platform:
        host(platform, "host")
        component = create_component(platform, "host", "component", specification(archive(platform, "models", "w")))
        assert component["InferenceComponentStatus"] == "InService", component.get("FailureReason")
        client = create_function(platform, "fn", "def handler(event, context): return event")
        assert call(client, "fn", 1)[0] == 1
        given = script(platform, bucket(platform, "jobs"), ENDLESS)
        sagemaker = platform.client("sagemaker")
        sagemaker.create_training_job(**unfed(job("endless", "jobs", hyperparameters=given)))
        until(lambda: len(_in_runs(platform)) >= 3, what="the job runs")
        urlopen(Request(f"{platform.endpoint}/_clary/reset", method="POST"), timeout=150).close()
        assert _in_runs(platform) == []
        assert sagemaker.list_inference_components()["InferenceComponents"] == []
        left = [p.name for p in (platform.home / "runs").iterdir() if not p.name.startswith(("layers-", "."))]
        assert left == []
