"""Tags of users, roles, policies and instance profiles. The same operations for every kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...provider.context import Context
from ...store.rows import Row
from . import iam
from .entities import page, put_tags, role, tags_of, user
from .policies import policy
from .profiles import profile

Json = dict[str, Any]


def _bind(kind: str, member: str, find: Callable[[Context, str], Row]) -> None:
    def tag(ctx: Context, request: Json) -> None:
        """Add tags."""
        put_tags(ctx, find(ctx, request[member]), request["Tags"])

    def untag(ctx: Context, request: Json) -> None:
        """Remove tags."""
        ctx.tx.tags.remove(find(ctx, request[member]).arn, request["TagKeys"])

    def listed(ctx: Context, request: Json) -> Json:
        """A page of tags."""
        items, more = page(request, tags_of(ctx, find(ctx, request[member])))
        return {"Tags": items, **more}

    for name, function in ((f"Tag{kind}", tag), (f"Untag{kind}", untag), (f"List{kind}Tags", listed)):
        function.__name__ = name
        iam.operation(function)


_bind("User", "UserName", user)
_bind("Role", "RoleName", role)
_bind("Policy", "PolicyArn", policy)
_bind("InstanceProfile", "InstanceProfileName", profile)
