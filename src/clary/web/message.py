"""Requests with streamed bodies, and responses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

HIGH_WATER = 8 << 20
"""Bytes of a body held for a slow reader before the socket is no longer read."""
LOW_WATER = 64 << 10
"""The same while all bodies together hold as much as they may."""


class BodyTooLarge(Exception):
    """The body is longer than its reader allows."""


class Overloaded(Exception):
    """All requests together hold as many bytes of bodies as they may."""


class Disconnected(Exception):
    """The client went away, or stopped sending, before its body was complete."""


@dataclass(slots=True)
class Budget:
    """The bytes of bodies that all of a server's requests hold in memory, and the most that they may."""

    limit: int
    used: int = 0

    def take(self, size: int) -> None:
        """Count bytes that are held; raise Overloaded if there is no room for them."""
        if self.used + size > self.limit:
            raise Overloaded
        self.used += size


class _Flow(Protocol):
    def resume(self) -> None: ...

    def wants_body(self) -> None: ...


class Body:
    """A request's body as it arrives; one reader."""

    __slots__ = ("_budget", "_chunks", "_done", "_failed", "_flow", "_held", "_released", "_waiter", "_whole", "length")

    def __init__(self, flow: _Flow, length: int | None, budget: Budget):
        self.length = length  # what Content-Length says; None when the transfer is chunked
        self._flow = flow
        self._budget = budget
        self._chunks: deque[bytes] = deque()
        self._held = 0  # bytes that came and were not read
        self._whole = 0  # bytes that were read whole, and are counted until the request ends
        self._released = False
        self._done = False
        self._failed: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None

    def feed(self, data: bytes) -> bool:
        """Add a chunk; False when the sender should pause."""
        if self._released:
            return False
        self._chunks.append(data)
        self._held += len(data)
        self._budget.used += len(data)
        self._wake()
        return self._held < (HIGH_WATER if self._budget.used < self._budget.limit else LOW_WATER)

    def finish(self) -> None:
        """The body is complete."""
        self._done = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """No more will come; the reader sees ``error``."""
        if not self._done:
            self._failed = error
            self._wake()

    @property
    def complete(self) -> bool:
        """Whether the whole body has arrived (read or not)."""
        return self._done

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def arrived(self) -> list[bytes]:
        """All pieces that have arrived and were not read yet, waiting for one; empty at the end."""
        self._flow.wants_body()
        while not self._chunks:
            if self._done:
                return []
            if self._failed is not None:
                raise self._failed
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        pieces = list(self._chunks)
        self._chunks.clear()
        self._budget.used -= self._held
        self._held = 0
        self._flow.resume()
        return pieces

    def keep(self, size: int) -> None:
        """Count bytes that stay in memory until the request ends; raise Overloaded if there is no room for them."""
        self._budget.take(size)
        self._whole += size

    def release(self) -> None:
        """The request has ended: hold nothing of its body, and take no more of it."""
        self._released = True
        self._budget.used -= self._held + self._whole
        self._held = self._whole = 0
        self._chunks.clear()

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while pieces := await self.arrived():
            for piece in pieces:
                yield piece

    async def read(self, limit: int) -> bytes:
        """The whole body; BodyTooLarge when it is longer than ``limit`` bytes, Overloaded when there is no room."""
        if self.length is not None and self.length > limit:
            raise BodyTooLarge
        if self._done and len(self._chunks) <= 1:
            return self._chunks.popleft() if self._chunks else b""
        parts: list[bytes] = []
        size = 0
        while pieces := await self.arrived():
            came = sum(map(len, pieces))
            size += came
            if size > limit:
                raise BodyTooLarge
            self.keep(came)
            parts += pieces
        return b"".join(parts)


@dataclass(slots=True)
class Request:
    """A request whose head has been read. Header names are lower-case; repeated headers are joined by commas."""

    method: str
    target: str  # as sent: path and query, percent-encoded
    path: str
    query: str
    headers: dict[str, str]
    body: Body
    scheme: str = "http"
    peer: str = ""
    context: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A part of a file to send."""

    path: Path
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class FileSlices:
    """A body made of parts of files, sent without passing through this process where the system can."""

    parts: tuple[FileSlice, ...]

    @property
    def length(self) -> int:
        """Bytes in all."""
        return sum(part.length for part in self.parts)


@dataclass(slots=True)
class Response:
    """An answer. ``upgrade`` is called with the connection after the head has been sent (CONNECT)."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | FileSlices | AsyncIterator[bytes] | Iterable[bytes] = b""
    length: int | None = None  # of a body that HEAD leaves out
    upgrade: Callable[[Any], None] | None = None
    close: bool = False
    more: tuple[tuple[str, str], ...] = ()  # headers whose names repeat
