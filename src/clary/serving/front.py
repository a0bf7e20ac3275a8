"""The front process: owns the port, serves InvokeEndpoint by itself, hands every other connection to control."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import random
import signal
import socket
import time
from collections import deque
from email.utils import formatdate
from http import HTTPStatus
from pathlib import Path
from typing import cast

import httptools
import orjson

from ..log import configure
from ..supervision import Lifeline
from .authenticate import Authenticator, Denied
from .link import Ticket
from .router import LiveEndpoint, LiveVariant, Router
from .table import read

log = logging.getLogger(__name__)

MAX_BODY = 25 << 20
MAX_HEAD = 64 << 10
INVOKE_SECONDS = 60.0
STALL_SECONDS = 30.0
IDLE_SECONDS = 300.0
HANDOVER_SECONDS = 10.0
MAX_OUTSTANDING = 4096
MAX_CONNECTIONS = 8192

_STATUS = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in HTTPStatus}


class Front:
    """What the connections share: the table, the router, the counters."""

    def __init__(self, run: Path):
        self.run = run
        self.connections: set[Connection] = set()
        self.waiting: deque[tuple[float, socket.socket]] = deque()  # accepted while control was away
        self.date = b""
        self.request_prefix = f"{random.getrandbits(32):08x}-{random.getrandbits(16):04x}-4{random.getrandbits(12):03x}-8{random.getrandbits(12):03x}-".encode()
        self.requests = 0
        self.counts: dict[tuple[str, str, int], int] = {}
        self.channel: socket.socket | None = None
        self.router = Router(lambda replica: log.warning("replica %s went away", replica))
        self.reload()

    def reload(self) -> None:
        """Take the published table."""
        table = read(self.run / "routes.json")
        self.table = table
        self.authenticator = Authenticator(table)
        self.router.replace(table)

    def tick(self) -> None:
        """Once a second: the date header, and the connections that are past a deadline."""
        self.date = b"Date: " + formatdate(usegmt=True).encode() + b"\r\nServer: clary\r\n"
        now = time.monotonic()
        for connection in list(self.connections):
            connection.expire(now)

    def request_id(self) -> bytes:
        """The next request's id."""
        self.requests += 1
        return self.request_prefix + b"%012x" % self.requests

    # ---- connections -----------------------------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """New connections: look at their first bytes without taking them."""
        for _ in range(64):
            try:
                sock, _ = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                log.error("accepting failed: %s", error)
                return
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if len(self.connections) >= MAX_CONNECTIONS:
                sock.close()
                continue
            Peek(self, sock)

    def hand_over(self, sock: socket.socket) -> None:
        """Give a connection to control; it waits a while when control is away."""
        if self.channel is not None:
            try:
                socket.send_fds(self.channel, [b"C"], [sock.fileno()])
                sock.close()
                return
            except BlockingIOError:
                pass
            except OSError:
                self.lose_channel()
        self.waiting.append((time.monotonic() + HANDOVER_SECONDS, sock))

    def lose_channel(self) -> None:
        """Control has gone."""
        if self.channel is not None:
            asyncio.get_running_loop().remove_reader(self.channel)
            self.channel.close()
            self.channel = None

    async def keep_channel(self) -> None:
        """Stay connected to control; hand over what waited; refuse what waited too long."""
        loop = asyncio.get_running_loop()
        while True:
            if self.channel is None:
                channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                channel.setblocking(False)
                try:
                    await loop.sock_connect(channel, str(self.run / "handover.sock"))
                except OSError:
                    channel.close()
                else:
                    self.channel = channel
                    loop.add_reader(channel, self._told)
            waiting, self.waiting = self.waiting, deque()
            for deadline, sock in waiting:
                if self.channel is not None:
                    self.hand_over(sock)
                elif time.monotonic() > deadline:
                    with contextlib.suppress(OSError):
                        sock.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    sock.close()
                else:
                    self.waiting.append((deadline, sock))
            await asyncio.sleep(0.05 if self.channel is None or self.waiting else 0.5)

    def _told(self) -> None:
        """Control published a table: take it, and say so."""
        assert self.channel is not None
        try:
            data = self.channel.recv(64)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.lose_channel()
            return
        self.reload()
        with contextlib.suppress(OSError):
            self.channel.send(b"A" * len(data))

    def metrics(self) -> bytes:
        """Counters in Prometheus's format."""
        lines = [
            "# HELP clary_invocations_total Predictions answered by the data plane.",
            "# TYPE clary_invocations_total counter",
        ]
        for (endpoint, variant, status), count in sorted(self.counts.items()):
            lines.append(
                f'clary_invocations_total{{endpoint="{endpoint}",variant="{variant}",status="{status}"}} {count}'
            )
        return ("\n".join(lines) + "\n").encode()


