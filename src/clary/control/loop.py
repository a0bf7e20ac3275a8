"""Claims due rows under a lease, lets their reconciler look and act, records the result if the lease still holds.

A crash anywhere only means doing it again. Knows no resource by name.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sqlalchemy import and_, func, or_, select, update
from sqlalchemy.exc import OperationalError

from ..clock import now
from ..faults import is_fault
from ..store.database import Database
from ..store.rows import Json, Key, Row
from ..store.schema import resource
from .signals import Signals

log = logging.getLogger(__name__)

LEASE_SECONDS = 30.0
AT_ONCE = 16
_UIDS_AT_ONCE = 500
_LONGEST_SLEEP = 5.0
_LONGEST_WAIT = 60.0  # of a row whose reconciler fails
_FAULT_SECONDS = 2.0  # the same while only the machine or the database is in its way


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a reconciler found and did. ``again`` is seconds until the next look; None: only when something changes.

    ``private`` is the reconciler's alone; status and state may be written by the API too, whose word stands until the
    wish that came with it has been seen.
    """

    status: Json
    private: Json
    state: str
    again: float | None = None
    delete: bool = False
    granted: tuple[str, ...] = field(default=())  # wishes that are fulfilled


class Reconciler(Protocol):
    """Brings rows of one kind nearer to what was asked for."""

    kind: str

    async def reconcile(self, row: Row) -> Outcome:
        """Look, decide, act. May run at any time and any number of times."""


