"""Stacks: the operations that show them."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from ...provider.context import Context
from ...provider.errors import ValidationError
from ...provider.pages import cut
from ...store.database import Transaction
from ...store.rows import Row
from . import cloudformation, transforms
from . import template as templates
from .stack import body_of, find, lookup, tags_now
from .stacks import imports

Json = dict[str, Any]
_NAMED_TYPES = ("AWS::IAM::Role", "AWS::IAM::ManagedPolicy")


def _shown(row: Row) -> Json:
    status = {k: v for k, v in row.status.items() if v not in ("", [], None)}
    shown = {
        **status, "StackName": row.spec.get("StackName", row.name) if row.kind == "Stack" else row.arn.partition(":stack/")[2].partition("/")[0],
        "StackId": row.arn.partition("#")[0], "CreationTime": row.created, "Tags": tags_now(row),
        "NotificationARNs": row.spec.get("NotificationARNs") or [], "RollbackConfiguration": {},
        "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"},
    }  # fmt: skip
    return {**shown, **{k: row.spec[k] for k in ("Capabilities", "RoleARN", "TimeoutInMinutes") if row.spec.get(k)}}


@cloudformation.operation
async def describe_stacks(ctx: Context, request: Json) -> Json:
    """Stacks; while the one that is named is young in what it does, the answer waits for the end."""
    until = time.monotonic() + ctx.platform.settings.hold_seconds

    def look(tx: Transaction) -> list[Row]:
        if name := request.get("StackName"):
            row = lookup(tx, ctx.account, ctx.region, name)
            if row is None:
                raise ValidationError(f"Stack with id {name} does not exist")
            return [row]
        return tx.rows.list("Stack", ctx.account, ctx.region)

    while True:
        rows = await asyncio.to_thread(ctx.platform.database.attempt, look, True)
        busy = (
            bool(request.get("StackName"))
            and rows[0].state.endswith("_IN_PROGRESS")
            and rows[0].state != "REVIEW_IN_PROGRESS"
        )
        if not busy or time.monotonic() > until:
            return {"Stacks": [_shown(r) for r in rows]}
        with ctx.platform.signals.watch(rows[0].key) as watch:
            await watch.change(min(1.0, max(0.0, until - time.monotonic())))


@cloudformation.operation
def list_stacks(ctx: Context, request: Json) -> Json:
    """Stacks in short, deleted ones too."""
    rows = [
        *ctx.tx.rows.list("Stack", ctx.account, ctx.region),
        *ctx.tx.rows.list("DeletedStack", ctx.account, ctx.region),
    ]
    wanted = request.get("StackStatusFilter")
    names = (
        "StackId",
        "StackName",
        "CreationTime",
        "LastUpdatedTime",
        "DeletionTime",
        "StackStatus",
        "StackStatusReason",
        "DriftInformation",
    )
    shown = [{k: v for k, v in _shown(r).items() if k in names} for r in sorted(rows, key=lambda r: -r.created)]
    for summary, row in zip(shown, sorted(rows, key=lambda r: -r.created), strict=True):
        summary["TemplateDescription"] = row.status.get("Description") or None
    return {"StackSummaries": [s for s in shown if not wanted or s["StackStatus"] in wanted]}


@cloudformation.operation
def describe_stack_events(ctx: Context, request: Json) -> Json:
    """What has happened to a stack, newest first."""
    name = request.get("StackName", "")
    if lookup(ctx.tx, ctx.account, ctx.region, name) is None:
        raise ValidationError(f"Stack [{name}] does not exist")
    events = list(reversed(find(ctx, name).private["events"]))
    shown, token = cut(events, request.get("NextToken"), 100, ValidationError("Invalid token"))
    return {"StackEvents": shown, **({"NextToken": token} if token else {})}


def _resource(row: Row, logical: str) -> Json:
    made = row.private["resources"][logical]
    return {
        "StackName": row.name, "StackId": row.arn, "LogicalResourceId": logical,
        "PhysicalResourceId": made.get("PhysicalResourceId") or None, "ResourceType": made["ResourceType"],
        "Timestamp": made["Timestamp"], "LastUpdatedTimestamp": made["Timestamp"],
        "ResourceStatus": made["ResourceStatus"], "DriftInformation": {"StackResourceDriftStatus": "NOT_CHECKED"},
    }  # fmt: skip


@cloudformation.operation
def describe_stack_resources(ctx: Context, request: Json) -> Json:
    """A stack's resources."""
    row = find(ctx, request.get("StackName", ""))
    wanted = request.get("LogicalResourceId")
    return {"StackResources": [_resource(row, n) for n in row.private["resources"] if wanted in (None, n)]}


