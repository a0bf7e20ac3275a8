"""Alarms: the operations."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson

from ...clock import now
from ...provider.context import Context
from ...provider.errors import AwsError, coded
from ...store.database import Transaction
from ...store.rows import Row
from ...wire.values import write_time
from . import cloudwatch
from .evaluation import COMPARISONS, UNKNOWN
from .metrics import MAX_RESULTS, check_period, check_statistic, contradictory, invalid
from .rules import RuleError, compile_rule

Json = dict[str, Any]
Action = Callable[[Transaction, Row, str, str], str | None]
"""Carries out an action (its ARN, the new state) for an alarm; what it did, or None when the ARN is not its own."""

MAX_HISTORY = 100
_WINDOW = 86400
_ACTIONS = {"OK": "OKActions", "ALARM": "AlarmActions", UNKNOWN: "InsufficientDataActions"}
_FIRST = "Unchecked: Initial alarm creation"


def _missing(name: str) -> AwsError:
    return coded("ValidationError", f"The parameter {name} is required.", 400)


@cloudwatch.operation
def put_metric_alarm(ctx: Context, request: Json) -> None:
    """Make an alarm, or replace one: its state stays."""
    row = put_alarm(ctx.tx, ctx.account, ctx.region, {k: v for k, v in request.items() if k != "Tags"})
    if tags := request.get("Tags"):
        ctx.tx.tags.put(row.arn, {t["Key"]: t["Value"] for t in tags})


@cloudwatch.operation
def put_composite_alarm(ctx: Context, request: Json) -> None:
    """Make an alarm of other alarms' states, or replace one: its state stays."""
    name = request["AlarmName"]
    try:
        rule = compile_rule(request["AlarmRule"])
    except RuleError as error:
        raise coded("ValidationError", f"AlarmRule cannot be parsed: {error}.", 400) from None
    if request.get("ActionsSuppressor"):
        raise invalid("Clary does not serve ActionsSuppressor yet; remove it from the composite alarm.")
    if name in rule.alarms:
        raise coded("ValidationError", f"The alarm rule of {name} must not look at the alarm itself.", 400)
    if absent := [n for n in rule.alarms if ctx.get("Alarm", n) is None]:
        text = f"Could not save the composite alarm as alarms [{', '.join(absent)}] in the alarm rule do not exist"
        raise coded("ValidationError", text, 400)
    present = ctx.get("Alarm", name)
    if present is not None and not is_composite(present):
        raise coded("ValidationError", f"A metric alarm with the name {name} exists already.", 400)
    spec = {k: v for k, v in request.items() if k != "Tags"}
    row = _save(ctx.tx, ctx.account, ctx.region, spec)
    if tags := request.get("Tags"):
        ctx.tx.tags.put(row.arn, {t["Key"]: t["Value"] for t in tags})


def is_composite(row: Row) -> bool:
    """Whether an alarm looks at other alarms."""
    return "AlarmRule" in row.spec


def put_alarm(tx: Transaction, account: str, region: str, request: Json) -> Row:
    """An alarm as ``PutMetricAlarm`` makes it, for services that make alarms of their own."""
    spec = dict(request)
    _check(spec)
    spec.setdefault("TreatMissingData", "missing")
    present = tx.rows.get("Alarm", account, region, request["AlarmName"])
    if present is not None and is_composite(present):
        text = f"A composite alarm with the name {present.name} exists already."
        raise coded("ValidationError", text, 400)
    return _save(tx, account, region, spec)


def _save(tx: Transaction, account: str, region: str, spec: Json) -> Row:
    name, at = spec["AlarmName"], now()
    spec.setdefault("ActionsEnabled", True)
    spec["AlarmConfigurationUpdatedTimestamp"] = at
    present = tx.rows.get("Alarm", account, region, name)
    if present is not None:
        private = _noted(present, "ConfigurationUpdate", f'Alarm "{name}" updated', {"type": "Update"})
        return tx.rows.save(present, spec=spec, private=private, due=at)
    arn = f"arn:aws:cloudwatch:{region}:{account}:alarm:{name}"
    status = {
        "StateValue": UNKNOWN, "StateReason": _FIRST, "StateUpdatedTimestamp": at, "StateTransitionedTimestamp": at,
    }  # fmt: skip
    row = Row("Alarm", account, region, name, arn, spec, status, state=UNKNOWN, created=at, due=at)
    private = _noted(row, "ConfigurationUpdate", f'Alarm "{name}" created', {"type": "Create"})
    return tx.rows.add(replace(row, private=private))


def delete_alarm(tx: Transaction, account: str, region: str, name: str) -> None:
    """Remove an alarm; one that is gone already is fine."""
    if (row := tx.rows.get("Alarm", account, region, name)) is not None:
        tx.rows.delete(row)


