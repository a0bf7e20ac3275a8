"""Looks after scalable targets: bounds, schedules, policies – and one change of capacity at a time."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

from ...clock import now
from ...control.loop import Outcome
from ...provider.platform import Platform
from ...store.database import Transaction
from ...store.rows import Row
from . import decide
from .decide import Ask
from .policies import metric_of
from .targets import MAX_ACTIVITIES, forget
from .timetable import compile_schedule

Json = dict[str, Any]
_COOLDOWN = 300.0
_LOOK_SECONDS = 5.0
_PERIOD = 60
_WORDS = {
    "DesiredInstanceCount": "desired instance count", "DesiredCopyCount": "desired copy count",
    "DesiredProvisionedConcurrency": "desired provisioned concurrency",
}  # fmt: skip


class TargetReconciler:
    """Scalable targets."""

    kind = "ScalableTarget"

    def __init__(self, platform: Platform):
        self._platform = platform

    async def reconcile(self, row: Row) -> Outcome:
        """One look and at most one change."""
        private, gone = await asyncio.to_thread(
            self._platform.database.attempt, lambda tx: self._look(tx, row, dict(row.private))
        )
        return Outcome(row.status, private, row.state, _LOOK_SECONDS, delete=gone)

    def _look(self, tx: Transaction, row: Row, private: Json) -> tuple[Json, bool]:
        capacity = self._platform.services["sagemaker.capacity"]
        resource, dimension = row.spec["ResourceId"], row.spec["ScalableDimension"]
        found = capacity.read(tx, row.account, row.region, resource, dimension)
        if found is None:  # it was deleted: its targets go with it
            forget(self._platform.services, tx, row)
            return private, True
        private["activities"] = _settled(private.get("activities", []), found.ready)
        spec = self._scheduled(tx, row)
        wanted, cause, cooldown = self._wanted(tx, row, spec, private, found.desired)
        if wanted == found.desired or not found.settled:
            return private, False
        if capacity.write(tx, row.account, row.region, resource, dimension, wanted):
            direction = "out" if wanted > found.desired else "in"
            private[direction] = {"at": now(), "cooldown": cooldown}
            private["activities"] = [_begun(wanted, cause, dimension), *private["activities"]][:MAX_ACTIVITIES]
        return private, False

    # ---- schedules -------------------------------------------------------------------------------------------------

    def _scheduled(self, tx: Transaction, row: Row) -> Json:
        """The target's spec after the actions that became due since the last look."""
        spec, at = row.spec, now()
        if row.spec.get("SuspendedState", {}).get("ScheduledScalingSuspended"):
            return spec
        for action in _belonging(tx, row, "ScheduledAction"):
            begin, end = action.spec.get("StartTime", 0.0), action.spec.get("EndTime", float("inf"))
            due = compile_schedule(action.spec["Schedule"], action.spec.get("Timezone", "UTC"), action.created)
            if begin <= at <= end and due(action.private.get("until", action.created), at):
                change = action.spec.get("ScalableTargetAction") or {}
                spec = {**spec, **{n: change[n] for n in ("MinCapacity", "MaxCapacity") if n in change}}
            tx.rows.save(action, private={**action.private, "until": at})
        if spec != row.spec and (fresh := tx.rows.get(*row.key)) is not None:
            tx.rows.save(fresh, spec={**fresh.spec, **{n: spec[n] for n in ("MinCapacity", "MaxCapacity")}})
        return spec

    # ---- policies --------------------------------------------------------------------------------------------------

    def _wanted(self, tx: Transaction, row: Row, spec: Json, private: Json, current: int) -> tuple[int, str, float]:
        """The capacity to have, why, and how long to leave it."""
        low, high = spec["MinCapacity"], spec["MaxCapacity"]
        if not low <= current <= high:
            bound = "minimum" if current < low else "maximum"
            return min(max(current, low), high), f"{bound} capacity was set to {low if current < low else high}", 0.0
        suspended = spec.get("SuspendedState", {})
        asks, agreed = self._asks(tx, row, current)
        chosen = decide.choose(current, asks, low, high, agreed)
        if chosen is None:
            return current, "", 0.0
        out = chosen.capacity > current
        if suspended.get("DynamicScalingOutSuspended" if out else "DynamicScalingInSuspended"):
            return current, "", 0.0
        if _cooling(private, out):
            return current, "", 0.0
        cause = f"monitor alarm {chosen.alarm} in state ALARM triggered policy {chosen.policy}"
        return chosen.capacity, cause, chosen.cooldown

    def _asks(self, tx: Transaction, row: Row, current: int) -> tuple[list[Ask], bool]:
        """What the policies whose alarms are up ask for, and whether all that track a target would scale in."""
        asks: list[Ask] = []
        agreed = True
        alarms = [a for a in tx.rows.list("Alarm", row.account, row.region) if a.state == "ALARM"]
        for policy in _belonging(tx, row, "ScalingPolicy"):
            up = [a for a in alarms if policy.arn in (a.spec.get("AlarmActions") or ())]
            name = policy.spec["PolicyName"]
            if policy.spec["PolicyType"] == "StepScaling":
                config = policy.spec["StepScalingPolicyConfiguration"]
                for alarm in up:
                    value = self._value(tx, policy, alarm.spec)
                    if value is not None:
                        wanted = decide.step(current, config, value - alarm.spec["Threshold"])
                        asks.append(Ask(wanted, name, alarm.name, float(config.get("Cooldown", _COOLDOWN))))
                continue
            config = policy.spec["TargetTrackingScalingPolicyConfiguration"]
            rising = any("-AlarmHigh-" in a.name for a in up)
            falling = any("-AlarmLow-" in a.name for a in up)
            agreed = agreed and (falling or bool(config.get("DisableScaleIn")))
            if rising or falling:
                value = self._value(tx, policy, metric_of(self._platform.services, policy.spec))
                wanted = decide.track(current, value, config["TargetValue"], rising)
                cooldown = config.get("ScaleOutCooldown" if rising else "ScaleInCooldown", _COOLDOWN)
                asks.append(Ask(wanted, name, up[0].name, float(cooldown)))
        return asks, agreed

    def _value(self, tx: Transaction, policy: Row, metric: Json) -> float | None:
        """A metric's latest value over a whole period."""
        period = int(metric.get("Period", _PERIOD))
        end = int(now()) // period * period
        query = {
            "Id": "m",
            "MetricStat": {
                "Metric": {n: metric[n] for n in ("Namespace", "MetricName", "Dimensions") if n in metric},
                "Period": period, "Stat": metric.get("Statistic") or metric.get("ExtendedStatistic"),
            },
        }  # fmt: skip
        queries = metric.get("Metrics") or [query]
        wanted = next(q["Id"] for q in queries if q.get("ReturnData", True))
        read = self._platform.services["cloudwatch.read"]
        series = read(tx, policy.account, policy.region, queries, end - 3 * period, end)[wanted]
        return float(series[max(series)]) if series else None


