"""Connections to replicas: frames, with micro-batches."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from . import frames
from .peer import Peer
from .table import Replica

monotonic: Final = time.monotonic
MAX_BATCH = 64
MAX_BATCH_BYTES = 4 << 20
_FULL, _AHEAD = 20, 4
"""A batch of so many leaves without waiting for those behind it, while a quick replica has fewer batches: it works while the
front reads on, and the front answers while it works. In step with each other they would each be idle for a third of the time."""
_QUICK_SECONDS = 0.01
"""A replica that takes longer for a batch may be one that is the better off the larger a batch is."""


class Asker(ABC):
    """Who asks a replica; one of its methods is called, once."""

    __slots__ = ()

    @abstractmethod
    def answered(self, status: int, content_type: bytes, custom: bytes, body: bytes) -> None:
        """The replica's answer."""

    @abstractmethod
    def failed(self, reason: str, sent: bool) -> None:
        """There is none, and why; ``sent``: the replica may have seen the request."""


class Ticket:
    """One request on its way: cancelled ones are answered to nobody."""

    __slots__ = ("asker", "body", "drop", "head")

    def __init__(self, head: bytes, body: bytes, asker: Asker):
        self.head = head
        self.body = body
        self.asker: Asker | None = asker
        self.drop: Callable[[], None] | None = None  # stops the work on it, where that can be

    def cancel(self) -> None:
        """Nobody waits any more."""
        self.asker = None
        if self.drop is not None:
            self.drop()


class Link(Peer):
    """One process. While it works the next batch gathers; when idle a request goes at once."""

    def __init__(
        self, replica: Replica, lost: Callable[[str], None], found: Callable[[], None], known_good: bool = True
    ):
        self.replica = replica
        self.more: tuple[Link, ...] = ()  # to the other containers of a pipeline's instance
        self.outstanding = 0
        self.alive = known_good  # one that was lost is used again only when it accepts
        self._lost = lost
        self._found = found
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._queue: deque[Ticket] = deque()
        self._flying: deque[tuple[float, list[Ticket]]] = deque()  # when each batch was sent, and it
        self._quick = False
        self._scheduled = False
        self._closing = False
        self._buffer = b""
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._loop.create_unix_connection(self.as_protocol, self.replica.socket)
        except OSError as error:
            self._fall(f"the replica does not accept connections: {error}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=0)  # uvloop writes at once then, not when all that came is read
        self.alive = True
        self._flush()
        self._found()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fall("the model's process ended while it worked on the request")

    def _fall(self, reason: str) -> None:
        self.alive = False
        flying = [ticket for _, batch in self._flying for ticket in batch]
        waiting, self._queue = self._queue, deque()
        self._flying.clear()
        self.outstanding = 0
        for tickets, sent in ((flying, True), (waiting, False)):
            for ticket in tickets:
                if ticket.asker is not None:
                    ticket.asker.failed(reason, sent)
        if not self._closing:
            self._lost(self.replica.id)

    def full(self) -> bool:
        """Whether another request would have to wait for one that takes its time."""
        return self.outstanding > 0 and not self._quick

    def submit(self, ticket: Ticket) -> None:
        """Queue a request; it leaves with all others that arrive in the same turn of the loop."""
        self.outstanding += 1
        self._queue.append(ticket)
        if self._quick and len(self._queue) >= _FULL and len(self._flying) < _AHEAD:
            self._flush()
        elif not self._flying and not self._scheduled and self._transport is not None:
            self._scheduled = True
            self._loop.call_soon(self._flush_rest)

    def _flush_rest(self) -> None:
        self._scheduled = False
        if not self._flying:
            self._flush()

    def _flush(self) -> None:
        if not self._queue or self._transport is None:
            return
        batch: list[Ticket] = []
        size = 0
        while self._queue and len(batch) < MAX_BATCH and (size < MAX_BATCH_BYTES or not batch):
            ticket = self._queue.popleft()
            if ticket.asker is None:
                self.outstanding -= 1
                continue
            batch.append(ticket)
            size += len(ticket.body)
        if batch:
            self._flying.append((monotonic(), batch))
            self._transport.write(frames.pack([(t.head, t.body) for t in batch]))

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        at, end = 0, len(data)
        while end - at >= 4:
            size = int.from_bytes(data[at : at + 4], "little")
            if size > frames.MAX_MESSAGE or not self._flying:
                self._transport_abort()
                return
            if end - at - 4 < size:
                break
            answers = frames.answers(data, at + 4, size)
            sent, batch = self._flying[0]
            if len(answers) != len(batch):
                self._transport_abort()
                return
            self._flying.popleft()
            self.outstanding -= len(batch)
            self._quick = monotonic() - sent < _QUICK_SECONDS
            if not self._flying or (self._quick and len(self._queue) >= _FULL):
                self._flush()  # keep the replica busy before the clients are answered
            for number, ticket in enumerate(batch):
                if ticket.asker is not None:
                    status, content_type, custom, body = answers[number]
                    ticket.asker.answered(status, content_type, custom, body)
            at += 4 + size
        self._buffer = data[at:]
        if self._closing and not self._flying and not self._queue and self._transport:
            self._transport.close()

    def _transport_abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close once everything under way is answered."""
        self._closing = True
        if not self._flying and not self._queue:
            if self._transport is not None:
                self._transport.close()
            else:
                self._connecting.cancel()
