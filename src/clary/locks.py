"""Files whose lock tells that a process lives (flock(2)): it is gone when the last process that holds it is."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


def held(path: Path | str) -> bool | None:
    """Whether somebody holds a file's lock; None when there is no such file."""
    try:
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
