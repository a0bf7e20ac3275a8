"""A response that a function writes piece by piece, on its way to whoever asked for it as a stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

MAX_STREAMED = 200 << 20
_AHEAD = 64  # pieces that a function may be ahead of its reader


class Stream:
    """One response. The function's side puts, the caller's side reads; either may stop first."""

    def __init__(self) -> None:
        self.content_type = ""
        self.used = False  # the function streams: its answer is not a whole
        self._begun = asyncio.Event()
        self._pieces: asyncio.Queue[bytes | None] = asyncio.Queue(_AHEAD)
        self._unread = False

    def begin(self, content_type: str) -> None:
        """The function's first word: the type of what follows."""
        self.content_type, self.used = content_type, True
        self._begun.set()

    async def put(self, piece: bytes | None) -> None:
        """The next piece; None is the last."""
        if piece is None:
            self._begun.set()
        if not self._unread:
            await self._pieces.put(piece)

    async def begun(self) -> None:
        """Wait until the type is known, or nothing will come."""
        await self._begun.wait()

    async def pieces(self) -> AsyncIterator[bytes]:
        """All of it, as it comes. A reader that stops lets the function write into the void."""
        try:
            while (piece := await self._pieces.get()) is not None:
                yield piece
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Nobody reads any more; the function goes on, as on AWS."""
        self._unread = True
        while not self._pieces.empty():
            self._pieces.get_nowait()
