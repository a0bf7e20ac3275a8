"""Scaling policies: target tracking, with the alarms that AWS makes for it, and steps."""

from __future__ import annotations

import uuid
from itertools import pairwise
from typing import Any

from ...clock import now
from ...provider.context import Context
from ...provider.errors import ValidationException
from ...store.database import Transaction
from ...store.rows import Row
from . import autoscaling
from .targets import chosen, find_target, not_found, target_name

Json = dict[str, Any]
_COPIES = "sagemaker:inference-component:DesiredCopyCount"
_INSTANCES = "sagemaker:variant:DesiredInstanceCount"
_PROVISIONED = "sagemaker:variant:DesiredProvisionedConcurrency"
_PREDEFINED = {
    "SageMakerVariantInvocationsPerInstance": ("InvocationsPerInstance", "Sum", _INSTANCES, 60),
    "SageMakerVariantConcurrentRequestsPerModelHighResolution": ("ConcurrentRequestsPerModel", "Maximum", _INSTANCES, 10),
    "SageMakerVariantProvisionedConcurrencyUtilization": (
        "ServerlessProvisionedConcurrencyUtilization", "Maximum", _PROVISIONED, 60,
    ),
    "SageMakerInferenceComponentInvocationsPerCopy": ("InvocationsPerCopy", "Sum", _COPIES, 60),
    "SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution": ("ConcurrentRequestsPerCopy", "Maximum", _COPIES, 10),
}  # fmt: skip
"""The metric, its statistic, the dimension that it belongs to, and the seconds of a period."""
_BOUNDS = ("MetricIntervalLowerBound", "MetricIntervalUpperBound")


@autoscaling.operation
def put_scaling_policy(ctx: Context, request: Json) -> Json:
    """Make a policy, or replace one."""
    target = find_target(ctx, request)
    name = f"{target.name}|{request['PolicyName']}"
    present = ctx.get("ScalingPolicy", name)
    kind = request.get("PolicyType") or (present.spec["PolicyType"] if present else "StepScaling")
    spec = {**request, "PolicyType": kind}
    _check(spec)
    resource = f"resource/sagemaker/{request['ResourceId']}:policyName/{request['PolicyName']}"
    arn = (
        present.arn
        if present
        else f"arn:aws:autoscaling:{ctx.region}:{ctx.account}:scalingPolicy:{uuid.uuid4()}:{resource}"
    )
    alarms: list[str] = list(present.private.get("alarms", [])) if present else []
    for alarm in alarms:
        ctx.platform.services["cloudwatch.delete_alarm"](ctx.tx, ctx.account, ctx.region, alarm)
    made = _alarms(ctx.platform.services, spec, arn) if kind == "TargetTrackingScaling" else []
    for alarm_spec in made:
        ctx.platform.services["cloudwatch.put_alarm"](ctx.tx, ctx.account, ctx.region, alarm_spec)
    private = {"alarms": [a["AlarmName"] for a in made]}
    if present is not None:
        ctx.tx.rows.save(present, spec=spec, private=private)
    else:
        ctx.tx.rows.add(Row("ScalingPolicy", ctx.account, ctx.region, name, arn, spec, private=private, created=now()))
    ctx.tx.rows.save(target, due=now())
    return {"PolicyARN": arn, "Alarms": [_alarm(ctx, a) for a in private["alarms"]]}


def _alarm(ctx: Context, name: str) -> Json:
    return {"AlarmName": name, "AlarmARN": ctx.arn("cloudwatch", f"alarm:{name}")}


def _check(spec: Json) -> None:
    match spec["PolicyType"]:
        case "TargetTrackingScaling":
            config = spec.get("TargetTrackingScalingPolicyConfiguration")
            if config is None:
                raise ValidationException("A TargetTrackingScalingPolicyConfiguration is required for this PolicyType.")
            if ("PredefinedMetricSpecification" in config) == ("CustomizedMetricSpecification" in config):
                raise ValidationException(
                    "Exactly one of PredefinedMetricSpecification and CustomizedMetricSpecification must be given."
                )
            predefined = config.get("PredefinedMetricSpecification")
            if predefined is not None and predefined["PredefinedMetricType"] not in _PREDEFINED:
                raise ValidationException(
                    f"Clary does not serve the predefined metric {predefined['PredefinedMetricType']} yet; it serves "
                    f"{', '.join(_PREDEFINED)}."
                )
            if (
                predefined is not None
                and spec["ScalableDimension"] != _PREDEFINED[predefined["PredefinedMetricType"]][2]
            ):
                raise ValidationException(
                    f"{predefined['PredefinedMetricType']} is not a metric of {spec['ScalableDimension']}."
                )
            if config["TargetValue"] <= 0:
                raise ValidationException("TargetValue must be greater than zero.")
        case "StepScaling":
            config = spec.get("StepScalingPolicyConfiguration")
            if config is None or not config.get("StepAdjustments") or "AdjustmentType" not in config:
                raise ValidationException(
                    "A StepScalingPolicyConfiguration with AdjustmentType and StepAdjustments is required for this PolicyType."
                )
            _check_steps(config["StepAdjustments"])
        case kind:
            raise ValidationException(f"Clary does not serve policies of type {kind} yet.")


