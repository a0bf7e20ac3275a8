"""A load generator: one fixed HTTP request over many kept-alive connections, for a bounded time.

    python -m bench.load HOST PORT CONNECTIONS SECONDS < request-bytes

Prints one JSON object: requests a second, median and 99th percentile in microseconds, errors.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from typing import cast

_SLACK = 5.0


class _Client(asyncio.Protocol):
    """Sends the request again as soon as its answer is there."""

    def __init__(self, request: bytes, results: list[float], errors: list[bytes], again: Callable[[], object]):
        self._request = request
        self._again = again
        self._results = results
        self._errors = errors
        self._transport: asyncio.Transport | None = None
        self._sent = 0.0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._again()  # a server that closes after each answer is met with a new connection

    def _send(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        self._sent = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        data = self._buffer + data if self._buffer else data
        head = data.find(b"\r\n\r\n")
        at = data.lower().find(b"content-length: ", 0, head) if head > 0 else -1
        if at < 0 or len(data) - head - 4 < int(data[at + 16 : data.find(b"\r\n", at)]):
            self._buffer = data
            return
        self._buffer = b""
        self._results.append(time.perf_counter() - self._sent)
        if not data.startswith(b"HTTP/1.1 200"):
            self._errors.append(data[:300])
        self._send()


async def run(host: str, port: int, connections: int, seconds: float, request: bytes) -> dict[str, object]:
    """Load for a while; the figures."""
    results: list[float] = []
    errors: list[bytes] = []
    loop = asyncio.get_running_loop()
    running, tasks = True, set()

    def connect() -> None:
        if running:
            task = loop.create_task(
                loop.create_connection(lambda: _Client(request, results, errors, connect), host, port)
            )
            tasks.add(task)
            task.add_done_callback(tasks.discard)

    for _ in range(connections):
        connect()
    await asyncio.sleep(seconds * 0.2)
    results.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    taken = sorted(results)
    elapsed = time.perf_counter() - began
    running = False
    return {
        "per_second": len(taken) / elapsed,
        "p50_us": taken[len(taken) // 2] * 1e6 if taken else None,
        "p99_us": taken[int(len(taken) * 0.99)] * 1e6 if taken else None,
        "errors": len(errors),
        "first_error": errors[0].decode("latin-1") if errors else None,
    }


def main() -> None:
    """The command line."""
    import uvloop

    host, port, connections, seconds = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    request = sys.stdin.buffer.read()
    print(
        json.dumps(uvloop.run(asyncio.wait_for(run(host, port, connections, seconds, request), seconds * 2 + _SLACK)))
    )


if __name__ == "__main__":
    main()
