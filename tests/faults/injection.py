"""Faults on purpose in a platform's processes: full disks, broken ones, slow ones, no descriptors, death at a point.

``injection.c`` stands between the processes and the C library, so every writing path is covered, SQLite's and other
libraries' included, and none of the platform's code knows of it.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import shutil
import subprocess
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

CREATE, WRITE, SYNC, NAME, DESCRIPTOR = 1, 2, 4, 8, 16
DISK = CREATE | WRITE | SYNC | NAME


class _Plan(ctypes.Structure):
    _fields_ = [
        ("error", ctypes.c_int), ("kills", ctypes.c_int), ("kinds", ctypes.c_int), ("delay_ms", ctypes.c_int),
        ("passes", ctypes.c_long), ("counted", ctypes.c_long), ("failed", ctypes.c_long),
        ("below", ctypes.c_char * 512), ("part", ctypes.c_char * 128),
        ("spared", ctypes.c_char * 512),
    ]  # fmt: skip


@functools.cache
def library() -> str:
    """The compiled shim; tests that need it are skipped where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("injecting faults needs a C compiler")
    folder = Path(tempfile.gettempdir()) / f"clary-faults-{Path(__file__).stat().st_ino}"
    folder.mkdir(exist_ok=True)
    source, target = Path(__file__).with_name("injection.c"), folder / "injection.so"
    if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
        aside = folder / f"{id(source)}.so"
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", aside, source, "-ldl"], check=True)
        aside.rename(target)
    return str(target)


class Faults:
    """What is to fail in the processes of one platform."""

    def __init__(self, below: Path, part: str = "clary.server"):
        fd, path = tempfile.mkstemp(prefix="clary-fault-plan-")
        os.ftruncate(fd, ctypes.sizeof(_Plan))
        self._map = mmap.mmap(fd, ctypes.sizeof(_Plan))
        os.close(fd)
        weakref.finalize(self, os.unlink, path)
        self._plan = _Plan.from_buffer(self._map)
        self._plan.below, self._plan.part = str(below).encode(), part.encode()
        self._plan.spared = f"{below}/log/".encode()  # so that a test can see what the platform says of it
        self.environment = {"LD_PRELOAD": library(), "CLARY_FAULT_PLAN": path}

    @property
    def counted(self) -> int:
        """Operations of the kinds that were asked for, since the fault began."""
        return int(self._plan.counted)

    @property
    def failed(self) -> int:
        """How many of them were made to fail."""
        return int(self._plan.failed)

    @contextmanager
    def injected(self, error: int = 0, passes: int = 0, kinds: int = DISK, delay_ms: int = 0) -> Iterator[None]:
        """While the block runs, operations fail with an error once ``passes`` of them have succeeded."""
        self._begin(passes, kinds)
        self._plan.delay_ms, self._plan.error = delay_ms, error
        try:
            yield
        finally:
            self._plan.error = self._plan.delay_ms = self._plan.kinds = 0

    def kill_after(self, passes: int, kinds: int = SYNC) -> None:
        """Kill the process at the operation that follows ``passes`` others; once."""
        self._begin(passes, kinds)
        self._plan.kills = 1

    def none(self) -> None:
        """Let everything pass."""
        self._plan.error = self._plan.delay_ms = self._plan.kinds = self._plan.kills = 0

    def _begin(self, passes: int, kinds: int) -> None:
        self._plan.counted = self._plan.failed = 0
        self._plan.passes, self._plan.kinds = passes, kinds
