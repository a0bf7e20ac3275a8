"""Metrics that control itself counts: gathered in memory, stored about once a second."""

from __future__ import annotations

import threading
from contextlib import AbstractAsyncContextManager

from ..clock import now
from ..control.chores import repeated
from ..provider.platform import Platform
from ..store.database import Transaction
from ..store.metrics import MINUTE, MetricKey, MetricRows, Statistics

_EVERY_SECONDS = 1.0


class Meters:
    """What was counted since it was last stored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[tuple[MetricKey, int, str], Statistics] = {}

    def add(self, key: MetricKey, value: float, unit: str = "Count") -> None:
        """Count a value."""
        minute = int(now()) // MINUTE * MINUTE
        with self._lock:
            self._counted.setdefault((key, minute, unit), Statistics()).add(value)

    def store(self, platform: Platform) -> None:
        """Store what was counted."""
        with self._lock:
            counted, self._counted = self._counted, {}
        if counted:
            platform.database.attempt(lambda tx: _store(tx, counted))

    def running(self, platform: Platform) -> AbstractAsyncContextManager[None]:
        """Store while the block runs."""
        return repeated(_EVERY_SECONDS, "storing metrics", lambda: self.store(platform))


def _store(tx: Transaction, counted: dict[tuple[MetricKey, int, str], Statistics]) -> None:
    rows = MetricRows(tx.connection)
    for (key, minute, unit), found in counted.items():
        rows.add(key, minute, unit, found)


def install(platform: Platform) -> None:
    """Make the platform's meters, under ``services["meters"]``."""
    meters = platform.services["meters"] = Meters()
    platform.services.setdefault("start", []).append(lambda: meters.running(platform))
