"""Log groups' streams and events. Times are milliseconds since the epoch, as the service spells them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, and_, delete, func, insert, or_, select, update

from ..clock import now
from .database import Database, Transaction
from .rows import Row
from .schema import log_event, log_stream

MAX_MESSAGE = 256 << 10
"""Bytes of one event; longer lines are cut."""


@dataclass(frozen=True, slots=True)
class StreamKey:
    """What names a stream."""

    account: str
    region: str
    group: str
    name: str


@dataclass(frozen=True, slots=True)
class Event:
    """One stored line."""

    id: int
    stream: str
    at: int
    ingested: int
    message: str


def milliseconds() -> int:
    """The present."""
    return int(now() * 1000)


class LogRows:
    """Streams and events in one transaction."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def stream(self, key: StreamKey) -> Any:
        """A stream's row, or None."""
        return self._connection.execute(select(log_stream).where(_named(key))).mappings().fetchone()

    def ensure(self, key: StreamKey) -> Any:
        """A stream's row, made if it is not there."""
        if (found := self.stream(key)) is not None:
            return found
        values = {"account": key.account, "region": key.region, "log_group": key.group, "name": key.name}
        self._connection.execute(insert(log_stream), {**values, "created": milliseconds(), "cursor": 0})
        return self.stream(key)

    def streams(self, account: str, region: str, group: str, prefix: str = "") -> Select[Any]:
        """A select of a group's streams, for callers that order and page it."""
        statement = select(log_stream).where(
            log_stream.c.account == account, log_stream.c.region == region, log_stream.c.log_group == group
        )
        return statement.where(log_stream.c.name.startswith(prefix, autoescape=True)) if prefix else statement

    def append(self, stream: Any, events: Sequence[tuple[int, str]], cursor: int | None = None) -> None:
        """Add events (moment, message) to a stream; ``cursor`` records how far their source was read."""
        at = milliseconds()
        if events:
            rows = [
                {"stream": stream["id"], "at": moment, "ingested": at, "message": text[:MAX_MESSAGE]}
                for moment, text in events
            ]
            self._connection.execute(insert(log_event), rows)
        moments = [moment for moment, _ in events]
        values: dict[str, Any] = {}
        if moments:
            values = {
                "first_event": min([*moments, *([stream["first_event"]] if stream["first_event"] else [])]),
                "last_event": max([*moments, stream["last_event"] or 0]),
                "last_ingestion": at,
            }
        if cursor is not None:
            values["cursor"] = cursor
        if values:
            self._connection.execute(update(log_stream).where(log_stream.c.id == stream["id"]).values(**values))

    def events(
        self,
        streams: dict[int, str],
        since: int | None,
        until: int | None,
        limit: int,
        after: tuple[int, int] | None = None,
        before: tuple[int, int] | None = None,
        contains: str = "",
    ) -> list[Event]:
        """Events of streams (row id → name) in order of time; ``after`` and ``before`` are (moment, id) edges.

        ``since`` is inclusive, ``until`` exclusive. With ``before`` the last ``limit`` events ahead of it are taken.
        """
        where: list[Any] = [log_event.c.stream.in_(list(streams))]
        if since is not None:
            where.append(log_event.c.at >= since)
        if until is not None:
            where.append(log_event.c.at < until)
        if after is not None:
            where.append(or_(log_event.c.at > after[0], and_(log_event.c.at == after[0], log_event.c.id > after[1])))
        if before is not None:
            where.append(or_(log_event.c.at < before[0], and_(log_event.c.at == before[0], log_event.c.id < before[1])))
        if contains:
            where.append(log_event.c.message.contains(contains, autoescape=True))
        columns = (log_event.c.id, log_event.c.stream, log_event.c.at, log_event.c.ingested, log_event.c.message)
        order = (log_event.c.at, log_event.c.id)
        backwards = before is not None and after is None
        statement = select(*columns).where(*where).limit(limit)
        statement = statement.order_by(*(c.desc() for c in order)) if backwards else statement.order_by(*order)
        found = [Event(i, streams[s], at, seen, text) for i, s, at, seen, text in self._connection.execute(statement)]
        return found[::-1] if backwards else found

    def delete_stream(self, stream_id: int) -> None:
        """Remove a stream and its events."""
        self._connection.execute(delete(log_event).where(log_event.c.stream == stream_id))
        self._connection.execute(delete(log_stream).where(log_stream.c.id == stream_id))

    def bytes(self, stream_ids: list[int]) -> int:
        """Characters stored in streams."""
        statement = select(func.coalesce(func.sum(func.length(log_event.c.message)), 0))
        return int(self._connection.execute(statement.where(log_event.c.stream.in_(stream_ids))).scalar_one())


def _named(key: StreamKey) -> Any:
    return and_(
        log_stream.c.account == key.account, log_stream.c.region == key.region, log_stream.c.log_group == key.group,
        log_stream.c.name == key.name,
    )  # fmt: skip


class LogStore:
    """Logs for the rest of the platform."""

    def __init__(self, database: Database):
        self._database = database

    def cursor(self, key: StreamKey) -> int:
        """How many bytes of its source a stream holds."""
        with self._database.read() as tx:
            found = LogRows(tx.connection).stream(key)
            return int(found["cursor"]) if found else 0

    def append(self, key: StreamKey, events: Sequence[tuple[int, str]], cursor: int | None = None) -> None:
        """Add events to a stream, making it and its group if need be."""

        def work(tx: Transaction) -> None:
            ensure_group(tx, key.account, key.region, key.group)
            rows = LogRows(tx.connection)
            rows.append(rows.ensure(key), events, cursor)

        self._database.attempt(work)  # another writer may make the same group or stream

    def tail(self, key: StreamKey, lines: int) -> list[str]:
        """A stream's last messages."""
        with self._database.read() as tx:
            rows = LogRows(tx.connection)
            found = rows.stream(key)
            if found is None:
                return []
            events = rows.events({found["id"]: key.name}, None, None, lines, before=(1 << 62, 1 << 62))
            return [event.message for event in events]


def ensure_group(tx: Transaction, account: str, region: str, name: str) -> Row:
    """A log group's row, made if it is not there."""
    if (found := tx.rows.get("LogGroup", account, region, name)) is not None:
        return found
    arn = f"arn:aws:logs:{region}:{account}:log-group:{name}"
    return tx.rows.add(Row("LogGroup", account, region, name, arn, {"logGroupName": name}))
