"""A model's container behind the platform's frames: its server is started, asked over HTTP, and ended.

This runs inside the container's sandbox, beside the server, so ``127.0.0.1:8080`` is its own. Nothing may be imported
here that is not imported already: the files of this installation are out of sight. (That is why this is asyncio's own loop:
uvloop has the system's resolver look at addresses, which would be the image's.) The contract is AWS's ("Use your own
inference code with hosting services": ``serve``, ``/ping``, ``/invocations``, ``/models``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import sys
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn, cast

from ..executors import image_root
from ..serving import container_http, doors, frames
from ..serving.container_http import CUT_SHORT, Response, invocation, request
from ..serving.frames import EXECUTION_PARAMETERS, IN_PIECES, PING, SEPARATOR, Item, absent

SETTINGS = "CLARY_CONTAINER"
"""The variable that says what is run: ``command``, ``user``, ``directory``, ``platform`` (a port, 0 for none)."""
PLATFORM = "/run/clary-platform/front.sock"
_MODELS = "/opt/ml/models"
_OWN = (SETTINGS, "CLARY_SOCKET", "CLARY_MODEL_CACHE")
_STOP_SECONDS = 30.0
_PING_SECONDS = 2.0
_GOING_SECONDS = 0.5
_LOAD_SECONDS = 360.0
_KEPT_CONNECTIONS = 256


def serve() -> int:
    """Start the server, pass requests to it until it or the platform ends; its exit code."""
    settings = json.loads(os.environ[SETTINGS])
    child = os.fork()
    if child == 0:
        _become_server(settings)
    return asyncio.run(_Bridge(child, settings).run())


def _become_server(settings: dict[str, Any]) -> NoReturn:
    try:
        os.setpgid(0, 0)
        environment = {k: v for k, v in os.environ.items() if k not in _OWN}
        command = settings["command"]
        found = shutil.which(command[0], path=environment.get("PATH"))
        if found is None:
            print(f"clary: {command[0]}: command not found in the image", file=sys.stderr, flush=True)
            os._exit(127)
        os.chdir(settings["directory"])
        image_root.become(settings["user"])
        os.execve(found, command, environment)
    except (OSError, LookupError) as error:
        print(f"clary: {' '.join(settings['command'])}: {error}", file=sys.stderr, flush=True)
    finally:
        os._exit(126)


class _Bridge:
    """What the platform's connections share: connections to the server, and which models it has loaded."""

    def __init__(self, child: int, settings: dict[str, Any]):
        self._child = child
        self._port = int(settings["platform"])
        self._idle: list[_Exchange] = []
        self.open: set[_Platform | _Door] = set()
        self._awake: asyncio.Event
        self._stopping = False
        self.code: int | None = None  # the server's exit code, once it has one
        self.models = _Models(self) if os.environ.get("SAGEMAKER_MULTI_MODEL") == "true" else None

    async def run(self) -> int:
        """Until the server has ended."""
        loop = asyncio.get_running_loop()
        self._awake = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, self._stop)
        loop.add_reader(ended := os.pidfd_open(self._child), self._look)
        path = os.environ["CLARY_SOCKET"]
        for each in (path, f"{path}.new"):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each)
        listener = doors.listen(doors.path_beside(path)) if self.models is None else None
        await loop.create_unix_server(lambda: _Platform(self), f"{path}.new")
        os.chmod(f"{path}.new", 0o666)
        os.rename(f"{path}.new", path)
        if listener is not None:
            loop.add_reader(listener, self._open_door, listener)
        if self._port:
            await loop.create_server(_Outward, "127.0.0.1", self._port)
        stop_at = 0.0
        while self.code is None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._awake.wait(), 0.25 if stop_at else 60)
            self._awake.clear()
            if self._stopping and not stop_at and not self.open:
                stop_at = time.monotonic() + _STOP_SECONDS
                self._signal(signal.SIGTERM)
            elif stop_at and time.monotonic() > stop_at:
                self._signal(signal.SIGKILL)
        loop.remove_reader(ended)
        await self._turn_away(path)
        return self.code

    async def _turn_away(self, path: str) -> None:
        """Tell those who ask meanwhile to go elsewhere, rather than break off what nobody has seen."""
        for each in (path, doors.path_beside(path)):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(each)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOING_SECONDS):
                while self.open:
                    self._awake.clear()
                    await self._awake.wait()

    def _stop(self) -> None:
        self._stopping = True
        self._awake.set()

    def _look(self) -> None:
        """Whether the server has ended."""
        if self.code is None and (found := os.waitpid(self._child, os.WNOHANG))[0]:
            code = os.waitstatus_to_exitcode(found[1])
            self.code = code if code >= 0 else 128 - code
            self._awake.set()

    def _open_door(self, listener: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            channel, _ = listener.accept()
            channel.setblocking(False)
            self.open.add(_Door(self, channel))

    def left(self, platform: _Platform | _Door) -> None:
        """A connection of the platform's is gone."""
        self.open.discard(platform)
        self._awake.set()

    def ended(self) -> bool:
        """Whether there is no server any more; this process ends in a moment then."""
        self._look()
        return self.code is not None

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._child, number)

    async def connection(self) -> _Exchange:
        """A connection to the server that nobody uses. OSError when it does not listen."""
        while self._idle:
            found = self._idle.pop()
            if found.usable:
                return found
        _, made = await asyncio.get_running_loop().create_connection(
            lambda: _Exchange(self), "127.0.0.1", container_http.PORT
        )
        return made

    def release(self, exchange: _Exchange) -> None:
        """Keep a connection for another request."""
        if len(self._idle) < _KEPT_CONNECTIONS:
            exchange.pause(False)  # its last piece may just have filled the buffer of the one who reads them
            self._idle.append(exchange)
        else:
            exchange.close()

    async def ask(
        self,
        request: bytes,
        took: Callable[[bytes], None] | None = None,
        began: Callable[[_Exchange], None] | None = None,
    ) -> Response:
        """Send a request and wait for its answer. What was sent is never sent again: it may be what the server died of."""
        exchange = await self.connection()
        if began is not None:
            began(exchange)
        return await exchange.send(request, took)


