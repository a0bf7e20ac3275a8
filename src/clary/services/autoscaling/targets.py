"""Scalable targets and what was done to them."""

from __future__ import annotations

import uuid
from typing import Any

from ...clock import now
from ...provider.context import Context
from ...provider.errors import AwsError, ValidationException, coded
from ...store.rows import Row
from . import autoscaling

Json = dict[str, Any]
MAX_ACTIVITIES = 100
_NAMES = ("ServiceNamespace", "ResourceId", "ScalableDimension")
_ROLE = "aws-service-role/sagemaker.application-autoscaling.amazonaws.com/AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"


def not_found(text: str) -> AwsError:
    """Something is not registered."""
    return coded("ObjectNotFoundException", text, 400)


def target_name(ctx: Context, request: Json) -> str:
    """A target's row name; ValidationException when its dimension is not one that we scale."""
    capacity, dimension = ctx.platform.services["sagemaker.capacity"], request["ScalableDimension"]
    if request["ServiceNamespace"] != "sagemaker" or dimension not in capacity.DIMENSIONS:
        raise ValidationException(
            f"Clary scales {', '.join(capacity.DIMENSIONS)} of the namespace sagemaker; it does not serve {dimension} yet."
        )
    if capacity.dimensions(dimension, request["ResourceId"]) is None:
        raise ValidationException(
            "Clary scales resources of the forms endpoint/NAME/variant/NAME and inference-component/NAME, each with its "
            f"dimension; {request['ResourceId']} is not one of {dimension}."
        )
    return f"{request['ResourceId']}|{dimension}"


def find_target(ctx: Context, request: Json) -> Row:
    """A registered target."""
    if (found := ctx.get("ScalableTarget", target_name(ctx, request))) is None:
        which = ", ".join(f"{n}: {request[n]}" for n in _NAMES)
        raise not_found(f"No scalable target found for {which}")
    return found


@autoscaling.operation
def register_scalable_target(ctx: Context, request: Json) -> Json:
    """Make a target, or change the members that are given; capacity outside the bounds is brought inside at once."""
    name = target_name(ctx, request)
    present = ctx.get("ScalableTarget", name)
    resource = request["ResourceId"]
    dimension = request["ScalableDimension"]
    capacity = ctx.platform.services["sagemaker.capacity"].read(ctx.tx, ctx.account, ctx.region, resource, dimension)
    if capacity is None:
        raise ValidationException(f"The resource {resource} does not exist, has no {dimension}, or is being deleted.")
    spec = {**(present.spec if present else {}), **{k: v for k, v in request.items() if k != "Tags"}}
    for member in ("MinCapacity", "MaxCapacity"):
        if member not in spec:
            raise ValidationException(f"{member} is required for a new scalable target.")
    if spec["MinCapacity"] < 0 or spec["MinCapacity"] > spec["MaxCapacity"]:
        raise ValidationException("Maximum capacity cannot be less than minimum capacity, and neither below zero.")
    if spec["MinCapacity"] < capacity.least:
        raise ValidationException(
            f"A real-time variant always has an instance: MinCapacity must be at least {capacity.least}. Asynchronous "
            "endpoints scale to zero."
        )
    at = now()
    if present is not None:
        ctx.tx.rows.save(present, spec=spec, due=at)
        return {"ScalableTargetARN": present.arn}
    arn = ctx.arn("application-autoscaling", f"scalable-target/{uuid.uuid4().hex[:20]}")
    spec.setdefault("RoleARN", f"arn:aws:iam::{ctx.account}:role/{_ROLE}")
    suspended = ("DynamicScalingInSuspended", "DynamicScalingOutSuspended", "ScheduledScalingSuspended")
    spec.setdefault("SuspendedState", dict.fromkeys(suspended, False))
    ctx.tx.rows.add(Row("ScalableTarget", ctx.account, ctx.region, name, arn, spec, created=at, due=at))
    return {"ScalableTargetARN": arn}


@autoscaling.operation
def deregister_scalable_target(ctx: Context, request: Json) -> None:
    """Forget a target, its policies with their alarms, and its schedule."""
    forget(ctx.platform.services, ctx.tx, find_target(ctx, request))


def forget(services: Json, tx: Any, target: Row) -> None:
    """Remove a target and all that belongs to it."""
    for kind in ("ScalingPolicy", "ScheduledAction"):
        for row in tx.rows.list(kind, target.account, target.region):
            if row.name.startswith(target.name + "|"):
                for alarm in row.private.get("alarms", ()):
                    services["cloudwatch.delete_alarm"](tx, row.account, row.region, alarm)
                tx.rows.delete(row)
    tx.rows.delete(target)


@autoscaling.operation
def describe_scalable_targets(ctx: Context, request: Json) -> Json:
    """Targets, all or those of some resources."""
    rows = chosen(ctx, "ScalableTarget", request, request.get("ResourceIds"))
    return {"ScalableTargets": [{**r.spec, "ScalableTargetARN": r.arn, "CreationTime": r.created} for r in rows]}


def chosen(ctx: Context, kind: str, request: Json, resources: list[str] | None = None) -> list[Row]:
    """Rows of the request's namespace, dimension and resources, oldest first."""
    rows = sorted(ctx.tx.rows.list(kind, ctx.account, ctx.region), key=lambda r: (r.created, r.name))
    wanted = {n: request[n] for n in _NAMES if n in request}
    rows = [r for r in rows if all(r.spec.get(n) == v for n, v in wanted.items())]
    return [r for r in rows if resources is None or r.spec["ResourceId"] in resources]


@autoscaling.operation
def describe_scaling_activities(ctx: Context, request: Json) -> Json:
    """What was done, newest first."""
    rows = chosen(ctx, "ScalableTarget", request)
    found = [
        {**{n: r.spec[n] for n in _NAMES}, **{k: v for k, v in a.items() if k != "Capacity"}}
        for r in rows
        for a in r.private.get("activities", [])
    ]
    found.sort(key=lambda a: float(a["StartTime"]), reverse=True)
    return {"ScalingActivities": found[: request.get("MaxResults", 50)]}
