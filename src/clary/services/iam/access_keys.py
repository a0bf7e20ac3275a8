"""Access keys of users and of the root user."""

from __future__ import annotations

from typing import Any

from sqlalchemy import delete, insert, select, update

from ...clock import now
from ...ids import access_key as new_access_key
from ...provider.context import Context
from ...provider.errors import ValidationError
from ...store.schema import access_key as table
from . import iam
from .entities import limit_exceeded, no_such_entity, page, user

Json = dict[str, Any]


def of(ctx: Context, name: str | None) -> list[Any]:
    """A user's keys; None is the root user."""
    where = (table.c.account == ctx.account) & (table.c.user_name == name)
    return list(ctx.tx.connection.execute(select(table).where(where).order_by(table.c.created)).mappings())


def move(ctx: Context, old: str, new: str) -> None:
    """A user was renamed."""
    where = (table.c.account == ctx.account) & (table.c.user_name == old)
    ctx.tx.connection.execute(update(table).where(where).values(user_name=new))


def _owner(ctx: Context, request: Json) -> str | None:
    if "UserName" in request:
        return user(ctx, request["UserName"]).name
    if ctx.caller.kind == "user":
        return ctx.caller.arn.rpartition("/")[2]
    if ctx.caller.kind == "root":
        return None
    raise ValidationError("Must specify userName when calling with non-User credentials")


@iam.operation
def create_access_key(ctx: Context, request: Json) -> Json:
    """A new key; the only answer that shows its secret."""
    name = _owner(ctx, request)
    if len(of(ctx, name)) >= 2:
        raise limit_exceeded("Cannot exceed quota for AccessKeysPerUser: 2")
    key_id, secret = new_access_key()
    values = {"id": key_id, "account": ctx.account, "user_name": name, "secret": secret, "state": "Active"}
    ctx.tx.connection.execute(insert(table), {**values, "created": now()})
    ctx.tx.after_commit.append(ctx.platform.keyring.forget)
    shown = {"UserName": name or "root", "AccessKeyId": key_id, "Status": "Active", "SecretAccessKey": secret}
    return {"AccessKey": {**shown, "CreateDate": now()}}


@iam.operation
def list_access_keys(ctx: Context, request: Json) -> Json:
    """A user's keys, without secrets."""
    name = _owner(ctx, request)
    keys = [
        {"UserName": name or "root", "AccessKeyId": k["id"], "Status": k["state"], "CreateDate": k["created"]}
        for k in of(ctx, name)
    ]
    items, more = page(request, keys)
    return {"AccessKeyMetadata": items, **more}


def _key(ctx: Context, request: Json) -> Any:
    name, key_id = _owner(ctx, request), request["AccessKeyId"]
    if (found := next((k for k in of(ctx, name) if k["id"] == key_id), None)) is None:
        raise no_such_entity(f"The Access Key with id {key_id} cannot be found")
    return found


@iam.operation
def update_access_key(ctx: Context, request: Json) -> None:
    """Switch a key on or off."""
    found = _key(ctx, request)
    ctx.tx.connection.execute(update(table).where(table.c.id == found["id"]).values(state=request["Status"]))
    ctx.tx.after_commit.append(ctx.platform.keyring.forget)


@iam.operation
def delete_access_key(ctx: Context, request: Json) -> None:
    """Remove a key."""
    found = _key(ctx, request)
    ctx.tx.connection.execute(delete(table).where(table.c.id == found["id"]))
    ctx.tx.after_commit.append(ctx.platform.keyring.forget)


@iam.operation
def get_access_key_last_used(ctx: Context, request: Json) -> Json:
    """Whose key it is; uses are not recorded, which AWS spells N/A."""
    found = ctx.tx.connection.execute(select(table).where(table.c.id == request["AccessKeyId"])).mappings().first()
    if found is None or found["account"] != ctx.account:
        raise no_such_entity(f"The Access Key with id {request['AccessKeyId']} cannot be found")
    return {"UserName": found["user_name"] or "root", "AccessKeyLastUsed": {"ServiceName": "N/A", "Region": "N/A"}}
