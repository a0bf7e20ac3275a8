"""Processes below others."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """Return the processes that a process has started, or has adopted."""
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:  # not Linux, or the process has ended
        found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
        return [int(p) for p in found.stdout.split()]


def kill_descendants(pid: int) -> None:
    """Kill the processes below one: in a sandbox its process 1 takes all with it, elsewhere each is killed."""
    for entry in children_of(pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill_descendants(entry)
            os.kill(entry, signal.SIGKILL)


def below(pid: int) -> list[int]:
    """Return a process and all that are below it; nothing for 0."""
    found = [pid] if pid else []
    for each in found:
        found += children_of(each)
    return found