def _belonging(tx: Transaction, target: Row, kind: str) -> list[Row]:
    return [r for r in tx.rows.list(kind, target.account, target.region) if r.name.startswith(target.name + "|")]


def _cooling(private: Json, out: bool) -> bool:
    """Whether the last change in that direction is too fresh; growth also cancels what keeps capacity from shrinking."""
    held = [private.get("out")] if out else [private.get("out"), private.get("in")]
    return any(h and now() < h["at"] + h["cooldown"] for h in held)


def _begun(capacity: int, cause: str, dimension: str) -> Json:
    what = _WORDS[dimension.rpartition(":")[2]]
    return {
        "ActivityId": str(uuid.uuid4()), "Description": f"Setting {what} to {capacity}.", "Cause": cause,
        "StartTime": now(), "StatusCode": "InProgress", "Capacity": capacity,
        "StatusMessage": f"Successfully set {what} to {capacity}. Waiting for change to be fulfilled by sagemaker.",
    }  # fmt: skip


def _settled(activities: list[Json], ready: int) -> list[Json]:
    """Activities whose capacity is there are done."""
    found = []
    for activity in activities:
        if activity["StatusCode"] == "InProgress" and activity["Capacity"] == ready:
            text = activity["StatusMessage"].replace("Waiting for change to be", "Change successfully")
            activity = {**activity, "StatusCode": "Successful", "EndTime": now(), "StatusMessage": text}
        found.append(activity)
    return found