class Engine:
    """Runs reconcilers over the rows that are due. Its leases bear the name of the node that it runs on."""

    def __init__(
        self, database: Database, signals: Signals, reconcilers: Sequence[Reconciler], node: str = "node"
    ):  # fmt: skip
        self._database = database
        self._signals = signals
        self._node = node
        self._by_kind = {r.kind: r for r in reconcilers}
        signals.kinds.update(self._by_kind)
        self._woken: set[Key] = set()
        self._woken_uids: set[str] = set()
        self._busy: dict[Key, str] = {}  # the uids of the rows at work
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[tuple[Row, str]] = []  # leases that could not be given back
        self.ready = False

    def wake(self, key: Key) -> None:
        """Look at a row soon, whatever its due time says; call it from the event loop."""
        self._woken.add(key)
        self._signals.work.set()

    def wake_uid(self, uid: str) -> None:
        """Look at the row with a uid soon; call it from the event loop. The claim finds it, when the database answers."""
        self._woken_uids.add(uid)
        self._signals.work.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work while the block runs."""
        task = asyncio.create_task(self._work())
        try:
            yield
        finally:
            for inner in list(self._tasks):
                inner.cancel()
            while not task.done():  # wait_for swallows a cancellation that comes with what it waits for (Python 3.11)
                task.cancel()
                await asyncio.wait((task,), timeout=0.1)

    async def _work(self) -> None:
        while True:
            self._signals.work.clear()
            try:
                await asyncio.to_thread(self._give_back)
                claimed, pause = await asyncio.to_thread(self._claim, AT_ONCE - len(self._tasks))
            except Exception:  # the database may be away: the loop itself must live on
                log.exception("claiming rows failed")
                claimed, pause = [], 1.0
            for row, token in claimed:
                self._busy[row.key] = row.uid
                task = asyncio.create_task(self._reconcile(row, token))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            self.ready = True
            if claimed:
                continue
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._signals.work.wait(), pause)

    def _claim(self, room: int) -> tuple[list[tuple[Row, str]], float]:
        """Rows that are due, leased to us, and the seconds until the next one is."""
        if room <= 0:
            return [], 0.05
        at = now()
        free = or_(resource.c.leased_until.is_(None), resource.c.leased_until < at)
        woken = [k for k in list(self._woken) if k not in self._busy]
        at_work = set(self._busy.values())
        uids = [uid for uid in list(self._woken_uids) if uid not in at_work][:_UIDS_AT_ONCE]
        ours = resource.c.kind.in_(list(self._by_kind))
        due = resource.c.due <= at
        if woken:
            due = or_(due, *(_named(k) for k in woken))
        if uids:
            due = or_(due, resource.c.uid.in_(uids))
        with self._database.read() as tx:
            found = tx.connection.execute(
                select(resource.c.kind, resource.c.account, resource.c.region, resource.c.name)
                .where(ours, due, free)
                .order_by(resource.c.due)
                .limit(room)
            ).fetchall()
            keys = [k for k in (Key(*row) for row in found) if k not in self._busy]
            if not keys:
                self._woken.difference_update(woken)
                self._woken_uids.difference_update(uids)
                upcoming = tx.connection.execute(
                    select(func.min(resource.c.due)).where(ours, resource.c.due > at)
                ).scalar()
                return [], max(0.005, min(_LONGEST_SLEEP, (upcoming - at) if upcoming else _LONGEST_SLEEP))
        claimed: list[tuple[Row, str]] = []
        with self._database.write() as tx:
            for key in keys:
                token = f"{self._node}:{uuid.uuid4().hex}"
                taken = tx.connection.execute(
                    update(resource).where(_named(key), free).values(lease=token, leased_until=at + LEASE_SECONDS)
                ).rowcount
                row = tx.rows.get(*key) if taken else None
                if row is not None:
                    claimed.append((row, token))
        self._woken.difference_update(keys)  # after the commit: a wake-up outlives a database that is away
        self._woken_uids.difference_update(row.uid for row, _ in claimed)
        return claimed, 0.0

    async def _reconcile(self, row: Row, token: str) -> None:
        reconciler = self._by_kind[row.kind]
        keep = asyncio.create_task(self._renew(row.key, token))
        try:
            outcome = await reconciler.reconcile(row)
            await asyncio.to_thread(self._record, row, token, outcome)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # the one place where a fault becomes a retry
            log.exception("reconciling %s %s failed", row.kind, row.name)
            try:
                await asyncio.to_thread(
                    self._note, row, token, f"{type(error).__name__}: {error}", _longest_wait(error)
                )
            except Exception:  # noqa: BLE001  # the database may be away, too: the lease is given back when it answers
                self._held.append((row, token))
        finally:
            keep.cancel()
            self._busy.pop(row.key, None)
            self._signals.work.set()

    async def _renew(self, key: Key, token: str) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            try:
                await asyncio.to_thread(self._extend, key, token)
            except Exception:  # the database may be away: the next try may come in time
                log.exception("renewing the lease of %s %s failed", key.kind, key.name)

    def _extend(self, key: Key, token: str) -> None:
        with self._database.write() as tx:
            where = and_(_named(key), resource.c.lease == token)
            tx.connection.execute(update(resource).where(where).values(leased_until=now() + LEASE_SECONDS))

    def _record(self, row: Row, token: str, outcome: Outcome) -> None:
        with self._database.write() as tx:
            if not self._release(tx.connection, row.key, token):
                return
            fresh = tx.rows.get(*row.key)
            if fresh is None:
                return
            if outcome.delete:
                tx.rows.delete(fresh)
                return
            due = None if outcome.again is None else now() + outcome.again
            if fresh.wish != row.wish:
                due = now()  # the API asked for more meanwhile
            wish = {k: v for k, v in fresh.wish.items() if k not in outcome.granted or row.wish.get(k) != v}
            changes: dict[str, Any] = {"due": due, "wish": wish, "tries": 0, "note": None}
            status = _merged(row.status, outcome.status, fresh.status)
            state = outcome.state if fresh.state == row.state else fresh.state
            modified = fresh.modified if (status, state) == (fresh.status, fresh.state) else now()
            tx.rows.save(fresh, status=status, private=outcome.private, state=state, modified=modified, **changes)

    def _note(self, row: Row, token: str, text: str, longest: float) -> None:
        with self._database.write() as tx:
            if self._release(tx.connection, row.key, token) and (fresh := tx.rows.get(*row.key)) is not None:
                wait = min(longest, 0.5 * 2**fresh.tries)
                tx.rows.save(fresh, tries=fresh.tries + 1, note=text, due=now() + wait, modified=fresh.modified)

    def _give_back(self) -> None:
        """Give back leases of rows whose outcome could not be recorded, so that they are due again."""
        while self._held:
            row, token = self._held[-1]
            self._note(row, token, "the outcome could not be recorded", _FAULT_SECONDS)
            self._held.pop()

    def _release(self, connection: Any, key: Key, token: str) -> bool:
        where = and_(_named(key), resource.c.lease == token)
        return bool(connection.execute(update(resource).where(where).values(lease=None, leased_until=None)).rowcount)

    def break_leases(self) -> None:
        """At a start: leases of the process before are void. Those of other nodes on the same database hold."""
        with self._database.write() as tx:
            tx.connection.execute(
                update(resource)
                .where(resource.c.lease.startswith(f"{self._node}:", autoescape=True))
                .values(lease=None, leased_until=None)
            )


def passes(error: BaseException) -> bool:
    """Return whether a failure is the machine's or the database's, so that the same step succeeds later."""
    return is_fault(error) or isinstance(error, OperationalError)


def _longest_wait(error: BaseException) -> float:
    return _FAULT_SECONDS if passes(error) else _LONGEST_WAIT


def _merged(before: Json, ours: Json, theirs: Json) -> Json:
    """A reconciler's status, but for what the API wrote while it looked: that stands until the next look."""
    written = {k: v for k, v in theirs.items() if before.get(k) != v}
    return {**ours, **written} if written else ours


def _named(key: Key) -> Any:
    return and_(
        resource.c.kind == key.kind, resource.c.account == key.account, resource.c.region == key.region,
        resource.c.name == key.name,
    )  # fmt: skip
