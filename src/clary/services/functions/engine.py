"""What runs beside the operations: the functions' processes, their metrics, archives that nobody needs any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import orjson

from ...control.shipping import Shipper
from ...executors.local import LocalExecutor
from ...provider.platform import Platform
from ...store.logs import StreamKey
from ...web import Connections, Limits
from . import code
from .environments import STREAM, Environments
from .provisioning import Provisioner

log = logging.getLogger(__name__)
_REAP_SECONDS = 1.0
_WEEK = 7 * 86400.0


@contextlib.asynccontextmanager
async def running(platform: Platform) -> AsyncIterator[None]:
    """Run functions while the block runs; what an earlier control left of their processes is swept first."""
    executor = LocalExecutor(platform.settings.folder / "run")
    shipper = Shipper(platform.logs, escape=str)  # as on AWS, its lines keep their tabs
    await _sweep(platform, executor, shipper)
    pool = Connections(Limits(idle_seconds=_WEEK))
    environments = platform.services["functions"] = Environments(platform, executor, shipper, pool)

    provisioner = Provisioner(platform)

    async def look() -> None:
        while True:
            await asyncio.sleep(_REAP_SECONDS)
            try:
                await environments.reap(platform.settings.function_idle_seconds)
                await provisioner.look(environments)
            except Exception:  # the look itself must live on
                log.exception("looking after the functions' processes failed")

    task = asyncio.create_task(look())
    try:
        async with shipper.running():
            yield
            await environments.close()
    finally:
        task.cancel()


async def _sweep(platform: Platform, executor: LocalExecutor, shipper: Shipper) -> None:
    """End what runs, ship what it has logged, remove its folder."""
    runs = platform.settings.folder / "runs"
    for folder in runs.glob("fn-*"):
        await asyncio.to_thread(executor.kill, folder)
        with contextlib.suppress(OSError, ValueError, TypeError):
            await shipper.follow(folder / "log", StreamKey(**orjson.loads((folder / STREAM).read_bytes())))
            await shipper.drain(folder / "log")
    for pattern in ("fn-*", "layers-*", ".layers-*"):
        for folder in runs.glob(pattern):
            await asyncio.to_thread(executor.sweep, folder)
    await asyncio.to_thread(code.sweep, platform)
