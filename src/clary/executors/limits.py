"""Bounds of a process tree, and its end: control groups where they can be made, resource limits where not.

The groups of a process are ``clary/<home>/<run>/<process>`` in each hierarchy that this machine has (cgroups(7), versions
1 and 2, and both at once). What is in them is killed together, whatever it did to its sessions, parents and locks.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import resource
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_OURS = "clary"
_CONTROLLERS = ("memory", "pids")
_KILL_SECONDS = 5.0
_EMPTY_SECONDS = 1.0
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)  # which says nothing of the file


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where this machine's control groups are; None where there are none of a sort."""

    unified: Path | None
    memory: Path | None
    pids: Path | None

    def __iter__(self) -> Iterator[Path]:
        """Each hierarchy once."""
        yield from dict.fromkeys(h for h in (self.unified, self.memory, self.pids) if h is not None)


@lru_cache
def hierarchies(root: Path = _ROOT) -> Hierarchies:
    """Return the hierarchies that are mounted."""
    if (root / "cgroup.controllers").exists():
        return Hierarchies(root, root, root)
    unified = root / "unified"
    found = [root / name for name in _CONTROLLERS]
    return Hierarchies(
        unified if (unified / "cgroup.procs").exists() else None,
        *(path if (path / "cgroup.procs").exists() else None for path in found),
    )


def of_home(home: Path) -> str:
    """Return the name, below each hierarchy, of the groups of one home folder."""
    return f"{_OURS}/{hashlib.sha256(os.fsencode(os.path.realpath(home))).hexdigest()[:12]}"


def _of_folder(folder: Path) -> str:
    """The name of the groups of a process, which follows from its folder; empty for one that is in no home folder."""
    runs = next((p for p in folder.parents if p.name == "runs"), None)
    if runs is None:
        return ""
    run, *rest = folder.relative_to(runs).parts
    return f"{of_home(runs.parent)}/{run}/{'.'.join(rest) or 'main'}"


class Groups:
    """The control groups of one process tree."""

    def __init__(self, folder: Path):
        self._name = _of_folder(folder)
        where = hierarchies()
        self._unified = self._at(where.unified)
        self._memory = self._at(where.memory)
        self._pids = self._at(where.pids)
        self._v2 = where.unified is not None and where.unified == where.memory
        self.bounds_memory = False
        self.bounds_processes = False

    def _at(self, hierarchy: Path | None) -> Path | None:
        return hierarchy / self._name if hierarchy is not None and self._name else None

    @property
    def paths(self) -> list[Path]:
        """The groups that are there."""
        return [p for p in dict.fromkeys((self._unified, self._memory, self._pids)) if p is not None and p.is_dir()]

    def create(self, memory: int, processes: int) -> None:
        """Make the groups and set their limits (0: none), as far as this machine lets us.

        OSError when no descriptor is free: a bound must not be left out for that.
        """
        if self._unified is not None:
            self._make(self._unified, _CONTROLLERS if self._v2 else ())
        if self._memory is not None and memory:
            self._make(self._memory)
            self.bounds_memory = _write(
                self._memory / ("memory.max" if self._v2 else "memory.limit_in_bytes"), str(memory)
            )
        if self._pids is not None and processes:
            self._make(self._pids)
            self.bounds_processes = _write(self._pids / "pids.max", str(processes))

    def _make(self, path: Path, controllers: tuple[str, ...] = ()) -> None:
        for _ in range(2):  # another process of the run may have removed the run's group just now
            try:
                for parent in reversed(path.parents[: len(Path(self._name).parts)]):
                    if not parent.is_dir():
                        parent.mkdir(exist_ok=True)
                    for controller in controllers:  # one by one: a machine may lack one of them
                        _write(parent / "cgroup.subtree_control", f"+{controller}")
                path.mkdir(exist_ok=True)
                return
            except OSError as error:
                if error.errno in _NO_DESCRIPTOR:
                    raise

    def join(self) -> None:
        """Put the calling process, and so its children, in the groups. OSError when no descriptor is free."""
        for path in self.paths:
            _write(path / "cgroup.procs", str(os.getpid()))

    def ran_out(self) -> bool:
        """Whether the kernel killed a process of the group for memory."""
        if self._memory is None:
            return False
        name = "memory.events" if self._v2 else "memory.oom_control"
        with contextlib.suppress(OSError, ValueError):
            for line in (self._memory / name).read_text().splitlines():
                key, _, value = line.partition(" ")
                if key == "oom_kill" and int(value):
                    return True
        return False

    def kill(self) -> bool:
        """Kill every process of the groups; False when there were none. OSError when no descriptor is free."""
        found = False
        deadline = time.monotonic() + _KILL_SECONDS
        while pids := {pid for path in self.paths for pid in _members(path)}:
            found = True
            _kill(self.paths, pids)
            if time.monotonic() > deadline:
                break
            time.sleep(0.002)
        return found

    def remove(self) -> None:
        """Remove the groups, whose processes have ended or are about to."""
        for path in self.paths:
            _remove(path, _EMPTY_SECONDS)
            with contextlib.suppress(OSError):  # other processes of the run have groups in it
                path.parent.rmdir()


def sweep(home: Path, kill: bool) -> None:
    """Remove the groups of a home folder: with ``kill`` all of them, otherwise those in which no process lives."""
    for hierarchy in hierarchies():
        base = hierarchy / of_home(home)
        if not base.is_dir():
            continue
        groups = [Path(where) for where, _, _ in os.walk(base, topdown=False)]
        deadline = time.monotonic() + _KILL_SECONDS
        while kill and (pids := {pid for group in groups for pid in _members(group)}) and time.monotonic() < deadline:
            _kill([g for g in groups if _members(g)], pids)
            time.sleep(0.002)
        for group in groups:
            _remove(group, _EMPTY_SECONDS if kill else 0.0)
        with contextlib.suppress(OSError):  # another home folder's are in it
            base.parent.rmdir()


def _kill(groups: list[Path], pids: set[int]) -> None:
    """Kill at once by the kernel where it can; elsewhere no more processes may start, and each is killed."""
    for group in groups:
        if not _write(group / "cgroup.kill", "1"):
            _write(group / "pids.max", "0")
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def _members(group: Path) -> list[int]:
    try:
        return [int(pid) for pid in (group / "cgroup.procs").read_text().split() if pid != "0"]
    except OSError as error:
        if error.errno in _NO_DESCRIPTOR:
            raise
        return []


def _remove(group: Path, seconds: float) -> None:
    """Remove a group; wait for processes in it that are just ending."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            group.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            if time.monotonic() >= deadline:
                return
            time.sleep(0.002)


def _write(path: Path, text: str) -> bool:
    """Write to a file that the kernel made; False when there is none, or it refuses."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_DESCRIPTOR:
            raise
        return False
    try:
        os.write(fd, text.encode())
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def limit_data(limit: int) -> None:
    """Without control groups: bound what each process may allocate (setrlimit(2), RLIMIT_DATA)."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def limit_processes(limit: int) -> None:
    """Bound the processes of the user, in its user namespace if it has one (RLIMIT_NPROC)."""
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_NPROC, (limit, limit))


def limit_files(limit: int) -> None:
    """Bound the size of each file that is written (RLIMIT_FSIZE)."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def common() -> None:
    """Bounds that every process gets."""
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, hard) if hard > 0 else soft, hard))
