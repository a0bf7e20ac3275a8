"""Roles and their trust policies."""

from __future__ import annotations

from typing import Any

from ...clock import now
from ...ids import upper
from ...provider.context import Context
from ...store.rows import Row
from . import iam
from .entities import already_exists, delete_conflict, document, encoded, find, listed, page, put_tags, role, tags_of

Json = dict[str, Any]


def new_role(account: str, name: str, trust: str, path: str = "/", **members: Any) -> Row:
    """A role's row."""
    where = f"arn:aws:iam::{account}:role{path}{name}"
    spec = {
        "Path": path, "RoleName": name, "RoleId": upper("AROA", 21), "Arn": where, "CreateDate": now(),
        "MaxSessionDuration": 3600, **members,
    }  # fmt: skip
    private = {"inline": {}, "attached": [], "trust": document(trust, trust=True), "trust_text": trust}
    return Row("Role", account, "", name, where, spec, private=private)


def shown(row: Row) -> Json:
    """A role as answers show it."""
    return {**row.spec, "AssumeRolePolicyDocument": encoded(row.private["trust_text"])}


@iam.operation
def create_role(ctx: Context, request: Json) -> Json:
    """A new role."""
    name = request["RoleName"]
    if find(ctx, "Role", name):
        raise already_exists(f"Role with name {name} already exists.")
    members: Json = {n: request[n] for n in ("Description", "MaxSessionDuration") if n in request}
    if boundary := request.get("PermissionsBoundary"):
        members["PermissionsBoundary"] = {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": boundary}
    row = ctx.tx.rows.add(
        new_role(ctx.account, name, request["AssumeRolePolicyDocument"], request.get("Path", "/"), **members)
    )
    put_tags(ctx, row, request.get("Tags"))
    tags = tags_of(ctx, row)
    echo = {k: v for k, v in shown(row).items() if k != "MaxSessionDuration"}
    return {"Role": {**echo, **({"Tags": tags} if tags else {})}}


@iam.operation
def get_role(ctx: Context, request: Json) -> Json:
    """A role."""
    row = role(ctx, request["RoleName"])
    tags = tags_of(ctx, row)
    return {"Role": {**shown(row), "RoleLastUsed": {}, **({"Tags": tags} if tags else {})}}


@iam.operation
def list_roles(ctx: Context, request: Json) -> Json:
    """The account's roles."""
    items, more = page(request, [shown(r) for r in listed(ctx, "Role", request.get("PathPrefix", "/"))])
    return {"Roles": items, **more}


@iam.operation
def update_role(ctx: Context, request: Json) -> Json:
    """A new description or session length."""
    row = role(ctx, request["RoleName"])
    changes = {n: request[n] for n in ("Description", "MaxSessionDuration") if n in request}
    ctx.tx.rows.save(row, spec={**row.spec, **changes})
    return {}


@iam.operation
def update_role_description(ctx: Context, request: Json) -> Json:
    """A new description."""
    row = role(ctx, request["RoleName"])
    row = ctx.tx.rows.save(row, spec={**row.spec, "Description": request["Description"]})
    return {"Role": shown(row)}


@iam.operation
def update_assume_role_policy(ctx: Context, request: Json) -> None:
    """A new trust policy."""
    row = role(ctx, request["RoleName"])
    text = request["PolicyDocument"]
    ctx.tx.rows.save(row, private={**row.private, "trust": document(text, trust=True), "trust_text": text})


@iam.operation
def delete_role(ctx: Context, request: Json) -> None:
    """Remove a role that has nothing any more."""
    row = role(ctx, request["RoleName"])
    if row.private["attached"]:
        raise delete_conflict("Cannot delete entity, must detach all policies first.")
    if row.private["inline"]:
        raise delete_conflict("Cannot delete entity, must delete policies first.")
    if any(row.name in p.private["roles"] for p in listed(ctx, "InstanceProfile")):
        raise delete_conflict("Cannot delete entity, must remove roles from instance profile first.")
    ctx.tx.rows.delete(row)
