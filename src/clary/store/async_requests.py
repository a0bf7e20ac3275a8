"""Asynchronous inference requests that wait or are worked on. A request is removed once its result is stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, delete, func, insert, select

from .schema import async_request

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class AsyncRequest:
    """One request: its number, when it came (seconds since the epoch), what it says, its body if it brought one."""

    id: int
    received: float
    request: Json
    body: bytes | None


class AsyncRequests:
    """The queues of all endpoints, inside a transaction. An endpoint is named by its uid."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def add(self, endpoint: str, received: float, request: Json, body: bytes | None) -> None:
        """Queue a request."""
        values = {"endpoint": endpoint, "received": received, "request": orjson.dumps(request).decode(), "body": body}
        self._connection.execute(insert(async_request), values)

    def first(self, endpoint: str, count: int, but: set[int]) -> list[AsyncRequest]:
        """The oldest requests of an endpoint that are not among ``but``."""
        found = self._connection.execute(
            select(async_request.c.id, async_request.c.received, async_request.c.request, async_request.c.body)
            .where(async_request.c.endpoint == endpoint, async_request.c.id.not_in(but))
            .order_by(async_request.c.id)
            .limit(count)
        )
        return [AsyncRequest(r.id, r.received, orjson.loads(r.request), r.body) for r in found]

    def backlog(self) -> dict[str, tuple[int, float]]:
        """How many requests each endpoint has that has any, and when the oldest came."""
        found = self._connection.execute(
            select(async_request.c.endpoint, func.count(), func.min(async_request.c.received)).group_by(
                async_request.c.endpoint
            )
        )
        return {endpoint: (count, oldest) for endpoint, count, oldest in found}

    def remove(self, number: int) -> None:
        """A request is done."""
        self._connection.execute(delete(async_request).where(async_request.c.id == number))

    def remove_all(self, endpoint: str) -> None:
        """An endpoint is gone, and its queue with it."""
        self._connection.execute(delete(async_request).where(async_request.c.endpoint == endpoint))
