"""The volume of an instance: a job that writes more than it asked for ends, before it fills the machine's disk."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

from ....executors.local import kill
from ....store.rows import Row
from .contract import Host

FULL = "full"  # in a host's folder: the bytes that were found on its volume
_LOOK_SECONDS = 1.0
_SHARE = 20  # looking takes at most one part in so many of the time
_DEFAULT_GB = 30


class Volumes:
    """Looks at the volumes of all running jobs, in one thread; ends the hosts whose volume is full."""

    def __init__(self) -> None:
        self._jobs: dict[str, tuple[int, tuple[Path, ...]]] = {}
        self._guard = threading.Lock()
        self._thread: threading.Thread | None = None

    def watch(self, row: Row, all_hosts: list[Host]) -> None:
        """Look at a job from now on."""
        with self._guard:
            self._jobs[row.uid] = (size(row), tuple(h.folder for h in all_hosts))
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="volumes", daemon=True)
                self._thread.start()

    def forget(self, row: Row) -> None:
        """Look at it no more."""
        with self._guard:
            self._jobs.pop(row.uid, None)

    def _look(self) -> None:
        """As long as there are jobs."""
        pause = _LOOK_SECONDS
        while True:
            time.sleep(pause)
            with self._guard:
                jobs = list(self._jobs.values())
                if not jobs:
                    self._thread = None
                    return
            began = time.monotonic()
            for limit, folders in jobs:
                for folder in folders:
                    if (found := used(folder)) > limit and not (folder / FULL).exists():
                        with contextlib.suppress(OSError):
                            (folder / FULL).write_text(str(found))
                            kill(folder)
            pause = max(_LOOK_SECONDS, _SHARE * (time.monotonic() - began))


def size(row: Row) -> int:
    """Bytes that each instance of a job may hold."""
    resources = row.spec.get("ResourceConfig") or {}
    return int(resources.get("VolumeSizeInGB") or _DEFAULT_GB) << 30


def used(folder: Path) -> int:
    """Bytes that a folder takes of the disk; holes of files take none, and links are not followed."""
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


def told(row: Row, host: Host) -> str:
    """Why a job failed whose volume was full; empty when it was not."""
    try:
        found = int((host.folder / FULL).read_text())
    except (OSError, ValueError):
        return ""
    return (
        f"ClientError: No space left on device: {host.name} held {found / 2**30:.2f} GiB, the volume has "
        f"{size(row) / 2**30:.0f} GiB (ResourceConfig.VolumeSizeInGB). Ask for a larger one, or write less."
    )
