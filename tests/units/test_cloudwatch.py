"""The pure parts of CloudWatch: statistics, metric math, the judgement of alarms."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.services.cloudwatch import prometheus, rules
from clary.services.cloudwatch.evaluation import ALARM, OK, UNKNOWN, Rule, judge
from clary.services.cloudwatch.expressions import ExpressionError, Scope, evaluate
from clary.store.database import Database
from clary.store.metrics import MAX_SAMPLES, MetricKey, MetricRows, Statistics

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


def _rules() -> st.SearchStrategy[tuple[str, Any]]:
    """Rules as text, and what they mean as Python."""
    leaf = st.one_of(
        st.just(("TRUE", lambda _: True)),
        st.just(("FALSE", lambda _: False)),
        st.tuples(st.sampled_from(rules.STATES), st.sampled_from(["a", "b c", 'd"e'])).map(
            lambda p: (f"{p[0]}({json.dumps(p[1])})", lambda s, p=p: s[p[1]] == p[0])
        ),
    )

    def join(inner: st.SearchStrategy[tuple[str, Any]]) -> st.SearchStrategy[tuple[str, Any]]:
        return st.one_of(
            inner.map(lambda r: (f"NOT ({r[0]})", lambda s: not r[1](s))),
            st.tuples(inner, inner).map(
                lambda p: (f"({p[0][0]}) AND ({p[1][0]})", lambda s: p[0][1](s) and p[1][1](s))
            ),
            st.tuples(inner, inner).map(lambda p: (f"({p[0][0]}) OR ({p[1][0]})", lambda s: p[0][1](s) or p[1][1](s))),
        )

    return st.recursive(leaf, join, max_leaves=8)


@given(_rules(), st.lists(st.sampled_from(rules.STATES), min_size=3, max_size=3))
def test_rules_mean_what_they_say(rule: tuple[str, Any], states: list[str]) -> None:
    text, meaning = rule
    found = dict(zip(("a", "b c", 'd"e'), states, strict=True))
    assert rules.compile_rule(text).holds(found.__getitem__) == meaning(found)


def test_operators_bind_as_documented() -> None:
    rule = rules.compile_rule("ALARM(a) OR NOT OK(b) AND ALARM(arn:aws:cloudwatch:r:0:alarm:c)")
    assert rule.alarms == ("a", "b", "c")
    assert rule.holds({"a": "ALARM", "b": "OK", "c": "OK"}.__getitem__)
    assert not rule.holds({"a": "OK", "b": "ALARM", "c": "OK"}.__getitem__)
    assert rule.holds({"a": "OK", "b": "ALARM", "c": "ALARM"}.__getitem__)


@given(st.text(alphabet='ALRMOKNTDF()"\\ ab', max_size=60))
def test_nonsense_is_a_rule_or_an_error(text: str) -> None:
    with contextlib.suppress(rules.RuleError):
        rules.compile_rule(text)


@pytest.mark.parametrize(
    "text", ["", "(" * 5000, "NOT " * 5000 + "TRUE", "ALARM()", "ALARM(a", "TRUE TRUE", "MAYBE(a)"]
)
def test_what_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(rules.RuleError):
        rules.compile_rule(text)


def test_prometheus_names_are_the_exporters(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/db", durable=False)
    minute = int(prometheus.now() - 3) // 60 * 60 - 60
    dimensions = (("EndpointName", 'e"1'), ("VariantName", "A"))
    with database.write() as tx:
        rows = MetricRows(tx.connection)
        for namespace, name in (("AWS/SageMaker", "Invocation5XXErrors"), ("own", "Mine")):
            found = Statistics()
            found.add(2.0)
            found.add(4.0)
            for at in (minute - 60, minute, minute + 60):
                rows.add(MetricKey("1", "r", namespace, name, dimensions), at, "None", found)
        rows.add(MetricKey("1", "r", "/aws/sagemaker/Endpoints", "CPUUtilization", ()), minute, "Percent", found)
    text = prometheus.page(SimpleNamespace(database=database))  # type: ignore[arg-type]
    labels = '{account="1",region="r",endpoint_name="e\\"1",variant_name="A"}'
    assert f"aws_sagemaker_invocation5_xxerrors_sum{labels} 6 {minute * 1000}" in text.splitlines()
    assert f'aws_sagemaker_endpoints_cpuutilization_average{{account="1",region="r"}} 3 {minute * 1000}' in text
    assert "mine" not in text
    kinds = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(kinds) == len(set(kinds))
    assert set(kinds) == {line.split("{")[0] for line in text.splitlines() if not line.startswith("#")}
    database.close()
