"""What stands beside a model's container: its connections to it."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from clary.runtimes.container import _Bridge, _Exchange
from clary.serving import container_http

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