class Peek:
    """Waits for a connection's first bytes and decides who serves it."""

    __slots__ = ("_front", "_loop", "_sock", "_timer")

    def __init__(self, front: Front, sock: socket.socket):
        self._front = front
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._look)
        self._timer = self._loop.call_later(STALL_SECONDS, self._give_up)

    def _stop(self) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._sock)

    def _give_up(self) -> None:
        self._stop()
        self._sock.close()

    def _look(self) -> None:
        try:
            data = self._sock.recv(2048, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._stop()
        if not data:
            self._sock.close()
        elif is_invoke(data):
            front = self._front
            task = self._loop.create_task(self._loop.connect_accepted_socket(lambda: Connection(front), self._sock))
            task.add_done_callback(_ignore)
        else:
            self._front.hand_over(self._sock)


def _ignore(task: asyncio.Task[object]) -> None:
    if not task.cancelled():
        task.exception()


def is_invoke(data: bytes) -> bool:
    """Whether a request's first bytes are those of a call that the front serves."""
    if not data.startswith(b"POST /endpoints/"):
        return False
    end = data.find(b" ", 16)
    url = data[5 : end if end > 0 else len(data)]
    return url.partition(b"?")[0].endswith(b"/invocations")


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
        self._ticket: Ticket | None = None
        self._endpoint: LiveEndpoint | None = None
        self._variant: LiveVariant | None = None
        self._behind: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._front.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._front.connections.discard(self)
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
            if quiet > INVOKE_SECONDS:
                self._ticket.cancel()
                self._ticket = None
                self._model_error(0, b"", timed_out=True)
        elif quiet > (STALL_SECONDS if self._reading else IDLE_SECONDS):
            self._transport.close()

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
        try:
            principal = front.authenticator.check(self._url, headers, body)
        except Denied as error:
            self._error(error.status, error.code.encode(), str(error))
            return
        name = self._url[11 : self._url.rfind(b"/")].decode("latin-1")
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
        head = b"%b\0%b\0%b\0%b\0%b" % (
            get(b"content-type", b""), get(b"accept", b""), get(b"x-amzn-sagemaker-custom-attributes", b""),
            get(b"x-amzn-sagemaker-inference-id", b""), b"",
        )  # fmt: skip
        self._variant = variant
        self._ticket = ticket = Ticket(head, body, self._answered, self._failed)
        link.submit(ticket)

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
        self._count(200)
        self._done()

    def _failed(self, reason: str) -> None:
        """The replica went away with the request."""
        self._ticket = None
        self._model_error(500, reason.encode())

    def _model_error(self, status: int, body: bytes, timed_out: bool = False) -> None:
        endpoint, variant = self._endpoint, self._variant
        assert endpoint is not None and variant is not None
        group = f"/aws/sagemaker/Endpoints/{endpoint.name}"
        told = body.decode("utf-8", "replace")
        if timed_out:
            message = (
                f"Your invocation timed out while waiting for a response from container {variant.container}. Review the "
                "latency metrics for each container in Amazon CloudWatch, resolve the issue, and try again."
            )
        else:
            kind = f"client error ({status})" if 400 <= status < 500 else f"server error ({status})"
            message = (
                f'Received {kind} from {variant.container} with message "{told[:4096]}". See '
                f"https://{endpoint.region}.console.aws.amazon.com/cloudwatch/home?region={endpoint.region}"
                f"#logEventViewer:group={group} in account {endpoint.account} for more information."
            )
        members: dict[str, object] = {
            "OriginalStatusCode": status, "OriginalMessage": told[:4096],
            "LogStreamArn": f"arn:aws:logs:{endpoint.region}:{endpoint.account}:log-group:{group}",
        }  # fmt: skip
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

    def _count(self, status: int) -> None:
        endpoint, variant = self._endpoint, self._variant
        key = (endpoint.name if endpoint else "", variant.name if variant else "", status)
        counts = self._front.counts
        counts[key] = counts.get(key, 0) + 1

    def _done(self) -> None:
        self._endpoint = self._variant = None
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
        task.add_done_callback(_ignore)

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


async def serve(run: Path, listeners: list[socket.socket]) -> None:
    """Serve until told to stop, or until the supervisor is gone."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    Lifeline.from_environment().watch(loop, stop.set)
    front = Front(run)
    front.tick()
    for listener in listeners:
        listener.setblocking(False)
        loop.add_reader(listener, front.accept, listener)
    inside = run / "front.sock"
    inside.unlink(missing_ok=True)
    server = await loop.create_unix_server(lambda: Connection(front), str(inside))
    channel = loop.create_task(front.keep_channel())
    gc.collect()
    gc.freeze()
    log.info("front is ready")
    try:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
            front.tick()
            (run / "front.metrics").write_bytes(front.metrics())
    finally:
        channel.cancel()
        server.close()
        for connection in list(front.connections):
            connection.expire(float("inf"))


def main() -> None:
    """The entry point of the front process; the supervisor passes the listening sockets."""
    configure(os.environ.get("CLARY_LOG_LEVEL", "info"), "front")
    run = Path(os.environ["CLARY_HOME"]).expanduser() / "run"
    listeners = [socket.socket(fileno=int(fd)) for fd in os.environ["CLARY_LISTEN"].split(",")]
    try:
        import uvloop

        uvloop.run(serve(run, listeners))
    except ImportError:
        asyncio.run(serve(run, listeners))


if __name__ == "__main__":
    main()
