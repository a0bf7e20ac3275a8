"""Policies on users and roles: attached managed ones and inline ones. The same operations for both kinds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...provider.context import Context
from ...store.rows import Row
from . import iam, managed
from .entities import document, encoded, limit_exceeded, no_such_entity, page, role, user

Json = dict[str, Any]
Find = Callable[[Context, str], Row]


def _bind(kind: str, find: Find, inline_limit: int) -> None:
    key, low = f"{kind}Name", kind.lower()

    def attach(ctx: Context, request: Json) -> None:
        """Attach a managed policy; again is fine."""
        row, arn = find(ctx, request[key]), request["PolicyArn"]
        known = ctx.tx.rows.by_arn(arn)
        if known is None and managed.find(arn) is None:
            raise no_such_entity(f"Policy {arn} does not exist or is not attachable.")
        attached = row.private["attached"]
        if arn not in attached:
            if len(attached) >= 10:
                raise limit_exceeded(f"Cannot exceed quota for PoliciesPer{kind}: 10")
            ctx.tx.rows.save(row, private={**row.private, "attached": [*attached, arn]})

    def detach(ctx: Context, request: Json) -> None:
        """Take a managed policy off."""
        row, arn = find(ctx, request[key]), request["PolicyArn"]
        if arn not in row.private["attached"]:
            raise no_such_entity(f"Policy {arn} was not found.")
        left = [a for a in row.private["attached"] if a != arn]
        ctx.tx.rows.save(row, private={**row.private, "attached": left})

    def list_attached(ctx: Context, request: Json) -> Json:
        """The managed policies of an entity."""
        arns = find(ctx, request[key]).private["attached"]
        found = [{"PolicyName": a.rpartition("/")[2], "PolicyArn": a} for a in arns]
        items, more = page(request, found)
        return {"AttachedPolicies": items, **more}

    def put(ctx: Context, request: Json) -> None:
        """Add or replace an inline policy."""
        row, text = find(ctx, request[key]), request["PolicyDocument"]
        document(text)
        inline = {**row.private["inline"], request["PolicyName"]: text}
        if sum(len("".join(t.split())) for t in inline.values()) > inline_limit:
            raise limit_exceeded(f"Maximum policy size of {inline_limit} bytes exceeded for {low} {row.name}")
        ctx.tx.rows.save(row, private={**row.private, "inline": inline})

    def inline_text(row: Row, name: str) -> str:
        if name not in row.private["inline"]:
            raise no_such_entity(f"The {low} policy with name {name} cannot be found.")
        return str(row.private["inline"][name])

    def get(ctx: Context, request: Json) -> Json:
        """An inline policy."""
        row, name = find(ctx, request[key]), request["PolicyName"]
        return {key: row.name, "PolicyName": name, "PolicyDocument": encoded(inline_text(row, name))}

    def delete(ctx: Context, request: Json) -> None:
        """Remove an inline policy."""
        row, name = find(ctx, request[key]), request["PolicyName"]
        inline_text(row, name)
        inline = {k: v for k, v in row.private["inline"].items() if k != name}
        ctx.tx.rows.save(row, private={**row.private, "inline": inline})

    def list_inline(ctx: Context, request: Json) -> Json:
        """The names of an entity's inline policies."""
        items, more = page(request, sorted(find(ctx, request[key]).private["inline"]))
        return {"PolicyNames": items, **more}

    named = {
        f"Attach{kind}Policy": attach, f"Detach{kind}Policy": detach, f"ListAttached{kind}Policies": list_attached,
        f"Put{kind}Policy": put, f"Get{kind}Policy": get, f"Delete{kind}Policy": delete,
        f"List{kind}Policies": list_inline,
    }  # fmt: skip
    for name, function in named.items():
        function.__name__ = name
        iam.operation(function)


_bind("User", user, 2048)
_bind("Role", role, 10240)
