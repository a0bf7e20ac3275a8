"""How an update moves traffic from the fleet that serves to the next one: a plan of stages. Pure.

Source: AWS, "Deployment guardrails for updating models in production". Blue/green policies launch the whole next fleet
and move traffic in one step (all at once), two (canary) or several (linear); a rolling policy replaces instances batch
by batch. After each step the fleets bake; an alarm that goes off, or too much time, moves everything back.
"""

from __future__ import annotations

from math import ceil
from typing import Any

Json = dict[str, Any]
_ROLLING_SECONDS = 28800
_BLUE_GREEN_SECONDS = 28800


class Invalid(Exception):
    """A DeploymentConfig that cannot be; the text says why."""


def alarms(config: Json) -> list[str]:
    """The names of the alarms that roll a deployment back."""
    return [a["AlarmName"] for a in (config.get("AutoRollbackConfiguration") or {}).get("Alarms") or ()]


def check(config: Json) -> None:
    """Raise Invalid when members contradict each other."""
    blue_green, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
    if blue_green and rolling:
        raise Invalid("DeploymentConfig takes either BlueGreenUpdatePolicy or RollingUpdatePolicy, not both.")
    if blue_green:
        routing = blue_green["TrafficRoutingConfiguration"]
        for kind, size in (("CANARY", "CanarySize"), ("LINEAR", "LinearStepSize")):
            if (routing["Type"] == kind) != bool(routing.get(size)):
                raise Invalid(f"{size} must be given if, and only if, the traffic routing type is {kind}.")
        if routing["Type"] == "CANARY":
            _percent("CanarySize", routing["CanarySize"], 1, 50)
        if routing["Type"] == "LINEAR":
            _percent("LinearStepSize", routing["LinearStepSize"], 10, 50)
    if rolling:
        _percent("MaximumBatchSize", rolling["MaximumBatchSize"], 5, 50)
        if rolling.get("RollbackMaximumBatchSize"):
            _percent("RollbackMaximumBatchSize", rolling["RollbackMaximumBatchSize"], 5, 100)


def _percent(name: str, size: Json, low: int, high: int) -> None:
    if size["Type"] == "CAPACITY_PERCENT" and not low <= size["Value"] <= high:
        raise Invalid(f"{name} must be between {low} and {high} percent of the capacity; it is {size['Value']}.")


def plan(config: Json, current: Json, upcoming: Json, now: float) -> Json:
    """A deployment from one fleet to another, as it is kept: its stages, and where it stands.

    Raises Invalid when a size does not fit the fleets.
    """
    stages: list[Json] = []
    began: dict[str, int] | None = None
    seconds = _BLUE_GREEN_SECONDS
    if rolling := config.get("RollingUpdatePolicy"):
        began, stages = _rolling(rolling, current, upcoming)
        seconds = rolling.get("MaximumExecutionTimeoutInSeconds") or _ROLLING_SECONDS
    elif blue_green := config.get("BlueGreenUpdatePolicy"):
        stages = _blue_green(blue_green, upcoming)
        seconds = blue_green.get("MaximumExecutionTimeoutInSeconds") or _BLUE_GREEN_SECONDS
    watched = alarms(config)
    if watched and not stages:
        stages = [_stage(1.0, 0, "TerminationWaitInSeconds", "full")]
    if all(not s["wait"] for s in stages) and not watched and began is None:
        stages = []  # nothing to wait for, nothing to look at: change over at once
    return {
        "began": now, "deadline": now + seconds, "alarms": watched, "stages": stages, "stage": 0, "share": 0.0,
        "until": None, "original": {v["VariantName"]: v["Count"] for v in current["variants"]} if began else None,
        "launch": began,
    }  # fmt: skip


def _stage(share: float, wait: int, waiting: str, capacity: str, **counts: dict[str, int]) -> Json:
    return {"share": share, "wait": wait, "waiting": waiting, "capacity": capacity, **counts}


