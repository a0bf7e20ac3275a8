"""Everything of SageMaker that lives: the loop, its reconcilers, the log shipper, the health of replicas."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from ...control.activities import Activities
from ...control.loop import Engine
from ...control.shipping import Shipper
from ...executors.local import LocalExecutor
from ...provider.platform import Platform
from ...store.rows import Row
from . import fleet as fleets
from .asynchronous.dispatch import Dispatcher
from .components.reconcile import ComponentReconciler
from .endpoints.library import Librarian
from .endpoints.publish import Publisher
from .endpoints.reconcile import EndpointReconciler
from .endpoints.serverless import Demand, listening
from .training.reconcile import TrainingReconciler
from .transform.reconcile import TransformReconciler
from .watching import Watcher

log = logging.getLogger(__name__)

_PING_SECONDS = 5.0
_PING_FAILURES = 3


@contextlib.asynccontextmanager
async def start(platform: Platform) -> AsyncIterator[None]:
    """Run the engine while the block runs."""
    loop = asyncio.get_running_loop()
    run = platform.settings.folder / "run"
    executor = LocalExecutor(run)
    shipper = Shipper(platform.logs)
    publisher = Publisher(platform, run / "routes.json")
    demand = Demand()
    dispatcher = Dispatcher(platform, loop)

    def finished(name: str) -> None:
        loop.call_soon_threadsafe(engine.wake_uid, name.partition(":")[0])

    activities = Activities(finished)
    watcher = Watcher(lambda key: engine.wake(key), loop)
    engine = Engine(
        platform.database,
        platform.signals,
        [
            TrainingReconciler(platform, executor, activities, shipper, watcher, lambda key: engine.wake(key)),
            EndpointReconciler(platform, executor, activities, shipper, watcher, publisher, demand),
            ComponentReconciler(platform, executor, activities, shipper, watcher, publisher),
            TransformReconciler(platform, executor, activities, shipper, watcher),
            *platform.services.get("reconcilers", ()),
        ],
        (platform.settings.folder / "node").read_text(),
    )
    platform.services |= {
        "executor": executor,
        "demand": demand,
        "async.wake": dispatcher.wake,
        "publisher": publisher,
        "engine": engine,
        "acknowledgements": {},
    }
    engine.break_leases()
    await asyncio.to_thread(_resume, platform)
    await publisher.publish()

    def keys_changed() -> None:
        loop.call_soon_threadsafe(publisher.changed)

    platform.keyring.listeners.append(keys_changed)
    health = loop.create_task(_keep_healthy(platform, executor, engine))
    try:
        async with (
            shipper.running(),
            publisher.running(),
            engine.running(),
            dispatcher.running(),
            Librarian(platform).running(run / "library.sock"),
            listening(run / "wake.sock", demand, engine.wake_uid),
        ):
            yield
    finally:
        health.cancel()
        activities.close()


def _resume(platform: Platform) -> None:
    """After a start every row that lives is looked at once: its processes may have ended meanwhile."""
    from sqlalchemy import or_, update

    from ...clock import now
    from ...store.schema import resource

    lives = or_(
        resource.c.kind.in_(("Endpoint", "InferenceComponent")),
        resource.c.kind.in_(("TrainingJob", "TransformJob")) & resource.c.state.in_(("InProgress", "Stopping")),
    )
    with platform.database.write() as tx:
        tx.connection.execute(update(resource).where(lives).values(due=now()))


async def _keep_healthy(platform: Platform, executor: LocalExecutor, engine: Engine) -> None:
    """Ping every replica that serves; end the one that stays silent, so that it is replaced."""
    silent: dict[str, int] = {}
    while True:
        await asyncio.sleep(_PING_SECONDS)
        try:
            rows = await asyncio.to_thread(_serving, platform)
            for row in rows:
                current = row.private.get("current")
                if not current:
                    continue
                for slot in fleets.slots(platform, row, current):
                    if not current["slots"].get(slot.key, {}).get("ready"):
                        continue
                    name = str(slot.folder)
                    if await asyncio.to_thread(fleets.ping, slot.socket, 5.0):
                        silent.pop(name, None)
                        continue
                    silent[name] = silent.get(name, 0) + 1
                    if silent[name] >= _PING_FAILURES:
                        log.warning("replica %s of %s %s does not answer its ping", slot.key, row.kind, row.name)
                        silent.pop(name, None)
                        await asyncio.to_thread(executor.kill, slot.folder)
                        engine.wake(row.key)
        except Exception:  # the watch itself must live on
            log.exception("checking replicas failed")


def _serving(platform: Platform) -> list[Row]:
    with platform.database.read() as tx:
        return [*tx.rows.list("Endpoint"), *tx.rows.list("InferenceComponent")]
