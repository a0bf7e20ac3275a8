"""Statements compiled once and run on the driver's own connection, and writes that share a commit.

SQLAlchemy spends 100 to 200 µs on a call that SQLite answers in 10; for a small S3 request that was most of the work
(``make bench``, "S3 … server CPU"). The schema and the statements stay SQLAlchemy's; only the execution is direct.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import Executable

Result = TypeVar("Result")
Row = tuple[Any, ...]
_TOGETHER = 64
_FAST_SYNC = 0.002  # seconds that the loop may be held up by a commit
_COMMITS_HERE = 100  # commits of the loop's in a row: the thread's next one moves the log into the table file


class Statement:
    """A statement with bound parameters, compiled once for each kind of database."""

    __slots__ = ("_compiled", "_statement")

    def __init__(self, statement: Executable):
        self._statement = statement
        self._compiled: dict[str, tuple[str, tuple[str, ...] | None, dict[str, Any]]] = {}

    def text(self, dialect: Dialect) -> tuple[str, tuple[str, ...] | None, dict[str, Any]]:
        """The SQL, the order of its parameters (None: by name), and the values it holds already."""
        if (found := self._compiled.get(dialect.name)) is None:
            compiled: Any = self._statement.compile(dialect=dialect)  # type: ignore[attr-defined]
            order = tuple(compiled.positiontup) if compiled.positional else None
            held = {k: v for k, v in compiled.params.items() if v is not None}
            found = self._compiled[dialect.name] = (str(compiled), order, held)
        return found


class Direct:
    """Runs statements on a driver's connection, inside whatever transaction it has open."""

    __slots__ = ("_connection", "_dialect", "_fault")

    def __init__(self, connection: Any, dialect: Dialect):
        self._connection = connection
        self._dialect = dialect
        self._fault: Any = dialect.loaded_dbapi.Error

    @property
    def kind(self) -> str:
        """The kind of database: ``sqlite`` or ``postgresql``."""
        return self._dialect.name

    @property
    def locks_keys(self) -> bool:
        """Whether several writers may be at work, so that one key needs a lock of its own."""
        return self._dialect.name != "sqlite"

    def run(self, statement: Statement, **values: Any) -> Any:
        """The driver's cursor after a statement; faults are SQLAlchemy's, as everywhere."""
        sql, order, held = statement.text(self._dialect)
        if held:
            values = {**held, **values}
        try:
            return self._connection.execute(sql, values if order is None else [values[n] for n in order])
        except self._fault as error:
            raise DBAPIError.instance(sql, None, error, self._fault, dialect=self._dialect) from error

    def one(self, statement: Statement, **values: Any) -> Row | None:
        """The first row, or None."""
        row: Row | None = self.run(statement, **values).fetchone()
        return row

    def all(self, statement: Statement, **values: Any) -> list[Row]:
        """Every row."""
        rows: list[Row] = self.run(statement, **values).fetchall()
        return rows


Work = Callable[[Direct], Any]
"""What is written; it may be done again after a rollback, so it changes nothing but the database."""

_Asked = tuple[Work, asyncio.Future[Any]]
_Outcome = tuple[Any, BaseException | None]


