"""One connection: parse heads with llhttp, hand requests to an application, write its answers in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, cast

import httptools

from ..admission import victims
from .message import Body, Budget, Disconnected, FileSlice, FileSlices, Overloaded, Request, Response

log = logging.getLogger(__name__)

App = Callable[[Request], Awaitable[Response]]
"""Answers a request; what it raises is a bug and becomes a plain 500."""

_REASONS = {status.value: status.phrase for status in HTTPStatus}
_NO_BODY = frozenset((204, 304))
_SEND_CHUNK = 1 << 20
_INLINE = 64 << 10


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection."""

    head_bytes: int = 64 << 10
    headers: int = 256
    head_seconds: float = 20.0  # from a request's first byte to the end of its head
    body_seconds: float = 60.0  # from the head to the end of a body, beside what its bytes may take
    body_rate: int = 4 << 10  # bytes a second: a body that comes more slowly is given up
    stall_seconds: float = 60.0  # without a byte while a body is awaited or an answer is taken
    idle_seconds: float = 120.0  # between requests
    linger_seconds: float = 10.0  # for the rest of a request that was answered early, which is not looked at
    connections: int = 8192
    held_bytes: int = 512 << 20  # of bodies, in memory, of all requests together


class Connections:
    """The open connections of a server; a sweep ends the slow ones."""

    def __init__(self, limits: Limits):
        self.limits = limits
        self.open: set[Connection] = set()
        self.budget = Budget(limits.held_bytes)

    def make_room(self) -> bool:
        """Close some of the connections that wait for a request; return whether there were any."""
        waiting = [(c.peer, c.since, c) for c in self.open if c.waits]
        chosen = victims(waiting, self.limits.connections // 16 + 1)
        for connection in chosen:
            connection.close()
        return bool(chosen)

    async def sweep_forever(self, every: float = 1.0) -> None:
        """End connections that are past one of their deadlines, until cancelled."""
        while True:
            await asyncio.sleep(every)
            now = time.monotonic()
            for connection in list(self.open):
                connection.expire(now)


class Connection(asyncio.Protocol):
    """Speaks HTTP/1.1 on one transport. Requests are answered one at a time, in order."""

    def __init__(self, app: App, pool: Connections, scheme: str = "http"):
        # for the life of the connection
        self._app = app
        self._pool = pool
        self.scheme = scheme
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._writable: asyncio.Future[None] | None = None
        self._closing = False
        self._broken = 0  # the status for what came after the requests that are being answered, and ends the connection
        self._last = False  # the parser reads nothing after the present requests
        self._lingers = False
        self.peer = ""
        # of the request being read
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._in_head = False
        self._body: Body | None = None
        self._continue = False
        self._paused = False
        self._touched = time.monotonic()
        self.since = self._touched  # when the request being read, or the wait for one, began
        self._body_since = self._touched  # when its body began; what the application kept waiting is left out
        self._body_bytes = 0
        # of the request being answered
        self._task: asyncio.Task[None] | None = None
        self._waiting: list[tuple[Request, bool]] = []

    # ---- transport -------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) and peer else ""
        if len(self._pool.open) >= self._pool.limits.connections and not self._pool.make_room():
            self._refuse(503)
        self._pool.open.add(self)

    @property
    def waits(self) -> bool:
        """Whether it waits for a request, for the rest of a head, or for the end of what is not looked at."""
        return self._lingers or (self._task is None and self._body is None and not self._closing)

    def connection_lost(self, exc: Exception | None) -> None:
        self._closing = True
        self._pool.open.discard(self)
        if self._body is not None:
            self._body.fail(Disconnected("the client closed the connection"))
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(Disconnected("the client closed the connection"))
        for request, _ in self._waiting:
            request.body.fail(Disconnected("the client closed the connection"))
            request.body.release()
        self._waiting.clear()

    def eof_received(self) -> bool:
        return False

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def data_received(self, data: bytes) -> None:
        if self._closing or self._broken:
            return
        self._touched = time.monotonic()
        if self._in_head or self._body is None:
            self._head_bytes += len(data)
            if self._in_head and self._head_bytes > self._pool.limits.head_bytes:
                self._refuse(431)
                return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._last = True  # the application answers; what follows is not HTTP, and is not read
        except httptools.HttpParserError:
            self._refuse(400)

    # ---- parser ----------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = []
        self._head_bytes = 0
        self._in_head = True
        self.since = self._touched

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name, value))
        if len(self._headers) > self._pool.limits.headers:
            self._refuse(431)

    def on_headers_complete(self) -> None:
        self._in_head = False
        if self._closing or self._broken:
            return
        headers: dict[str, str] = {}
        for raw_name, raw_value in self._headers:
            name = raw_name.decode("latin-1").lower()
            value = raw_value.decode("utf-8", "surrogateescape").strip(" \t")
            if name == "host" and name in headers:  # RFC 9112, 3.2: which of them is signed, and which is meant?
                self._refuse(400)
                return
            headers[name] = f"{headers[name]},{value}" if name in headers else value
        target = self._url.decode("latin-1")
        if target.startswith(("http://", "https://")):  # a forward proxy's absolute form
            target = "/" + target.split("://", 1)[1].partition("/")[2]
        path, _, query = target.partition("?")
        length = headers.get("content-length")
        has_body = "transfer-encoding" in headers or (length is not None and length != "0")
        body = Body(self, None if "transfer-encoding" in headers else int(length or 0), self._pool.budget)
        self._body_since, self._body_bytes = self._touched, 0
        self._body = body if has_body else None
        self._continue = headers.get("expect", "").lower() == "100-continue" and has_body
        method = self._parser.get_method().decode("latin-1")
        request = Request(method, target, path, query, headers, body, self.scheme, self.peer)
        if not has_body:
            body.finish()
        self._waiting.append((request, bool(self._parser.should_keep_alive())))
        if self._task is None:
            self._next()
        elif len(self._waiting) > 16:
            self._pause()  # pipelining deeper than this waits in the kernel

    def on_body(self, data: bytes) -> None:
        self._body_bytes += len(data)
        if self._body is not None and not self._body.feed(data):
            self._pause()

    def on_message_complete(self) -> None:
        if self._body is not None:
            self._body.finish()
            self._body = None
        self._head_bytes = 0

    # ---- flow ------------------------------------------------------------------------------------------------------

    def _pause(self) -> None:
        if not self._paused and not self._closing:
            self._paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """The body's reader has room again."""
        if self._paused and not self._closing:
            self._paused = False
            now = time.monotonic()
            self._body_since += now - self._touched
            self._touched = now
            self.transport.resume_reading()

    def wants_body(self) -> None:
        """The application reads the body: tell a client that waits for permission to send it."""
        if self._continue and not self._closing:
            self._continue = False
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def expire(self, now: float) -> None:
        """End the connection if it is past a deadline."""
        limits = self._pool.limits
        quiet = now - self._touched
        if self._late(now):
            self._refuse(408)
        elif self._writable is not None and quiet > limits.stall_seconds * 2:
            self.transport.abort()
        elif self._task is None and not self._in_head and quiet > limits.idle_seconds:
            self.close()

    def _late(self, now: float) -> bool:
        """Whether a head or a body comes more slowly than it may."""
        limits = self._pool.limits
        if self._in_head:
            return now - self.since > limits.head_seconds
        if self._body is None or self._paused:
            return False
        slow = now - self._body_since > limits.body_seconds + self._body_bytes / limits.body_rate
        return slow or now - self._touched > limits.stall_seconds

    def close(self) -> None:
        """Close after what was written."""
        self._closing = True
        self.transport.close()

    def _refuse(self, status: int) -> None:
        """Answer what cannot be read, after the requests before it, and close."""
        if self._closing or self._broken:
            return
        self._broken = status
        if self._body is not None:
            self._body.fail(Disconnected("the request is malformed or came too slowly"))
        if self._task is None:
            self._end()
        else:
            self._pause()

    def _end(self) -> None:
        """Say why the connection is closed, and close it."""
        if not self.transport.is_closing():
            self.transport.write(_head(self._broken, {"Content-Length": "0", "Connection": "close"}))
        self._linger()

    def _linger(self) -> None:
        """Close when the client has sent the rest, or a while later: closed at once, it might not see its answer."""
        if self._closing or self.transport.is_closing() or not self.transport.can_write_eof():
            self.close()
            return
        self._closing = self._lingers = True
        self.transport.write_eof()
        self.transport.resume_reading()
        self._loop.call_later(self._pool.limits.linger_seconds, self.transport.abort)

    # ---- answering -------------------------------------------------------------------------------------------------

    def _next(self) -> None:
        if self._waiting and not self._closing:
            request, keep_alive = self._waiting.pop(0)
            self._task = self._loop.create_task(self._answer(request, keep_alive))

    async def _answer(self, request: Request, keep_alive: bool) -> None:
        try:
            try:
                response = await self._app(request)
            except Disconnected:
                if not self._broken:
                    self.transport.abort()
                return
            except Overloaded:
                response = Response(503, {"Content-Type": "text/plain", "Retry-After": "1"}, b"", close=True)
            except Exception:  # the outermost border: a bug must not end the server
                log.exception("unhandled error while answering %s %s", request.method, request.path)
                response = Response(500, {"Content-Type": "text/plain"}, b"internal error", close=True)
            keep_alive = keep_alive and not response.close and not self._closing
            if self._last and not self._waiting:
                keep_alive = False
            if not request.body.complete:
                keep_alive = False  # the rest of the body is unwanted: reading it would cost more than a connection
            if response.upgrade is not None:
                self.transport.pause_reading()  # what comes next is for the upgraded protocol, not for this parser
            try:
                await self._write(request, response, keep_alive)
            except (Disconnected, ConnectionError):
                self.transport.abort()
                return
            except Exception:  # a body that fails half-way: the client must see a broken transfer
                log.exception("the answer to %s %s broke off", request.method, request.path)
                self.transport.abort()
                return
            if response.upgrade is not None:
                response.upgrade(self)
                return
            if not keep_alive and request.body.complete:
                self.close()
            elif not keep_alive:
                self._linger()
        finally:
            request.body.release()
            self._task = None
            self._touched = self.since = time.monotonic()
            if self._waiting and not self._closing:
                self._next()
            elif self._broken and not self._closing:
                self._end()
            else:
                self.resume()

    async def _write(self, request: Request, response: Response, keep_alive: bool) -> None:
        headers = response.headers
        if not keep_alive and response.upgrade is None:
            headers["Connection"] = "close"
        body = response.body
        bare = request.method == "HEAD" or response.status in _NO_BODY or response.upgrade is not None
        if isinstance(body, bytes):
            if response.status not in _NO_BODY and response.upgrade is None:
                headers["Content-Length"] = str(len(body) if response.length is None else response.length)
            self._put(_head(response.status, headers, response.more) + (b"" if bare else body))
            await self._drain()
        elif isinstance(body, FileSlices):
            headers["Content-Length"] = str(body.length)
            await self._write_files(_head(response.status, headers), () if bare else body.parts)
        else:
            await self._send_stream(response, bare)

    async def _send_stream(self, response: Response, bare: bool) -> None:
        chunked = response.length is None
        if chunked:
            response.headers["Transfer-Encoding"] = "chunked"
        else:
            response.headers["Content-Length"] = str(response.length)
        self._put(_head(response.status, response.headers, response.more))
        if bare:
            return
        body = response.body
        source = body if hasattr(body, "__aiter__") else _as_async(body)
        try:
            async for part in cast(AsyncIterator[bytes], source):
                if part:
                    self._put(b"%x\r\n%b\r\n" % (len(part), part) if chunked else part)
                    await self._drain()
        finally:
            if hasattr(source, "aclose"):  # whoever makes the parts learns at once that nobody takes them
                await source.aclose()
        if chunked:
            self._put(b"0\r\n\r\n")
        await self._drain()

    def _put(self, data: bytes) -> None:
        """Write, unless the client has gone: while its answer was made, or between two parts of it."""
        if self.transport.is_closing():
            raise Disconnected("the client closed the connection")
        self.transport.write(data)

    async def _drain(self) -> None:
        if self._closing and self.transport.is_closing():
            raise Disconnected("the client closed the connection")
        if self._writable is not None:
            await self._writable
            self._touched = time.monotonic()

    async def _write_files(self, head: bytes, parts: tuple[FileSlice, ...]) -> None:
        """The head and the files; a small file travels in the same write as the head."""
        opened: list[int] = []
        try:
            try:
                opened += (os.open(part.path, os.O_RDONLY | os.O_CLOEXEC) for part in parts)
            except OSError as error:
                log.error("cannot open a file to send: %s", error)
                self._put(_head(503, {"Content-Length": "0", "Retry-After": "1", "Connection": "close"}))
                self.close()
                return
            if len(parts) == 1 and parts[0].length <= _INLINE:
                head += os.pread(opened[0], parts[0].length, parts[0].offset)
                parts = ()
            self._put(head)
            await self._drain()
            for part, fd in zip(parts, opened, strict=False):
                await self._send_file(part, fd)
        finally:
            for fd in opened:
                os.close(fd)

    async def _send_file(self, part: FileSlice, fd: int) -> None:
        sock = self.transport.get_extra_info("socket")
        if self.scheme == "https" or sock is None or not hasattr(os, "sendfile"):
            await self._copy_file(part, fd)
            return
        while self.transport.get_write_buffer_size():  # the head goes first
            await asyncio.sleep(0)
            await self._drain()
        out = os.dup(sock.fileno())  # the event loop refuses to watch a descriptor that a transport owns
        try:
            offset, end = part.offset, part.offset + part.length
            while offset < end:
                try:
                    sent = os.sendfile(out, fd, offset, min(end - offset, 8 << 20))
                except (BlockingIOError, InterruptedError):
                    await self._until_writable(out)
                    continue
                if sent == 0:
                    raise OSError(f"the file is shorter than {part.length} bytes")
                offset += sent
                self._touched = time.monotonic()
        finally:
            os.close(out)

    async def _copy_file(self, part: FileSlice, fd: int) -> None:
        offset, end = part.offset, part.offset + part.length
        while offset < end:
            data = os.pread(fd, min(_SEND_CHUNK, end - offset), offset)
            if not data:
                raise OSError(f"the file is shorter than {part.length} bytes")
            offset += len(data)
            self._put(data)
            await self._drain()

    async def _until_writable(self, fd: int) -> None:
        ready: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_writer(fd, lambda: None if ready.done() else ready.set_result(None))
        try:
            await asyncio.wait_for(ready, self._pool.limits.stall_seconds)
        except TimeoutError:
            raise Disconnected("the client stopped reading") from None
        finally:
            self._loop.remove_writer(fd)


async def _as_async(parts: Any) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


_date = (0.0, "")


def http_date() -> str:
    """The ``Date`` header's value, made once a second."""
    global _date
    now = time.time()
    if now - _date[0] >= 1:
        _date = (float(int(now)), formatdate(now, usegmt=True))
    return _date[1]


def _head(status: int, headers: dict[str, str], more: tuple[tuple[str, str], ...] = ()) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}\r\nDate: {http_date()}\r\nServer: clary\r\n"]
    for name, value in (*headers.items(), *more):
        text = f"{name}: {value}\r\n"
        if "\r" in value or "\n" in value or "\n" in name:  # a value may come from user data: never split a head
            text = f"{name}: {value.replace(chr(13), ' ').replace(chr(10), ' ')}\r\n"
        lines.append(text)
    lines.append("\r\n")
    return "".join(lines).encode("utf-8", "surrogateescape")


@contextlib.asynccontextmanager
async def serving(pool: Connections) -> AsyncIterator[None]:
    """Sweep a pool's slow connections while the block runs; close them all after it."""
    sweeper = asyncio.create_task(pool.sweep_forever())
    try:
        yield
    finally:
        sweeper.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await sweeper
        for connection in list(pool.open):
            connection.close()
