"""The pure parts of CloudWatch: statistics, metric math, the judgement of alarms."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.services.cloudwatch.evaluation import ALARM, OK, UNKNOWN, Rule, judge
from clary.services.cloudwatch.expressions import ExpressionError, Scope, evaluate
from clary.store.metrics import MAX_SAMPLES, Statistics

SERIES = {"m1": {0: 1.0, 60: 2.0, 120: 4.0}, "m2": {0: 10.0, 120: 0.0}}
SCOPE = Scope(SERIES, {"m1": 60, "m2": 60})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("m1 + 1", {0: 2.0, 60: 3.0, 120: 5.0}),
        ("m1 * m2", {0: 10.0, 120: 0.0}),
        ("100 * m1 / m2", {0: 10.0}),
        ("SUM([m1, m2])", {0: 11.0, 60: 2.0, 120: 4.0}),
        ("SUM(METRICS())", {0: 11.0, 60: 2.0, 120: 4.0}),
        ("MAX(METRICS('m1'))", {0: 1.0, 60: 2.0, 120: 4.0}),
        ("AVG(m1)", 7 / 3),
        ("-m2", {0: -10.0, 120: 0.0}),
        ("FILL(m2, 0)", {0: 10.0, 60: 0.0, 120: 0.0}),
        ("FILL(m2, REPEAT)", {0: 10.0, 60: 10.0, 120: 0.0}),
        ("IF(m1 > 1, m1, 0)", {0: 0.0, 60: 2.0, 120: 4.0}),
        ("IF(m1 > 1 && m1 < 4, 1, 0)", {0: 0.0, 60: 1.0, 120: 0.0}),
        ("DIFF(m1)", {60: 1.0, 120: 2.0}),
        ("RATE(m1)", {60: 1 / 60, 120: 2 / 60}),
        ("m1 / PERIOD(m1)", {0: 1 / 60, 60: 2 / 60, 120: 4 / 60}),
        ("CEIL(m1 / 3)", {0: 1.0, 60: 1.0, 120: 2.0}),
    ],
)
def test_metric_math(text: str, value: Any) -> None:
    assert evaluate(text, SCOPE) == pytest.approx(value)


@pytest.mark.parametrize(
    "text",
    ["", "m3", "m1 +", "__import__('os')", "m1.real", "SEARCH('x', 'Sum')", "'a'", "m1[0]", "lambda: 1", "f(m1)"],
)
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(ExpressionError):
        evaluate(text, SCOPE)


@given(st.text(max_size=60))
def test_any_text_is_evaluated_or_refused(text: str) -> None:
    with contextlib.suppress(ExpressionError):
        evaluate(text, SCOPE)


@given(st.lists(st.floats(0.001, 1e9), min_size=1, max_size=400))
def test_statistics_are_those_of_the_values(values: list[float]) -> None:
    whole, half = Statistics(), Statistics()
    for i, value in enumerate(values):
        (whole if i % 2 else half).add(value)
    whole.merge(half)
    assert (whole.count, whole.low, whole.high) == (len(values), min(values), max(values))
    assert whole.total == pytest.approx(sum(values))
    assert len(whole.samples) <= MAX_SAMPLES
    median = sorted(values)[(len(values) + 1) // 2 - 1]
    assert whole.get("p50") == pytest.approx(median, rel=0.6 if len(values) > MAX_SAMPLES else 1e-9)


def points(*values: float | None) -> list[tuple[int, float | None]]:
    return [(i * 60, v) for i, v in enumerate(values)]


@pytest.mark.parametrize(
    ("rule", "datapoints", "present", "state"),
    [
        (Rule("GreaterThanThreshold", 5, 3, 3), points(6, 7, 8), UNKNOWN, ALARM),
        (Rule("GreaterThanThreshold", 5, 3, 2), points(6, 1, 8), OK, ALARM),
        (Rule("GreaterThanThreshold", 5, 3, 3), points(6, 5, 8), ALARM, OK),
        (Rule("GreaterThanThreshold", 5, 3, 3), points(6, 7, 8), ALARM, None),
        (Rule("LessThanThreshold", 5, 2, 2), points(1, None), OK, None),
        (Rule("LessThanThreshold", 5, 2, 2, "breaching"), points(1, None), OK, ALARM),
        (Rule("LessThanThreshold", 5, 2, 2, "notBreaching"), points(None, None), ALARM, OK),
        (Rule("GreaterThanThreshold", 5, 2, 2), points(None, None), OK, UNKNOWN),
        (Rule("GreaterThanThreshold", 5, 2, 2, "ignore"), points(None, None), OK, None),
        (Rule("GreaterThanThreshold", 5, 2, 2), points(9, None), ALARM, None),
        (Rule("GreaterThanOrEqualToThreshold", 1, 1, 1), points(math.pi), OK, ALARM),
    ],
)
def test_judgements(rule: Rule, datapoints: list[tuple[int, float | None]], present: str, state: str | None) -> None:
    found = judge(rule, datapoints, present)
    assert (found.state if found else None) == state


def test_reasons_are_awss() -> None:
    found = judge(Rule("GreaterThanThreshold", 5, 3, 2), points(6, 1, 8), OK)
    assert found is not None
    assert found.reason == (
        "Threshold Crossed: 2 out of the last 3 datapoints [8 (01/01/70 00:02:00), 6 (01/01/70 00:00:00)] were greater "
        "than the threshold (5) (minimum 2 datapoints for OK -> ALARM transition)."
    )
