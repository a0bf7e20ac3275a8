"""Stacks: the operations that make, change and remove them."""

from __future__ import annotations

import json
import uuid
from typing import Any

from ...clock import now
from ...provider.border import check_role
from ...provider.context import Context
from ...provider.errors import ValidationError, coded
from ...store.rows import Row
from . import cloudformation, transforms
from . import template as templates
from .intrinsics import check_rules, order
from .kind import tags_of
from .stack import body_of, capabilities, check_types, event, find, going_back, static_scope, tags_now

Json = dict[str, Any]
_KEPT = ("NotificationARNs", "TimeoutInMinutes", "Capabilities", "RoleARN", "StackPolicyBody")


def new_stack(ctx: Context, name: str, request: Json, state: str, reason: str = "") -> Row:
    """A stack's row, before anything is made."""
    arn = ctx.arn("cloudformation", f"stack/{name}/{uuid.uuid4()}")
    status: Json = {
        "StackStatus": state, "DisableRollback": bool(request.get("DisableRollback", False)),
        "EnableTerminationProtection": bool(request.get("EnableTerminationProtection", False)),
    }  # fmt: skip
    private: Json = {"resources": {}, "events": [], "plan": None, "template": "", "parameters": {}, "shown": {}}
    check_role(ctx, request.get("RoleARN"), "AccessDenied")
    spec = {k: request[k] for k in _KEPT if k in request}
    spec["Tags"] = request.get("Tags") or []
    row = Row("Stack", ctx.account, ctx.region, name, arn, spec, status, private, state=state, created=now())
    event(row, private, name, arn, "AWS::CloudFormation::Stack", state, reason)
    ctx.tx.rows.add(row)
    return ctx.get("Stack", name) or row


def planned(ctx: Context, row: Row, kind: str, request: Json, body: str) -> Json:
    """The plan of a create or an update; AWS's error when its template cannot be."""
    document, original = templates.parse(body), ""
    parameters = templates.parameters(document, request.get("Parameters"), row.private.get("parameters", {}))
    if transforms.names(document):
        expands(request)
        known = static_scope(ctx.tx, row, document, parameters, ctx).values
        document = transforms.transformed(document, {**parameters, **known}, ctx.account, ctx.region)
        original, body = body, json.dumps(document)
        document = templates.parse(body)
        parameters = {k: v for k, v in parameters.items() if k in (document.get("Parameters") or {})}
    capabilities(document, request.get("Capabilities"))
    names = static_scope(ctx.tx, row, document, parameters, ctx)
    wanted = order(document, names)
    check_types(document, wanted)
    check_rules(document, names)
    for logical in wanted:
        names.resolve(document["Resources"][logical].get("Properties") or {})
    secret = [
        n for n, about in (document.get("Parameters") or {}).items() if str(about.get("NoEcho", "")).lower() == "true"
    ]
    shown = {k: "****" if k in secret else v for k, v in parameters.items()}
    on_failure = request.get("OnFailure") or ("DO_NOTHING" if request.get("DisableRollback") else "ROLLBACK")
    return {
        "kind": kind, "template": body, "original": original, "parameters": parameters, "shown": shown, "done": [], "on_failure": on_failure,
        "description": document.get("Description", ""), "tags": wanted_tags(row, request),
    }  # fmt: skip


def expands(request: Json) -> None:
    """Refuse to carry transforms out unseen for who did not say that this is meant; change sets are looked at first."""
    if "ChangeSetName" in request or "CAPABILITY_AUTO_EXPAND" in (request.get("Capabilities") or ()):
        return
    raise coded("InsufficientCapabilitiesException", "Requires capabilities : [CAPABILITY_AUTO_EXPAND]", 400)


def begin(ctx: Context, row: Row, plan: Json, state: str, reason: str = "User Initiated") -> None:
    """Have the reconciler carry a plan out."""
    private = dict(row.private)
    status = {**row.status, "StackStatus": state}
    status.pop("StackStatusReason", None)
    if plan.get("description"):
        status["Description"] = plan["description"]
    if "shown" in plan and plan["kind"] == "create":
        status["Parameters"] = [{"ParameterKey": k, "ParameterValue": v} for k, v in plan["shown"].items()]
    if plan["kind"] == "update":
        status["LastUpdatedTime"] = now()
    event(row, private, row.name, row.arn, "AWS::CloudFormation::Stack", state, reason)
    row = ctx.tx.rows.save(row, status=status, private=private, state=state)
    ctx.tx.rows.wish(row, operation=plan)


@cloudformation.operation
def create_stack(ctx: Context, request: Json) -> Json:
    """Make a stack."""
    name = request["StackName"]
    present = ctx.get("Stack", name)
    if present is not None and present.state != "REVIEW_IN_PROGRESS":
        raise coded("AlreadyExistsException", f"Stack [{name}] already exists", 400)
    body = body_of(ctx, request)
    probe = present or Row("Stack", ctx.account, ctx.region, name, ctx.arn("cloudformation", f"stack/{name}/x"), {})
    plan = planned(ctx, probe, "create", request, body)
    row = present or new_stack(ctx, name, request, "CREATE_IN_PROGRESS", "User Initiated")
    ctx.tx.rows.wish(row, operation=plan)
    ctx.tx.rows.save(
        ctx.get("Stack", name) or row,
        status={
            **row.status,
            "Description": plan["description"],
            "Parameters": [{"ParameterKey": k, "ParameterValue": v} for k, v in plan["shown"].items()],
        },
    )
    return {"StackId": row.arn}


