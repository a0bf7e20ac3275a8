"""A client's connection to the front: parse, authenticate, route, forward, answer. Short enough to read aloud."""

from __future__ import annotations

import asyncio
import random
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

import httptools
import orjson

from . import frames
from .authenticate import Denied
from .line import Line
from .link import Ticket
from .model_error import model_error
from .pieces import Pieces
from .router import LiveEndpoint, LiveVariant

if TYPE_CHECKING:
    from .front import Front

MAX_BODY = 25 << 20
MAX_HEAD = 64 << 10
INVOKE_SECONDS = 60.0
STREAM_SECONDS = 480.0
LARGE = 256 << 10
"""Bodies from this size go to the replica on a line of their own."""
MAX_HELD = 512 << 20
"""Bytes of bodies that all connections together may hold; beyond, requests are throttled."""
STALL_SECONDS = 30.0
IDLE_SECONDS = 300.0
MAX_OUTSTANDING = 4096

_STREAMING = b"/invocations-response-stream"
_STATUS = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}


def ignore(task: asyncio.Task[object]) -> None:
    """Collect a task's failure: its connection is closed, nobody else wants to know."""
    if not task.cancelled():
        task.exception()


def is_invoke(data: bytes) -> bool:
    """Whether a request's first bytes are those of a call that the front serves."""
    if not data.startswith(b"POST /endpoints/"):
        return False
    end = data.find(b" ", 16)
    url = data[5 : end if end > 0 else len(data)]
    return url.partition(b"?")[0].endswith((b"/invocations", _STREAMING))