class SharedCommits:
    """Writes to SQLite whose callers wait on an event loop; those that arrive together share one commit.

    A commit costs a sync of the disk whoever is in it. Where syncs are fast, the loop commits by itself what became
    ready in one round of it: waking a thread and being woken by it costs more (``make bench``, "S3 PUT …"). Where they
    are slow, or another thread writes, a thread commits; what comes meanwhile goes into its next commit.
    """

    def __init__(self, connect: Callable[[], Any], dialect: Dialect, writer: threading.Lock):
        self._connect = connect
        self._dialect = dialect
        self._writer = writer
        self._waiting: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._handed = 0  # how many the thread has and has not answered; touched by the loop only
        self._round: list[_Asked] = []
        self._here: Any = None
        self._left_here = _COMMITS_HERE
        self._sync_seconds = 0.0  # a sliding mean of what a commit of the loop's took

    async def submit(self, work: Callable[[Direct], Result]) -> Result:
        """Do work in a transaction; returns once it is on disk. What it raises undoes its own writes only."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if not self._round:
            loop.call_soon(self._flush)
        self._round.append((work, future))
        return await future

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(10)
        if self._here is not None:
            self._here.close()

    def _flush(self) -> None:
        """At the end of a round of the loop: commit what was asked for in it, or have it committed."""
        asked, self._round = self._round, []
        slow = self._sync_seconds > _FAST_SYNC
        if self._handed or not self._left_here or slow or not self._writer.acquire(blocking=False):
            self._hand_over(asked)
            return
        self._left_here -= 1
        began = time.perf_counter()
        try:
            if self._here is None:
                self._here = self._connect()
                self._here.execute("PRAGMA wal_autocheckpoint=0")  # moving the log into the table file takes long
            outcomes = _commit(self._here, self._dialect, [work for work, _ in asked])
            if _reads_only(outcomes):
                self._here.close()
                self._here = None
                self._here = self._connect()
                self._here.execute("PRAGMA wal_autocheckpoint=0")
                outcomes = _commit(self._here, self._dialect, [work for work, _ in asked])
        except Exception as error:  # noqa: BLE001  # no connection: those who asked are told
            outcomes = [(None, error)] * len(asked)
        finally:
            self._writer.release()
        self._sync_seconds += (time.perf_counter() - began - self._sync_seconds) / 8
        _deliver([future for _, future in asked], outcomes)

    def _hand_over(self, asked: list[_Asked]) -> None:
        if self._thread is None or not self._thread.is_alive():  # what a dead one left waits in the queue still
            self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
            self._thread.start()
        self._left_here, self._sync_seconds = _COMMITS_HERE, self._sync_seconds * 0.9
        self._handed += len(asked)
        for one in asked:
            self._waiting.put(one)

    def _run(self) -> None:
        connection: Any = None
        try:
            while (first := self._waiting.get()) is not None:
                batch, last = [first], False
                with contextlib.suppress(queue.Empty):
                    while len(batch) < _TOGETHER and not last:
                        if (more := self._waiting.get_nowait()) is None:
                            last = True
                        else:
                            batch.append(more)
                try:
                    with self._writer:
                        connection = connection or self._connect()
                        outcomes = _commit(connection, self._dialect, [work for work, _ in batch])
                        if _reads_only(outcomes):
                            connection = connection.close()
                            connection = self._connect()
                            outcomes = _commit(connection, self._dialect, [work for work, _ in batch])
                except Exception as error:  # noqa: BLE001  # no connection: the callers get the error
                    outcomes = [(None, error)] * len(batch)
                futures = [future for _, future in batch]
                with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                    futures[0].get_loop().call_soon_threadsafe(self._answer, futures, outcomes)
                if last:
                    return
        finally:
            if connection is not None:
                connection.close()

    def _answer(self, futures: list[asyncio.Future[Any]], outcomes: list[_Outcome]) -> None:
        self._handed -= len(futures)
        _deliver(futures, outcomes)


def reads_only(error: object) -> bool:
    """Return whether an error is that of a connection which SQLite opened for reading, as it does when it cannot write."""
    return "readonly database" in str(error)


def _reads_only(outcomes: list[_Outcome]) -> bool:
    return any(error is not None and reads_only(error) for _, error in outcomes)


def _commit(connection: Any, dialect: Dialect, works: list[Work]) -> list[_Outcome]:
    """Do works in one transaction; only when one of them fails are they kept apart from each other, and done again."""
    direct = Direct(connection, dialect)
    for apart in (False, True):
        try:
            if connection.in_transaction:  # a fault was in the way of the last rollback, too
                connection.execute("ROLLBACK")
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [_alone(connection, direct, work) if apart else (work(direct), None) for work in works]
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001  # a work's, or the database's: nothing is on disk
            with contextlib.suppress(dialect.loaded_dbapi.Error):
                connection.execute("ROLLBACK")
            if apart or len(works) == 1:
                return [(None, error)] * len(works)
        else:
            return outcomes
    raise AssertionError("the second round returns")


def _alone(connection: Any, direct: Direct, work: Work) -> _Outcome:
    """One of several works in a transaction; what it raises undoes only what it did."""
    connection.execute("SAVEPOINT one")
    try:
        return work(direct), None
    except Exception as error:  # noqa: BLE001  # it belongs to the one who asked
        connection.execute("ROLLBACK TO one")
        return None, error
    finally:
        connection.execute("RELEASE one")


def _deliver(futures: list[asyncio.Future[Any]], outcomes: list[tuple[Any, BaseException | None]]) -> None:
    for future, (result, error) in zip(futures, outcomes, strict=True):
        if future.cancelled():
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
