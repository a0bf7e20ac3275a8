"""Connections to replicas: frames with micro-batches for our own runtimes, kept-alive HTTP for everybody else's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

import httptools

from . import frames
from .table import Replica

log = logging.getLogger(__name__)

MAX_BATCH = 64
MAX_BATCH_BYTES = 4 << 20
MAX_QUEUE = 4096


class Answer(Protocol):
    """Takes a replica's answer; called once."""

    def __call__(self, status: int, content_type: bytes, custom: bytes, body: bytes, /) -> None: ...


class Ticket:
    """One request on its way: cancelled ones are answered to nobody."""

    __slots__ = ("answer", "body", "fail", "head")

    def __init__(self, head: bytes, body: bytes, answer: Answer, fail: Callable[[str, bool], None]):
        self.head = head
        self.body = body
        self.answer: Answer | None = answer
        self.fail = fail  # takes the reason, and whether the replica may have seen the request

    def cancel(self) -> None:
        """Nobody waits any more."""
        self.answer = None


class Link(Protocol):
    """A way to one replica."""

    outstanding: int
    alive: bool

    def submit(self, ticket: Ticket) -> None:
        """Send a request; its answer or its failure comes later."""

    def close(self) -> None:
        """Send nothing more; what is under way is still answered."""


class FrameLink(asyncio.Protocol):
    """Our own runtimes. While the replica works on one batch the next gathers; when idle a request goes at once."""

    def __init__(self, replica: Replica, lost: Callable[[str], None], known_good: bool = True):
        self.replica = replica
        self.outstanding = 0
        self.alive = known_good  # one that was lost is used again only when it accepts
        self._lost = lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._queue: deque[Ticket] = deque()
        self._flying: list[Ticket] = []
        self._scheduled = False
        self._closing = False
        self._buffer = b""
        self._connecting = self._loop.create_task(self._connect())

    async def _connect(self) -> None:
        try:
            await self._loop.create_unix_connection(lambda: self, self.replica.socket)
        except OSError as error:
            self._fall(f"the replica does not accept connections: {error}")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.alive = True
        self._flush()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fall("the model's process ended while it worked on the request")

    def _fall(self, reason: str) -> None:
        self.alive = False
        flying, waiting = self._flying, self._queue
        self._flying, self._queue = [], deque()
        self.outstanding = 0
        for tickets, sent in ((flying, True), (waiting, False)):
            for ticket in tickets:
                if ticket.answer is not None:
                    ticket.fail(reason, sent)
        if not self._closing:
            self._lost(self.replica.id)

    def submit(self, ticket: Ticket) -> None:
        """Queue a request; it leaves with all others that arrive in the same turn of the loop."""
        self.outstanding += 1
        self._queue.append(ticket)
        if not self._flying and not self._scheduled and self._transport is not None:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if self._flying or not self._queue or self._transport is None:
            return
        batch: list[Ticket] = []
        size = 0
        while self._queue and len(batch) < MAX_BATCH and (size < MAX_BATCH_BYTES or not batch):
            ticket = self._queue.popleft()
            if ticket.answer is None:
                self.outstanding -= 1
                continue
            batch.append(ticket)
            size += len(ticket.body)
        if batch:
            self._flying = batch
            self._transport.write(frames.pack([(t.head, t.body) for t in batch]))

    def data_received(self, data: bytes) -> None:
        if self._buffer:
            data = self._buffer + data
        at, end = 0, len(data)
        while end - at >= 4:
            size = int.from_bytes(data[at : at + 4], "little")
            if size > frames.MAX_MESSAGE:
                self._transport_abort()
                return
            if end - at - 4 < size:
                break
            answers = frames.unpack(data, at + 4, size)
            batch, self._flying = self._flying, []
            self.outstanding -= len(batch)
            self._flush()  # keep the replica busy before the clients are answered
            for ticket, (head, body) in zip(batch, answers, strict=True):
                if ticket.answer is not None:
                    status, content_type, custom = head.split(frames.SEPARATOR, 2)
                    ticket.answer(int(status), content_type, custom, body)
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


