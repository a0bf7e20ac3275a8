"""Versions, which never change, and aliases, which point to one or two of them."""

from __future__ import annotations

import uuid
from typing import Any

from ...clock import now
from ...provider.context import Context
from ...provider.errors import coded
from ...store.rows import Row
from ...wire.bounded import digits
from . import functions
from .api import belonging, paged, shown, stamp
from .naming import LATEST, arn, conflict, find, find_version, invalid, not_found

Json = dict[str, Any]
_OWN = ("FunctionArn", "Version", "LastModified", "RevisionId")


@functions.operation
def publish_version(ctx: Context, request: Json) -> Json:
    """Keep a function's present code and settings under the next number."""
    row, _ = find(ctx, request["FunctionName"])
    return publish(ctx, row, request)


def publish(ctx: Context, row: Row, request: Json) -> Json:
    """The version of the present code and settings: a new one, or the last one if nothing has changed since."""
    name = row.name
    if (wanted := request.get("CodeSha256")) and wanted != row.spec["CodeSha256"]:
        raise invalid(
            f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({row.spec['CodeSha256']}). Please "
            "try again with the CodeSHA256 in $LATEST."
        )
    if (revision := request.get("RevisionId")) and revision != row.spec["RevisionId"]:
        raise coded(
            "PreconditionFailedException", "The Revision Id provided does not match the latest Revision Id.", 412
        )
    number = row.private["versions"]
    last = ctx.get("FunctionVersion", f"{name}:{number}") if number else None
    spec = {**row.spec, "Description": request.get("Description", row.spec["Description"])}
    if last is not None and _same(last.spec, spec):
        return shown(last)
    number += 1
    version = str(number)
    spec |= {
        "Version": version, "FunctionArn": arn(ctx, name, version), "LastModified": stamp(now()),
        "RevisionId": str(uuid.uuid4()),
    }  # fmt: skip
    made = Row(
        "FunctionVersion", ctx.account, ctx.region, f"{name}:{version}", spec["FunctionArn"], spec, created=now()
    )
    ctx.tx.rows.add(made)
    ctx.tx.rows.save(row, private={**row.private, "versions": number})
    return shown(made)


def _same(one: Json, other: Json) -> bool:
    return {k: v for k, v in one.items() if k not in _OWN} == {k: v for k, v in other.items() if k not in _OWN}


@functions.operation
def list_versions_by_function(ctx: Context, request: Json) -> Json:
    """A function's versions, ``$LATEST`` first."""
    row, named = find(ctx, request["FunctionName"])
    versions = sorted(belonging(ctx, "FunctionVersion", named.name), key=lambda r: int(r.spec["Version"]))
    latest = {**shown(row), "FunctionArn": arn(ctx, named.name, LATEST)}
    return paged("Versions", [latest, *(shown(v) for v in versions)], request)


# ---- aliases -------------------------------------------------------------------------------------------------------


def _alias(ctx: Context, request: Json) -> Row:
    row, named = find(ctx, request["FunctionName"])
    if (found := ctx.get("FunctionAlias", f"{row.name}:{request['Name']}")) is None:
        raise not_found(f"Cannot find alias arn: {arn(ctx, named.name, request['Name'])}")
    return found


def _check(ctx: Context, name: str, spec: Json) -> None:
    find_version(ctx, name, spec["FunctionVersion"])
    weights = (spec.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
    if len(weights) > 1:
        raise invalid("Number of items in AdditionalVersionWeights cannot be greater than 1.")
    for version, weight in weights.items():
        if LATEST in (version, spec["FunctionVersion"]):
            raise invalid("$LATEST is not supported for an alias pointing to more than 1 version")
        if not 0 <= weight <= 1:
            raise invalid(f"The weight of version {version} must lie between 0 and 1; it is {weight}.")
        find_version(ctx, name, version)


@functions.operation
def create_alias(ctx: Context, request: Json) -> Json:
    """A name for a version, or for two that share its calls."""
    row, _ = find(ctx, request["FunctionName"])
    name = request["Name"]
    if digits(name):
        raise invalid(f"The alias name {name} must not be a number: versions have those.")
    spec = {
        "AliasArn": arn(ctx, row.name, name), "Name": name, "FunctionVersion": request["FunctionVersion"],
        "Description": request.get("Description", ""), "RevisionId": str(uuid.uuid4()),
    }  # fmt: skip
    if (routing := request.get("RoutingConfig")) is not None:
        spec["RoutingConfig"] = routing
    _check(ctx, row.name, spec)
    if ctx.get("FunctionAlias", f"{row.name}:{name}") is not None:
        raise conflict(f"Alias already exists: {spec['AliasArn']}")
    ctx.tx.rows.add(
        Row("FunctionAlias", ctx.account, ctx.region, f"{row.name}:{name}", spec["AliasArn"], spec, created=now())
    )
    return spec


@functions.operation
def update_alias(ctx: Context, request: Json) -> Json:
    """Point an alias elsewhere."""
    alias = _alias(ctx, request)
    changes: Json = {k: request[k] for k in ("FunctionVersion", "Description", "RoutingConfig") if k in request}
    spec: Json = {**alias.spec, **changes, "RevisionId": str(uuid.uuid4())}
    if spec.get("RoutingConfig") == {}:
        del spec["RoutingConfig"]
    _check(ctx, alias.name.partition(":")[0], spec)
    ctx.tx.rows.save(alias, spec=spec)
    return spec


@functions.operation
def get_alias(ctx: Context, request: Json) -> Json:
    """An alias."""
    return _alias(ctx, request).spec


@functions.operation
def delete_alias(ctx: Context, request: Json) -> None:
    """Remove an alias; one that is not there is no error."""
    row, _ = find(ctx, request["FunctionName"])
    if (found := ctx.get("FunctionAlias", f"{row.name}:{request['Name']}")) is not None:
        ctx.tx.rows.delete(found)


@functions.operation
def list_aliases(ctx: Context, request: Json) -> Json:
    """A function's aliases, or those of one version."""
    row, _ = find(ctx, request["FunctionName"])
    found = [a.spec for a in sorted(belonging(ctx, "FunctionAlias", row.name), key=lambda r: r.name)]
    if wanted := request.get("FunctionVersion"):
        found = [a for a in found if a["FunctionVersion"] == wanted]
    return paged("Aliases", found, request)
