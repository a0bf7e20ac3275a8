"""Tells control that requests wait for instances of a serverless variant, or could use more of them."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import orjson

_PAUSE_SECONDS = 0.1


class Waker:
    """Sends the greatest number that was asked for since it last did; what cannot be said now is asked again later."""

    def __init__(self, path: Path):
        self._path = path
        self._wanted: dict[tuple[str, str], int] = {}
        self._task: asyncio.Task[None] | None = None

    def ask(self, endpoint: str, variant: str, count: int) -> None:
        """A variant (of the endpoint with this id) could use so many instances."""
        key = (endpoint, variant)
        self._wanted[key] = max(count, self._wanted.get(key, 0))
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._wanted:
            wanted, self._wanted = self._wanted, {}
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_unix_connection(str(self._path))
                try:
                    for (endpoint, variant), count in wanted.items():
                        writer.write(orjson.dumps([endpoint, variant, count]) + b"\n")
                    await writer.drain()
                finally:
                    writer.close()
            await asyncio.sleep(_PAUSE_SECONDS)
