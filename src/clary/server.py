"""The control process: builds the platform, answers the AWS APIs, runs the reconcilers. It may die at any moment."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor

from . import bootstrap, maintenance, peers, samples, tokens
from .admission import connections
from .control.signals import Signals
from .gateway.app import Gateway
from .gateway.authority import Authority
from .gateway.pages import pages
from .gateway.proxy import Proxy
from .jumpstart import bucket as jumpstart
from .log import configure
from .provider.platform import Platform
from .services import install_all
from .settings import Settings, from_environment
from .store.blobs import Blobs
from .store.credentials import Keyring
from .store.database import Database
from .store.logs import LogStore
from .store.objects import Objects
from .supervision import Lifeline, run_part
from .web import Connection, Connections, Limits, serving

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 8192


def build(settings: Settings, loop: asyncio.AbstractEventLoop) -> Platform:
    """The platform with every service installed, on an empty or an existing home folder."""
    bootstrap.folders(settings)
    database = Database(settings.database_url, settings.durable)
    bootstrap.account(database, settings)
    blobs = Blobs(settings.folder / "blobs", settings.durable)
    platform = Platform(
        settings=settings,
        database=database,
        blobs=blobs,
        objects=Objects(database, blobs),
        logs=LogStore(database),
        keyring=Keyring(database),
        signals=Signals(loop),
        threads=ThreadPoolExecutor(8, "handler"),
    )
    database.listeners.append(platform.signals.notify)
    install_all(platform)
    samples.install(platform)
    platform.services["reset"] = lambda account: maintenance.reset(platform, account)
    platform.services.setdefault("start", []).append(lambda: maintenance.running(platform))
    platform.services["start"].append(lambda: jumpstart.running(platform))
    return platform


class Handover:
    """Receives connections that the front accepted and does not serve itself, one descriptor a byte."""

    def __init__(self, platform: Platform, gateway: Gateway, pool: Connections, loop: asyncio.AbstractEventLoop):
        self._platform = platform
        self._gateway = gateway
        self._pool = pool
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()

    def accept(self, listener: socket.socket) -> None:
        """A front connects."""
        with contextlib.suppress(BlockingIOError):
            channel, _ = listener.accept()
            if not peers.of_platform(channel):
                channel.close()
                return
            channel.setblocking(False)
            self._loop.add_reader(channel, self._take, channel)
            self._platform.services["publisher"].connected(channel)

    def _take(self, channel: socket.socket) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(channel, 1, 4)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        if not data:
            self._loop.remove_reader(channel)
            self._platform.services["publisher"].gone(channel)
            channel.close()
            return
        if data == b"A":  # the front has taken the published table
            if (acknowledged := self._platform.services["acknowledgements"].pop(channel, None)) is not None:
                acknowledged.set()
            return
        for descriptor in descriptors:
            sock = socket.socket(fileno=descriptor)
            sock.setblocking(False)
            task = self._loop.create_task(self._adopt(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _adopt(self, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: Connection(self._gateway, self._pool), sock)
        except OSError:
            sock.close()


def listen(path: str) -> socket.socket:
    """A listening Unix socket at a path, whoever used it before."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.bind(path)
    os.chmod(path, 0o600)
    sock.listen(1024)
    sock.setblocking(False)
    return sock


@contextlib.asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Platform]:
    """The control plane, answering on its sockets while the block runs."""
    loop = asyncio.get_running_loop()
    platform = build(settings, loop)
    run = settings.folder / "run"
    pool = Connections(Limits(connections=connections(MAX_CONNECTIONS)))
    password = None if settings.open else tokens.ensure(settings.folder, tokens.PROXY)
    proxy = Proxy(Authority(settings.folder / "tls"), pool, password)
    gateway: Gateway

    def ready() -> dict[str, bool]:
        return {
            "database": True,
            **{name: part.ready for name, part in platform.services.items() if hasattr(part, "ready")},
        }

    gateway = Gateway(platform, {**pages(platform, ready, lambda: gateway.calls), "CONNECT": proxy.connect})
    proxy.app = gateway
    handover = Handover(platform, gateway, pool, loop)
    bootstrap.write_session(platform, run / "session.json")
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(serving(pool))
        for start in platform.services.get("start", ()):
            await stack.enter_async_context(start())
        listener = listen(str(run / "handover.sock"))
        loop.add_reader(listener, handover.accept, listener)
        server = peers.Listener(listen(str(run / "control.sock")), lambda: Connection(gateway, pool), peers.of_platform)
        try:
            yield platform
        finally:
            loop.remove_reader(listener)
            listener.close()
            server.close()
    platform.threads.shutdown(wait=False, cancel_futures=True)
    platform.database.close()


async def serve(settings: Settings) -> None:
    """Run until told to stop, or until the supervisor is gone."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    Lifeline.from_environment().watch(loop, stop.set)
    async with running(settings):
        gc.collect()
        gc.enable()
        gc.freeze()  # the operations' models are many objects that never go: no collection need look at them
        log.info("control is ready")
        await stop.wait()


def main() -> None:
    """The entry point of the control process."""
    settings = from_environment()
    configure(settings.log_level, "control")
    run_part(serve(settings))


if __name__ == "__main__":
    main()
