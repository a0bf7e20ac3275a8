"""Tags of functions."""

from __future__ import annotations

from typing import Any

from ...provider.context import Context
from ...store.rows import Row
from . import functions
from .naming import find

Json = dict[str, Any]


def _function(ctx: Context, request: Json) -> Row:
    return find(ctx, request["Resource"])[0]


@functions.operation
def tag_resource(ctx: Context, request: Json) -> None:
    """Add or replace tags."""
    ctx.tx.tags.put(_function(ctx, request).arn, request["Tags"])


@functions.operation
def untag_resource(ctx: Context, request: Json) -> None:
    """Remove tags."""
    ctx.tx.tags.remove(_function(ctx, request).arn, request["TagKeys"])


@functions.operation
def list_tags(ctx: Context, request: Json) -> Json:
    """A function's tags."""
    return {"Tags": ctx.tx.tags.of(_function(ctx, request).arn)}
