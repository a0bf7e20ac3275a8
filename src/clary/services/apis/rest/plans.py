"""API keys, and the usage plans that say what their holders may call and how often."""

from __future__ import annotations

import secrets
from typing import Any

from ....clock import now
from ....provider.context import Context
from ....store.rows import Row
from ..errors import bad_request, conflict, not_found
from ..hosts import new_id
from . import rest
from .api import find, paged, with_tags
from .patches import patched
from .stages import stage

Json = dict[str, Any]
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


def _key(ctx: Context, identifier: str) -> Row:
    if (row := ctx.get("ApiKey", identifier)) is None:
        raise not_found("Invalid API Key identifier specified")
    return row


def _shown(ctx: Context, row: Row, with_value: bool) -> Json:
    found = {**row.spec, "createdDate": row.created, "lastUpdatedDate": row.modified or row.created}
    found = with_tags(ctx, row.arn, found)
    return found if with_value else {k: v for k, v in found.items() if k != "value"}


@rest.operation
def create_api_key(ctx: Context, request: Json) -> Json:
    """A new key; its value is made unless it is given."""
    value = request.get("value") or "".join(secrets.choice(_LETTERS) for _ in range(40))
    if not 20 <= len(value) <= 128:
        raise bad_request("API Key value should be at least 20 characters")
    if any(r.spec["value"] == value for r in ctx.tx.rows.list("ApiKey", ctx.account, ctx.region)):
        raise conflict("API Key already exists")
    identifier = new_id()
    spec: Json = {
        "id": identifier, "value": value, "enabled": bool(request.get("enabled", False)), "stageKeys": [],
        **{k: request[k] for k in ("name", "description", "customerId") if k in request},
    }  # fmt: skip
    arn = f"arn:aws:apigateway:{ctx.region}::/apikeys/{identifier}"
    row = Row("ApiKey", ctx.account, ctx.region, identifier, arn, spec, created=now())
    ctx.tx.rows.add(row)
    ctx.tx.tags.put(arn, request.get("tags") or {})
    return _shown(ctx, row, with_value=True)


@rest.operation
def get_api_key(ctx: Context, request: Json) -> Json:
    """A key; its value where that is asked for."""
    return _shown(ctx, _key(ctx, request["apiKey"]), bool(request.get("includeValue")))


@rest.operation
def get_api_keys(ctx: Context, request: Json) -> Json:
    """Keys by page."""
    rows = sorted(ctx.tx.rows.list("ApiKey", ctx.account, ctx.region), key=lambda r: (r.created, r.name))
    if text := request.get("nameQuery"):
        rows = [r for r in rows if str(r.spec.get("name", "")).startswith(text)]
    return paged([_shown(ctx, r, bool(request.get("includeValues"))) for r in rows], request)


@rest.operation
def update_api_key(ctx: Context, request: Json) -> Json:
    """Change a key's name, or whether it is enabled."""
    row = _key(ctx, request["apiKey"])
    spec = patched(
        row.spec, request.get("patchOperations"), ("/name", "/description", "/enabled", "/customerId"), "ApiKey"
    )
    return _shown(ctx, ctx.tx.rows.save(row, spec=spec), with_value=False)


@rest.operation
def delete_api_key(ctx: Context, request: Json) -> None:
    """Remove a key."""
    ctx.tx.rows.delete(_key(ctx, request["apiKey"]))


# ---- plans ---------------------------------------------------------------------------------------------------------


def _plan(ctx: Context, identifier: str) -> Row:
    if (row := ctx.get("UsagePlan", identifier)) is None:
        raise not_found("Invalid Usage Plan ID specified")
    return row


def _check(ctx: Context, spec: Json) -> None:
    for place in spec.get("apiStages") or ():
        stage(find(ctx, place["apiId"]), place["stage"])
    if quota := spec.get("quota"):
        if quota.get("period") not in ("DAY", "WEEK", "MONTH"):
            raise bad_request("Usage Plan quota period must be DAY, WEEK or MONTH")
        if (quota.get("limit") or 0) < 0:
            raise bad_request("Usage Plan quota limit must not be negative")


