"""The pure parts of auto scaling: what policies ask for, and when schedules are due."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.services.autoscaling.decide import Ask, choose, step, track
from clary.services.autoscaling.timetable import ScheduleError, compile_schedule


@pytest.mark.parametrize(
    ("current", "value", "target", "rising", "found"),
    [
        (1, 50.0, 5.0, True, 10), (2, 6.0, 5.0, True, 3), (4, 5.1, 5.0, True, 5), (4, 5.0, 5.0, True, 4),
        (4, 1.0, 5.0, False, 1), (4, 3.0, 5.0, False, 3), (4, 0.0, 5.0, False, 0), (2, None, 5.0, True, 2),
    ],
)  # fmt: skip
def test_tracking(current: int, value: float | None, target: float, rising: bool, found: int) -> None:
    assert track(current, value, target, rising) == found


def steps(kind: str, *bounds: tuple[float | None, float | None, int], **more: Any) -> dict[str, Any]:
    made = []
    for low, high, by in bounds:
        each: dict[str, Any] = {"ScalingAdjustment": by}
        each |= {} if low is None else {"MetricIntervalLowerBound": low}
        each |= {} if high is None else {"MetricIntervalUpperBound": high}
        made.append(each)
    return {"AdjustmentType": kind, "StepAdjustments": made, **more}


@pytest.mark.parametrize(
    ("config", "current", "breach", "found"),
    [
        (steps("ChangeInCapacity", (0, 10, 1), (10, None, 3)), 2, 9.9, 3),
        (steps("ChangeInCapacity", (0, 10, 1), (10, None, 3)), 2, 10.0, 5),
        (steps("ChangeInCapacity", (None, -10, -2), (-10, 0, -1)), 5, -10.0, 3),
        (steps("ChangeInCapacity", (None, -10, -2), (-10, 0, -1)), 5, -9.9, 4),
        (steps("ExactCapacity", (0, None, 7)), 2, 1.0, 7),
        (steps("PercentChangeInCapacity", (0, None, 10)), 4, 1.0, 5),
        (steps("PercentChangeInCapacity", (0, None, 55)), 10, 1.0, 15),
        (steps("PercentChangeInCapacity", (0, None, 10), MinAdjustmentMagnitude=2), 10, 1.0, 12),
        (steps("PercentChangeInCapacity", (None, 0, -10)), 4, -1.0, 3),
        (steps("ChangeInCapacity", (5, None, 1)), 2, 1.0, 2),
    ],
)
def test_steps(config: dict[str, Any], current: int, breach: float, found: int) -> None:
    assert step(current, config, breach) == found


_asks = st.lists(st.builds(Ask, st.integers(-3, 30), st.just("p"), st.just("a"), st.just(0.0)), max_size=5)


@given(_asks, st.integers(1, 20), st.integers(1, 10), st.integers(10, 20), st.booleans())
def test_a_choice_stays_in_bounds_and_never_shrinks_while_another_grows(
    asks: list[Ask], current: int, low: int, high: int, agreed: bool
) -> None:
    found = choose(current, asks, low, high, agreed)
    if found is None:
        return
    assert low <= found.capacity <= high
    assert found.capacity != current
    bounded = [min(max(a.capacity, low), high) for a in asks]
    if found.capacity < current:
        assert agreed
        assert max(bounded) <= current
    else:
        assert found.capacity == max(bounded)


def at(text: str) -> float:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC).timestamp()


@pytest.mark.parametrize(
    ("schedule", "zone", "after", "until", "due"),
    [
        ("at(2030-01-02T03:04:05)", "UTC", "2030-01-02T03:04:00", "2030-01-02T03:04:05", True),
        ("at(2030-01-02T03:04:05)", "UTC", "2030-01-02T03:04:05", "2030-01-02T03:05:00", False),
        ("at(2030-01-02T04:04:05)", "Europe/Paris", "2030-01-02T03:04:00", "2030-01-02T03:04:05", True),
        ("rate(5 minutes)", "UTC", "1970-01-01T00:09:59", "1970-01-01T00:10:00", True),
        ("rate(5 minutes)", "UTC", "1970-01-01T00:10:00", "1970-01-01T00:14:59", False),
        ("cron(30 8 * * ? *)", "UTC", "2030-01-02T08:29:59", "2030-01-02T08:30:01", True),
        ("cron(30 8 * * ? *)", "UTC", "2030-01-02T08:30:01", "2030-01-02T08:59:00", False),
        ("cron(0/15 * ? * MON-FRI *)", "UTC", "2030-01-02T08:44:30", "2030-01-02T08:45:00", True),
        ("cron(0/15 * ? * SAT,SUN *)", "UTC", "2030-01-02T08:44:30", "2030-01-02T08:45:00", False),
        ("cron(0 0 1 JAN ? 2031)", "UTC", "2030-12-31T23:59:00", "2031-01-01T00:00:30", True),
    ],
)
def test_schedules(schedule: str, zone: str, after: str, until: str, due: bool) -> None:
    assert compile_schedule(schedule, zone)(at(after), at(until)) is due


@pytest.mark.parametrize(
    "text",
    [
        "",
        "at(now)",
        "rate(0 minutes)",
        "rate(1 week)",
        "cron(* * * *)",
        "cron(60 * * * ? *)",
        "cron(L * * * ? *)",
        "at(9999-99-99T00:00:00)",
        f"rate({'9' * 400} days)",
    ],
)
def test_what_is_no_schedule(text: str) -> None:
    with pytest.raises(ScheduleError):
        compile_schedule(text)
    with pytest.raises(ScheduleError, match="timezone"):
        compile_schedule("rate(1 day)", "Nowhere/Land")