def _check_steps(steps: list[Json]) -> None:
    """No gaps and no overlaps between the intervals."""
    low, high = _BOUNDS
    ordered = sorted(steps, key=lambda s: float(s.get(low, float("-inf"))))
    for step in ordered:
        if step.get(low, float("-inf")) >= step.get(high, float("inf")):
            raise ValidationException("MetricIntervalLowerBound must be less than MetricIntervalUpperBound.")
    for one, other in pairwise(ordered):
        if one.get(high) is None or one.get(high) != other.get(low):
            raise ValidationException("Step adjustment intervals can't overlap or have gaps.")


def metric_of(services: Json, spec: Json) -> Json:
    """The metric that a target tracking policy follows, as alarms name it."""
    config = spec["TargetTrackingScalingPolicyConfiguration"]
    if (predefined := config.get("PredefinedMetricSpecification")) is not None:
        metric, statistic, _, period = _PREDEFINED[predefined["PredefinedMetricType"]]
        found = services["sagemaker.capacity"].dimensions(spec["ScalableDimension"], spec["ResourceId"])
        dimensions = [{"Name": n, "Value": v} for n, v in found.items()]
        return {
            "Namespace": "AWS/SageMaker", "MetricName": metric, "Dimensions": dimensions, "Statistic": statistic,
            "Period": period,
        }  # fmt: skip
    own = config["CustomizedMetricSpecification"]
    if own.get("Metrics"):
        return {"Metrics": [_query(query) for query in own["Metrics"]]}
    for member in ("Namespace", "MetricName", "Statistic"):
        if member not in own:
            raise ValidationException(f"CustomizedMetricSpecification.{member} is required.")
    found = {n: own[n] for n in ("Namespace", "MetricName", "Dimensions", "Statistic", "Unit") if n in own}
    return {**found, "Period": own.get("Period", 60)}


def _query(given: Json) -> Json:
    """A metric or an expression of a policy, as alarms have them."""
    found: Json = {n: given[n] for n in ("Id", "Expression", "Label", "ReturnData") if n in given}
    if (stat := given.get("MetricStat")) is not None:
        found["MetricStat"] = {"Period": 60, **stat}
    return found


def _alarms(services: Json, spec: Json, policy_arn: str) -> list[Json]:
    """The two alarms of a target tracking policy: above the target for 3 periods, well below it for 15 minutes."""
    config = spec["TargetTrackingScalingPolicyConfiguration"]
    target = config["TargetValue"]
    metric = metric_of(services, spec)
    common = {
        **metric, "AlarmActions": [policy_arn],
        "AlarmDescription": f"DO NOT EDIT OR DELETE. For TargetTrackingScaling policy {policy_arn}.",
    }  # fmt: skip

    def alarm(which: str, periods: int, threshold: float, comparison: str) -> Json:
        name = f"TargetTracking-{spec['ResourceId']}-Alarm{which}-{uuid.uuid4()}"
        return {
            **common, "AlarmName": name, "EvaluationPeriods": periods, "Threshold": threshold,
            "ComparisonOperator": comparison,
        }  # fmt: skip

    found = [alarm("High", 3, target, "GreaterThanThreshold")]
    if not config.get("DisableScaleIn"):
        found.append(alarm("Low", 900 // metric.get("Period", 60), target * 0.9, "LessThanThreshold"))
    return found


@autoscaling.operation
def describe_scaling_policies(ctx: Context, request: Json) -> Json:
    """Policies, all or those named."""
    rows = chosen(ctx, "ScalingPolicy", request)
    if (names := request.get("PolicyNames")) is not None:
        rows = [r for r in rows if r.spec["PolicyName"] in names]
    return {
        "ScalingPolicies": [
            {
                **r.spec, "PolicyARN": r.arn, "CreationTime": r.created,
                "Alarms": [_alarm(ctx, a) for a in r.private.get("alarms", [])],
            }
            for r in rows
        ]
    }  # fmt: skip


@autoscaling.operation
def delete_scaling_policy(ctx: Context, request: Json) -> None:
    """Remove a policy and the alarms made for it."""
    row = ctx.get("ScalingPolicy", f"{target_name(ctx, request)}|{request['PolicyName']}")
    if row is None:
        raise not_found(f"No scaling policy found for policy name {request['PolicyName']}")
    for alarm in row.private.get("alarms", []):
        ctx.platform.services["cloudwatch.delete_alarm"](ctx.tx, ctx.account, ctx.region, alarm)
    ctx.tx.rows.delete(row)


def on_alarm(tx: Transaction, alarm: Row, arn: str, state: str) -> str | None:
    """An alarm's action that names a policy: its target is looked at now."""
    if ":scalingPolicy:" not in arn:
        return None
    policy = tx.rows.by_arn(arn)
    if policy is None or policy.account != alarm.account:
        return f"Failed to execute action {arn}: there is no such policy"
    target = tx.rows.get("ScalableTarget", policy.account, policy.region, policy.name.rpartition("|")[0])
    if target is not None:
        tx.rows.save(target, due=now())
    return f"Successfully executed action {arn}"
