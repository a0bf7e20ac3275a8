"""One engine: SQLite by default, PostgreSQL by URL. Transactions, and what is told after they commit."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError, IntegrityError

from .direct import Direct, SharedCommits, reads_only
from .migrations import migrate
from .rows import AlreadyExists, Key, Rows, Tags

Listener = Callable[[list[Key]], None]
Result = TypeVar("Result")
_ATTEMPTS = 4
_WRITER_LOCK = "select pg_advisory_xact_lock(7162026)"  # any number, the same in every process
_NOBODY_IDLES = "set idle_in_transaction_session_timeout = '60s'"
"""A machine that went away in the middle of a write must not keep the others from theirs."""
_UNDONE = ("40001", "40P01")
"""PostgreSQL's states of a transaction that it gave up for another's sake: serialization_failure, deadlock_detected."""


class Transaction:
    """What a handler sees of the store while its transaction is open."""

    def __init__(self, connection: Connection):
        self.connection = connection
        self.changed: list[Key] = []
        self.after_commit: list[Callable[[], None]] = []
        self.after_rollback: list[Callable[[BaseException], None]] = []  # removes files that were made for it
        self.rows = Rows(connection, self.changed)
        self.tags = Tags(connection)
        self.direct = Direct(connection.connection.dbapi_connection, connection.dialect)


class Database:
    """Opens transactions. Listeners hear, after each commit, which rows it changed."""

    def __init__(self, url: str, durable: bool = True):
        self.url = url
        self.engine = _engine(url, durable)
        self.sqlite = self.engine.dialect.name == "sqlite"
        self.listeners: list[Listener] = []
        self._writer = threading.Lock()  # SQLite has one writer: waiting here is cheaper than its busy loop
        self._durable = durable
        self._readers = threading.local()
        self._shared = SharedCommits(self._connect, self.engine.dialect, self._writer)
        with self.write() as tx:
            migrate(tx.connection)

    @contextmanager
    def write(self, alone: bool = True) -> Iterator[Transaction]:
        """A transaction that commits when the block ends and rolls back when it raises.

        No other is open meanwhile, so that what is read stays true until it is written back. On PostgreSQL one that is
        not ``alone`` runs beside others; it locks what it touches.
        """
        transaction: Transaction | None = None
        if self.sqlite:
            self._writer.acquire()
        try:
            with self.engine.connect().execution_options(clary_write=True) as connection:
                transaction = Transaction(connection)
                with connection.begin():
                    if alone and not self.sqlite:
                        connection.exec_driver_sql(_WRITER_LOCK)
                    yield transaction
        except BaseException as error:
            for undone in transaction.after_rollback if transaction else ():
                undone(error)
            raise
        finally:
            if self.sqlite:
                self._writer.release()
        for done in transaction.after_commit:
            done()
        if transaction.changed:
            for listener in self.listeners:
                listener(transaction.changed)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A transaction that sees one state of the database and changes nothing."""
        with self.engine.connect() as connection:
            if not self.sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield Transaction(connection)

    def attempt(self, work: Callable[[Transaction], Result], reads: bool = False, alone: bool = True) -> Result:
        """Do work in a transaction; again when another one was in its way (PostgreSQL has those that are not alone)."""
        for left in range(_ATTEMPTS - 1, -1, -1):
            try:
                with self.read() if reads else self.write(alone) as tx:
                    return work(tx)
            except (AlreadyExists, DBAPIError) as error:
                if not left or not _in_the_way(error):
                    raise
        raise AssertionError("the last attempt returns or raises")

    async def look(self, work: Callable[[Direct], Result], threads: Executor) -> Result:
        """Read with one statement; on SQLite at once, for its readers wait for nobody."""
        if self.sqlite:
            if (found := getattr(self._readers, "direct", None)) is None:
                found = self._readers.direct = Direct(self._connect(), self.engine.dialect)
            return work(found)
        return await asyncio.get_running_loop().run_in_executor(
            threads, lambda: self.attempt(lambda tx: work(tx.direct), reads=True)
        )

    async def submit(self, work: Callable[[Direct], Result], threads: Executor) -> Result:
        """Do a small write that changes no resource's row. Returns once it is on disk; others may share its commit."""
        if self.sqlite:
            return await self._shared.submit(work)
        return await asyncio.get_running_loop().run_in_executor(
            threads, lambda: self.attempt(lambda tx: work(tx.direct), alone=False)
        )

    def _connect(self) -> sqlite3.Connection:
        path = self.engine.url.database
        assert path is not None
        connection = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        _configure(connection, self._durable)
        return connection

    def close(self) -> None:
        """Give up every connection."""
        self._shared.close()
        self.engine.dispose()


def _in_the_way(error: AlreadyExists | DBAPIError) -> bool:
    """Whether another transaction is why one failed, so that it may succeed when it is done again."""
    if isinstance(error, AlreadyExists | IntegrityError) or reads_only(error):
        return True
    return getattr(error.orig, "sqlstate", None) in _UNDONE


def _engine(url: str, durable: bool) -> Engine:
    if url.startswith(("postgres://", "postgresql://")):
        engine = create_engine("postgresql+psycopg://" + url.split("://", 1)[1], pool_size=12, max_overflow=8)

        @event.listens_for(engine, "connect")
        def limit(connection: Any, _record: Any) -> None:
            _replace_nul(connection)
            connection.execute(_NOBODY_IDLES)
            connection.commit()

        return engine
    engine = create_engine(url, pool_size=12, max_overflow=8, connect_args={"check_same_thread": False, "timeout": 30})

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions are ours, begun below
        _configure(connection, durable)

    @event.listens_for(engine, "handle_error")
    def replace(context: Any) -> None:
        if reads_only(context.original_exception):  # opened during a fault of the disk: the pool opens another one
            context.is_disconnect = True

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("clary_write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _replace_nul(connection: Any) -> None:
    """Write U+FFFD for U+0000, which PostgreSQL's texts cannot hold: a name with one is then one that nothing has."""
    from psycopg.types.string import StrBinaryDumper, StrDumperUnknown

    class Binary(StrBinaryDumper):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\ufffd"))

    class Text(StrDumperUnknown):
        def dump(self, obj: str) -> Any:
            return super().dump(obj.replace("\0", "\ufffd"))

    connection.adapters.register_dumper(str, Binary)
    connection.adapters.register_dumper(str, Text)  # the last one is the one that is used by default


def _configure(connection: Any, durable: bool) -> None:
    connection.execute("pragma journal_mode=wal")
    connection.execute(f"pragma synchronous={'full' if durable else 'off'}")
    connection.execute("pragma foreign_keys=on")
    connection.execute("pragma cache_size=-2048")
