"""The loop under a simulated clock, with a crash injected at any await: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from clary.control import loop as loop_module
from clary.control.loop import Engine, Outcome
from clary.control.signals import Signals
from clary.store import rows as rows_module
from clary.store.database import Database
from clary.store.rows import Row


class Crash(BaseException):
    """The process dies here."""


class World:
    """What outlives a crash: the processes, and how often each was started."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.starts: dict[str, int] = {}
        self.age: dict[str, int] = {}
        self.crashes = 0

    def chaos(self) -> None:
        if self.random.random() < 0.05:
            self.crashes += 1
            raise Crash


class Runs:
    """A reconciler of three phases: start, wait, end."""

    kind = "Thing"

    def __init__(self, world: World):
        self._world = world

    async def reconcile(self, row: Row) -> Outcome:
        world, phase = self._world, row.private.get("phase", "new")
        world.chaos()
        if phase == "new":
            return Outcome({}, {"phase": "running"}, "running", 0)
        if phase == "running":
            if row.name not in world.age:  # starting is idempotent: it looks first
                world.starts[row.name] = world.starts.get(row.name, 0) + 1
                world.age[row.name] = 0
            world.chaos()
            world.age[row.name] += 1
            done = world.age[row.name] > 3
            return Outcome({}, {"phase": "done" if done else "running"}, "done" if done else "running", 0)
        return Outcome({}, row.private, "done", None)