def _blue_green(policy: Json, upcoming: Json) -> list[Json]:
    routing, last = policy["TrafficRoutingConfiguration"], policy.get("TerminationWaitInSeconds") or 0
    final = _stage(1.0, last, "TerminationWaitInSeconds", "full")
    between = routing["WaitIntervalInSeconds"]
    if routing["Type"] == "CANARY":
        share = _share("CanarySize", routing["CanarySize"], upcoming, 0.5)
        return [_stage(share, between, "WaitIntervalInSeconds", "canary"), final]
    if routing["Type"] == "LINEAR":
        size = _share("LinearStepSize", routing["LinearStepSize"], upcoming, 0.5)
        shares = [size * n for n in range(1, ceil(1 / size - 1e-9))]
        return [*(_stage(s, between, "WaitIntervalInSeconds", "linear") for s in shares), final]
    return [final]


def _share(name: str, size: Json, fleet: Json, limit: float) -> float:
    if size["Type"] == "CAPACITY_PERCENT":
        return float(size["Value"]) / 100
    smallest: int = min(v["Count"] for v in fleet["variants"])
    if size["Value"] > limit * smallest:
        raise Invalid(
            f"{name} of {size['Value']} instance(s) is more than {limit:.0%} of a variant's {smallest} instance(s)."
        )
    return float(size["Value"] / smallest)


def _rolling(policy: Json, current: Json, upcoming: Json) -> tuple[dict[str, int], list[Json]]:
    """The next fleet's first counts, and the stages: each serves so many new ones and then keeps so many old ones."""
    wanted = {v["VariantName"]: v["Count"] for v in upcoming["variants"]}
    present = {v["VariantName"]: v["Count"] for v in current["variants"]}
    size, wait = policy["MaximumBatchSize"], policy["WaitIntervalInSeconds"]
    if size["Type"] == "INSTANCE_COUNT":
        _share("MaximumBatchSize", size, upcoming, 0.5 if min(wanted.values()) > 1 else 1.0)
    batch = {
        n: size["Value"] if size["Type"] == "INSTANCE_COUNT" else ceil(c * size["Value"] / 100)
        for n, c in wanted.items()
    }
    rounds = max(ceil(c / batch[n]) for n, c in wanted.items())
    stages: list[Json] = []
    for number in range(1, rounds + 1):
        new = {n: min(c, number * batch[n]) for n, c in wanted.items()}
        share = sum(new.values()) / sum(wanted.values())
        old = {
            n: max(0, ceil(c * (1 - new.get(n, wanted.get(n, 0)) / wanted[n])) if n in wanted else c)
            for n, c in present.items()
        }
        last = number == rounds
        stages.append(_stage(share, wait, "WaitIntervalInSeconds", "full" if last else "batch", new=new, old=old))
    return stages[0]["new"], stages


# ---- where it stands -----------------------------------------------------------------------------------------------


def present(deployment: Json) -> Json | None:
    """The stage that is under way."""
    stages: list[Json] = deployment["stages"]
    return stages[deployment["stage"]] if deployment["stage"] < len(stages) else None


def shifted(deployment: Json, now: float) -> Json:
    """Traffic moves as the present stage says."""
    stage = present(deployment)
    assert stage is not None
    return {**deployment, "share": stage["share"], "until": now + stage["wait"]}


def advanced(deployment: Json) -> Json:
    """The next stage is under way; traffic stays as it is until its instances are ready."""
    return {**deployment, "stage": deployment["stage"] + 1, "until": None}


def variant_status(deployment: Json, count: int, active: bool) -> Json:
    """AWS's VariantStatus for a variant of the next fleet; ``active``: the traffic that it should have, it has."""
    stage = present(deployment)
    if stage is None or deployment["until"] is None:
        return {
            "Status": "Creating",
            "StatusMessage": f"Launching {count} instance(s).",
            "StartTime": deployment["began"],
        }
    served = max(1, ceil(count * stage["share"])) if "new" not in stage else count
    since = deployment["until"] - stage["wait"]
    if not active:
        text = f"Activating traffic on {stage['capacity']} capacity of {served} instance(s)."
        return {"Status": "ActivatingTraffic", "StatusMessage": text, "StartTime": since}
    text = (
        f"Baking for {stage['wait']} seconds ({stage['waiting']}) with traffic enabled on {stage['capacity']} capacity "
        f"of {served} instance(s)."
    )
    return {"Status": "Baking", "StatusMessage": text, "StartTime": since}
