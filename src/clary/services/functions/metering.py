"""CloudWatch's metrics of functions. Source: AWS, "Types of metrics for Lambda functions"."""

from __future__ import annotations

import threading
from typing import Any

from ...clock import now
from ...provider.platform import Platform
from ...store.database import Transaction
from ...store.metrics import MINUTE, MetricKey, MetricRows, Statistics

NAMESPACE = "AWS/Lambda"
Function = tuple[str, str, str]
"""Account, region, name."""


class Meters:
    """What was counted since it was last stored."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counted: dict[tuple[Function, int, str, str], Statistics] = {}

    def add(self, function: Function, metric: str, value: float, unit: str = "Count") -> None:
        """Count a value."""
        minute = int(now()) // MINUTE * MINUTE
        with self._lock:
            self._counted.setdefault((function, minute, metric, unit), Statistics()).add(value)

    def store(self, platform: Platform) -> None:
        """Store what was counted."""
        with self._lock:
            counted, self._counted = self._counted, {}
        if counted:
            platform.database.attempt(lambda tx: _store(tx, counted))


def _store(tx: Transaction, counted: dict[Any, Statistics]) -> None:
    rows = MetricRows(tx.connection)
    for ((account, region, name), minute, metric, unit), found in counted.items():
        key = MetricKey(account, region, NAMESPACE, metric, (("FunctionName", name),))
        rows.add(key, minute, unit, found)