@pytest.mark.parametrize("seed", range(6))
def test_crashes_lose_and_repeat_nothing(tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [1e9]
    monkeypatch.setattr(loop_module, "now", lambda: clock[0])
    monkeypatch.setattr(rows_module, "now", lambda: clock[0])
    world = World(seed)
    database = Database(f"sqlite:///{tmp_path}/db", durable=False)
    names = [f"t{i}" for i in range(20)]
    with database.write() as tx:
        for name in names:
            tx.rows.add(Row("Thing", "0", "r", name, f"arn:{name}", {}, due=clock[0]))

    async def live() -> bool:
        """One life of the process; True when all is done."""
        engine = Engine(database, Signals(asyncio.get_running_loop()), [Runs(world)])
        while True:
            clock[0] += 1.0
            claimed, _ = engine._claim(4)
            if not claimed:
                with database.read() as tx:
                    rows = tx.rows.list("Thing")
                if all(r.due is None for r in rows):
                    return True
                clock[0] += loop_module.LEASE_SECONDS  # leases of the dead run out
                continue
            for row, token in claimed:
                outcome = await Runs(world).reconcile(row)
                world.chaos()
                engine._record(row, token, outcome)

    for _ in range(2000):
        try:
            if asyncio.run(live()):
                break
        except Crash:
            continue
    else:
        pytest.fail("the work never ended")
    assert world.crashes > 0
    assert world.starts == dict.fromkeys(names, 1)
    with database.read() as tx:
        assert [r.state for r in tx.rows.list("Thing")] == ["done"] * len(names)
    database.close()


def test_a_result_without_its_lease_is_not_written(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/db", durable=False)
    with database.write() as tx:
        tx.rows.add(Row("Thing", "0", "r", "a", "arn:a", {}, due=1.0))

    async def run() -> None:
        engine = Engine(database, Signals(asyncio.get_running_loop()), [Runs(World(0))])
        ((row, token),), _ = engine._claim(1)
        assert engine._claim(1)[0] == []
        Engine(database, Signals(asyncio.get_running_loop()), [], "another").break_leases()
        assert engine._claim(1)[0] == []
        engine.break_leases()
        ((again, other),), _ = Engine(database, Signals(asyncio.get_running_loop()), [Runs(World(0))])._claim(1)
        engine._record(row, token, Outcome({}, {"phase": "stale"}, "stale"))
        engine._record(again, other, Outcome({}, {"phase": "fresh"}, "fresh"))

    asyncio.run(run())
    with database.read() as tx:
        assert tx.rows.list("Thing")[0].state == "fresh"
    database.close()


def test_a_wish_that_comes_meanwhile_is_looked_at_at_once(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/db", durable=False)
    with database.write() as tx:
        tx.rows.add(Row("Thing", "0", "r", "a", "arn:a", {}, due=1.0))

    async def run() -> None:
        engine = Engine(database, Signals(asyncio.get_running_loop()), [Runs(World(0))])
        ((row, token),), _ = engine._claim(1)
        with database.write() as tx:
            fresh = tx.rows.get(*row.key)
            assert fresh is not None
            tx.rows.wish(fresh, stop=True)
        engine._record(row, token, Outcome({}, {}, "x", None))

    asyncio.run(run())
    with database.read() as tx:
        (row,) = tx.rows.list("Thing")
    assert (row.wish, row.due is not None) == ({"stop": True}, True)
    database.close()


def test_what_the_api_writes_meanwhile_stands_until_the_next_look(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/db", durable=False)
    with database.write() as tx:
        tx.rows.add(Row("Thing", "0", "r", "a", "arn:a", {}, {"Status": "Idle", "Seen": 0}, state="Idle", due=1.0))

    async def run() -> None:
        engine = Engine(database, Signals(asyncio.get_running_loop()), [Runs(World(0))])
        ((row, token),), _ = engine._claim(1)
        with database.write() as tx:
            fresh = tx.rows.get(*row.key)
            assert fresh is not None
            fresh = tx.rows.save(fresh, status={**fresh.status, "Status": "Updating"}, state="Updating")
            tx.rows.wish(fresh, update=True)
        engine._record(row, token, Outcome({"Status": "Idle", "Seen": 1}, {"phase": "idle"}, "Idle"))
        with database.read() as tx:
            (found,) = tx.rows.list("Thing")
        assert (found.state, found.status, found.private) == (
            "Updating",
            {"Status": "Updating", "Seen": 1},
            {"phase": "idle"},
        )
        ((row, token),), _ = engine._claim(1)
        engine._record(row, token, Outcome({"Status": "Idle", "Seen": 2}, {}, "Idle", granted=("update",)))

    asyncio.run(run())
    with database.read() as tx:
        (row,) = tx.rows.list("Thing")
    assert (row.state, row.status, row.wish) == ("Idle", {"Status": "Idle", "Seen": 2}, {})
    database.close()


def test_a_wake_up_outlives_a_database_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What ends a piece of work is heard once: the row is looked at although the database was away just then."""
    database = Database(f"sqlite:///{tmp_path}/db", durable=False)
    with database.write() as tx:
        resting, _ = (tx.rows.add(Row("Thing", "0", "r", name, f"arn:{name}", {})) for name in ("a", "b"))

    async def run() -> None:
        engine = Engine(database, Signals(asyncio.get_running_loop()), [Runs(World(0))])
        engine.wake_uid(resting.uid)
        with monkeypatch.context() as away:
            away.setattr(database, "read", _away)
            with pytest.raises(OperationalError):
                engine._claim(1)
        with monkeypatch.context() as away:
            away.setattr(database, "write", _away)
            with pytest.raises(OperationalError):
                engine._claim(1)
        ((row, token),), _ = engine._claim(9)
        assert row.name == "a"
        engine._busy[row.key] = row.uid
        engine.wake_uid(row.uid)  # again, while it is being looked at
        assert engine._claim(9)[0] == []
        engine._record(row, token, Outcome({}, {}, "x", None))
        del engine._busy[row.key]
        ((row, _),), _ = engine._claim(9)
        assert row.name == "a"
        assert engine._claim(9)[0] == []

    asyncio.run(run())
    database.close()


def _away(*_: object) -> None:
    raise OperationalError("select", {}, Exception("the server is away"))


def test_the_loop_ends_when_work_comes_as_it_is_told_to(tmp_path: Path) -> None:
    """A cancellation that comes together with work must not be lost."""
    database = Database(f"sqlite:///{tmp_path}/db", durable=False)

    async def run() -> None:
        for _ in range(20):
            engine = Engine(database, Signals(asyncio.get_running_loop()), [Runs(World(0))])
            async with engine.running():
                while not engine.ready:
                    await asyncio.sleep(0)
                await asyncio.sleep(0.02)  # until it waits
                engine.wake_uid("none")
                await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(run(), 60))
    database.close()
