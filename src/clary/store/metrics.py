"""Metrics: statistics by minute or second. A point holds what CloudWatch's statistics need, not every value."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, and_, delete, insert, select, update

from .schema import metric, metric_point

MINUTE = 60
MAX_SAMPLES = 150

Dimensions = tuple[tuple[str, str], ...]


class MetricKey(NamedTuple):
    """What names a metric. Dimensions are sorted pairs."""

    account: str
    region: str
    namespace: str
    name: str
    dimensions: Dimensions


@dataclass(slots=True)
class Statistics:
    """What is kept of values: how many, their sum, least and greatest, and a sketch of their distribution."""

    count: float = 0.0
    total: float = 0.0
    low: float = math.inf
    high: float = -math.inf
    samples: dict[float, float] = field(default_factory=dict)

    def add(self, value: float, times: float = 1.0) -> None:
        """Count a value."""
        self.count += times
        self.total += value * times
        self.low, self.high = min(self.low, value), max(self.high, value)
        self.samples[value] = self.samples.get(value, 0.0) + times

    def merge(self, other: Statistics) -> None:
        """Count all that another one counted."""
        self.count += other.count
        self.total += other.total
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        for value, times in other.samples.items():
            self.samples[value] = self.samples.get(value, 0.0) + times
        self.thin()

    def thin(self) -> None:
        """Keep the sketch small: values that differ in the third digit become one."""
        digits = 3
        while len(self.samples) > MAX_SAMPLES and digits:
            thinner: dict[float, float] = {}
            for value, times in self.samples.items():
                rounded = float(f"{value:.{digits - 1}e}")
                thinner[rounded] = thinner.get(rounded, 0.0) + times
            self.samples, digits = thinner, digits - 1

    def percentile(self, percent: float) -> float:
        """The value below which so many percent lie, within the sketch's precision."""
        ordered = sorted(self.samples.items())
        if not ordered:
            return self.total / self.count if self.count else math.nan
        wanted, seen = sum(t for _, t in ordered) * percent / 100, 0.0
        for value, times in ordered:
            seen += times
            if seen >= wanted:
                return min(max(value, self.low), self.high)
        return ordered[-1][0]

    def get(self, name: str) -> float:
        """A statistic by CloudWatch's name: Sum, Average, Minimum, Maximum, SampleCount, p99, …"""
        match name:
            case "Sum":
                return self.total
            case "Average":
                return self.total / self.count if self.count else 0.0
            case "Minimum":
                return self.low
            case "Maximum":
                return self.high
            case "SampleCount":
                return self.count
        return self.percentile(float(name[1:]))


@dataclass(frozen=True, slots=True)
class Point:
    """The statistics of one moment's values."""

    at: int
    unit: str
    statistics: Statistics


class MetricRows:
    """Metrics in one transaction."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def add(self, key: MetricKey, at: int, unit: str, found: Statistics) -> None:
        """Add values to a metric's point, making both if need be."""
        number = self._ensure(key)
        where = and_(metric_point.c.metric == number, metric_point.c.at == at, metric_point.c.unit == unit)
        row = self._connection.execute(select(metric_point).where(where).with_for_update()).mappings().fetchone()
        if row is not None:
            found = Statistics(found.count, found.total, found.low, found.high, dict(found.samples))
            found.merge(_statistics(row))
        found.thin()
        values = {
            "count": found.count, "total": found.total, "low": found.low, "high": found.high,
            "samples": orjson.dumps(list(found.samples.items())).decode(),
        }  # fmt: skip
        if row is not None:
            self._connection.execute(update(metric_point).where(where).values(values))
        else:
            self._connection.execute(insert(metric_point), {"metric": number, "at": at, "unit": unit, **values})

    def ensure_zero(self, key: MetricKey, at: int, unit: str) -> None:
        """Store a zero where nothing was counted."""
        number = self._ensure(key)
        where = and_(metric_point.c.metric == number, metric_point.c.at == at)
        if self._connection.execute(select(metric_point.c.at).where(where)).first() is None:
            zero = Statistics()
            zero.add(0.0)
            self.add(key, at, unit, zero)

    def _ensure(self, key: MetricKey) -> int:
        found = self._connection.execute(select(metric.c.id).where(_named(key))).scalar()
        if found is None:
            self._connection.execute(insert(metric), _columns(key))
            found = self._connection.execute(select(metric.c.id).where(_named(key))).scalar_one()
        return int(found)

    def points(self, key: MetricKey, start: float, end: float, unit: str | None = None) -> list[Point]:
        """A metric's points from a moment until before another, by time."""
        where = [_named(key), metric_point.c.at >= start, metric_point.c.at < end]
        if unit is not None:
            where.append(metric_point.c.unit == unit)
        statement = select(metric_point).join(metric, metric.c.id == metric_point.c.metric).where(*where)
        rows = self._connection.execute(statement.order_by(metric_point.c.at)).mappings()
        return [Point(r["at"], r["unit"], _statistics(r)) for r in rows]

    def list(self, account: str, region: str, namespace: str | None, name: str | None) -> list[MetricKey]:
        """An account's metrics, by name."""
        where = [metric.c.account == account, metric.c.region == region]
        if namespace is not None:
            where.append(metric.c.namespace == namespace)
        if name is not None:
            where.append(metric.c.name == name)
        statement = select(metric).where(*where).order_by(metric.c.namespace, metric.c.name, metric.c.dimensions)
        return [_key(r) for r in self._connection.execute(statement).mappings()]

    def at(self, moment: int) -> Sequence[tuple[MetricKey, Statistics]]:
        """Every metric that has a point of a moment, with its statistics."""
        statement = select(metric, metric_point).join(metric_point, metric.c.id == metric_point.c.metric)
        found = self._connection.execute(statement.where(metric_point.c.at == moment)).mappings()
        return [(_key(row), _statistics(row)) for row in found]

    def forget_before(self, at: float) -> int:
        """Remove old points; how many there were."""
        return int(self._connection.execute(delete(metric_point).where(metric_point.c.at < at)).rowcount)


def together(points: Iterable[Point], period: int, start: float) -> dict[int, Statistics]:
    """Statistics by period; periods count from ``start``."""
    found: dict[int, Statistics] = {}
    first = int(start)
    for point in points:
        at = first + (point.at - first) // period * period
        found.setdefault(at, Statistics()).merge(point.statistics)
    return found


def _statistics(row: Any) -> Statistics:
    samples = {float(v): float(t) for v, t in orjson.loads(row["samples"])}
    return Statistics(row["count"], row["total"], row["low"], row["high"], samples)


def _columns(key: MetricKey) -> dict[str, str]:
    return {**key._asdict(), "dimensions": orjson.dumps(key.dimensions).decode()}


def _named(key: MetricKey) -> Any:
    return and_(*(metric.c[name] == value for name, value in _columns(key).items()))


def _key(row: Any) -> MetricKey:
    pairs = tuple((str(n), str(v)) for n, v in orjson.loads(row["dimensions"]))
    return MetricKey(row["account"], row["region"], row["namespace"], row["name"], pairs)
