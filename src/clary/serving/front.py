"""The front process: owns the port, serves InvokeEndpoint by itself, hands every other connection to control."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import logging
import os
import random
import signal
import socket
import time
from collections import deque
from email.utils import formatdate
from pathlib import Path
from typing import Any

from ..admission import Spare, connections, victims
from ..log import configure
from ..native import load
from ..supervision import Lifeline, run_part
from . import compiled
from .address import Addresses, is_invoke
from .authenticate import Authenticator
from .capture import Captures
from .connection import STALL_SECONDS, Connection, ignore
from .library import Library
from .meter import Meters
from .router import Router
from .sessions import Sessions
from .table import read
from .waiting import WaitingRoom
from .wake import Waker

log = logging.getLogger(__name__)

HANDOVER_SECONDS = 10.0
MAX_CONNECTIONS = 8192
COMPLAINT_SECONDS = 5.0
REST_SECONDS = 0.1


class Front:
    """What the connections share: the table, the router, the counters."""

    def __init__(self, run: Path):
        self.run = run
        self.connections: set[Connection] = set()
        self.peeks: set[Peek] = set()
        self.most = connections(MAX_CONNECTIONS)
        self._spare = Spare()
        self._complained = 0.0
        self.parked: deque[tuple[float, socket.socket]] = deque()  # accepted while control was away
        self.date = b""
        self.request_prefix = f"{random.getrandbits(32):08x}-{random.getrandbits(16):04x}-4{random.getrandbits(12):03x}-8{random.getrandbits(12):03x}-".encode()
        self.requests = 0
        self.held = 0  # bytes of large bodies that connections hold
        self.channel: socket.socket | None = None
        self.mending = False
        self.addresses = Addresses()
        native = load("requests")
        self.read_whole: Any = native.Reader().read if native is not None else None
        self.meters = Meters(run / "metrics")
        self.captures = Captures(run / "capture")
        self.sessions = Sessions(run / "sessions.jsonl")
        self.waiting = WaitingRoom()
        self.library = Library(run / "library.sock")
        self.waker = Waker(run / "wake.sock")
        self.router = Router(self.mend_soon, self.waiting.call)
        self.reload()

    def reload(self) -> None:
        """Take the published table."""
        table = read(self.run / "routes.json")
        self.table = table
        self.authenticator = Authenticator(table)
        self.router.replace(table)
        self.library.keep(self.router.libraries())
        self.waiting.call()

    def mend_soon(self, replica: str) -> None:
        """A link was lost: try it again shortly, until it is back or the table no longer names it."""
        if not self.mending:
            self.mending = True
            asyncio.get_running_loop().call_later(0.2, self._mend)

    def _mend(self) -> None:
        self.mending = False
        self.router.replace(self.table)

    def tick(self) -> None:
        """Once a second: the date header, and the connections that are past a deadline."""
        self.date = b"Date: " + formatdate(usegmt=True).encode() + b"\r\nServer: clary\r\n"
        now = time.monotonic()
        for connection in list(self.connections):
            connection.expire(now)
        self.waiting.call()  # who waits for a serverless instance asks for it again: control may have been restarted

    def request_id(self) -> bytes:
        """The next request's id."""
        self.requests += 1
        return self.request_prefix + b"%012x" % self.requests

    # ---- connections -----------------------------------------------------------------------------------------------

    def accept(self, listener: socket.socket) -> None:
        """New connections: look at their first bytes without taking them."""
        for _ in range(64):
            try:
                sock, address = listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                self.complain("accepting a connection failed: %s", error)
                if error.errno in (errno.EMFILE, errno.ENFILE):
                    self.make_room()
                    if not self._spare.turn_away(listener):
                        self._rest(listener)
                return
            if len(self.connections) + len(self.peeks) + len(self.parked) >= self.most and not self.make_room():
                sock.close()
                continue
            sock.setblocking(False)
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.peeks.add(Peek(self, sock, address[0]))

    def _rest(self, listener: socket.socket) -> None:
        """Stop accepting for a moment: the machine has no descriptors, and asking all the time would cost a processor."""
        loop = asyncio.get_running_loop()
        loop.remove_reader(listener)
        loop.call_later(REST_SECONDS, loop.add_reader, listener, self.accept, listener)

    def make_room(self) -> bool:
        """Close some of the connections that wait for a request; return whether there were any."""
        waiting: list[tuple[str, float, Connection | Peek]] = [(p.address, p.since, p) for p in self.peeks]
        waiting += [(c.address, since, c) for c in self.connections if (since := c.waits)]
        chosen = victims(waiting, self.most // 16 + 1)
        for connection in chosen:
            connection.close()
        if not chosen and self.parked:
            self._turn_away(self.parked.popleft()[1])
            return True
        self.complain("%s connections are open, the most that there may be; idle ones are closed", self.most)
        return bool(chosen)

    def complain(self, text: str, about: object) -> None:
        """Log an error, once in a few seconds: under attack there would be thousands of lines."""
        now = time.monotonic()
        if now - self._complained > COMPLAINT_SECONDS:
            self._complained = now
            log.error(text, about)

    def write_down(self, last: bool = False) -> None:
        """Once a second: hand to control what was counted and captured. A full disk costs figures, never requests."""
        try:
            (self.run / "front.metrics").write_bytes(self.metrics())
            self.router.sample(self.meters)
            self.meters.hand_over(away=self.channel is None and not last)
        except OSError as error:
            self.complain("what was counted could not be written down: %s", error)
        self.captures.hand_over()

    def hand_over(self, sock: socket.socket) -> None:
        """Give a connection to control; it waits a while when control is away, or busy with those before it."""
        if self.channel is None or self.parked or not self._send(sock):
            self.parked.append((time.monotonic() + HANDOVER_SECONDS, sock))

    def _send(self, sock: socket.socket) -> bool:
        """Send a connection to control; False when it cannot take it now."""
        assert self.channel is not None
        try:
            socket.send_fds(self.channel, [b"C"], [sock.fileno()])
        except BlockingIOError:
            asyncio.get_running_loop().add_writer(self.channel, self._send_parked)
            return False
        except OSError:
            self.lose_channel()
            return False
        sock.close()
        return True

    def _send_parked(self) -> None:
        """Control takes connections again."""
        if self.channel is not None:
            asyncio.get_running_loop().remove_writer(self.channel)
        while self.parked and self.channel is not None and self._send(self.parked[0][1]):
            self.parked.popleft()

    def _turn_away(self, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            sock.send(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        sock.close()

    def lose_channel(self) -> None:
        """Control has gone."""
        if self.channel is not None:
            asyncio.get_running_loop().remove_reader(self.channel)
            asyncio.get_running_loop().remove_writer(self.channel)
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
            self._send_parked()
            while self.parked and time.monotonic() > self.parked[0][0]:
                self._turn_away(self.parked.popleft()[1])
            await asyncio.sleep(0.05 if self.channel is None or self.parked else 0.5)

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
        for (endpoint, variant), counts in sorted(self.router.counts.items()):
            for status, count in sorted(counts.items()):
                named = f'endpoint="{endpoint}",variant="{variant}",status="{status}"'
                lines.append(f"clary_invocations_total{{{named}}} {count}")
        return ("\n".join(lines) + "\n").encode()


class Peek:
    """Waits for a connection's first bytes and decides who serves it."""

    __slots__ = ("_front", "_loop", "_sock", "_timer", "address", "since")

    def __init__(self, front: Front, sock: socket.socket, address: str):
        self._front = front
        self._sock = sock
        self.address = address
        self.since = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._look)
        self._timer = self._loop.call_later(STALL_SECONDS, self.close)

    def _stop(self) -> None:
        self._front.peeks.discard(self)
        self._timer.cancel()
        self._loop.remove_reader(self._sock)

    def close(self) -> None:
        """Give the connection up."""
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
            front, address = self._front, self.address
            task = self._loop.create_task(
                self._loop.connect_accepted_socket(lambda: Connection(front, address).as_protocol(), self._sock)
            )
            task.add_done_callback(ignore)
        else:
            self._front.hand_over(self._sock)


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
    inside = run / "inside" / "front.sock"  # in a folder that containers are shown
    inside.parent.mkdir(exist_ok=True)
    inside.unlink(missing_ok=True)
    server = await loop.create_unix_server(lambda: Connection(front).as_protocol(), str(inside))
    inside.chmod(0o666)  # the home folder around it is private
    (run / "passed.sock").unlink(missing_ok=True)  # for what control passes on: it never goes back there
    passed = await loop.create_unix_server(
        lambda: Connection(front, passed=True).as_protocol(), str(run / "passed.sock")
    )
    channel = loop.create_task(front.keep_channel())
    gc.collect()
    gc.enable()
    gc.freeze()
    log.info("front is ready%s", " (compiled)" if compiled else "")
    try:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 1.0)
            front.tick()
            front.write_down()
    finally:
        front.write_down(last=True)
        channel.cancel()
        server.close()
        passed.close()
        for connection in list(front.connections):
            connection.expire(float("inf"))


def main() -> None:
    """The entry point of the front process; the supervisor passes the listening sockets."""
    configure(os.environ.get("CLARY_LOG_LEVEL", "info"), "front")
    run = Path(os.environ["CLARY_HOME"]).expanduser() / "run"
    listeners = [socket.socket(fileno=int(fd)) for fd in os.environ["CLARY_LISTEN"].split(",")]
    run_part(serve(run, listeners))
