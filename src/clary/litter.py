"""Files and folders that are no longer of use: removed at once, or later where a fault of the machine is in the way.

Only for names that are never used again: what is removed later must not be something new.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from pathlib import Path

_waiting: set[Path] = set()


def remove(path: Path) -> None:
    """Remove a file or a folder with all below it; what cannot be removed now is tried again by ``remove_waiting``."""
    try:
        _remove(path)
    except OSError:  # no descriptors, a broken disk
        _waiting.add(path)


def remove_waiting() -> None:
    """Try again to remove what could not be removed."""
    for path in list(_waiting):
        with contextlib.suppress(OSError):
            _remove(path)
            _waiting.discard(path)


def _remove(path: Path) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        _remove_folder(path)


def _remove_folder(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except FileNotFoundError:  # something in it went meanwhile
        if path.exists():
            raise
    except PermissionError:
        for where, below, _ in os.walk(path):  # folders that their maker locked (an overlay's work folder is one)
            for inner in (os.path.join(where, name) for name in below):
                if not os.path.islink(inner):
                    os.chmod(inner, 0o700)
        shutil.rmtree(path)