@cloudformation.operation
def update_stack(ctx: Context, request: Json) -> Json:
    """Bring a stack to another template or other parameters."""
    row = find(ctx, request["StackName"])
    check_updatable(row)
    check_role(ctx, request.get("RoleARN"), "AccessDenied")
    body = body_of(ctx, request, row.private.get("original") or row.private["template"])
    plan = planned(ctx, row, "update", request, body)
    if not changes(row, plan) and not retagged(row, request):
        raise ValidationError("No updates are to be performed.")
    row = ctx.tx.rows.save(row, spec={**row.spec, **{k: request[k] for k in _KEPT if k in request}})
    plan["replaced"] = (row.private.get("interrupted") or {}).get("replaced", [])
    begin(ctx, row, plan, "UPDATE_IN_PROGRESS")
    return {"StackId": row.arn}


def check_updatable(row: Row) -> None:
    """Refuse to update a stack that is busy or beyond it."""
    if row.state in ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED"):
        return
    raise ValidationError(f"Stack:{row.arn} is in {row.state} state and can not be updated.")


@cloudformation.operation
def cancel_update_stack(ctx: Context, request: Json) -> None:
    """Stop an update, and go back."""
    row = find(ctx, request["StackName"])
    if row.state != "UPDATE_IN_PROGRESS":
        raise ValidationError("CancelUpdateStack cannot be called from current stack status")
    ctx.tx.rows.wish(row, cancel=True)


@cloudformation.operation
def continue_update_rollback(ctx: Context, request: Json) -> Json:
    """Go on going back where that failed; resources may be left as they are."""
    row = find(ctx, request["StackName"])
    if row.state != "UPDATE_ROLLBACK_FAILED":
        raise ValidationError(f"Stack:{row.arn} is in {row.state} state and can not continue update rollback.")
    skipped = request.get("ResourcesToSkip") or []
    if unknown := [name for name in skipped if name not in row.private["resources"]]:
        raise ValidationError(f"Resources [{', '.join(unknown)}] cannot be skipped: they are not in the stack.")
    plan = going_back(row.private, row.private.get("interrupted") or {}, row.status.get("Description", ""))
    begin(ctx, row, {**plan, "done": skipped}, "UPDATE_ROLLBACK_IN_PROGRESS")
    return {}


@cloudformation.operation
def rollback_stack(ctx: Context, request: Json) -> Json:
    """Undo what failed and was left as it was."""
    row = find(ctx, request["StackName"])
    if row.state == "CREATE_FAILED":
        begin(ctx, row, {"kind": "rollback"}, "ROLLBACK_IN_PROGRESS")
    elif row.state == "UPDATE_FAILED":
        plan = going_back(row.private, row.private.get("interrupted") or {}, row.status.get("Description", ""))
        begin(ctx, row, plan, "UPDATE_ROLLBACK_IN_PROGRESS")
    else:
        raise ValidationError(f"Stack:{row.arn} is in {row.state} state and can not be rolled back.")
    return {"StackId": row.arn}


def changes(row: Row, plan: Json) -> bool:
    """Whether a plan differs from what the stack is."""
    before, after = templates.parse(row.private["template"]), templates.parse(plan["template"])
    parts = ("Resources", "Outputs", "Conditions", "Mappings")
    return any(before.get(p) != after.get(p) for p in parts) or row.private["parameters"] != plan["parameters"]


def wanted_tags(row: Row, request: Json) -> list[Json]:
    """The tags that a request wants; none for a change set means as they are, which is what ``deploy`` says then."""
    keeps = "Tags" not in request or (not request["Tags"] and "ChangeSetName" in request)
    found: list[Json] = tags_now(row) if keeps else request["Tags"]
    return found


def retagged(row: Row, request: Json) -> bool:
    """Whether a request gives a stack other tags."""
    return tags_of({"Tags": wanted_tags(row, request)}) != tags_of({"Tags": tags_now(row)})


@cloudformation.operation
def delete_stack(ctx: Context, request: Json) -> None:
    """Remove a stack with all its resources; one that is not there is no error."""
    from .stack import lookup

    row = lookup(ctx.tx, ctx.account, ctx.region, request["StackName"])
    if row is None or row.kind == "DeletedStack":
        return
    if row.status.get("EnableTerminationProtection"):
        raise ValidationError(f"Stack [{row.name}] cannot be deleted while TerminationProtection is enabled")
    exported = {o["ExportName"] for o in row.status.get("Outputs") or () if "ExportName" in o}
    for other in ctx.tx.rows.list("Stack", ctx.account, ctx.region) if exported else ():
        if other.uid != row.uid and (used := exported & imports(other)):
            raise ValidationError(f"Export {sorted(used)[0]} cannot be deleted as it is in use by {other.name}")
    begin(ctx, row, {"kind": "delete"}, "DELETE_IN_PROGRESS")


def imports(row: Row) -> set[str]:
    """The names of exports that a stack uses, as far as they stand in its template."""

    def names(value: Any) -> Any:
        if isinstance(value, dict):
            for key, argument in value.items():
                if key == "Fn::ImportValue" and isinstance(argument, str):
                    yield argument
                else:
                    yield from names(argument)
        elif isinstance(value, list):
            for item in value:
                yield from names(item)

    return set(names(templates.parse(row.private["template"]))) if row.private.get("template") else set()


@cloudformation.operation
def update_termination_protection(ctx: Context, request: Json) -> Json:
    """Guard a stack against being deleted, or no longer."""
    row = find(ctx, request["StackName"])
    ctx.tx.rows.save(row, status={**row.status, "EnableTerminationProtection": request["EnableTerminationProtection"]})
    return {"StackId": row.arn}
