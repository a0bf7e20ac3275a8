"""Statements compiled once and run on the driver's own connection, and writes that share a commit.

SQLAlchemy spends 100 to 200 µs on a call that SQLite answers in 10; for a small S3 request that was most of the work
(``make bench``, "S3 … server CPU"). The schema and the statements stay SQLAlchemy's; only the execution is direct.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.expression import Executable

Result = TypeVar("Result")
Row = tuple[Any, ...]
_TOGETHER = 64


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


class SharedCommits:
    """A thread that writes to SQLite; what waits while one commit is synced goes into the next, together.

    A commit costs a sync of the disk whoever is in it, so writers that arrive together wait once.
    """

    def __init__(self, connect: Callable[[], Any], dialect: Dialect, writer: threading.Lock):
        self._connect = connect
        self._dialect = dialect
        self._writer = writer
        self._waiting: queue.SimpleQueue[tuple[Work, asyncio.Future[Any]] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    async def submit(self, work: Callable[[Direct], Result]) -> Result:
        """Do work in a transaction; returns once it is on disk. What it raises undoes its own writes only."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
            self._thread.start()
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.put((work, future))
        return await future

    def close(self) -> None:
        """Finish what waits, and end the thread."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(10)

    def _run(self) -> None:
        connection = self._connect()
        direct = Direct(connection, self._dialect)
        try:
            while (first := self._waiting.get()) is not None:
                batch, last = [first], False
                with contextlib.suppress(queue.Empty):
                    while len(batch) < _TOGETHER and not last:
                        if (more := self._waiting.get_nowait()) is None:
                            last = True
                        else:
                            batch.append(more)
                outcomes = self._commit(connection, direct, [work for work, _ in batch])
                futures = [future for _, future in batch]
                with contextlib.suppress(RuntimeError):  # the loop has ended: nobody waits any more
                    futures[0].get_loop().call_soon_threadsafe(_deliver, futures, outcomes)
                if last:
                    return
        finally:
            connection.close()

    def _commit(self, connection: Any, direct: Direct, works: list[Work]) -> list[tuple[Any, BaseException | None]]:
        outcomes: list[tuple[Any, BaseException | None]] = []
        with self._writer:
            try:
                connection.execute("BEGIN IMMEDIATE")
                if len(works) == 1:
                    outcomes.append((works[0](direct), None))
                else:
                    outcomes += (_alone(connection, direct, work) for work in works)
                connection.execute("COMMIT")
            except Exception as error:  # noqa: BLE001  # the only work's, or the database's: nothing is on disk
                with contextlib.suppress(self._dialect.loaded_dbapi.Error):
                    connection.execute("ROLLBACK")
                return [(None, error)] * len(works)
        return outcomes


def _alone(connection: Any, direct: Direct, work: Work) -> tuple[Any, BaseException | None]:
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
