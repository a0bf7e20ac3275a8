"""Scheduled actions: the operations."""

from __future__ import annotations

import uuid
from typing import Any

from ...clock import now
from ...provider.context import Context
from ...provider.errors import ValidationException
from ...store.rows import Row
from . import autoscaling
from .targets import chosen, find_target, not_found, target_name
from .timetable import ScheduleError, compile_schedule

Json = dict[str, Any]


@autoscaling.operation
def put_scheduled_action(ctx: Context, request: Json) -> None:
    """Make an action, or replace one."""
    target = find_target(ctx, request)
    name = f"{target.name}|{request['ScheduledActionName']}"
    present = ctx.get("ScheduledAction", name)
    spec = {**(present.spec if present else {}), **_stored(request)}
    if "Schedule" not in spec:
        raise ValidationException("Schedule is required for a new scheduled action.")
    try:
        compile_schedule(spec["Schedule"], spec.get("Timezone", "UTC"))
    except ScheduleError as error:
        raise ValidationException(str(error)) from None
    at = now()
    if present is not None:
        ctx.tx.rows.save(present, spec=spec, private={"until": at})
    else:
        resource = f"resource/sagemaker/{request['ResourceId']}:scheduledActionName/{request['ScheduledActionName']}"
        arn = f"arn:aws:autoscaling:{ctx.region}:{ctx.account}:scheduledAction:{uuid.uuid4()}:{resource}"
        ctx.tx.rows.add(
            Row("ScheduledAction", ctx.account, ctx.region, name, arn, spec, private={"until": at}, created=at)
        )
    ctx.tx.rows.save(target, due=at)


def _stored(request: Json) -> Json:
    """Moments as numbers: rows hold JSON."""
    return {k: v.timestamp() if hasattr(v, "timestamp") else v for k, v in request.items()}


@autoscaling.operation
def describe_scheduled_actions(ctx: Context, request: Json) -> Json:
    """Actions, all or those named."""
    rows = chosen(ctx, "ScheduledAction", request)
    if (names := request.get("ScheduledActionNames")) is not None:
        rows = [r for r in rows if r.spec["ScheduledActionName"] in names]
    return {"ScheduledActions": [{**r.spec, "ScheduledActionARN": r.arn, "CreationTime": r.created} for r in rows]}


@autoscaling.operation
def delete_scheduled_action(ctx: Context, request: Json) -> None:
    """Remove an action."""
    row = ctx.get("ScheduledAction", f"{target_name(ctx, request)}|{request['ScheduledActionName']}")
    if row is None:
        raise not_found(f"No scheduled action found for name {request['ScheduledActionName']}")
    ctx.tx.rows.delete(row)