def _check(spec: Json) -> None:
    """What AWS refuses although each value alone is valid."""
    if spec.get("ThresholdMetricId") or spec.get("EvaluationCriteria"):
        raise invalid("Clary does not serve anomaly detection and query alarms yet; give a Threshold.")
    if spec.get("ComparisonOperator") not in COMPARISONS:
        raise invalid(f"The parameter ComparisonOperator must be one of {', '.join(COMPARISONS)}.")
    for name in ("EvaluationPeriods", "Threshold"):
        if name not in spec:
            raise _missing(name)
    if spec.get("DatapointsToAlarm", 1) > spec["EvaluationPeriods"]:
        raise invalid("The parameter DatapointsToAlarm must be less than or equal to EvaluationPeriods.")
    if "Metrics" in spec:
        if "MetricName" in spec:
            raise contradictory("The parameters MetricName and Metrics cannot be given together.")
        if sum(bool(q.get("ReturnData", True)) for q in spec["Metrics"]) != 1:
            raise coded("ValidationError", "Exactly one element of the metrics list should return data.", 400)
        return
    for name in ("MetricName", "Namespace", "Period"):
        if name not in spec:
            raise _missing(name)
    if ("Statistic" in spec) == ("ExtendedStatistic" in spec):
        raise contradictory("Exactly one of the parameters Statistic and ExtendedStatistic must be given.")
    check_statistic(spec.get("Statistic") or spec["ExtendedStatistic"])
    check_period(spec["Period"])
    if spec["Period"] * spec["EvaluationPeriods"] > _WINDOW:
        raise coded(
            "ValidationError",
            "Metrics cannot be checked across more than a day (EvaluationPeriods * Period must be <= 86400).",
            400,
        )


def _shown(row: Row) -> Json:
    if is_composite(row):
        actions: Json = {"OKActions": [], "AlarmActions": [], "InsufficientDataActions": []}
        return {**actions, **row.view(), "AlarmName": row.name, "AlarmArn": row.arn}
    return {
        "OKActions": [], "AlarmActions": [], "InsufficientDataActions": [], "Dimensions": [], **row.view(),
        "AlarmName": row.name, "AlarmArn": row.arn,
    }  # fmt: skip


@cloudwatch.operation
def describe_alarms(ctx: Context, request: Json) -> Json:
    """Alarms by name."""
    rows = sorted(ctx.tx.rows.list("Alarm", ctx.account, ctx.region), key=lambda r: r.name)
    if (names := request.get("AlarmNames")) is not None:
        rows = [r for r in rows if r.name in names]
    if prefix := request.get("AlarmNamePrefix"):
        rows = [r for r in rows if r.name.startswith(prefix)]
    if state := request.get("StateValue"):
        rows = [r for r in rows if r.state == state]
    if prefix := request.get("ActionPrefix"):
        rows = [r for r in rows if any(a.startswith(prefix) for m in _ACTIONS.values() for a in r.spec.get(m) or ())]
    kinds = request.get("AlarmTypes") or ["MetricAlarm"]
    rows = [r for r in rows if ("CompositeAlarm" if is_composite(r) else "MetricAlarm") in kinds]
    after, limit = request.get("NextToken", ""), min(request.get("MaxRecords", 50), 100)
    rows = [r for r in rows if r.name > after]
    answer: Json = {
        "MetricAlarms": [_shown(r) for r in rows[:limit] if not is_composite(r)],
        "CompositeAlarms": [_shown(r) for r in rows[:limit] if is_composite(r)],
    }
    return {**answer, "NextToken": rows[limit - 1].name} if len(rows) > limit else answer


@cloudwatch.operation
def describe_alarms_for_metric(ctx: Context, request: Json) -> Json:
    """The alarms on one metric."""
    wanted = sorted((d["Name"], d["Value"]) for d in request.get("Dimensions") or ())

    def fits(row: Row) -> bool:
        have = sorted((d["Name"], d["Value"]) for d in row.spec.get("Dimensions") or ())
        same = all(row.spec.get(n) == request[n] for n in ("MetricName", "Namespace"))
        optional = (n for n in ("Statistic", "ExtendedStatistic", "Period", "Unit") if n in request)
        return same and have == wanted and all(row.spec.get(n) == request[n] for n in optional)

    return {"MetricAlarms": [_shown(r) for r in ctx.tx.rows.list("Alarm", ctx.account, ctx.region) if fits(r)]}


@cloudwatch.operation
def delete_alarms(ctx: Context, request: Json) -> None:
    """Remove alarms, all or none."""
    rows = [(name, ctx.get("Alarm", name)) for name in request["AlarmNames"]]
    if absent := [name for name, row in rows if row is None]:
        raise coded("ResourceNotFound", f"Unknown alarms: {', '.join(absent)}", 404)
    for _, row in rows:
        if row is not None:
            ctx.tx.rows.delete(row)


