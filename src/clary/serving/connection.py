"""A client's connection to the front: reads requests, hands each to an invocation, turns into a tunnel for the rest."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, cast

import httptools
import orjson

from .address import Address, is_invoke
from .authenticate import Denied
from .invocation import LARGE, Invocation
from .peer import Peer

if TYPE_CHECKING:
    from .front import Front

monotonic: Final = time.monotonic
MAX_BODY = 25 << 20
MAX_HEAD = 64 << 10
MAX_HELD = 512 << 20
"""Bytes of bodies that all connections together may hold; beyond, requests are throttled."""
MAX_HEADERS = 256
STALL_SECONDS = 30.0
RATE = 16 << 10
"""Bytes a second: a request that comes more slowly, beside ``STALL_SECONDS``, is given up."""
IDLE_SECONDS = 300.0
LINGER_SECONDS = 10.0
"""How long the rest of a request that was refused early is awaited, and not looked at."""

_STATUS = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}


def ignore(task: asyncio.Task[object]) -> None:
    """Collect a task's failure: its connection is closed, nobody else wants to know."""
    if not task.cancelled():
        task.exception()


class _Request:
    """One that is read whole; without an address it is not InvokeEndpoint, and is refused in its turn."""

    __slots__ = ("address", "body", "headers", "keep_alive")

    def __init__(self, address: Address | None, headers: dict[bytes, bytes], body: bytes, keep_alive: bool):
        self.address = address
        self.headers = headers
        self.body = body
        self.keep_alive = keep_alive


