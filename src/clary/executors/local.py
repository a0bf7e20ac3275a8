"""Runs processes on this machine, each in its sandbox. All that is known of one lies in its folder."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import orjson

from ..faults import is_fault
from ..locks import held
from ..processes import kill_descendants
from . import files, limits
from .policy import environment, read_key
from .spec import ProcessSpec
from .zygote import socket_of

_SIGNAL_NAMES = {128 + s.value: s.name for s in signal.Signals}
_OVERDUE_SECONDS = 10.0  # after the grace, in which a shim has ended what it started
FIRST_UID = 200_000
UIDS = 60_000


@dataclass(frozen=True, slots=True)
class Sight:
    """What is true of a process now."""

    state: str  # absent, running, exited or vanished
    code: int = 0
    out_of_memory: bool = False
    ended: float = 0.0
    pid: int = 0  # of its shim


class LocalExecutor:
    """Starts, sees, stops and sweeps processes."""

    def __init__(self, run: Path):
        self._run = run

    def start(self, spec: ProcessSpec) -> None:
        """Start a process; starting it again is harmless. OSError when it cannot be started."""
        spec.path.mkdir(parents=True, exist_ok=True)
        data = spec.dump()
        for library in (spec.preload, "") if spec.preload else ("", ""):
            with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
                channel.settimeout(10.0)
                channel.connect(str(socket_of(self._run, library)))
                channel.sendall(read_key(self._run) + len(data).to_bytes(4, "little") + data)
                if len(channel.recv(4)) == 4:
                    _until_locked(spec.path)
                    return
        path = spec.path / "spec.json"
        path.write_bytes(data)
        subprocess.Popen(
            [sys.executable, "-m", "clary.executors.shim", str(path)],
            env={**environment(os.environ), "CLARY_HOME": str(self._run.parent)},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        _until_locked(spec.path)

    def see(self, folder: Path) -> Sight:
        """What is true of the process of a folder. OSError when the machine cannot tell just now."""
        if (ending := _ending(folder)) is not None:
            return ending
        if not (folder / "lock").exists():
            return Sight("vanished") if (folder / "stop").exists() else Sight("absent")
        alive, pid = held(folder / "lock"), processes_of(folder)
        if alive:
            return Sight("running", pid=pid[0])
        if (ending := _ending(folder)) is not None:  # it ended between the two looks
            return ending
        return Sight("vanished") if pid[0] or (folder / "stop").exists() else Sight("absent")

    def stop(self, folder: Path, grace: float) -> None:
        """Ask a process to end, and end it after ``grace`` seconds; harmless when it has. A later call may hasten it.

        Its shim does that. A shim that was killed cannot, and what it had started may hold its lock: then it is killed.
        """
        path = folder / "stop"
        if grace < _told(path):
            folder.mkdir(parents=True, exist_ok=True)
            aside = path.with_suffix(".new")
            aside.write_text(f"{grace}")
            aside.rename(path)
        if held(folder / "lock") and (pid := processes_of(folder)[0]):
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                kill(folder)
                return
            if time.time() - path.stat().st_mtime > _told(path) + _OVERDUE_SECONDS:
                kill(folder)

    def kill(self, folder: Path) -> None:
        """End a process at once, with everything it started."""
        kill(folder)

    def sweep(self, folder: Path) -> None:
        """End what runs and remove the folder."""
        sweep(folder)


def _told(path: Path) -> float:
    """The grace that was given already; endless if none was."""
    try:
        return float(path.read_text())
    except FileNotFoundError:
        return math.inf
    except ValueError:  # it is to be killed
        return 0.0


def kill(folder: Path) -> None:
    """Kill a folder's process tree and wait until it is gone."""
    with contextlib.suppress(OSError):
        (folder / "stop").touch()
    groups = limits.Groups(folder)
    deadline = time.monotonic() + 5
    while _perhaps_held(folder / "lock") and time.monotonic() < deadline:
        shim, child = 0, 0
        with contextlib.suppress(OSError):
            shim, child = processes_of(folder)
        for pid in (shim, child):  # first the shim: it must not take the others' end for theirs, and write that down
            if pid:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    if pid == child:
                        kill_descendants(pid)
                    os.kill(pid, signal.SIGKILL)
        if shim:
            groups.kill()
        time.sleep(0.01)
    groups.kill()
    groups.remove()


def _perhaps_held(lock: Path) -> bool:
    try:
        return bool(held(lock))
    except OSError:  # what is to be ended counts as running until it is known not to
        return True


def sweep(folder: Path) -> None:
    """End what runs in a folder of one process, or of several, and remove it.

    The locks are held while their files are removed: a shim that starts just now finds its lock's file gone and leaves.
    """
    processes = [folder, *(f for f in folder.glob("*") if f.is_dir())] if folder.exists() else []
    locks: list[int] = []
    try:
        for process in processes:
            if (process / "lock").exists() or (process / "log").exists():
                kill(process)
                with contextlib.suppress(OSError):
                    locks.append(os.open(process / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
                    fcntl.flock(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        files.remove(folder)
    finally:
        for fd in locks:
            os.close(fd)


def _until_locked(folder: Path, seconds: float = 5.0) -> None:
    """Wait until the shim has its folder's lock, or has ended: what was started can be seen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not (folder / "exit").exists() and not held(folder / "lock"):
        time.sleep(0.001)


STOPPED = "stopped-with-platform"


def sweep_all(runs: Path) -> None:
    """Kill every process below a folder of runs; their folders stay, for the next start to judge."""
    folders = [f for f in runs.glob("*/*") if f.is_dir() and not (f / "exit").exists()]
    for folder in folders:  # first of all: what is just starting finds this and leaves
        for mark in ("stop", STOPPED):
            with contextlib.suppress(OSError):  # the disk may be full: what runs is ended all the same
                (folder / mark).touch()
    for folder in folders:
        with contextlib.suppress(OSError):  # of the others each is ended all the same
            kill(folder)
    with contextlib.suppress(OSError):
        limits.sweep(runs.parent, kill=True)


def explain(code: int, out_of_memory: bool = False) -> str:
    """An exit code in words."""
    if out_of_memory:
        return "exit code: 137 (killed by the kernel: the memory limit was exceeded)"
    if name := _SIGNAL_NAMES.get(code):
        hint = {"SIGKILL": "killed; often for memory", "SIGSEGV": "invalid memory access", "SIGTERM": "terminated"}
        words = f", {hint[name]}" if name in hint else ""
        return f"exit code: {code} ({name}{words})"
    return f"exit code: {code}"


def _ending(folder: Path) -> Sight | None:
    try:
        raw = orjson.loads((folder / "exit").read_bytes())
    except (OSError, ValueError) as error:
        if is_fault(error):
            raise
        return None
    return Sight("exited", raw["code"], raw["out_of_memory"], raw["ended"])


def processes_of(folder: Path) -> tuple[int, int]:
    """Return the process ids of a folder's shim and of the shim's child; zeros when there are none yet.

    OSError when the machine cannot tell just now.
    """
    try:
        shim, child = (folder / "pid").read_text().split()
        return int(shim), int(child)
    except (OSError, ValueError) as error:
        if is_fault(error):
            raise
        return 0, 0


def uid_of(run: str) -> int:
    """The user that a run's processes get when the platform runs as root; 0 when it does not."""
    if os.geteuid() != 0:
        return 0
    return FIRST_UID + int.from_bytes(run.encode()[-8:], "little") % UIDS
