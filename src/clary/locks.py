"""Files whose lock tells that a process lives (flock(2)), and locks of this process by name."""

from __future__ import annotations

import fcntl
import os
import threading
from pathlib import Path

from .faults import is_fault


class Turns:
    """A lock for each name."""

    def __init__(self) -> None:
        self._locks: dict[str, threading.Lock] = {}
        self._guard = threading.Lock()

    def of(self, name: str) -> threading.Lock:
        """The lock of a name, always the same one."""
        with self._guard:
            return self._locks.setdefault(name, threading.Lock())


def held(path: Path | str) -> bool | None:
    """Whether somebody holds a file's lock; None when there is no such file. It is gone with the last who holds it.

    OSError when the machine cannot tell just now, for want of descriptors: it must not pass for an answer.
    """
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        if is_fault(error):
            raise
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