def _find(ctx: Context, name: str) -> Row:
    if (found := ctx.get("Alarm", name)) is None:
        raise coded("ResourceNotFound", f"Unknown alarm: {name}", 404)
    return found


@cloudwatch.operation
def enable_alarm_actions(ctx: Context, request: Json) -> None:
    """Let alarms act."""
    _switch(ctx, request, True)


@cloudwatch.operation
def disable_alarm_actions(ctx: Context, request: Json) -> None:
    """Keep alarms from acting; their states still change."""
    _switch(ctx, request, False)


def _switch(ctx: Context, request: Json, enabled: bool) -> None:
    for name in request["AlarmNames"]:
        if (row := ctx.get("Alarm", name)) is not None:
            ctx.tx.rows.save(row, spec={**row.spec, "ActionsEnabled": enabled})


@cloudwatch.operation
def set_alarm_state(ctx: Context, request: Json) -> None:
    """Put an alarm into a state until it is evaluated again; its actions happen."""
    row = _find(ctx, request["AlarmName"])
    data = request.get("StateReasonData")
    status, private = changed(ctx.platform.services, ctx.tx, row, request["StateValue"], request["StateReason"], data)
    row = ctx.tx.rows.save(row, status=status, private=private, state=request["StateValue"])
    asked = {"state": request["StateValue"], "reason": request["StateReason"], "data": data}
    ctx.tx.rows.wish(row, set=asked)  # an evaluation that is under way would write what it saw before


@cloudwatch.operation
def describe_alarm_history(ctx: Context, request: Json) -> Json:
    """What happened to alarms, newest first."""
    rows = ctx.tx.rows.list("Alarm", ctx.account, ctx.region)
    if name := request.get("AlarmName"):
        rows = [r for r in rows if r.name == name]
    items = [
        {**item, "AlarmName": r.name, "AlarmType": "CompositeAlarm" if is_composite(r) else "MetricAlarm"}
        for r in rows
        for item in r.private.get("history", [])
    ]
    if kind := request.get("HistoryItemType"):
        items = [i for i in items if i["HistoryItemType"] == kind]
    start = request["StartDate"].timestamp() if "StartDate" in request else 0.0
    end = request["EndDate"].timestamp() if "EndDate" in request else now() + 1
    items = [i for i in items if start <= i["Timestamp"] <= end]
    newest = request.get("ScanBy", "TimestampDescending") == "TimestampDescending"
    items.sort(key=lambda i: float(i["Timestamp"]), reverse=newest)
    return {"AlarmHistoryItems": items[: min(request.get("MaxRecords", 100), MAX_RESULTS)]}


def changed(
    services: Json, tx: Transaction, row: Row, state: str, reason: str, data: str | None = None
) -> tuple[Json, Json]:
    """An alarm's status and notes after it changed its state; its actions are carried out."""
    at, before = now(), row.status
    status = {
        **before, "StateValue": state, "StateReason": reason[:1023], "StateUpdatedTimestamp": at,
        **({"StateReasonData": data} if data else {}),
    }  # fmt: skip
    if state == before["StateValue"]:
        return status, row.private
    status["StateTransitionedTimestamp"] = at
    detail = {
        "oldState": {"stateValue": before["StateValue"], "stateReason": before["StateReason"]},
        "newState": {"stateValue": state, "stateReason": reason},
    }
    summary = f"Alarm updated from {before['StateValue']} to {state}"
    private = _noted(row, "StateUpdate", summary, detail)
    if row.spec.get("ActionsEnabled", True):
        for arn in row.spec.get(_ACTIONS[state]) or ():
            done = _act(services, tx, row, arn, state)
            private = _noted(replace(row, private=private), "Action", done, {"actionState": arn})
    return status, private


def _act(services: Json, tx: Transaction, row: Row, arn: str, state: str) -> str:
    for action in services.get("alarm_actions", ()):
        if (done := action(tx, row, arn, state)) is not None:
            return str(done)
    return f"Failed to execute action {arn}: Clary does not serve actions of this kind yet"


def _noted(row: Row, kind: str, summary: str, detail: Json) -> Json:
    """A row's notes with one more item of history."""
    item = {
        "Timestamp": now(), "HistoryItemType": kind, "HistorySummary": summary,
        "HistoryData": orjson.dumps({"version": "1.0", "at": write_time(now()), **detail}).decode(),
    }  # fmt: skip
    return {**row.private, "history": [*row.private.get("history", [])[-MAX_HISTORY + 1 :], item]}
