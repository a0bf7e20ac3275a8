"""The store's direct way: statements on the driver's connection, and writes that share a commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from clary.store.database import Database
from clary.store.direct import Direct
from clary.store.migrations import STEPS
from clary.store.object import Bucket, Object
from clary.store.object_rows import ObjectRows


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
