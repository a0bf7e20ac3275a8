"""How much capacity policies ask for. Pure.

Source: AWS, "Target tracking scaling policies" and "Step scaling policies" of Application Auto Scaling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """What one policy asks for, and on account of which alarm."""

    capacity: int
    policy: str
    alarm: str
    cooldown: float


def track(current: int, value: float | None, target: float, rising: bool) -> int:
    """The capacity at which a metric per instance would be at its target; scaling in never undershoots it."""
    if value is None:
        return current
    wanted = math.ceil(max(current, 1) * value / target - 1e-9)
    return max(wanted, current + 1) if rising and value > target else min(wanted, current) if not rising else current


def step(current: int, config: Json, breach: float) -> int:
    """The capacity after the step that a metric's distance from its alarm's threshold falls into."""
    for adjustment in config.get("StepAdjustments") or ():
        low = adjustment.get("MetricIntervalLowerBound", -math.inf)
        high = adjustment.get("MetricIntervalUpperBound", math.inf)
        inside = low <= breach < high if breach >= 0 else low < breach <= high
        if inside:
            return _adjusted(current, config, adjustment["ScalingAdjustment"])
    return current


def _adjusted(current: int, config: Json, by: int) -> int:
    match config.get("AdjustmentType"):
        case "ExactCapacity":
            return by
        case "PercentChangeInCapacity":
            change = current * by / 100
            whole = (
                math.floor(change) if change > 1 else 1 if change > 0 else -1 if -1 < change < 0 else math.ceil(change)
            )
            least = config.get("MinAdjustmentMagnitude", 0)
            if whole and abs(whole) < least:
                whole = least if whole > 0 else -least
            return current + whole
    return current + by


def choose(current: int, asks: list[Ask], low: int, high: int, agreed: bool) -> Ask | None:
    """The ask that wins: the largest growth; a smaller capacity only where all who track agree."""
    bounded = [Ask(min(max(a.capacity, low), high), a.policy, a.alarm, a.cooldown) for a in asks]
    growing = [a for a in bounded if a.capacity > current]
    if growing:
        return max(growing, key=lambda a: a.capacity)
    shrinking = [a for a in bounded if a.capacity < current]
    return max(shrinking, key=lambda a: a.capacity) if shrinking and agreed else None