class Connection(asyncio.Protocol):
    """One client. Requests are answered in order; the next is read when the last is answered."""

    def __init__(self, front: Front):
        # for the life of the connection
        self._front = front
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._parser = httptools.HttpRequestParser(self)
        self._tunnel: asyncio.Transport | None = None
        self._touched = time.monotonic()
        # of the present request
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._reading = False
        self._keep_alive = True
        self._held = 0  # bytes of its body that count towards all connections' sum
        self._ticket: Ticket | Line | None = None
        self._pieces: Pieces | None = None  # the answer may come in pieces
        self._endpoint: LiveEndpoint | None = None
        self._variant: LiveVariant | None = None
        self._began = self._submitted = 0.0
        self._captured: bytes | None = None  # the body, when this request is captured
        self._behind: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._front.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.connections.discard(self)
        self._let_go()
        if self._ticket is not None:
            self._ticket.cancel()
            self._ticket = None
        if self._tunnel is not None:
            self._tunnel.close()

    def expire(self, now: float) -> None:
        """End what is past its deadline."""
        quiet = now - self._touched
        if self._tunnel is not None:
            return
        if self._ticket is not None:
            if quiet > (INVOKE_SECONDS if self._pieces is None else STREAM_SECONDS):
                self._ticket.cancel()
                self._ticket = None
                if self._pieces is not None and self._pieces.begun:
                    self._break_off("ModelInvocationTimeExceeded", "The model did not end its answer in 8 minutes.")
                else:
                    self._model_error(0, b"", timed_out=True)
        elif quiet > (STALL_SECONDS if self._reading else IDLE_SECONDS):
            self._transport.close()

    def pause_writing(self) -> None:
        if isinstance(self._ticket, Line):
            self._ticket.pause()

    def resume_writing(self) -> None:
        if isinstance(self._ticket, Line):
            self._ticket.resume()

    def data_received(self, data: bytes) -> None:
        self._touched = time.monotonic()
        if self._tunnel is not None:
            self._tunnel.write(data)
            return
        if self._ticket is not None:  # pipelined: read it when the present one is answered
            self._behind += data
            if len(self._behind) > MAX_HEAD:
                self._transport.pause_reading()
            return
        if not self._reading and not is_invoke(data):
            self._open_tunnel(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._transport.close()
        except httptools.HttpParserError:
            self._error(400, b"ValidationError", "The request is not well-formed HTTP.", close=True)

    # ---- parser ----------------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._url = b""
        self._headers = {}
        self._parts = []
        self._size = 0
        self._reading = True

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value
        self._size += len(name) + len(value)
        if self._size > MAX_HEAD:
            self._error(431, b"ValidationError", "The request's headers are too large.", close=True)

    def on_headers_complete(self) -> None:
        self._size = 0
        if int(self._headers.get(b"content-length", b"0")) > MAX_BODY:
            self._too_large()
        elif self._headers.get(b"expect") == b"100-continue":
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_BODY:
            self._too_large()
        elif self._size > LARGE:
            self._hold()

    def _hold(self) -> None:
        """Count a large body; its signature covers all of it, so all of it must be here before it is passed on."""
        self._front.held += self._size - self._held
        self._held = self._size
        if self._front.held > MAX_HELD:
            self._parts = []
            self._error(429, b"ThrottlingException", "Rate exceeded", close=True)

    def _let_go(self) -> None:
        self._front.held -= self._held
        self._held = 0

    def _too_large(self) -> None:
        self._parts = []
        text = f"The request body is larger than {MAX_BODY} bytes, the limit of InvokeEndpoint. Use batch transform or asynchronous inference for larger payloads."
        self._error(413, b"ValidationError", text, close=True)

    def on_message_complete(self) -> None:
        if self._transport.is_closing():
            return
        self._reading = False
        self._keep_alive = self._parser.should_keep_alive()
        if not is_invoke(b"POST " + self._url + b" ") or self._parser.get_method() != b"POST":
            self._error(
                421, b"ValidationError", "Pipelining other requests behind InvokeEndpoint is not supported.", close=True
            )
            return
        body = self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)
        self._parts = []
        self._invoke(body)

    # ---- a request -------------------------------------------------------------------------------------------------

    def _invoke(self, body: bytes) -> None:
        front, headers = self._front, self._headers
        self._began = time.perf_counter()
        try:
            principal = front.authenticator.check(self._url, headers, body)
        except Denied as error:
            self._error(error.status, error.code.encode(), str(error))
            return
        name = self._url[11 : self._url.find(b"/", 11)].decode("latin-1")
        endpoint = front.router.find(principal.account, principal.region, name)
        if endpoint is None:
            self._error(400, b"ValidationError", f"Endpoint {name} of account {principal.account} not found.")
            return
        self._endpoint = endpoint
        if (target := headers.get(b"x-amzn-sagemaker-target-variant")) is not None:
            variant = endpoint.by_name.get(target.decode("latin-1"))
            if variant is None:
                self._error(400, b"ValidationError", f"Variant {target.decode('latin-1')} not found for Request")
                return
        else:
            variant = endpoint.choose()
        if b"x-amzn-sagemaker-target-model" in headers:
            self._error(
                400,
                b"ValidationError",
                f"Target model header is not supported: endpoint {name} is not a multi-model endpoint.",
            )
            return
        link = variant.pick() if variant is not None else None
        if variant is None or link is None:
            text = (
                f"No instance of endpoint {name} is ready to take requests; it is being restarted or has no capacity."
            )
            self._error(503, b"ServiceUnavailable", text)
            return
        if link.outstanding >= MAX_OUTSTANDING:
            self._error(429, b"ThrottlingException", "Rate exceeded")
            return
        get = headers.get
        in_pieces = self._url.partition(b"?")[0].endswith(_STREAMING)
        head = b"%b\0%b\0%b\0%b\0%b%b" % (
            get(b"content-type", b""), get(b"x-amzn-sagemaker-accept" if in_pieces else b"accept", b""),
            get(b"x-amzn-sagemaker-custom-attributes", b""), get(b"x-amzn-sagemaker-inference-id", b""), b"",
            frames.IN_PIECES if in_pieces else b"",
        )  # fmt: skip
        self._variant = variant
        capture = endpoint.capture
        self._captured = body if capture is not None and random.random() * 100 < capture.percent else None
        self._submitted = time.perf_counter()
        if endpoint.shadow is not None and random.random() < endpoint.shadowed:
            self._shadow(endpoint, head.removesuffix(frames.IN_PIECES), body)
        self._pieces = Pieces(self._transport) if in_pieces else None
        if in_pieces:
            self._ticket = Line(link, head, body, self._took, self._ended)
        elif len(body) > LARGE:
            self._ticket = Line(link, head, body, self._took_whole, self._ended)
        else:
            self._ticket = ticket = Ticket(head, body, self._answered, self._failed)
            link.submit(ticket)

    def _shadow(self, endpoint: LiveEndpoint, head: bytes, body: bytes) -> None:
        """Send a copy of the request to the shadow variant; its answer is only measured."""
        shadow = endpoint.shadow
        link = shadow.pick() if shadow is not None else None
        if shadow is None or link is None or link.outstanding >= MAX_OUTSTANDING:
            return

        key = (endpoint.account, endpoint.region, endpoint.name, shadow.name)
        began = time.perf_counter()

        def count(status: int, *_: bytes) -> None:
            seconds = time.perf_counter() - began
            self._front.meters.of(key).answered(status, len(shadow.links), seconds, 0.0)

        if len(body) > LARGE:
            Line(link, head, body, lambda head, _: count(int(head.partition(frames.SEPARATOR)[0])), lambda *_: None)
        else:
            link.submit(Ticket(head, body, count, lambda *_: count(500)))

    def _answered(self, status: int, content_type: bytes, custom: bytes, body: bytes) -> None:
        self._ticket = None
        variant = self._variant
        assert variant is not None
        if not 200 <= status < 300:
            self._model_error(status, body)
            return
        front = self._front
        extra = b"X-Amzn-SageMaker-Custom-Attributes: " + custom + b"\r\n" if custom else b""
        self._transport.write(
            b"HTTP/1.1 200 OK\r\n%bContent-Type: %b\r\nx-Amzn-Invoked-Production-Variant: %b\r\n%bx-amzn-RequestId: %b\r\nContent-Length: %d\r\n\r\n%b"
            % (front.date, content_type, variant.name_header, extra, front.request_id(), len(body), body)
        )
        self._measure(200)
        self._count(200)
        if self._captured is not None:
            self._capture(self._captured, content_type, custom, body)
        self._done()

    def _capture(self, asked: bytes, content_type: bytes, custom: bytes, answer: bytes) -> None:
        endpoint, variant, get = self._endpoint, self._variant, self._headers.get
        if endpoint is None or variant is None or endpoint.capture is None:
            return
        self._front.captures.add(
            endpoint.capture, (endpoint.account, endpoint.region, endpoint.name, variant.name),
            (get(b"content-type", b""), asked), (content_type, answer), get(b"x-amzn-sagemaker-inference-id", b""),
            get(b"x-amzn-sagemaker-custom-attributes", b"") or custom,
        )  # fmt: skip

    def _took_whole(self, head: bytes, body: bytes) -> None:
        status, content_type, custom = head.split(frames.SEPARATOR, 2)
        self._answered(int(status), content_type, custom, body)

    def _took(self, head: bytes, body: bytes) -> None:
        """A piece of an answer: the first decides whether it is one."""
        assert self._pieces is not None and self._ticket is not None and self._variant is not None
        if head != frames.MORE:
            status, content_type, custom = head.split(frames.SEPARATOR, 2)
            if not 200 <= int(status) < 300:
                self._ticket.cancel()
                self._ticket = None
                self._model_error(int(status), body)
                return
            front = self._front
            self._pieces.begin(front.date, content_type, self._variant.name_header, custom, front.request_id())
        self._pieces.put(body)

    def _break_off(self, code: str, text: str) -> None:
        assert self._pieces is not None
        self._pieces.break_off(code, text)
        self._measure(0)
        self._keep_alive = False
        self._count(500)
        self._done()

    def _ended(self, reason: str | None, sent: bool) -> None:
        """A line has ended."""
        if self._ticket is None:
            return  # answered whole
        self._ticket = None
        if self._pieces is None or not self._pieces.begun:
            self._model_error(500 if sent else 503, (reason or "the model sent no answer").encode())
        elif reason is None:
            self._pieces.finish()
            self._measure(200)
            self._count(200)
            self._done()
        else:
            self._break_off("StreamBroken", reason)

    def _failed(self, reason: str, sent: bool) -> None:
        """The replica went away with the request; one that it cannot have seen goes to another."""
        ticket, self._ticket = self._ticket, None
        link = self._variant.pick() if self._variant is not None and not sent else None
        if isinstance(ticket, Ticket) and link is not None:
            self._ticket = ticket
            link.submit(ticket)
            return
        self._model_error(500, reason.encode())

    def _model_error(self, status: int, body: bytes, timed_out: bool = False) -> None:
        endpoint, variant = self._endpoint, self._variant
        assert endpoint is not None and variant is not None
        self._measure(status)
        message, members = model_error(endpoint, variant.container, status, body.decode("utf-8", "replace"), timed_out)
        self._error(424, b"ModelError", message, members=members)

    def _error(
        self, status: int, code: bytes, message: str, close: bool = False, members: dict[str, object] | None = None
    ) -> None:
        if self._transport.is_closing():
            return
        body = orjson.dumps({"Message": message, "message": message, **(members or {})})
        head = b"%b%bContent-Type: application/json\r\nx-amzn-ErrorType: %b\r\nx-amzn-RequestId: %b\r\nContent-Length: %d\r\n%b\r\n%b"
        front = self._front
        last = b"Connection: close\r\n" if close else b""
        self._transport.write(head % (_STATUS[status], front.date, code, front.request_id(), len(body), last, body))
        self._count(status)
        self._keep_alive = self._keep_alive and not close
        self._done()

    def _measure(self, status: int) -> None:
        """Count a request that reached a model, and where its time went."""
        endpoint, variant = self._endpoint, self._variant
        if endpoint is None or variant is None:
            return
        end = time.perf_counter()
        meter = self._front.meters.of((endpoint.account, endpoint.region, endpoint.name, variant.name))
        meter.answered(status, len(variant.links), end - self._submitted, self._submitted - self._began)

    def _count(self, status: int) -> None:
        endpoint, variant = self._endpoint, self._variant
        key = (endpoint.name if endpoint else "", variant.name if variant else "", status)
        counts = self._front.counts
        counts[key] = counts.get(key, 0) + 1

    def _done(self) -> None:
        self._endpoint = self._variant = self._pieces = self._captured = None
        if self._held:
            self._let_go()
        self._touched = time.monotonic()
        if not self._keep_alive:
            self._transport.close()
        elif self._behind:
            data, self._behind = self._behind, b""
            self._transport.resume_reading()
            self.data_received(data)

    # ---- a connection that turns to other calls --------------------------------------------------------------------

    def _open_tunnel(self, data: bytes) -> None:
        """Later requests on this connection are control's: pass bytes both ways from here on."""
        self._ticket = Ticket(b"", b"", self._answered, self._failed)  # holds further data back
        self._behind = data
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._connect_tunnel(loop))
        task.add_done_callback(ignore)

    async def _connect_tunnel(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            tunnel, _ = await loop.create_unix_connection(
                lambda: _Tunnel(self._transport), str(self._front.run / "control.sock")
            )
        except OSError:
            self._ticket = None
            self._error(
                503, b"ServiceUnavailable", "The control plane is being restarted. Please try again.", close=True
            )
            return
        self._tunnel, self._ticket = tunnel, None
        tunnel.write(self._behind)
        self._behind = b""
        self._transport.resume_reading()


class _Tunnel(asyncio.Protocol):
    """The other end of a tunnel."""

    def __init__(self, client: asyncio.Transport):
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._client.close()
