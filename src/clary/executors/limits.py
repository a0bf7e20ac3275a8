"""Bounds on a process tree's memory: a control group where one can be made, a resource limit where not."""

from __future__ import annotations

import contextlib
import os
import resource
from pathlib import Path

_V1 = Path("/sys/fs/cgroup/memory")
_V2 = Path("/sys/fs/cgroup")


class MemoryGroup:
    """A control group for one process tree (cgroups(7), versions 1 and 2)."""

    def __init__(self, name: str):
        self._v2 = (_V2 / "cgroup.controllers").exists()
        base = _V2 if self._v2 else _V1
        self.path = base / "clary" / name

    def create(self, limit: int) -> bool:
        """Make the group and set its limit; False where the machine does not let us."""
        try:
            if self._v2:
                (_V2 / "clary").mkdir(exist_ok=True)
                (_V2 / "clary" / "cgroup.subtree_control").write_text("+memory")
            elif not _V1.is_dir():
                return False
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / ("memory.max" if self._v2 else "memory.limit_in_bytes")).write_text(str(limit))
        except OSError:
            self.remove()
            return False
        return True

    def join(self) -> None:
        """Put the calling process, and so its children, in the group."""
        (self.path / "cgroup.procs").write_text(str(os.getpid()))

    def ran_out(self) -> bool:
        """Whether the kernel killed a process of the group for memory."""
        name = "memory.events" if self._v2 else "memory.oom_control"
        with contextlib.suppress(OSError, ValueError):
            for line in (self.path / name).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill" and int(value):
                    return True
        return False

    def remove(self) -> None:
        """Remove the group; its processes have ended."""
        with contextlib.suppress(OSError):
            self.path.rmdir()


def limit_data(limit: int) -> None:
    """Without control groups: bound what each process may allocate (setrlimit(2), RLIMIT_DATA)."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def common() -> None:
    """Bounds that every process gets."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, hard) if hard > 0 else soft, hard))
