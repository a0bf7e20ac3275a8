"""Scenes for ``test_link.py``: how batches leave for replicas that share a machine's cores with the front."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from clary.serving import frames, link
from clary.serving.line import Line
from clary.serving.link import Asker, Link, Pace, Ticket
from clary.serving.table import Replica


class Told(Asker):
    """Who waits for one answer."""

    def __init__(self) -> None:
        self.found: asyncio.Future[object] = asyncio.get_running_loop().create_future()

    def answered(self, status: int, content_type: bytes, custom: bytes, body: bytes) -> None:
        self.found.set_result((status, content_type, custom, body))

    def failed(self, reason: str, sent: bool) -> None:
        self.found.set_result(reason)


class Model:
    """A replica that answers when it is told to."""

    def __init__(self) -> None:
        self.batches: asyncio.Queue[list[frames.Item]] = asyncio.Queue()
        self.left = asyncio.Event()  # the front has closed its connection
        self._writer: asyncio.StreamWriter | None = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        while head := await reader.read(4):
            message = await reader.readexactly(int.from_bytes(head, "little"))
            self.batches.put_nowait(frames.unpack(message, 0, len(message)))
        self.left.set()

    async def answer(self, expected: int) -> None:
        items = await asyncio.wait_for(self.batches.get(), 10)
        assert len(items) == expected and self._writer is not None
        self._writer.write(frames.pack([(b"200\0text/plain\0", body) for _, body in items]))

    def die(self) -> None:
        assert self._writer is not None
        self._writer.close()


def ticket_for(to: Link, body: bytes) -> tuple[Ticket, asyncio.Future[object]]:
    told = Told()
    ticket = Ticket(b"head", body, told)
    to.submit(ticket)
    return ticket, told.found


def ask(to: Link, body: bytes) -> asyncio.Future[object]:
    return ticket_for(to, body)[1]


def running(scene: Callable[[list[Model], list[Link]], Awaitable[None]], quick: bool = True) -> None:
    """Play a scene with two replicas, on a machine that has one core for them."""

    async def play(folder: Path) -> None:
        models, pace, links, servers = [Model(), Model()], Pace(1), [], []
        for number, model in enumerate(models):
            path = str(folder / str(number))
            servers.append(await asyncio.start_unix_server(model.serve, path))
            links.append(Link(Replica(str(number), path), lambda _: None, lambda: None, pace))
        for model, to in zip(models, links, strict=True) if quick else ():  # they have answered quickly before
            first = ask(to, b"first")
            await model.answer(1)
            await first
        await scene(models, links)
        for to in links:
            to.close()
        for server in servers:
            server.close()
            await server.wait_closed()

    with tempfile.TemporaryDirectory() as where:
        asyncio.run(asyncio.wait_for(play(Path(where)), 30))


def gather() -> None:
    """Requests gather while another replica works."""
    link._PATIENCE_SECONDS = 60.0

    async def scene(models: list[Model], links: list[Link]) -> None:
        one = ask(links[0], b"1")
        await asyncio.sleep(0)
        others = [ask(links[1], b"2")]
        await asyncio.sleep(0)
        others.append(ask(links[1], b"3"))
        await models[0].answer(1)
        assert await one == (200, b"text/plain", b"", b"1")
        await models[1].answer(2)  # together
        assert [await other for other in others] == [(200, b"text/plain", b"", b"%d" % n) for n in (2, 3)]
        last = ask(links[0], b"4")
        await models[0].answer(1)
        await last

    running(scene)


def patience() -> None:
    """Nobody waits long for a slow one, or at all for one that died."""

    async def scene(models: list[Model], links: list[Link]) -> None:
        stuck = ask(links[0], b"1")
        await asyncio.sleep(0)
        other = ask(links[1], b"2")
        await models[1].answer(1)  # after a moment
        await other
        models[0].die()
        assert await stuck == "the model's process ended while it worked on the request"
        link._PATIENCE_SECONDS = 60.0
        for number in range(3):
            other = ask(links[1], b"%d" % number)
            await models[1].answer(1)
            await other

    running(scene)


def slow() -> None:
    """Replicas that are not known to be quick hold up nobody."""
    link._PATIENCE_SECONDS = 60.0

    async def scene(models: list[Model], links: list[Link]) -> None:
        first, other = ask(links[0], b"1"), ask(links[1], b"2")
        await models[1].answer(1)
        await other
        await models[0].answer(1)
        await first

    running(scene, quick=False)


def leaving() -> None:
    """A link that is to close stays as long as somebody waits for an answer, and no longer."""

    async def scene(models: list[Model], links: list[Link]) -> None:
        one, _ = ticket_for(links[0], b"1")
        other = ask(links[0], b"2")
        one.cancel()
        await asyncio.sleep(0)
        links[0].close()
        await models[0].answer(1)
        assert await other == (200, b"text/plain", b"", b"2")
        await models[0].left.wait()
        stuck = [ticket_for(links[1], b"1")[0]]
        await models[1].batches.get()
        stuck.append(ticket_for(links[1], b"2")[0])
        links[1].close()
        stuck[0].cancel()
        await asyncio.sleep(0.01)
        assert not models[1].left.is_set()
        stuck[1].cancel()
        await models[1].left.wait()
        early = Link(links[1].replica, lambda _: None, lambda: None, Pace(1))
        ticket, _ = ticket_for(early, b"1")
        ticket.cancel()
        early.close()
        await asyncio.wait([early._connecting])
        assert early._connecting.cancelled()

    running(scene)


def redirected() -> None:
    """A replica that puts a link in its socket's place does not lead the front to another socket."""

    async def scene(models: list[Model], links: list[Link]) -> None:
        for large in (False, True):
            false = Path(links[0].replica.socket).with_name(f"false-{large}")
            false.symlink_to(links[0].replica.socket)
            to = Link(Replica("false", str(false)), lambda _: None, lambda: None, Pace(1))
            told = Told()
            if large:
                Line(to, b"head", b"body", lambda *_: None, lambda reason, _, told=told: told.found.set_result(reason))
            else:
                to.submit(Ticket(b"head", b"body", told))
            assert "does not accept connections" in str(await told.found)
            to.close()
        assert models[0].batches.empty()

    running(scene)


if __name__ == "__main__":
    link._QUICK_SECONDS = 60.0  # whatever this machine does just now
    {"gather": gather, "patience": patience, "slow": slow, "leaving": leaving, "redirected": redirected}[sys.argv[1]]()
