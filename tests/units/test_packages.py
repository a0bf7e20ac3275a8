"""Which sets of packages stay installed."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from clary.services.sagemaker import packages


def test_what_nothing_needs_goes(tmp_path: Path) -> None:
    platform: Any = SimpleNamespace(settings=SimpleNamespace(folder=tmp_path))
    folder, runs = tmp_path / "environments", tmp_path / "runs"
    for name in ("a1", "b2", "c3", "d4", ".cache", ".e5.gone"):
        (folder / name).mkdir(parents=True)
        os.utime(folder / name, (0, 0))
    os.utime(folder / "a1")
    (runs / "job-1").mkdir(parents=True)
    (runs / "job-1" / packages.NOTE).write_text("b2")
    (runs / "ep-1-1" / "models").mkdir(parents=True)
    (runs / "ep-1-1" / "models" / f".AllTraffic.{packages.NOTE}").write_text("c3\n")
    assert packages.sweep(platform, 3600) == 1
    assert sorted(p.name for p in folder.iterdir()) == [".cache", "a1", "b2", "c3"]
    assert packages.sweep(platform, 3600) == 0
