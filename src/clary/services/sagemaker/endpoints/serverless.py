"""Serverless variants: instances come when requests wait for one, and go when none has come for a while.

The front says how many it could use, over ``run/wake.sock``: a line ``[endpoint's id, variant, instances]``. It says so
again each second while requests wait, so nothing of it needs to be kept on disk.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson

from ....clock import now

log = logging.getLogger(__name__)

Json = dict[str, Any]
_MAX_LINE = 4 << 10
_DEMAND_SECONDS = 10.0
"""How long a front's word on the instances that it could use holds."""


class Demand:
    """What the fronts said, and when each variant last had a request. Used from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wanted: dict[tuple[str, str], tuple[int, float]] = {}
        self._used: dict[tuple[str, str, str, str], float] = {}
        self._began = now()

    def want(self, uid: str, variant: str, count: int) -> None:
        """A front could use so many instances."""
        at = now()
        with self._lock:
            before, said = self._wanted.get((uid, variant), (0, 0.0))
            if at - said < _DEMAND_SECONDS:
                count = max(count, before)
            self._wanted[uid, variant] = (count, at)
            if len(self._wanted) > 10_000:
                self._wanted = {k: v for k, v in self._wanted.items() if at - v[1] < _DEMAND_SECONDS}

    def used(self, key: tuple[str, str, str, str], at: float) -> None:
        """A variant (account, region, endpoint, variant) has had requests."""
        with self._lock:
            self._used[key] = max(at, self._used.get(key, 0.0))

    def count(self, uid: str, key: tuple[str, str, str, str], variant: Json, since: float, idle: float) -> int:
        """How many instances a variant should have, given when its fleet came to serve and after how long idle ones go."""
        config, at = variant["Serverless"], now()
        warm = int(config.get("ProvisionedConcurrency") or 0)
        with self._lock:
            wanted, said = self._wanted.get((uid, variant["VariantName"]), (0, 0.0))
            last = max(self._used.get(key, self._began), since, said)
        if at - last > idle:
            return min(warm, limit(config))
        kept = max(int(variant["Count"]), wanted if at - said < _DEMAND_SECONDS else 0, warm)
        return min(kept, limit(config))


def limit(config: Json) -> int:
    """The most processes that a variant gets: its concurrency, but more than the machine's cores would help nobody."""
    return min(int(config["MaxConcurrency"]), max(2, os.cpu_count() or 1))


@contextlib.asynccontextmanager
async def listening(path: Path, demand: Demand, wake: Callable[[str], None]) -> AsyncIterator[None]:
    """Hear the fronts while the block runs; ``wake`` has an endpoint looked at, by its id."""

    async def hear(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                uid, variant, count = orjson.loads(line)
                demand.want(uid, variant, int(count))
                wake(uid)
        except (OSError, ValueError):
            log.debug("a front went away while it asked for instances")
        finally:
            writer.close()

    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(hear, str(path), limit=_MAX_LINE)
    os.chmod(path, 0o600)
    try:
        yield
    finally:
        server.close()
