"""Connections to a replica that works on many requests at once, as containers do: one for each, no batches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

from . import frames
from .link import Link, Ticket
from .peer import Peer
from .table import Replica

MAX_LANES = 256


class Lanes(Link):
    """A replica's connections. One more is opened when all are in use."""

    def __init__(
        self, replica: Replica, lost: Callable[[str], None], found: Callable[[], None], known_good: bool = True
    ):
        self._free: list[_Lane] = []
        self._all: set[_Lane] = set()
        self._opening: set[asyncio.Task[None]] = set()
        super().__init__(replica, lost, found, known_good)

    async def _connect(self) -> None:
        try:
            await self._loop.create_unix_connection(lambda: _Lane(self).as_protocol(), self.replica.socket)
        except OSError as error:
            if not self._all:
                self._fall(f"the replica does not accept connections: {error}")

    def opened(self, lane: _Lane) -> None:
        """A connection is there."""
        self._all.add(lane)
        if not self.alive or len(self._all) == 1:
            self.alive = True
            self._found()
        self.freed(lane)
        for _ in range(len(self._queue)):  # what came before the first connection was there
            self._open()

    def freed(self, lane: _Lane) -> None:
        """A connection has nothing to do."""
        while self._queue:
            ticket = self._queue.popleft()
            if ticket.asker is not None:
                lane.send(ticket)
                return
            self.outstanding -= 1
        if self._closing:
            lane.close()
        else:
            self._free.append(lane)

    def gave_up(self) -> None:
        """The replica says that it takes no requests any more: it is looked at again in a moment."""
        self.alive = False
        if not self._closing:
            self._lost(self.replica.id)

    def closed(self, lane: _Lane) -> None:
        """A connection is gone; with the last one the replica is."""
        if lane not in self._all:
            return
        self._all.remove(lane)
        if lane in self._free:
            self._free.remove(lane)
        if not self._all and not self._opening:
            self._fall("the model's process ended while it worked on the request")

    def forget(self, lane: _Lane) -> None:
        """A connection is closed by us, which says nothing about the replica."""
        self._all.discard(lane)
        if self._queue or not self._all:
            self._open()

    def submit(self, ticket: Ticket) -> None:
        """Send a request, now or when a connection is free."""
        self.outstanding += 1
        if self._free:
            self._free.pop().send(ticket)
            return
        self._queue.append(ticket)
        if self._all:
            self._open()

    def _open(self) -> None:
        if len(self._all) + len(self._opening) < MAX_LANES:
            task = self._loop.create_task(self._connect())
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    def close(self) -> None:
        """Close once everything under way is answered."""
        self._closing = True
        free, self._free = self._free, []
        for lane in free:
            lane.close()
        if not self._all:
            self._connecting.cancel()


class _Lane(Peer):
    """One connection with at most one request."""

    def __init__(self, lanes: Lanes):
        self._lanes = lanes
        self._ticket: Ticket | None = None
        self._buffer = bytearray()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._lanes.opened(self)

    def send(self, ticket: Ticket) -> None:
        """Pass a request on."""
        self._ticket = ticket
        ticket.drop = self._abandon
        self._transport.write(frames.pack([(ticket.head, ticket.body)]))

    def _abandon(self) -> None:
        """Nobody waits for the answer: the container sees its client go."""
        if self._ticket is not None:
            self._ticket = None
            self._lanes.outstanding -= 1
            self._lanes.forget(self)
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < 4:
            return
        size = int.from_bytes(self._buffer[:4], "little")
        if size > frames.MAX_MESSAGE or self._ticket is None:
            self._transport.abort()
            return
        if len(self._buffer) - 4 < size:
            return
        ((head, body),) = frames.unpack(self._buffer, 4, size)
        self._buffer.clear()
        ticket, self._ticket = self._ticket, None
        ticket.drop = None
        self._lanes.outstanding -= 1
        self._lanes.freed(self)
        if ticket.asker is None:
            return
        if head.endswith(frames.UNSEEN):
            self._lanes.gave_up()
            ticket.asker.failed("the container does not take requests", False)
        else:
            status, content_type, custom = head.split(frames.SEPARATOR, 2)
            ticket.asker.answered(int(status), content_type, custom, body)

    def connection_lost(self, exc: Exception | None) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            self._lanes.outstanding -= 1
        self._lanes.closed(self)
        if ticket is not None and ticket.asker is not None:
            ticket.asker.failed("the model's process ended while it worked on the request", True)

    def close(self) -> None:
        """End the connection."""
        self._transport.close()
