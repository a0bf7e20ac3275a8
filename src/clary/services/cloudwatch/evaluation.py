"""When an alarm is in which state. Pure: datapoints come in, a state and its reason go out.

Source: AWS, "Using Amazon CloudWatch alarms" and "Configuring how CloudWatch alarms treat missing data".
"""

from __future__ import annotations

import operator
import time
from collections.abc import Callable
from dataclasses import dataclass

_COMPARE: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
COMPARISONS = tuple(_COMPARE)
OK, ALARM, UNKNOWN = "OK", "ALARM", "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True)
class Rule:
    """What an alarm looks for."""

    comparison: str
    threshold: float
    periods: int  # how many are looked at
    needed: int  # how many of them must breach
    missing: str = "missing"  # missing, ignore, breaching or notBreaching


@dataclass(frozen=True, slots=True)
class Judgement:
    """A state, and why."""

    state: str
    reason: str


def judge(rule: Rule, datapoints: list[tuple[int, float | None]], present: str) -> Judgement | None:
    """The state that the last periods (oldest first, None where there is no value) lead to; None: leave it as it is."""
    compare, words = _COMPARE[rule.comparison]
    known = [(at, v) for at, v in datapoints if v is not None]
    absent = len(datapoints) - len(known)
    breaching = [(at, v) for at, v in known if compare(v, rule.threshold)]
    if not known and rule.missing in ("missing", "ignore"):
        if rule.missing == "ignore" or present == UNKNOWN:
            return None
        plural = "datapoint was" if rule.periods == 1 else "datapoints were"
        return Judgement(UNKNOWN, f"Insufficient Data: {rule.periods} {plural} unknown.")
    count = len(breaching) + (absent if rule.missing == "breaching" else 0)
    state = ALARM if count >= rule.needed else OK
    if state == OK and rule.missing == "missing" and len(breaching) + absent >= rule.needed and present == ALARM:
        return None  # what is missing may still breach: an alarm stays until that is known
    if state == present:
        return None
    if not known:
        treated = "breaching" if rule.missing == "breaching" else "nonBreaching"
        return Judgement(
            state, f"Threshold Crossed: no datapoints were received for {rule.periods} periods and {rule.periods} "
            f"missing datapoints were treated as [{_kind(treated)}].",
        )  # fmt: skip
    listed = breaching if state == ALARM and breaching else known
    shown = ", ".join(f"{v} ({time.strftime('%d/%m/%y %H:%M:%S', time.gmtime(at))})" for at, v in reversed(listed[-5:]))
    was = "were" if state == ALARM else "were not"
    turn = f"(minimum {rule.needed} datapoint{'s' if rule.needed > 1 else ''} for {present if present != UNKNOWN else 'OK'} -> {state} transition)"
    return Judgement(
        state, f"Threshold Crossed: {len(listed)} out of the last {rule.periods} datapoints [{shown}] {was} {words} the "
        f"threshold ({rule.threshold}) {turn}.",
    )  # fmt: skip


def _kind(treated: str) -> str:
    return {"breaching": "Breaching", "nonBreaching": "NonBreaching"}[treated]