class _Lost(OSError):
    """The server closed the connection before its answer was complete."""


class _Exchange(asyncio.Protocol):
    """A connection to the server; one request at a time."""

    def __init__(self, bridge: _Bridge):
        self._bridge = bridge
        self._transport: asyncio.Transport | None = None
        self._done: asyncio.Future[Response] | None = None
        self.answer = Response()
        """As far as it has come."""

    @property
    def usable(self) -> bool:
        """Whether the server has not closed it, as it may do at any time while nobody asks."""
        if self._transport is None or self._transport.is_closing():
            return False
        return doors.quiet(self._transport.get_extra_info("socket").fileno())

    async def send(self, request: bytes, took: Callable[[bytes], None] | None) -> Response:
        """One request and its answer. _Lost when it breaks off."""
        self._done = asyncio.get_running_loop().create_future()
        self.answer = Response(took)
        if self._transport is None or self._transport.is_closing():
            raise _Lost("the connection is closed")
        self._transport.write(request)
        try:
            return await self._done
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self) -> None:
        """The server sees its client go."""
        if self._transport is not None:
            self._transport.abort()

    def pause(self, paused: bool) -> None:
        """Leave the rest of the answer with the server for now, or take it again."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading() if paused else self._transport.resume_reading()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._done is None or self._done.done():
            self.close()  # it speaks without being asked
            return
        self.answer.feed(data)
        if self.answer.complete or self.answer.broken:
            self._settle()
            if self.answer.keep_alive:
                self._bridge.release(self)
            else:
                self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            self.answer.end()
            self._settle()

    def _settle(self) -> None:
        assert self._done is not None
        if self.answer.complete:
            self._done.set_result(self.answer)
        else:
            self._done.set_exception(_Lost(self.answer.broken or CUT_SHORT))


class _Door:
    """A front that asks for connections of its own to the server (``serving/doors.py``)."""

    def __init__(self, bridge: _Bridge, channel: socket.socket):
        self._bridge = bridge
        self._channel = channel
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(channel, self._asked)
        self._opening: set[asyncio.Task[None]] = set()

    def _asked(self) -> None:
        try:
            data = self._channel.recv(16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close()
            return
        task = self._loop.create_task(self._give())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _give(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as made:
            made.setblocking(False)
            told, given = doors.FOUND, [made.fileno()]
            try:
                await self._loop.sock_connect(made, ("127.0.0.1", container_http.PORT))
                made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                told, given = doors.ENDED if self._bridge.ended() else doors.REFUSED + _said(error).encode(), []
            try:
                socket.send_fds(self._channel, [told], given)
            except OSError:  # the front has gone, or does not listen
                self._close()

    def _close(self) -> None:
        if self in self._bridge.open:
            self._loop.remove_reader(self._channel)
            self._channel.close()
            self._bridge.left(self)


class _Platform(asyncio.Protocol):
    """A connection of the platform's: messages are answered in order."""

    def __init__(self, bridge: _Bridge):
        self._bridge = bridge
        self._held = bytearray()
        self._waiting: list[list[Item]] = []
        self._task: asyncio.Task[None] | None = None
        self._streamed: list[_Exchange] = []  # the exchange whose answer is passed on in pieces
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._bridge.open.add(self)

    def pause_writing(self) -> None:
        for exchange in self._streamed:
            exchange.pause(True)

    def resume_writing(self) -> None:
        for exchange in self._streamed:
            exchange.pause(False)

    def connection_lost(self, exc: Exception | None) -> None:
        self._bridge.left(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._held += data
        while len(self._held) >= 4:
            size = int.from_bytes(self._held[:4], "little")
            if size > frames.MAX_REQUEST:
                self._transport.abort()
                return
            if len(self._held) - 4 < size:
                break
            self._waiting.append(frames.unpack(self._held, 4, size))
            del self._held[: 4 + size]
        if self._waiting and self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting:
                items = self._waiting.pop(0)
                if items[0][0].endswith(IN_PIECES):
                    await self._in_pieces(*items[0])
                else:
                    answers = [await self._answer(head, body) for head, body in items]
                    self._transport.write(frames.pack(answers))
            self._task = None
        except Exception:  # noqa: BLE001  # nobody foresaw it: whoever waits must not wait for ever
            traceback.print_exc()
            self._transport.abort()

    async def _answer(self, head: bytes, body: bytes) -> Item:
        try:
            if head == PING:
                async with asyncio.timeout(_PING_SECONDS):
                    found = await self._bridge.ask(request(b"GET", b"/ping"))
                return _told(200 if found.status == 200 else 503, "")
            if head == EXECUTION_PARAMETERS:
                return _item(await self._bridge.ask(request(b"GET", b"/execution-parameters")))
            fields = head.split(SEPARATOR)
            model = fields[4].partition(b":")[0].decode("ascii") if len(fields) > 4 else ""
            if self._bridge.models is not None and model:
                return await self._bridge.models.answer(model, fields, body)
            return _item(await self._bridge.ask(invocation(b"/invocations", fields, body)))
        except ConnectionRefusedError as error:
            if self._bridge.ended():
                return _told(503, _said(error), frames.UNSEEN)
            return _told(500, _said(error))
        except OSError as error:
            return _told(500, _said(error))

    async def _in_pieces(self, head: bytes, body: bytes) -> None:
        """As the chunks of the container's answer come."""
        send = self._transport.write
        begun = self._streamed
        first = True

        def took(piece: bytes) -> None:
            nonlocal first
            send(frames.pack([(begun[-1].answer.head() if first else frames.MORE, piece)]))
            first = False

        fields = head.removesuffix(IN_PIECES).split(SEPARATOR)
        try:
            answer = await self._bridge.ask(invocation(b"/invocations", fields, body), took, begun.append)
        except OSError as error:
            if not first:
                self._transport.abort()  # who reads the stream sees it break off
                return
            send(frames.pack([_told(500, _said(error))]))
        else:
            if first:
                send(frames.pack([_item(answer)]))
        finally:
            begun.clear()
        send(frames.pack([(frames.END, b"")]))


class _Models:
    """The models of a multi-model container, by the calls of its contract."""

    def __init__(self, bridge: _Bridge):
        self._bridge = bridge
        self._loaded: OrderedDict[str, asyncio.Task[int]] = OrderedDict()
        self._unloading = 0.0  # seconds that models have taken to be given up since that was last told
        self._keep = os.environ.get("CLARY_MODEL_CACHE", "Enabled") != "Disabled"

    async def answer(self, model: str, fields: list[bytes], body: bytes) -> Item:
        """A request to one model, which is loaded first if it is not."""
        began, micros = time.perf_counter(), 0
        target = fields[4].partition(b":")[2]
        path = b"/models/" + model.encode() + b"/invoke"
        asked = invocation(path, fields, body, b"X-Amzn-SageMaker-Target-Model: %b\r\n" % target)
        for _ in range(2):
            present = model in self._loaded
            try:
                await self._ready(model)
            except (_Refused, OSError) as error:
                if not Path(_MODELS, model).exists():
                    return absent()
                if isinstance(error, OSError):
                    raise
                return _told(error.status, str(error))
            if not present:
                micros = max(1, int((time.perf_counter() - began) * 1e6))
            found = await self._bridge.ask(asked)
            if found.status != 404:
                break
            self._loaded.pop(model, None)  # the container gave it up by itself: it is loaded again
        if not self._keep:
            await self._unload(model)
        head, answer = _item(found)
        unloading, self._unloading = self._unloading, 0.0
        return head + b"\0model=%d,%d,%d" % (micros, len(self._loaded), unloading * 1e6), answer

    async def _ready(self, model: str) -> None:
        """Wait until a model is loaded; one that could not be is tried again by the next request. _Refused, OSError."""
        task = self._loaded.get(model)
        if task is None:
            task = self._loaded[model] = asyncio.get_running_loop().create_task(self._load(model))
        self._loaded.move_to_end(model)
        try:
            await asyncio.shield(task)
        except (_Refused, OSError):
            if self._loaded.get(model) is task:
                del self._loaded[model]
            raise

    async def _load(self, model: str) -> int:
        if not Path(_MODELS, model).exists():
            raise FileNotFoundError(model)
        asked = json.dumps({"model_name": model, "url": f"{_MODELS}/{model}/model"}).encode()
        for other in [name for name, task in self._loaded.items() if task.done() and not Path(_MODELS, name).exists()]:
            await self._unload(other)  # its files were removed to make room for this one's
        while True:
            async with asyncio.timeout(_LOAD_SECONDS):
                found = await self._bridge.ask(
                    request(b"POST", b"/models", asked, b"Content-Type: application/json\r\n")
                )
            if found.status in (200, 409):
                return found.status
            others = [name for name, task in self._loaded.items() if name != model and task.done()]
            if found.status != 507 or not others:
                text = found.body.decode("utf-8", "replace")
                raise _Refused(found.status, f"The container could not load the model: {text}")
            await self._unload(others[0])

    async def _unload(self, model: str) -> None:
        self._loaded.pop(model, None)
        began = time.perf_counter()
        with contextlib.suppress(OSError):
            await self._bridge.ask(request(b"DELETE", b"/models/" + model.encode()))
        self._unloading += time.perf_counter() - began


class _Refused(Exception):
    """A model that the container does not load."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


class _Outward(asyncio.Protocol):
    """A connection from the container to the platform's port, which in here is this process."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport
        self._there: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.pause_reading()  # until there is somebody to pass it on to
        loop = asyncio.get_running_loop()
        self._connecting = loop.create_task(self._connect(loop))

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            self._there, _ = await loop.create_unix_connection(lambda: _Inward(self._transport), PLATFORM)
        except OSError:
            self._transport.close()
            return
        self._transport.resume_reading()

    def pause_writing(self) -> None:
        if self._there is not None:
            self._there.pause_reading()

    def resume_writing(self) -> None:
        if self._there is not None and not self._there.is_closing():
            self._there.resume_reading()

    def data_received(self, data: bytes) -> None:
        assert self._there is not None
        self._there.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connecting.cancel()
        if self._there is not None:
            self._there.close()


class _Inward(asyncio.Protocol):
    """The platform's answers."""

    def __init__(self, back: asyncio.Transport):
        self._back = back

    def pause_writing(self) -> None:
        self._back.pause_reading()

    def resume_writing(self) -> None:
        if not self._back.is_closing():
            self._back.resume_reading()

    def data_received(self, data: bytes) -> None:
        self._back.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._back.close()


def _item(answer: Response) -> Item:
    return answer.head(), answer.body


def _told(status: int, text: str, note: bytes = b"") -> Item:
    return b"%d\0text/plain\0%b" % (status, note), text.encode()


def _said(error: OSError) -> str:
    if isinstance(error, _Lost):
        return str(error)
    return f"The container does not answer on port {container_http.PORT}: {error.strerror or error}"


def socket_folder(run: Path) -> Path:
    """The folder of the socket by which a container reaches the platform."""
    return run / "inside"
