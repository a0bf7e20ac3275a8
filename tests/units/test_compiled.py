"""When the compiled data plane is taken: only where it was made from the very sources that lie there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tools.compile import missing

import clary
from clary import serving
from tests.platform import ROOT

_ASKED = "from clary import serving; from clary.serving import link; print(serving.compiled, link.__file__)"


def taken(sources: Path, **variables: str) -> tuple[str, str]:
    """Whether a new process takes compiled modules, and where one of them lies."""
    environment = {**os.environ, "PYTHONPATH": str(sources), "PYTHONDONTWRITEBYTECODE": "1", **variables}
    found = subprocess.run([sys.executable, "-c", _ASKED], env=environment, capture_output=True, text=True, check=True)
    answer, where = found.stdout.split()
    return answer, where


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A copy of the package, with what was compiled."""
    if lacking := missing():
        pytest.skip(f"the data plane is not compiled here: {lacking}")
    told = serving.COMPILED / "sources"
    assert told.exists() and told.read_text() == serving.digest(), "compile the data plane anew: make setup"
    shutil.copytree(Path(clary.__file__).parent, tmp_path / "clary", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_it_is_taken_where_it_fits(sources: Path) -> None:
    answer, where = taken(sources)
    assert answer == "True" and Path(where).parent == sources / "clary/serving/_compiled"


def test_it_can_be_left_aside(sources: Path) -> None:
    assert taken(sources, CLARY_COMPILED="0") == ("False", str(sources / "clary/serving/link.py"))


def test_a_changed_source_runs_as_it_is_written(sources: Path) -> None:
    with (sources / "clary/serving/frames.py").open("a") as file:
        file.write("\n")
    assert taken(sources) == ("False", str(sources / "clary/serving/link.py"))


def test_one_for_another_python_is_not_taken(sources: Path) -> None:
    for path in (sources / "clary/serving/_compiled").glob("*.so"):
        path.rename(path.with_name(path.name.replace("cpython-3", "cpython-2")))
    assert taken(sources)[0] == "False"


def test_without_a_compiler_nothing_is_made_and_it_is_said(tmp_path: Path) -> None:
    environment = {**os.environ, "CC": "no-such-compiler"}
    command = [sys.executable, str(ROOT / "tools/compile.py")]
    found = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "runs interpreted" in found.stdout and "no C compiler (no-such-compiler)" in found.stdout
