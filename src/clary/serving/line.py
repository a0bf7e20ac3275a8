"""An exchange with a replica on a connection of its own: a large body, or an answer that comes in pieces.

On the shared link (``link.py``) one slow or large exchange would hold up the small ones behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from ..sockets import unlinked
from . import frames
from .link import Link
from .peer import Peer


class Line(Peer):
    """One request. ``took`` gets each piece of the answer; ``ended`` is called once, with a reason if it broke off."""

    def __init__(
        self,
        link: Link,
        head: bytes,
        body: bytes,
        took: Callable[[bytes, bytes], None],
        ended: Callable[[str | None, bool], None],
    ):
        self._link = link
        self._message = frames.pack([(head, body)])
        self._pieces = head.endswith(frames.IN_PIECES)
        self._took = took
        self._ended: Callable[[str | None, bool], None] | None = ended
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._paused = False
        link.outstanding += 1
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        try:
            with unlinked(self._link.replica.socket) as path:
                await asyncio.get_running_loop().create_unix_connection(self.as_protocol, path)
        except OSError as error:
            self._end(f"the replica does not accept connections: {error}", sent=False)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._message)
        self._message = b""
        if self._paused:
            self._transport.pause_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the model's process closed the connection before its answer was complete", sent=True)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while len(self._buffer) >= 4 and self._ended is not None:
            size = int.from_bytes(self._buffer[:4], "little")
            if size > frames.MAX_MESSAGE:
                self._end("the model's process sent a message that is too large", sent=True)
                return
            if len(self._buffer) - 4 < size:
                return
            ((head, body),) = frames.unpack(self._buffer, 4, size)
            del self._buffer[: 4 + size]
            if head == frames.END:
                self._end(None, sent=True)
                return
            self._took(head, body)
            if not self._pieces:
                self._end(None, sent=True)

    def pause(self) -> None:
        """The client reads slowly: leave the rest with the replica for now."""
        self._paused = True
        if self._transport is not None:
            self._transport.pause_reading()

    def resume(self) -> None:
        """The client reads again."""
        self._paused = False
        if self._transport is not None:
            self._transport.resume_reading()

    def cancel(self) -> None:
        """Nobody waits any more: the replica sees its connection close and stops working."""
        self._ended = _nobody if self._ended is not None else None
        self._end(None, sent=True)

    def _end(self, reason: str | None, sent: bool) -> None:
        ended, self._ended = self._ended, None
        if ended is None:
            return
        self._link.outstanding -= 1
        self._connecting.cancel()
        if self._transport is not None:
            self._transport.abort() if reason is not None or ended is _nobody else self._transport.close()
        ended(reason, sent)


def _nobody(_reason: str | None, _sent: bool) -> None:
    """The one who asked has gone."""