class Connection(Peer):
    """One client. Requests are answered in order; the next is read when the last is answered.

    ``passed``: control passes a request on, which must not go back to it.
    """

    def __init__(self, front: Front, address: str = "", passed: bool = False):
        # for the life of the connection
        self._front = front
        self.address = address
        self._passed = passed
        self.transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._parser = httptools.HttpRequestParser(self)
        self._tunnel: asyncio.Transport | None = None
        self._turning = False  # the tunnel is being opened
        self._broken = False  # what came after the present requests cannot be read, for this reason:
        self._rejection = (400, b"", "")
        self._lingers = False
        self._last = False  # nothing is read after the present requests
        self._touched = monotonic()
        self._since = self._touched  # when the request that is being read began
        self._came = 0  # bytes of it
        # of the present request
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._count = 0  # headers
        self._twice = False  # there is a second Host among them
        self._reading = False
        self._keep_alive = True
        self._held = 0  # bytes of its body that count towards all connections' sum
        self._invocation: Invocation | None = None
        self._behind: bytes = b""
        self._next: deque[_Request] = deque()  # came with the present one, and wait until it is answered
        self._unread = False  # the client has not taken all of what it was sent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=0)  # uvloop writes at once then, not when all that came is read
        self._front.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.connections.discard(self)
        self._let_go()
        if self._invocation is not None:
            self._invocation.cancel()
        if self._tunnel is not None:
            self._tunnel.close()

    def expire(self, now: float) -> None:
        """End what is past its deadline."""
        quiet = now - self._touched
        if self._tunnel is not None or self._turning or self._lingers:
            return
        if self._invocation is not None:
            self._invocation.expire(quiet)
        elif self._reading:
            if now - self._since > STALL_SECONDS + self._came / RATE:
                self._reject(408, b"ValidationError", "The request came too slowly.")
        elif quiet > IDLE_SECONDS:
            self.transport.close()

    @property
    def waits(self) -> float:
        """The moment since when it waits for a request or the rest of one; 0.0 if it does not."""
        if self._invocation is not None or self._tunnel is not None or self._turning or self._next:
            return 0.0
        return self._since if self._reading else self._touched

    def close(self) -> None:
        """Give the connection up."""
        self.transport.close()

    def pause_writing(self) -> None:
        self._unread = True
        if self._invocation is not None:
            self._invocation.pause()

    def resume_writing(self) -> None:
        self._unread = False
        if self._invocation is not None:
            self._invocation.resume()
        elif self._tunnel is None and not self._turning:
            self._read_on()

    def data_received(self, data: bytes) -> None:
        self._touched = monotonic()
        if self._tunnel is not None:
            self._tunnel.write(data)
            return
        if self._broken or self._last:
            return
        if self._busy() or self._turning:  # read it when the present one is answered
            self._behind += data
            if len(self._behind) > MAX_HEAD:
                self.transport.pause_reading()
            return
        if not self._reading:
            if self._front.read_whole is not None and (whole := self._front.read_whole(data)) is not None:
                url, headers, body = whole
                if len(body) <= LARGE and (address := self._front.addresses.of(url)) is not None:
                    self._begin(address, headers, body, True)
                    return
            if not is_invoke(data):
                self._open_tunnel(data)
                return
        self._came += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._last = True  # the protocol stays what it is, and what follows is not read
            if not self._busy():
                self.transport.close()
        except httptools.HttpParserError:
            self._reject(400, b"ValidationError", "The request is not well-formed HTTP.")

    def _reject(self, status: int, code: bytes, text: str) -> None:
        """Refuse the request that is being read, after those before it were answered, and read nothing more."""
        if self._broken:
            return
        self._broken = True
        self._parts = []
        self._rejection = (status, code, text)
        if not self._busy():
            self.refuse(status, code, text, close=True)

    # ---- parser ----------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._parts = []
        self._size = self._count = self._came = 0
        self._twice = False
        self._reading = True
        self._since = self._touched

    def on_url(self, url: bytes) -> None:
        self._url = self._url + url if self._url else url
        if len(self._url) > MAX_HEAD:
            self._reject(414, b"ValidationError", "The request's URL is too long.")

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        if (before := self._headers.get(name)) is not None:  # as it is signed; and two hosts are not a host
            self._twice = self._twice or name == b"host"
            value = before + b"," + value
        self._headers[name] = value
        self._size += len(name) + len(value)
        self._count += 1
        if self._size > MAX_HEAD or self._count > MAX_HEADERS:
            self._reject(431, b"ValidationError", "The request's headers are too large.")

    def on_headers_complete(self) -> None:
        self._size = 0
        if self._twice:
            self._reject(400, b"ValidationError", "The request has more than one Host header.")
        elif int(self._headers.get(b"content-length", b"0")) > MAX_BODY:
            self._too_large()
        elif (denied := self._denied()) is not None:
            self._reject(denied.status, denied.code.encode(), str(denied))
        elif self._headers.get(b"expect") == b"100-continue":
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _denied(self) -> Denied | None:
        """Why a request is refused before its body is read; None where that may decide."""
        if self._front.addresses.of(self._url) is None:
            return None
        try:
            self._front.authenticator.check_head(self._headers)
        except Denied as error:
            return error
        return None

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_BODY:
            self._too_large()
        else:
            self._hold(len(data))

    def _hold(self, size: int) -> None:
        """Count a body that comes in pieces; its signature covers all of it, so it must be here before it is passed on."""
        self._front.held += size
        self._held += size
        if self._front.held > MAX_HELD:
            self._reject(429, b"ThrottlingException", "Rate exceeded")

    def _let_go(self) -> None:
        self._front.held -= self._held
        self._held = 0

    def _too_large(self) -> None:
        text = f"The request body is larger than {MAX_BODY} bytes, the limit of InvokeEndpoint. Use batch transform or asynchronous inference for larger payloads."
        self._reject(413, b"ValidationError", text)

    def on_message_complete(self) -> None:
        if self._broken or self.transport.is_closing():
            return
        self._reading = False
        keep_alive = self._parser.should_keep_alive()
        address = self._front.addresses.of(self._url) if self._parser.get_method() == b"POST" else None
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        if self._busy():
            self._next.append(_Request(address, self._headers, body, keep_alive))
        elif address is not None:
            self._begin(address, self._headers, body, keep_alive)
        else:
            self._not_here()

    def _not_here(self) -> None:
        """Refuse a request that came with InvokeEndpoint and is another service's."""
        text = "Pipelining other requests behind InvokeEndpoint is not supported."
        self.refuse(421, b"ValidationError", text, close=True)

    def _busy(self) -> bool:
        """Whether another request would have to wait."""
        return self._invocation is not None or self._unread or bool(self._next)

    def _begin(self, address: Address, headers: dict[bytes, bytes], body: bytes, keep_alive: bool) -> None:
        self._keep_alive = keep_alive
        self._invocation = invocation = Invocation(self._front, self, address, headers, body)
        invocation.start()

    # ---- answering -------------------------------------------------------------------------------------------------

    def refuse(
        self, status: int, code: bytes, message: str, close: bool = False, members: dict[str, object] | None = None
    ) -> None:
        """Answer with an error."""
        if self._lingers or self.transport.is_closing():
            return
        body = orjson.dumps({"Message": message, "message": message, **(members or {})})
        head = b"%b%bContent-Type: application/json\r\nx-amzn-ErrorType: %b\r\nx-amzn-RequestId: %b\r\nContent-Length: %d\r\n%b\r\n%b"
        front = self._front
        last = b"Connection: close\r\n" if close else b""
        self.transport.write(head % (_STATUS[status], front.date, code, front.request_id(), len(body), last, body))
        self.done(status, not close)

    def done(self, status: int, keep_alive: bool = True) -> None:
        """The present request is answered: count it, and read the next."""
        invocation, self._invocation = self._invocation, None
        if invocation is not None:
            invocation.close()
        variant = invocation.variant if invocation is not None else None
        if variant is not None:
            counts = variant.counts
        else:
            endpoint = invocation.endpoint if invocation is not None else None
            counts = self._front.router.counts_of(endpoint.name if endpoint is not None else "", "")
        counts[status] = counts.get(status, 0) + 1
        if self._held:
            self._let_go()
        self._touched = monotonic()
        if not (self._keep_alive and keep_alive) or (self._last and not self._next):
            self._end()
        elif not self._unread:
            self._read_on()

    def _end(self) -> None:
        """Close the connection; if a request was refused early, when the client has sent the rest, or a while later.

        Closed at once, a client that is still sending might not see its answer.
        """
        if not self._broken or self.transport.is_closing() or not self.transport.can_write_eof():
            self.transport.close()
            return
        self._lingers = True
        self.transport.write_eof()
        self.transport.resume_reading()
        asyncio.get_running_loop().call_later(LINGER_SECONDS, self.transport.abort)

    def _read_on(self) -> None:
        """Take the next request, if it is here."""
        if self._next:
            asyncio.get_running_loop().call_soon(self._begin_next)
        elif self._broken:
            status, code, text = self._rejection
            self.refuse(status, code, text, close=True)
        elif self._behind:
            data, self._behind = self._behind, b""
            self.transport.resume_reading()
            self.data_received(data)

    def _begin_next(self) -> None:
        if self._next and self._invocation is None and not self._unread and not self.transport.is_closing():
            request = self._next.popleft()
            if request.address is None:
                self._not_here()
                return
            self._begin(request.address, request.headers, request.body, request.keep_alive)

    # ---- a connection that turns to other calls --------------------------------------------------------------------

    def _open_tunnel(self, data: bytes) -> None:
        """Later requests on this connection are control's: pass bytes both ways from here on."""
        if self._passed:
            self.refuse(404, b"UnknownOperationException", "This is not a call of InvokeEndpoint.", close=True)
            return
        self._turning = True
        self._behind = data
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._connect_tunnel(loop))
        task.add_done_callback(ignore)

    async def _connect_tunnel(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            tunnel, _ = await loop.create_unix_connection(
                lambda: _Tunnel(self.transport).as_protocol(), str(self._front.run / "control.sock")
            )
        except OSError:
            self._turning = False
            self.refuse(
                503, b"ServiceUnavailable", "The control plane is being restarted. Please try again.", close=True
            )
            return
        self._tunnel, self._turning = tunnel, False
        tunnel.write(self._behind)
        self._behind = b""
        self.transport.resume_reading()


class _Tunnel(Peer):
    """The other end of a tunnel."""

    def __init__(self, client: asyncio.Transport):
        self._client = client

    def data_received(self, data: bytes) -> None:
        if not self._client.is_closing():
            self._client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.close()
