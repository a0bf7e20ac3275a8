"""Change sets: what an update would do, looked at before it is done."""

from __future__ import annotations

import contextlib
import json
import uuid
from typing import Any

from ...clock import now
from ...provider.border import check_role
from ...provider.context import Context
from ...provider.errors import AwsError, ValidationError, coded
from ...store.rows import Row
from . import cloudformation, schemas
from . import template as templates
from .catalogue import kind_of, replacing
from .stack import body_of, find, lookup
from .stacks import begin, changes, check_updatable, new_stack, planned, retagged

Json = dict[str, Any]
_NOTHING = "The submitted information didn't contain changes. Submit different information to create a change set."


class ChangeSetNotFound(AwsError):
    """A change set that is not there."""

    status = 404


def _find(ctx: Context, request: Json) -> Row:
    name = request["ChangeSetName"]
    for row in ctx.tx.rows.list("ChangeSet", ctx.account, ctx.region):
        if row.arn == name or (
            row.spec["ChangeSetName"] == name
            and request.get("StackName") in (row.spec["StackName"], row.spec["StackId"])
        ):
            return row
    if (
        (stack := request.get("StackName"))
        and not name.startswith("arn:")
        and lookup(ctx.tx, ctx.account, ctx.region, stack) is None
    ):
        raise ValidationError(f"Stack [{stack}] does not exist")
    raise ChangeSetNotFound(f"ChangeSet [{name}] does not exist")


@cloudformation.operation
def create_change_set(ctx: Context, request: Json) -> Json:
    """Work out what a template would change; a stack that is not there yet is begun, empty."""
    name, kind = request["StackName"], request.get("ChangeSetType", "UPDATE")
    row = lookup(ctx.tx, ctx.account, ctx.region, name)
    if kind == "CREATE":
        if row is not None and row.state != "REVIEW_IN_PROGRESS":
            raise ValidationError(
                f"Stack [{name}] already exists and cannot be created again with the changeSet [{request['ChangeSetName']}]."
            )
    elif kind == "UPDATE":
        if row is None or row.kind != "Stack":
            raise ValidationError(f"Stack [{name}] does not exist")
        check_updatable(row)
    else:
        raise ValidationError(f"Clary does not serve change sets of the type {kind} yet.")
    check_role(ctx, request.get("RoleARN"), "AccessDenied")
    body = body_of(ctx, request, (row.private.get("original") or row.private["template"]) if row else None)
    probe = row or Row("Stack", ctx.account, ctx.region, name, ctx.arn("cloudformation", f"stack/{name}/x"), {})
    plan = planned(ctx, probe, kind.lower(), request, body)
    row = row or new_stack(ctx, name, request, "REVIEW_IN_PROGRESS", "User Initiated")
    if any(
        c.spec["ChangeSetName"] == request["ChangeSetName"] and c.spec["StackName"] == row.name
        for c in ctx.tx.rows.list("ChangeSet", ctx.account, ctx.region)
    ):
        raise coded("AlreadyExistsException", f"ChangeSet {request['ChangeSetName']} already exists", 400)
    tags = kind == "UPDATE" and retagged(row, request)
    nothing = kind == "UPDATE" and not changes(row, plan) and not tags
    arn = ctx.arn("cloudformation", f"changeSet/{request['ChangeSetName']}/{uuid.uuid4()}")
    spec: Json = {
        "ChangeSetName": request["ChangeSetName"], "StackName": row.name, "StackId": row.arn, "plan": plan,
        "Capabilities": request.get("Capabilities") or [], "Tags": request.get("Tags") or [],
        "Description": request.get("Description", ""), "Changes": [] if nothing else _changes(row, plan, tags),
        "Status": "FAILED" if nothing else "CREATE_COMPLETE", "RoleARN": request.get("RoleARN"),
        "ExecutionStatus": "UNAVAILABLE" if nothing else "AVAILABLE", "StatusReason": _NOTHING if nothing else "",
    }  # fmt: skip
    ctx.tx.rows.add(
        Row("ChangeSet", ctx.account, ctx.region, f"{row.name}/{request['ChangeSetName']}", arn, spec, created=now())
    )
    return {"Id": arn, "StackId": row.arn}


