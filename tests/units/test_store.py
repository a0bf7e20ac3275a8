"""The store: transactions beside each other, statements on the driver's connection, writes that share a commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from clary.store.database import Database, Transaction
from clary.store.direct import Direct
from clary.store.migrations import STEPS
from clary.store.object import Bucket, Object
from clary.store.object_rows import ObjectRows
from clary.store.rows import Key, Row


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path}/db")
    yield opened
    opened.close()


def _names(database: Database) -> list[str]:
    with database.read() as tx:
        return [b.name for b in ObjectRows(tx.direct).buckets("1")]


def test_a_failed_write_leaves_those_beside_it_alone(database: Database) -> None:
    """Held back by another writer, all five wait for the same commit."""

    def add(direct: Direct, name: str, fails: bool) -> str:
        ObjectRows(direct).add_bucket(Bucket(name, "1", "r", 0.0))
        if fails:
            raise KeyError(name)
        return name

    async def submit_all() -> list[object]:
        held, release = threading.Event(), threading.Event()

        def hold() -> None:
            with database.write():
                held.set()
                release.wait(10)

        with ThreadPoolExecutor(2) as threads:
            holder = threads.submit(hold)
            await asyncio.to_thread(held.wait, 10)
            works = [
                asyncio.create_task(database.submit(lambda d, i=i: add(d, f"b{i}", i in (1, 3)), threads))
                for i in range(5)
            ]
            await asyncio.sleep(0)
            release.set()
            holder.result(10)
            return list(await asyncio.gather(*works, return_exceptions=True))

    outcomes = asyncio.run(submit_all())
    assert [o if isinstance(o, str) else type(o) for o in outcomes] == ["b0", KeyError, "b2", KeyError, "b4"]
    assert _names(database) == ["b0", "b2", "b4"]


def test_a_database_that_fails_fails_every_write(database: Database) -> None:
    async def submit() -> None:
        with ThreadPoolExecutor(1) as threads:
            await database.submit(lambda d: ObjectRows(d).add_bucket(Bucket("b", "1", "r", 0.0)), threads)
            with pytest.raises(Exception, match="UNIQUE"):
                await database.submit(lambda d: ObjectRows(d).add_bucket(Bucket("b", "1", "r", 0.0)), threads)
            await database.submit(lambda d: ObjectRows(d).add_bucket(Bucket("c", "1", "r", 0.0)), threads)

    asyncio.run(submit())
    assert _names(database) == ["b", "c"]


def test_an_older_database_gains_the_columns_it_lacks(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/db"
    old = Database(url)
    with old.write() as tx:
        tx.connection.execute(text("alter table s3_object drop column data"))
        tx.connection.execute(text("update schema_version set version=1"))
    old.close()
    database = Database(url)
    with database.write() as tx:
        rows = ObjectRows(tx.direct)
        rows.add_bucket(Bucket("b", "1", "r", 0.0))
        rows.put(Object("b", "k", "e", 3, (), data=b"abc"), "")
    with database.read() as tx:
        found = ObjectRows(tx.direct).get("b", "k")
        assert found is not None and found.data == b"abc"
        assert tx.connection.execute(text("select version from schema_version")).scalar() == len(STEPS)
    database.close()


@pytest.fixture(params=["sqlite", "postgres"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A database of each kind."""
    url = f"sqlite:///{tmp_path}/db" if request.param == "sqlite" else request.getfixturevalue("postgres")
    opened = Database(url)
    yield opened
    opened.close()


def _at_once(*works: Callable[[], None]) -> None:
    """Do works in threads of their own; what they raise is raised."""
    with ThreadPoolExecutor(len(works)) as threads:
        for done in [threads.submit(work) for work in works]:
            done.result(60)


def _add(database: Database, *names: str) -> list[Key]:
    keys = [Key("Counter", "1", "r", n) for n in names]
    with database.write() as tx:
        for key in keys:
            tx.rows.add(Row(*key, arn=f"arn:{key.name}", spec={"n": 0}))
    return keys


def _count(database: Database, *keys: Key) -> None:
    def work(tx: Transaction) -> None:
        for key in keys:
            row = tx.rows.get(*key)
            assert row is not None
            tx.rows.save(row, spec={"n": row.spec["n"] + 1})

    database.attempt(work)


def test_what_is_read_stays_true_until_it_is_written_back(either: Database, name: str) -> None:
    (key,) = _add(either, name)

    def count() -> None:
        for _ in range(20):
            _count(either, key)

    _at_once(*[count] * 4)
    with either.read() as tx:
        row = tx.rows.get(*key)
        assert row is not None and (row.spec["n"], row.revision) == (80, 81)


def test_rows_may_be_taken_in_any_order(either: Database, name: str) -> None:
    """Writers that hold what the other one wants: PostgreSQL ends one of them, as it did a request of a user's."""
    one, other = _add(either, name, f"{name}-other")

    def count(*keys: Key) -> None:
        for _ in range(30):
            _count(either, *keys)

    _at_once(lambda: count(one, other), lambda: count(other, one))


def test_writers_that_are_not_alone_give_way(either: Database, name: str) -> None:
    keys = _add(either, name, f"{name}-other")
    met = threading.Barrier(2)

    def take(order: list[Key]) -> None:
        first = True

        def work(tx: Transaction) -> None:
            nonlocal first
            for key in order:
                row = tx.rows.get(*key)
                assert row is not None
                tx.rows.save(row)
                if first and not either.sqlite:  # there the second one has not begun
                    first = False
                    met.wait(30)

        either.attempt(work, alone=False)

    _at_once(lambda: take(keys), lambda: take(keys[::-1]))


def test_a_reader_sees_one_state(either: Database, name: str) -> None:
    (key,) = _add(either, name)
    with either.read() as tx:
        before = tx.rows.get(*key)
        with ThreadPoolExecutor(1) as threads:
            threads.submit(_count, either, key).result(30)
        assert tx.rows.get(*key) == before
    with either.read() as tx:
        assert tx.rows.get(*key) != before


def test_a_text_with_nul_finds_nothing_on_postgresql_and_harms_nothing(postgres: str) -> None:
    database = Database(postgres, durable=False)
    with database.write() as tx:
        tx.rows.add(Row("K", "a", "r", "n\0l", "arn:n\0l", {"text": "n\0l"}))
        assert tx.rows.get("K", "a", "r", "\0") is None
        found = tx.rows.get("K", "a", "r", "n\0l")
        assert found is not None and (found.name, found.spec) == ("n\ufffdl", {"text": "n\0l"})
        assert ObjectRows(tx.direct).get("b", "\0") is None
        tx.rows.delete(found)
    database.close()
