"""Notices at once that a process has ended, instead of looking again and again."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path

from ...store.rows import Key


class Watcher:
    """Wakes a row when one of its processes ends (pidfd_open(2); elsewhere a look every 0.2 s)."""

    def __init__(self, wake: Callable[[Key], None], loop: asyncio.AbstractEventLoop):
        self._wake = wake
        self._loop = loop
        self._watched: dict[Path, int] = {}
        self._lock = threading.Lock()

    def watch(self, key: Key, folder: Path, pid: int) -> None:
        """Wake ``key`` when process ``pid`` ends; from any thread, and again is harmless."""
        with self._lock:
            if folder in self._watched:
                return
            try:
                fd = os.pidfd_open(pid)
            except (OSError, AttributeError):
                self._watched[folder] = -1
                self._loop.call_soon_threadsafe(self._poll, key, folder, pid)
                return
            self._watched[folder] = fd
        self._loop.call_soon_threadsafe(self._add, key, folder, fd)

    def _add(self, key: Key, folder: Path, fd: int) -> None:
        self._loop.add_reader(fd, self._ended, key, folder, fd)

    def _ended(self, key: Key, folder: Path, fd: int) -> None:
        self._loop.remove_reader(fd)
        os.close(fd)
        with self._lock:
            self._watched.pop(folder, None)
        self._wake(key)

    def _poll(self, key: Key, folder: Path, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            self._loop.call_later(0.2, self._poll, key, folder, pid)
            return
        with self._lock:
            self._watched.pop(folder, None)
        self._wake(key)