def _changes(row: Row, plan: Json, tags: bool) -> list[Json]:
    """What a plan would do to a stack's resources; ``tags`` says that the stack's own tags change."""
    before = templates.parse(row.private["template"])["Resources"] if row.private.get("template") else {}
    after = templates.parse(plan["template"])["Resources"]
    same_parameters = row.private.get("parameters") == plan["parameters"]
    found = []
    for name, resource in after.items():
        if name not in before:
            found.append(_change("Add", name, resource["Type"]))
            continue
        old, new = before[name].get("Properties") or {}, resource.get("Properties") or {}
        members = sorted(k for k in {*old, *new} if old.get(k) != new.get(k))
        refers = not same_parameters and any(
            f'"Ref": "{p}"' in json.dumps(new) or f"${{{p}}}" in json.dumps(new) for p in plan["parameters"]
        )
        by_tags = tags and "Tags" in schemas.properties(resource["Type"])
        if members or refers or by_tags:
            physical = (row.private["resources"].get(name) or {}).get("PhysicalResourceId", "")
            found.append(_modification(name, resource["Type"], physical, members, by_tags))
    for name, resource in before.items():
        if name not in after:
            physical = (row.private["resources"].get(name) or {}).get("PhysicalResourceId", "")
            found.append(_change("Remove", name, resource["Type"], physical))
    return found


def _modification(name: str, kind: str, physical: str, members: list[str], by_tags: bool) -> Json:
    """A resource whose properties ``members`` change, or whose stack's tags do."""
    always, fixed = kind_of(kind).update is None, replacing(kind)
    details = [
        {
            "Target": {"Attribute": "Properties", "Name": member, "RequiresRecreation": "Always" if always or member in fixed else "Never"},
            "Evaluation": "Static", "ChangeSource": "DirectModification",
        }
        for member in members
    ]  # fmt: skip
    if by_tags:
        target = {"Attribute": "Tags", "RequiresRecreation": "Never"}
        details.append({"Target": target, "Evaluation": "Static", "ChangeSource": "DirectModification"})
    replaced = (always and (members or not by_tags)) or any(member in fixed for member in members)
    change = _change("Modify", name, kind, physical, "True" if replaced else "False")
    scope = [*(["Properties"] if members or not by_tags else []), *(["Tags"] if by_tags else [])]
    change["ResourceChange"] |= {"Scope": scope, "Details": details}
    return change


def _change(action: str, name: str, kind: str, physical: str = "", replacement: str = "") -> Json:
    change: Json = {"Action": action, "LogicalResourceId": name, "ResourceType": kind, "Scope": [], "Details": []}
    if physical:
        change["PhysicalResourceId"] = physical
    if replacement:
        change["Replacement"] = replacement
    return {"Type": "Resource", "ResourceChange": change}


@cloudformation.operation
def describe_change_set(ctx: Context, request: Json) -> Json:
    """A change set."""
    row = _find(ctx, request)
    shown = {k: v for k, v in row.spec.items() if k != "plan" and v not in (None, "")}
    parameters = [{"ParameterKey": k, "ParameterValue": v} for k, v in row.spec["plan"]["shown"].items()]
    return {
        **shown,
        "ChangeSetId": row.arn,
        "CreationTime": row.created,
        "Parameters": parameters,
        "IncludeNestedStacks": False,
    }


@cloudformation.operation
def list_change_sets(ctx: Context, request: Json) -> Json:
    """A stack's change sets."""
    stack = find(ctx, request["StackName"])
    names = ("ChangeSetName", "StackName", "StackId", "Status", "ExecutionStatus", "StatusReason", "Description")
    shown = [
        {**{n: row.spec[n] for n in names if row.spec[n]}, "ChangeSetId": row.arn, "CreationTime": row.created}
        for row in ctx.tx.rows.list("ChangeSet", ctx.account, ctx.region)
        if row.spec["StackId"] == stack.arn
    ]
    return {"Summaries": shown}


@cloudformation.operation
def execute_change_set(ctx: Context, request: Json) -> Json:
    """Do what a change set says."""
    row = _find(ctx, request)
    if row.spec["ExecutionStatus"] != "AVAILABLE":
        raise coded(
            "InvalidChangeSetStatus",
            f"ChangeSet [{row.arn}] cannot be executed in its current execution status of [{row.spec['ExecutionStatus']}]",
            400,
        )
    stack, plan = find(ctx, row.spec["StackId"]), dict(row.spec["plan"])
    if plan["kind"] == "update":
        check_updatable(stack)
    if request.get("DisableRollback"):
        plan["on_failure"] = "DO_NOTHING"
    spec = {
        **stack.spec,
        "Capabilities": row.spec["Capabilities"],
    }
    if row.spec.get("RoleARN"):
        spec["RoleARN"] = row.spec["RoleARN"]
    stack = ctx.tx.rows.save(stack, spec=spec)
    ctx.tx.rows.save(row, spec={**row.spec, "ExecutionStatus": "EXECUTE_COMPLETE"})
    begin(ctx, stack, plan, "CREATE_IN_PROGRESS" if plan["kind"] == "create" else "UPDATE_IN_PROGRESS")
    return {}


@cloudformation.operation
def delete_change_set(ctx: Context, request: Json) -> Json:
    """Forget a change set; one that is not there is forgotten already."""
    with contextlib.suppress(ChangeSetNotFound):
        ctx.tx.rows.delete(_find(ctx, request))
    return {}
