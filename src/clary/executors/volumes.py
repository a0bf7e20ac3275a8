"""The disk that processes use: one that writes more than it may ends, before it fills the machine's disk.

No quota is set on the file system, for few are made with any. A thread adds up what is in a process's folders and what its
processes hold open without a name, the oftener the less room is left; each file is bounded by a resource limit besides.
"""

from __future__ import annotations

import contextlib
import os
import stat
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..processes import below
from .local import kill, processes_of

FULL = "full"
"""In a process's folder: the bytes that were found on its volume."""
MARGIN = 64 << 20
"""How much larger than its volume a file may be, so that it is the volume that is found to be full."""
_SLOWEST, _QUICKEST = 1.0, 0.05
_BYTES_PER_SECOND = 4 << 30  # more than a process writes
_SHARE = 20  # looking takes at most one part in so many of the time


@dataclass(frozen=True, slots=True)
class Volume:
    """The room of one process: its folder, what is measured, and how much that may be."""

    process: Path
    folders: tuple[Path, ...]
    limit: int


class Volumes:
    """Looks at volumes in one thread; kills the processes whose volume is full."""

    def __init__(self) -> None:
        self._watched: Mapping[str, Sequence[Volume]] = {}
        self._guard = threading.Lock()
        self._news = threading.Event()
        self._thread: threading.Thread | None = None

    def watch(self, name: str, volumes: Sequence[Volume]) -> None:
        """Look at volumes from now on."""
        with self._guard:
            self._watched = {**self._watched, name: volumes}
            self._news.set()
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="volumes", daemon=True)
                self._thread.start()

    def watches(self, name: str) -> bool:
        """Return whether it looks at volumes of a name."""
        return name in self._watched

    def forget(self, name: str) -> None:
        """Look at them no more."""
        with self._guard:
            if name in self._watched:
                self._watched = {k: v for k, v in self._watched.items() if k != name}

    def _look(self) -> None:
        """As long as there are volumes."""
        pause = _QUICKEST
        while True:
            if self._news.wait(pause):
                self._news.clear()
                time.sleep(_QUICKEST)  # many that come at once are looked at once
            with self._guard:
                watched = self._watched
                if not watched:
                    self._thread = None
                    return
            began = time.monotonic()
            left = min(_check(volume) for volumes in watched.values() for volume in volumes)
            soonest = min(_SLOWEST, max(_QUICKEST, left / _BYTES_PER_SECOND))
            pause = max(soonest, _SHARE * (time.monotonic() - began))


def _check(volume: Volume) -> int:
    """The bytes that are left; a volume that is full ends its process."""
    if (volume.process / FULL).exists():
        return volume.limit
    found = sum(used(folder) for folder in volume.folders) + nameless(volume)
    if found > volume.limit:
        with contextlib.suppress(OSError):
            (volume.process / FULL).write_text(str(found))
            kill(volume.process)
        return volume.limit
    return volume.limit - found


def full(process: Path) -> int:
    """Return the bytes for which a process was ended; 0 when it was not."""
    try:
        return int((process / FULL).read_text())
    except (OSError, ValueError):
        return 0


def used(folder: Path) -> int:
    """Return the bytes that a folder takes of the disk; holes of files take none, and links are not followed."""
    total = 0
    waiting = [str(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(entry.path)
                    else:
                        total += entry.stat(follow_symlinks=False).st_blocks * 512
    return total


def nameless(volume: Volume) -> int:
    """Return the bytes of files on the volume's disk that its processes hold open after they removed them."""
    found: dict[int, int] = {}
    with contextlib.suppress(OSError):
        device = os.stat(volume.process).st_dev
        for pid in below(processes_of(volume.process)[1]):
            with contextlib.suppress(OSError):
                for entry in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        file = os.stat(f"/proc/{pid}/fd/{entry}")
                        if file.st_nlink == 0 and file.st_dev == device and stat.S_ISREG(file.st_mode):
                            found[file.st_ino] = file.st_blocks * 512
    return sum(found.values())
