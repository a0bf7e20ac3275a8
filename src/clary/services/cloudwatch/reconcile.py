"""Evaluates alarms: reads the last periods of their metrics and judges them."""

from __future__ import annotations

import asyncio
from typing import Any

from ...clock import now
from ...control.loop import Outcome
from ...provider.errors import AwsError
from ...provider.platform import Platform
from ...store.database import Transaction
from ...store.rows import Row
from .alarms import changed, is_composite
from .evaluation import UNKNOWN, Judgement, Rule, judge
from .metrics import results
from .rules import compile_rule

Json = dict[str, Any]
_LATE_SECONDS = 3  # points of a period arrive a little after its end


class AlarmReconciler:
    """Metric alarms, and composite ones."""

    kind = "Alarm"

    def __init__(self, platform: Platform):
        self._platform = platform

    async def reconcile(self, row: Row) -> Outcome:
        """One evaluation."""
        status, private = await asyncio.to_thread(self._platform.database.attempt, lambda tx: self._evaluate(tx, row))
        again = 2.0 if _period(row.spec) < 60 and not row.wish else 10.0
        return Outcome(status, private, status["StateValue"], again, granted=("set",))

    def _evaluate(self, tx: Transaction, row: Row) -> tuple[Json, Json]:
        if (asked := row.wish.get("set")) is not None:
            return changed(self._platform.services, tx, row, asked["state"], asked["reason"], asked["data"])
        found = self._judge(tx, row)
        if found is None or (is_composite(row) and found.state == row.state):
            return row.status, row.private
        return changed(self._platform.services, tx, row, found.state, found.reason)

    def _judge(self, tx: Transaction, row: Row) -> Judgement | None:
        if is_composite(row):
            return _judge_rule(tx, row)
        spec, period = row.spec, _period(row.spec)
        count = int(spec["EvaluationPeriods"])
        rule = Rule(
            spec["ComparisonOperator"], spec["Threshold"], count, int(spec.get("DatapointsToAlarm") or count),
            spec.get("TreatMissingData", "missing"),
        )  # fmt: skip
        end = int(now() - _LATE_SECONDS) // period * period
        start = end - count * period
        queries = spec.get("Metrics") or [{"Id": "m", "MetricStat": _stat(spec)}]
        try:
            found = results(tx, row.account, row.region, queries, start, end)
        except AwsError as error:
            return Judgement(UNKNOWN, f"Failed to evaluate the metrics: {error.message}")
        wanted = next(q["Id"] for q in queries if q.get("ReturnData", True))
        series = found[wanted]
        return judge(rule, [(at, series.get(at)) for at in range(start, end, period)], row.state)


def _judge_rule(tx: Transaction, row: Row) -> Judgement:
    """A composite alarm: ALARM while its rule holds. An alarm that is no more has insufficient data."""
    rule = compile_rule(row.spec["AlarmRule"])
    found = {n: tx.rows.get("Alarm", row.account, row.region, n) for n in rule.alarms}
    states = {name: alarm.state if alarm is not None else UNKNOWN for name, alarm in found.items()}
    state = "ALARM" if rule.holds(lambda name: states[name]) else "OK"
    seen = ", ".join(f"{name} is in {its}" for name, its in states.items())
    return Judgement(state, f"The alarm rule is {'true' if state == 'ALARM' else 'false'}: {seen or 'it is constant'}.")


def _stat(spec: Json) -> Json:
    metric = {n: spec[n] for n in ("Namespace", "MetricName", "Dimensions") if n in spec}
    stat: Json = {
        "Metric": metric,
        "Period": spec["Period"],
        "Stat": spec.get("Statistic") or spec["ExtendedStatistic"],
    }
    return {**stat, "Unit": spec["Unit"]} if "Unit" in spec else stat


def _period(spec: Json) -> int:
    if "AlarmRule" in spec:
        return 1
    if "Metrics" in spec:
        stats = [q["MetricStat"]["Period"] for q in spec["Metrics"] if "MetricStat" in q]
        return int(max(stats, default=60))
    return int(spec["Period"])
