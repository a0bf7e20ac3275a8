"""What an event loop calls on one end of a connection. asyncio's own class cannot be the base of a compiled one."""

from __future__ import annotations

import asyncio
from typing import cast


class Peer:
    """One end of a connection; each method does nothing until a class says otherwise."""

    def as_protocol(self) -> asyncio.Protocol:
        """Itself, as loops want to be handed it."""
        return cast(asyncio.Protocol, self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is there."""

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""

    def data_received(self, data: bytes) -> None:
        """Some bytes came."""

    def eof_received(self) -> bool | None:
        """The other end sends no more; the connection is closed unless this is true."""
        return None

    def pause_writing(self) -> None:
        """Much waits to be sent."""

    def resume_writing(self) -> None:
        """There is room again."""