class HttpLink:
    """A container or a script behind ``/invocations``: a pool of kept-alive connections."""

    def __init__(self, replica: Replica, lost: Callable[[str], None], concurrency: int = 64):
        self.replica = replica
        self.outstanding = 0
        self.alive = True
        self._lost = lost
        self._idle: list[_HttpExchange] = []
        self._limit = concurrency
        self._open = 0
        self._queue: deque[Ticket] = deque()
        self._closing = False
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    def submit(self, ticket: Ticket) -> None:
        """Send on an idle connection, or on a new one, or when one is free."""
        self.outstanding += 1
        if self._idle:
            self._idle.pop().send(ticket)
        elif self._open < self._limit:
            self._open += 1
            task = self._loop.create_task(self._dial(ticket))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self._queue.append(ticket)

    async def _dial(self, ticket: Ticket) -> None:
        try:
            if self.replica.socket.startswith("/"):
                _, exchange = await self._loop.create_unix_connection(lambda: _HttpExchange(self), self.replica.socket)
            else:
                host, _, port = self.replica.socket.rpartition(":")
                _, exchange = await self._loop.create_connection(lambda: _HttpExchange(self), host, int(port))
        except OSError as error:
            self._open -= 1
            self.outstanding -= 1
            if ticket.answer is not None:
                ticket.fail(f"the container does not accept connections: {error}", False)
            return
        exchange.send(ticket)

    def done(self, exchange: _HttpExchange, reusable: bool) -> None:
        """An exchange has its answer."""
        self.outstanding -= 1
        if not reusable:
            exchange.close()
        while self._queue and (ticket := self._queue.popleft()):
            if ticket.answer is None:
                self.outstanding -= 1
                continue
            if reusable:
                exchange.send(ticket)
            else:
                task = self._loop.create_task(self._dial(ticket))
                self._open += 1
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            return
        if reusable and not self._closing:
            self._idle.append(exchange)
        elif reusable:
            exchange.close()

    def gone(self, exchange: _HttpExchange) -> None:
        """A connection has ended."""
        self._open -= 1
        with contextlib.suppress(ValueError):
            self._idle.remove(exchange)

    def close(self) -> None:
        """Close idle connections; the others close with their answers."""
        self._closing = True
        for exchange in list(self._idle):
            exchange.close()


class _HttpExchange(asyncio.Protocol):
    """One connection to a container, one request at a time."""

    def __init__(self, link: HttpLink):
        self._link = link
        self._transport: asyncio.Transport | None = None
        self._ticket: Ticket | None = None
        self._parser: httptools.HttpResponseParser | None = None
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, ticket: Ticket) -> None:
        """Send a request."""
        content_type, accept, custom, inference, target = ticket.head.split(frames.SEPARATOR, 4)
        named = (
            (b"Content-Type", content_type), (b"Accept", accept),
            (b"X-Amzn-SageMaker-Custom-Attributes", custom), (b"X-Amzn-SageMaker-Inference-Id", inference),
            (b"X-Amzn-SageMaker-Target-Model", target),
        )  # fmt: skip
        lines = b"".join(b"%b: %b\r\n" % (name, value) for name, value in named if value)
        self._ticket = ticket
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._parts = {}, []
        assert self._transport is not None
        head = b"POST /invocations HTTP/1.1\r\nHost: localhost:8080\r\n%bContent-Length: %d\r\n\r\n"
        self._transport.write(head % (lines, len(ticket.body)) + ticket.body)

    def data_received(self, data: bytes) -> None:
        if self._parser is None:
            self.close()
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("the container's answer is not HTTP")
            self.close()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)

    def on_message_complete(self) -> None:
        ticket, parser = self._ticket, self._parser
        self._ticket = self._parser = None
        if ticket is None or parser is None:
            return
        status, reusable = parser.get_status_code(), parser.should_keep_alive()
        self._link.done(self, reusable)
        if ticket.answer is not None:
            custom = self._headers.get(b"x-amzn-sagemaker-custom-attributes", b"")
            content_type = self._headers.get(b"content-type", b"application/octet-stream")
            ticket.answer(status, content_type, custom, b"".join(self._parts))

    def connection_lost(self, exc: Exception | None) -> None:
        self._link.gone(self)
        if self._ticket is not None:
            self._link.outstanding -= 1
            self._fail("the container closed the connection before its answer")

    def _fail(self, reason: str) -> None:
        ticket, self._ticket = self._ticket, None
        if ticket is not None and ticket.answer is not None:
            ticket.fail(reason, True)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


def connect(replica: Replica, lost: Callable[[str], None], known_good: bool = True) -> FrameLink | HttpLink:
    """A link in the replica's own protocol."""
    return FrameLink(replica, lost, known_good) if replica.protocol == "frames" else HttpLink(replica, lost)