@cloudformation.operation
def describe_stack_resource(ctx: Context, request: Json) -> Json:
    """One resource of a stack."""
    row, name = find(ctx, request["StackName"]), request["LogicalResourceId"]
    if name not in row.private["resources"]:
        raise ValidationError(f"Resource {name} does not exist for stack {row.name}")
    return {"StackResourceDetail": _resource(row, name)}


@cloudformation.operation
def list_stack_resources(ctx: Context, request: Json) -> Json:
    """A stack's resources in short."""
    row = find(ctx, request["StackName"])
    return {"StackResourceSummaries": [_resource(row, n) for n in row.private["resources"]]}


@cloudformation.operation
def get_template(ctx: Context, request: Json) -> Json:
    """A stack's template, as it was given."""
    row = find(ctx, request.get("StackName", ""))
    plan = row.private.get("plan") or {}
    body = row.private["template"] or plan.get("template", "")
    if request.get("TemplateStage", "Original") == "Original":
        body = row.private.get("original") or (not row.private["template"] and plan.get("original")) or body
    return {"TemplateBody": body, "StagesAvailable": ["Original", "Processed"]}


def _summary(document: Json) -> Json:
    parameters = [
        {
            "ParameterKey": name, "DefaultValue": None if "Default" not in about else str(about["Default"]),
            "ParameterType": about.get("Type", "String"), "NoEcho": str(about.get("NoEcho", "")).lower() == "true",
            "Description": about.get("Description"), "ParameterConstraints": {},
        }
        for name, about in (document.get("Parameters") or {}).items()
    ]  # fmt: skip
    kinds = sorted({str(r["Type"]) for r in document["Resources"].values() if isinstance(r, dict)})
    found: Json = {"Parameters": parameters, "ResourceTypes": kinds, "Description": document.get("Description")}
    if wanted := transforms.names(document):
        found |= {"DeclaredTransforms": wanted, "Capabilities": ["CAPABILITY_AUTO_EXPAND"]}
    if any(k.startswith("AWS::IAM::") for k in kinds):
        found["Capabilities"] = ["CAPABILITY_NAMED_IAM"]
        found["CapabilitiesReason"] = (
            f"The following resource(s) require capabilities: [{', '.join(k for k in kinds if k.startswith('AWS::IAM::'))}]"
        )
    return found


@cloudformation.operation
def get_template_summary(ctx: Context, request: Json) -> Json:
    """What a template takes and makes."""
    if "StackName" not in request:
        return _summary(templates.parse(body_of(ctx, request)))
    private = find(ctx, request["StackName"]).private
    return _summary(templates.parse(private.get("original") or private["template"]))


@cloudformation.operation
def validate_template(ctx: Context, request: Json) -> Json:
    """Whether a template can be read, and what it takes."""
    found = _summary(templates.parse(body_of(ctx, request)))
    return {k: v for k, v in found.items() if k != "ResourceTypes"}


@cloudformation.operation
def list_exports(ctx: Context, request: Json) -> Json:
    """What stacks export."""
    found = [
        {"ExportingStackId": row.arn, "Name": o["ExportName"], "Value": o["OutputValue"]}
        for row in ctx.tx.rows.list("Stack", ctx.account, ctx.region)
        for o in row.status.get("Outputs") or ()
        if "ExportName" in o
    ]
    return {"Exports": sorted(found, key=lambda e: e["Name"])}


@cloudformation.operation
def list_imports(ctx: Context, request: Json) -> Json:
    """Which stacks use an export."""
    name = request["ExportName"]
    users = [r.name for r in ctx.tx.rows.list("Stack", ctx.account, ctx.region) if name in imports(r)]
    if not users:
        raise ValidationError(f"Export '{name}' is not imported by any stack.")
    return {"Imports": users}
