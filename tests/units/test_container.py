"""What stands beside a model's container: its connections to it, and those that it hands out."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from clary.runtimes.container import _Bridge, _Exchange
from clary.serving import container_http, doors
from clary.serving.container_http import Response

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"


def test_a_connection_whose_reader_was_slow_to_the_end_is_read_again(monkeypatch: Any) -> None:
    """The last piece of an answer fills its reader's buffer: the connection is kept, and must hear the next answer."""

    async def ask_twice() -> list[bytes]:
        left = asyncio.Event()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await reader.readuntil(b"\r\n\r\n"):
                    writer.write(ANSWER)
            writer.close()
            left.set()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        monkeypatch.setattr(container_http, "PORT", server.sockets[0].getsockname()[1])
        bridge = _Bridge(0, {"platform": 0})
        began: list[_Exchange] = []
        took: list[bytes] = []

        def take(piece: bytes) -> None:
            took.append(piece)
            began[-1].pause(True)

        async with asyncio.timeout(10):
            await bridge.ask(b"GET / HTTP/1.1\r\n\r\n", take, began.append)
            second = await bridge.ask(b"GET / HTTP/1.1\r\n\r\n", None, began.append)
        assert began[0] is began[1]
        began[0].close()
        server.close()
        await left.wait()
        return [*took, second.body]

    assert asyncio.run(ask_twice()) == [b"yes", b"yes"]


def test_doors_take_connections_only(tmp_path: Path) -> None:
    """What runs beside a container is not trusted: anything else than a connection ends the asking, and leaks nothing."""

    async def given(send: Callable[[socket.socket], None]) -> tuple[bytes, bool, list[str]]:
        listener = doors.listen(doors.path_beside(str(tmp_path / "s")))
        lost: list[str] = []
        found = doors.find(str(tmp_path / "s"), lambda: lost.append("lost"))
        assert found is not None
        asked = asyncio.ensure_future(found.connection())
        peer, _ = await asyncio.get_running_loop().sock_accept(listener)
        assert await asyncio.get_running_loop().sock_recv(peer, 16) == doors.WANTED
        send(peer)
        async with asyncio.timeout(10):
            told, sock = await asked
        if sock is not None:
            sock.close()
        found.close()
        peer.close()
        listener.close()
        return told, sock is not None, lost

    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    def pipe(peer: socket.socket) -> None:
        ends = os.pipe()
        socket.send_fds(peer, [doors.FOUND], [ends[0]])
        for end in ends:
            os.close(end)

    def datagrams(peer: socket.socket) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
            socket.send_fds(peer, [doors.FOUND], [other.fileno()])

    def stream(peer: socket.socket) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
            socket.send_fds(peer, [doors.FOUND], [other.fileno()])

    before = descriptors()
    assert asyncio.run(given(stream)) == (doors.FOUND, True, ["lost"])
    assert asyncio.run(given(lambda peer: peer.send(doors.REFUSED + b"why"))) == (b"Rwhy", False, ["lost"])
    for wrong in (pipe, datagrams, lambda peer: peer.send(doors.FOUND), lambda peer: peer.shutdown(socket.SHUT_RDWR)):
        assert asyncio.run(given(wrong)) == (doors.ENDED, False, ["lost"])
    assert descriptors() == before


@pytest.mark.parametrize(
    "pieces",
    [
        (b"HTTP/1.1 200 OK\r\nX: ", *[b"x" * 10_000] * 20),
        (b"HTTP/1.1 200 OK\r\n", *[b"X-%d: %b\r\n" % (n, b"x" * 1000) for n in range(200)]),
        [b"HTTP/1.1 100 Continue\r\n\r\n"] * 5000,
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", *[b"X: %b\r\n" % (b"x" * 1000)] * 200),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", *[b"100000\r\n%b\r\n" % bytes(1 << 20)] * 70),
    ],
    ids=("one header", "many headers", "interim answers", "trailers", "body"),
)
def test_answers_without_an_end_are_given_up(pieces: Sequence[bytes]) -> None:
    answer = Response()
    left = list(pieces)
    while left and not answer.broken:
        answer.feed(left.pop(0))
    assert "more than 64 KiB of headers" in answer.broken or "larger than 64 MiB" in answer.broken
    assert left and not answer.complete


def test_a_large_answer_with_few_headers_is_one() -> None:
    answer = Response()
    answer.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\nContent-Type: text/csv\r\n\r\n" + bytes(200_000))
    assert answer.complete and answer.keep_alive and len(answer.body) == 200_000
    assert answer.head() == b"200\0text/csv\0"
