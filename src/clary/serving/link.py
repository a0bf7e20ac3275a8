"""Connections to replicas: frames, with micro-batches."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Final, cast

from ..sockets import unlinked
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
_PATIENCE_SECONDS = 0.002
"""How long a batch waits at most for other replicas to be done."""


class Pace:
    """How many quick replicas work at the same time: as many as there are cores beside the front's.

    One more would take the front's own core, and for a smaller batch; its requests gather until another one is done.
    """

    def __init__(self, limit: int):
        self._limit = limit
        self._working = 0
        self._waiting: list[Link] = []
        self._since = 0.0  # when the first of them began to wait
        self._timed = False
        self._loop = asyncio.get_running_loop()

    def may_begin(self, link: Link) -> bool:
        """Whether a quick link may send a batch that is not full; else it is told soon that it may."""
        if self._working < self._limit:
            return True
        if not self._waiting:
            self._since = monotonic()
            if not self._timed:
                self._timed = True
                self._loop.call_later(_PATIENCE_SECONDS, self._look)
        self._waiting.append(link)
        return False

    def begun(self) -> None:
        """A replica that was quick so far begins to work."""
        self._working += 1

    def done(self) -> None:
        """It has nothing to do any more."""
        self._working -= 1
        self._call()

    def _look(self) -> None:
        """Nobody waits long for one that turns out to be slow."""
        left = self._since + _PATIENCE_SECONDS - monotonic()
        self._timed = bool(self._waiting) and left > 0
        if self._timed:
            self._loop.call_later(left, self._look)
        else:
            self._call()

    def _call(self) -> None:
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for link in waiting:
                link.turn_has_come()


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
        self,
        replica: Replica,
        lost: Callable[[str], None],
        found: Callable[[], None],
        pace: Pace,
        known_good: bool = True,
    ):
        self.replica = replica
        self._pace = pace
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
        self._paced = False  # counted among those that work
        self._scheduled = False
        self._closing = False
        self._buffer = b""
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            with unlinked(self.replica.socket) as path:
                await self._loop.create_unix_connection(self.as_protocol, path)
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
        self._rests()
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
        if not self._flying and (not self._quick or self._pace.may_begin(self)):
            self._flush()

    def _rests(self) -> None:
        """Nothing is under way."""
        if self._paced:
            self._paced = False
            self._pace.done()

    def turn_has_come(self) -> None:
        """Other replicas have nothing to do now, or took their time."""
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
            if self._quick and not self._paced:
                self._paced = True
                self._pace.begun()
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
            if self._flying:
                if self._quick and len(self._queue) >= _FULL:
                    self._flush()  # keep the replica busy before the clients are answered
            else:
                self._rests()
                if self._queue and (not self._quick or len(self._queue) >= _FULL or self._pace.may_begin(self)):
                    self._flush()
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

    def _let_go(self) -> None:
        """A replica that is to go need not finish what nobody waits for."""
        for tickets in (*[batch for _, batch in self._flying], self._queue):
            for ticket in tickets:
                if ticket.asker is not None:
                    return
        if self._transport is not None:
            self._transport.abort()
        else:
            self._connecting.cancel()

    def close(self) -> None:
        """Close once everything under way is answered, or nobody waits for it any more."""
        self._closing = True
        if self._flying or self._queue:
            for tickets in (*[batch for _, batch in self._flying], self._queue):
                for ticket in tickets:
                    ticket.drop = self._let_go
            self._let_go()
        elif self._transport is not None:
            self._transport.close()
        else:
            self._connecting.cancel()
