"""Tags of anything that has an ARN."""

from __future__ import annotations

from typing import Any

from ...provider.context import Context
from ...provider.errors import ResourceLimitExceeded, ValidationException
from ...provider.pages import cut
from . import sagemaker

Json = dict[str, Any]
MAX_TAGS = 50


def put(ctx: Context, arn: str, tags: list[Json] | None) -> None:
    """Tags given when a resource is made."""
    pairs = {t["Key"]: t["Value"] for t in tags or ()}
    if len(pairs) != len(tags or ()):
        raise ValidationException("Duplicate tag keys found in the request. Tag keys must be unique.")
    if any(k.lower().startswith("aws:") for k in pairs):
        raise ValidationException("Tag keys may not start with the reserved prefix 'aws:'.")
    present = ctx.tx.tags.of(arn)
    if len(present | pairs) > MAX_TAGS:
        raise ResourceLimitExceeded(f"The number of tags of {arn} would exceed the limit of {MAX_TAGS}.")
    ctx.tx.tags.put(arn, pairs)


def listed(ctx: Context, arn: str) -> list[Json]:
    """A resource's tags."""
    return [{"Key": k, "Value": v} for k, v in ctx.tx.tags.of(arn).items()]


def _exists(ctx: Context, arn: str) -> None:
    row = ctx.tx.rows.by_arn(arn)
    if row is None or row.account != ctx.account:
        raise ValidationException(f"Could not find resource with ARN {arn}.")


@sagemaker.operation
def add_tags(ctx: Context, request: Json) -> Json:
    """Add or replace tags; all of them."""
    _exists(ctx, request["ResourceArn"])
    put(ctx, request["ResourceArn"], request["Tags"])
    return {"Tags": listed(ctx, request["ResourceArn"])}


@sagemaker.operation
def list_tags(ctx: Context, request: Json) -> Json:
    """A page of tags."""
    _exists(ctx, request["ResourceArn"])
    found = listed(ctx, request["ResourceArn"])
    invalid = ValidationException("The pagination token is invalid.")
    shown, token = cut(found, request.get("NextToken"), request.get("MaxResults", MAX_TAGS), invalid)
    return {"Tags": shown, **({"NextToken": token} if token else {})}


@sagemaker.operation
def delete_tags(ctx: Context, request: Json) -> Json:
    """Remove tags."""
    _exists(ctx, request["ResourceArn"])
    ctx.tx.tags.remove(request["ResourceArn"], request["TagKeys"])
    return {}
