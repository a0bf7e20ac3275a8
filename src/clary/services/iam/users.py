"""Users."""

from __future__ import annotations

from typing import Any

from ...clock import now
from ...ids import upper
from ...provider.context import Context
from ...store.rows import Row
from . import access_keys, iam
from .entities import already_exists, arn, delete_conflict, find, listed, page, put_tags, tags_of, user

Json = dict[str, Any]


def shown(row: Row) -> Json:
    """A user as answers show it."""
    return row.spec


@iam.operation
def create_user(ctx: Context, request: Json) -> Json:
    """A new user."""
    name, path = request["UserName"], request.get("Path", "/")
    if find(ctx, "User", name):
        raise already_exists(f"User with name {name} already exists.")
    where = arn(ctx, "User", path, name)
    spec = {"Path": path, "UserName": name, "UserId": upper("AIDA", 21), "Arn": where, "CreateDate": now()}
    row = ctx.tx.rows.add(Row("User", ctx.account, "", name, where, spec, private={"inline": {}, "attached": []}))
    put_tags(ctx, row, request.get("Tags"))
    tags = tags_of(ctx, row)
    return {"User": {**shown(row), **({"Tags": tags} if tags else {})}}


@iam.operation
def get_user(ctx: Context, request: Json) -> Json:
    """A user; without a name, the caller."""
    if "UserName" not in request:
        if ctx.caller.kind == "user":
            request = {"UserName": ctx.caller.arn.rpartition("/")[2]}
        else:
            return {
                "User": {"Path": "/", "UserName": "root", "UserId": ctx.account, "Arn": ctx.caller.arn, "CreateDate": 0}
            }
    row = user(ctx, request["UserName"])
    tags = tags_of(ctx, row)
    return {"User": {**shown(row), **({"Tags": tags} if tags else {})}}


@iam.operation
def list_users(ctx: Context, request: Json) -> Json:
    """The account's users."""
    items, more = page(request, [shown(r) for r in listed(ctx, "User", request.get("PathPrefix", "/"))])
    return {"Users": items, **more}


@iam.operation
def update_user(ctx: Context, request: Json) -> None:
    """A new name or path."""
    row = user(ctx, request["UserName"])
    name, path = request.get("NewUserName", row.name), str(request.get("NewPath", row.spec["Path"]))
    if name != row.name and find(ctx, "User", name):
        raise already_exists(f"User with name {name} already exists.")
    tags = ctx.tx.tags.of(row.arn)
    where = arn(ctx, "User", path, name)
    spec = {**row.spec, "UserName": name, "Path": path, "Arn": where}
    ctx.tx.rows.delete(row)
    ctx.tx.rows.add(
        Row("User", ctx.account, "", name, where, spec, private=row.private, uid=row.uid, created=row.created)
    )
    ctx.tx.tags.put(where, tags)
    access_keys.move(ctx, row.name, name)
    ctx.tx.after_commit.append(ctx.platform.keyring.forget)


@iam.operation
def delete_user(ctx: Context, request: Json) -> None:
    """Remove a user that has nothing any more."""
    row = user(ctx, request["UserName"])
    if row.private["attached"]:
        raise delete_conflict("Cannot delete entity, must detach all policies first.")
    if row.private["inline"]:
        raise delete_conflict("Cannot delete entity, must delete policies first.")
    if access_keys.of(ctx, row.name):
        raise delete_conflict("Cannot delete entity, must delete access keys first.")
    ctx.tx.rows.delete(row)


@iam.operation
def list_groups_for_user(ctx: Context, request: Json) -> Json:
    """No user is in a group: groups cannot be made here yet."""
    user(ctx, request["UserName"])
    return {"Groups": [], "IsTruncated": False}