@rest.operation
def create_usage_plan(ctx: Context, request: Json) -> Json:
    """A new plan."""
    identifier = new_id(6)
    spec = {"apiStages": [], **{k: v for k, v in request.items() if k != "tags"}, "id": identifier}
    _check(ctx, spec)
    arn = f"arn:aws:apigateway:{ctx.region}::/usageplans/{identifier}"
    ctx.tx.rows.add(
        Row("UsagePlan", ctx.account, ctx.region, identifier, arn, spec, private={"keys": []}, created=now())
    )
    ctx.tx.tags.put(arn, request.get("tags") or {})
    return with_tags(ctx, arn, spec)


@rest.operation
def get_usage_plan(ctx: Context, request: Json) -> Json:
    """A plan."""
    row = _plan(ctx, request["usagePlanId"])
    return with_tags(ctx, row.arn, row.spec)


@rest.operation
def get_usage_plans(ctx: Context, request: Json) -> Json:
    """Plans by page, or those of one key."""
    rows = sorted(ctx.tx.rows.list("UsagePlan", ctx.account, ctx.region), key=lambda r: (r.created, r.name))
    if key := request.get("keyId"):
        rows = [r for r in rows if key in r.private["keys"]]
    return paged([with_tags(ctx, r.arn, r.spec) for r in rows], request)


@rest.operation
def update_usage_plan(ctx: Context, request: Json) -> Json:
    """Change a plan: its stages, its limits."""
    row = _plan(ctx, request["usagePlanId"])
    spec, others = dict(row.spec), []
    for operation in request.get("patchOperations") or ():
        if operation.get("path") == "/apiStages":
            api, _, name = (operation.get("value") or "").partition(":")
            kept = [s for s in spec["apiStages"] if (s["apiId"], s["stage"]) != (api, name)]
            spec["apiStages"] = kept if operation["op"] == "remove" else [*kept, {"apiId": api, "stage": name}]
        else:
            others.append(operation)
    paths = ("/name", "/description", "/throttle/", "/quota/", "/throttle", "/quota", "/productCode")
    spec = patched(spec, others, paths, "UsagePlan")
    _check(ctx, spec)
    return with_tags(ctx, row.arn, ctx.tx.rows.save(row, spec=spec).spec)


@rest.operation
def delete_usage_plan(ctx: Context, request: Json) -> None:
    """Remove a plan that no stage has."""
    row = _plan(ctx, request["usagePlanId"])
    if row.spec["apiStages"]:
        raise bad_request("Cannot delete Usage Plan with associated API Stages, detach them first.")
    ctx.tx.rows.delete(row)


def _plan_key(row: Row) -> Json:
    return {"id": row.name, "type": "API_KEY", "value": row.spec["value"], "name": row.spec.get("name", "")}


@rest.operation
def create_usage_plan_key(ctx: Context, request: Json) -> Json:
    """Put a key into a plan."""
    plan, key = _plan(ctx, request["usagePlanId"]), _key(ctx, request["keyId"])
    if key.name in plan.private["keys"]:
        raise conflict("Usage Plan Key already exists")
    ctx.tx.rows.save(plan, private={**plan.private, "keys": [*plan.private["keys"], key.name]})
    return _plan_key(key)


@rest.operation
def get_usage_plan_key(ctx: Context, request: Json) -> Json:
    """A key of a plan."""
    plan = _plan(ctx, request["usagePlanId"])
    if request["keyId"] not in plan.private["keys"]:
        raise not_found("Invalid Usage Plan Key identifier specified")
    return _plan_key(_key(ctx, request["keyId"]))


@rest.operation
def get_usage_plan_keys(ctx: Context, request: Json) -> Json:
    """The keys of a plan."""
    plan = _plan(ctx, request["usagePlanId"])
    rows = [r for k in plan.private["keys"] if (r := ctx.get("ApiKey", k)) is not None]
    return paged([_plan_key(r) for r in rows], request)


@rest.operation
def delete_usage_plan_key(ctx: Context, request: Json) -> None:
    """Take a key out of a plan."""
    plan = _plan(ctx, request["usagePlanId"])
    if request["keyId"] not in plan.private["keys"]:
        raise not_found("Invalid Usage Plan Key identifier specified")
    kept = [k for k in plan.private["keys"] if k != request["keyId"]]
    ctx.tx.rows.save(plan, private={**plan.private, "keys": kept})
