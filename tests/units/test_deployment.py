"""Plans of deployments."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.services.sagemaker.endpoints import deployment


def fleet(**counts: int) -> dict[str, Any]:
    return {"variants": [{"VariantName": n, "Count": c} for n, c in counts.items()]}


def percent(value: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": value}


def blue_green(**routing: Any) -> dict[str, Any]:
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing, "TerminationWaitInSeconds": 30}}


def steps(plan: dict[str, Any]) -> list[tuple[float, int]]:
    return [(round(s["share"], 6), s["wait"]) for s in plan["stages"]]


def test_blue_green_stages() -> None:
    one, four = fleet(A=1), fleet(A=4)
    canary = blue_green(Type="CANARY", WaitIntervalInSeconds=60, CanarySize=percent(10))
    assert steps(deployment.plan(canary, one, one, 0)) == [(0.1, 60), (1.0, 30)]
    counted = blue_green(Type="CANARY", WaitIntervalInSeconds=60, CanarySize={"Type": "INSTANCE_COUNT", "Value": 1})
    assert steps(deployment.plan(counted, one, four, 0)) == [(0.25, 60), (1.0, 30)]
    linear = blue_green(Type="LINEAR", WaitIntervalInSeconds=5, LinearStepSize=percent(30))
    assert steps(deployment.plan(linear, one, four, 0)) == [(0.3, 5), (0.6, 5), (0.9, 5), (1.0, 30)]
    whole = blue_green(Type="ALL_AT_ONCE", WaitIntervalInSeconds=5)
    assert steps(deployment.plan(whole, one, four, 0)) == [(1.0, 30)]
    assert steps(deployment.plan({}, one, four, 0)) == []


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (blue_green(Type="CANARY", WaitIntervalInSeconds=0, CanarySize=percent(51)), "between 1 and 50 percent"),
        (blue_green(Type="CANARY", WaitIntervalInSeconds=0), "CanarySize must be given if"),
        (blue_green(Type="LINEAR", WaitIntervalInSeconds=0, LinearStepSize=percent(9)), "between 10 and 50 percent"),
        ({"RollingUpdatePolicy": {"MaximumBatchSize": percent(60), "WaitIntervalInSeconds": 0}}, "between 5 and 50"),
        (
            {**blue_green(Type="ALL_AT_ONCE", WaitIntervalInSeconds=0), "RollingUpdatePolicy": {"MaximumBatchSize": {}}},
            "not both",
        ),
    ],
)  # fmt: skip
def test_contradictions_are_refused(config: dict[str, Any], words: str) -> None:
    with pytest.raises(deployment.Invalid, match=words):
        deployment.check(config)


def test_a_canary_of_more_than_half_the_instances_is_refused() -> None:
    size = {"Type": "INSTANCE_COUNT", "Value": 2}
    config = blue_green(Type="CANARY", WaitIntervalInSeconds=0, CanarySize=size)
    with pytest.raises(deployment.Invalid, match="more than 50% of a variant's 3"):
        deployment.plan(config, fleet(A=3), fleet(A=3), 0)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(5, 50))
def test_rolling_keeps_capacity(old: int, new: int, size: int) -> None:
    """New instances come before old ones go; a batch is no larger than asked for; it ends with the new ones alone."""
    config = {"RollingUpdatePolicy": {"MaximumBatchSize": percent(size), "WaitIntervalInSeconds": 7}}
    plan = deployment.plan(config, fleet(A=old), fleet(A=new), 0)
    serving, before = old, 0
    for stage in plan["stages"]:
        assert 0 < stage["new"]["A"] - before <= max(1, -(-new * size // 100))
        assert stage["share"] == stage["new"]["A"] / new
        assert serving >= old * (1 - stage["new"]["A"] / new)
        before, serving = stage["new"]["A"], stage["old"]["A"]
    assert (before, serving, plan["launch"]) == (new, 0, plan["stages"][0]["new"])
