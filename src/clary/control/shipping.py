"""Moves what processes print into the log store as it is printed.

Each line is stored once: a stream's cursor – bytes already stored – is written in the transaction of its events.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from ..store.logs import LogStore, StreamKey, milliseconds

log = logging.getLogger(__name__)

_BLOCK = 1 << 20
_QUICK, _LAZY = 0.05, 0.5
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(slots=True)
class _Source:
    path: Path
    key: StreamKey
    cursor: int
    lock: asyncio.Lock
    quiet: int = 0


def escape(line: str) -> str:
    """A line as CloudWatch stores it: control characters as ``#`` and three octal digits (a tab is ``#011``)."""
    return _CONTROL.sub(lambda m: f"#{ord(m[0]):03o}", line)


class Shipper:
    """Follows log files."""

    def __init__(self, logs: LogStore, escape: Callable[[str], str] = escape):
        self._logs = logs
        self._escape = escape
        self._sources: dict[Path, _Source] = {}

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Ship while the block runs."""
        task = asyncio.create_task(self._work())
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def follow(self, path: Path, key: StreamKey) -> None:
        """Begin to ship a file; again is harmless."""
        if path not in self._sources:
            cursor = await asyncio.to_thread(self._logs.cursor, key)
            self._sources.setdefault(path, _Source(path, key, cursor, asyncio.Lock()))

    async def drain(self, path: Path) -> None:
        """Ship all that a file holds – its process has ended – and stop following it."""
        if (source := self._sources.get(path)) is not None:
            while await self._ship(source, final=True):
                pass
            self._sources.pop(path, None)

    async def _work(self) -> None:
        turn = 0
        while True:
            turn += 1
            for source in list(self._sources.values()):
                if source.quiet > 100 and turn % 10:  # quiet for long: look at it less often
                    continue
                try:
                    await self._ship(source)
                except Exception:  # one stream's trouble must not stop the others
                    log.exception("shipping %s failed", source.path)
                    await asyncio.sleep(1.0)
            await asyncio.sleep(_QUICK if self._sources else _LAZY)

    async def _ship(self, source: _Source, final: bool = False) -> bool:
        """Store a block of new lines; False when there were none."""
        try:
            size = os.stat(source.path).st_size
        except OSError:
            return False
        if size <= source.cursor:
            source.quiet += 1
            return False
        async with source.lock:
            try:
                moved = await asyncio.to_thread(self._move, source, final)
            except FileNotFoundError:  # its folder was removed just now
                return False
        source.quiet = 0 if moved else source.quiet + 1
        return moved

    def _move(self, source: _Source, final: bool) -> bool:
        with open(source.path, "rb") as file:
            file.seek(source.cursor)
            data = file.read(_BLOCK)
        end = data.rfind(b"\n") + 1
        if end == 0:
            if not final and len(data) < _BLOCK:
                return False
            end = len(data)
        if end == 0:
            return False
        lines = data[:end].decode("utf-8", "replace").split("\n")
        at = milliseconds()
        events = [(at, self._escape(line.rstrip("\r"))) for line in lines if line.strip()]
        self._logs.append(source.key, events, source.cursor + end)
        source.cursor += end
        return True
