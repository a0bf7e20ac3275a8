"""Instance profiles."""

from __future__ import annotations

from typing import Any

from ...clock import now
from ...ids import upper
from ...provider.context import Context
from ...store.rows import Row
from . import iam
from .entities import (
    already_exists,
    arn,
    delete_conflict,
    find,
    limit_exceeded,
    listed,
    no_such_entity,
    page,
    put_tags,
    role,
    tags_of,
)
from .roles import shown as shown_role

Json = dict[str, Any]


def profile(ctx: Context, name: str) -> Row:
    """An instance profile; NoSuchEntity."""
    if (found := find(ctx, "InstanceProfile", name)) is None:
        raise no_such_entity(f"Instance Profile {name} cannot be found.")
    return found


def _shown(ctx: Context, row: Row) -> Json:
    return {**row.spec, "Roles": [shown_role(role(ctx, name)) for name in row.private["roles"]]}


@iam.operation
def create_instanceprofile(ctx: Context, request: Json) -> Json:
    """A new profile, without a role."""
    name, path = request["InstanceProfileName"], request.get("Path", "/")
    if find(ctx, "InstanceProfile", name):
        raise already_exists(f"Instance Profile {name} already exists.")
    where = arn(ctx, "InstanceProfile", path, name)
    spec = {
        "InstanceProfileName": name,
        "Path": path,
        "Arn": where,
        "CreateDate": now(),
        "InstanceProfileId": upper("AIPA", 21),
    }
    row = ctx.tx.rows.add(Row("InstanceProfile", ctx.account, "", name, where, spec, private={"roles": []}))
    put_tags(ctx, row, request.get("Tags"))
    return {"InstanceProfile": _shown(ctx, row)}


@iam.operation
def get_instanceprofile(ctx: Context, request: Json) -> Json:
    """A profile and its role."""
    row = profile(ctx, request["InstanceProfileName"])
    tags = tags_of(ctx, row)
    return {"InstanceProfile": {**_shown(ctx, row), **({"Tags": tags} if tags else {})}}


@iam.operation
def list_instance_profiles(ctx: Context, request: Json) -> Json:
    """The account's profiles."""
    items, more = page(
        request, [_shown(ctx, r) for r in listed(ctx, "InstanceProfile", request.get("PathPrefix", "/"))]
    )
    return {"InstanceProfiles": items, **more}


@iam.operation
def list_instance_profiles_for_role(ctx: Context, request: Json) -> Json:
    """The profiles that hold a role."""
    name = role(ctx, request["RoleName"]).name
    found = [_shown(ctx, r) for r in listed(ctx, "InstanceProfile") if name in r.private["roles"]]
    items, more = page(request, found)
    return {"InstanceProfiles": items, **more}


@iam.operation
def add_role_to_instanceprofile(ctx: Context, request: Json) -> None:
    """Put a role in; one at most."""
    row, name = profile(ctx, request["InstanceProfileName"]), role(ctx, request["RoleName"]).name
    if row.private["roles"]:
        raise limit_exceeded("Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
    ctx.tx.rows.save(row, private={"roles": [name]})


@iam.operation
def remove_role_from_instanceprofile(ctx: Context, request: Json) -> None:
    """Take the role out."""
    row = profile(ctx, request["InstanceProfileName"])
    if request["RoleName"] not in row.private["roles"]:
        raise no_such_entity(f"Role {request['RoleName']} in instance profile {row.name} cannot be found.")
    ctx.tx.rows.save(row, private={"roles": []})


@iam.operation
def delete_instanceprofile(ctx: Context, request: Json) -> None:
    """Remove a profile without a role."""
    row = profile(ctx, request["InstanceProfileName"])
    if row.private["roles"]:
        raise delete_conflict("Cannot delete entity, must remove roles from instance profile first.")
    ctx.tx.rows.delete(row)
