"""Reasons of failures name what a container sees, and nothing of this machine."""

from __future__ import annotations

import sys
from pathlib import Path

import clary
from clary.services.sagemaker.failures import without_host_paths
from clary.settings import Settings

HOME = "/srv/ml/clary"


def shown(text: str) -> str:
    """A reason as Describe has it."""
    found: str = without_host_paths(Settings(home=HOME), {"FailureReason": text})["FailureReason"]
    return found


def test_a_jobs_files_have_their_names_of_the_container() -> None:
    run = f"{HOME}/runs/job-8b83338fb2dd467e9adf182c7afc2b08/algo-1"
    assert shown(f"No such file: '{run}/ml/input/data/train/a.csv'") == "No such file: '/opt/ml/input/data/train/a.csv'"
    assert shown(f"{run}/tmp/x: full") == "/tmp/x: full"
    assert shown(f"{run}/ml") == "/opt/ml"
    assert shown(f"{HOME}/runs/ep-1-2/models/AllTraffic/model/m.bin is bad") == "/opt/ml/model/m.bin is bad"
    assert shown(f"cannot read {HOME}/blobs/ab/cdef (EIO)") == "cannot read cdef (EIO)"
    assert HOME not in shown(f"{HOME} is full; {HOME}/clary.db, {HOME}/runs")


def test_python_is_where_containers_have_it() -> None:
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    assert shown(f'File "{sys.prefix}/lib/{version}/site-packages/numpy/x.py"') == (
        f'File "/opt/conda/lib/{version}/site-packages/numpy/x.py"'
    )
    here = Path(clary.__file__).parent
    assert shown(f'File "{here}/runtimes/script_mode.py", line 7') == (
        f'File "/opt/conda/lib/{version}/site-packages/clary/runtimes/script_mode.py", line 7'
    )
    assert shown(f"{sys.executable} main.py") == "/opt/conda/bin/python main.py"


def test_other_paths_and_other_members_stay() -> None:
    assert shown("/opt/ml/code/main.py, /usr/bin/env") == "/opt/ml/code/main.py, /usr/bin/env"
    assert without_host_paths(Settings(home=HOME), {"TrainingJobStatus": HOME}) == {"TrainingJobStatus": HOME}
