"""Tags of buckets and objects."""

from __future__ import annotations

from typing import Any

from ...provider.context import Context
from ...provider.errors import coded
from . import s3
from .errors import bucket, rows, visible
from .objects import check_tags

Json = dict[str, Any]


def _pairs(tags: dict[str, str]) -> list[Json]:
    return [{"Key": k, "Value": v} for k, v in tags.items()]


def _read(request: Json) -> dict[str, str]:
    pairs = request["Tagging"]["TagSet"]
    tags = {t["Key"]: t["Value"] for t in pairs}
    if len(tags) != len(pairs):
        raise coded("InvalidTag", "Cannot provide multiple Tags with the same key", 400)
    return tags


@s3.operation
def put_bucket_tagging(ctx: Context, request: Json) -> None:
    """Replace a bucket's tags."""
    home = bucket(ctx, rows(ctx), request)
    arn = f"arn:aws:s3:::{home.name}"
    ctx.tx.tags.remove(arn, list(ctx.tx.tags.of(arn)))
    ctx.tx.tags.put(arn, _read(request))


@s3.operation
def get_bucket_tagging(ctx: Context, request: Json) -> Json:
    """A bucket's tags."""
    home = bucket(ctx, rows(ctx), request)
    tags = ctx.tx.tags.of(f"arn:aws:s3:::{home.name}")
    if not tags:
        raise coded("NoSuchTagSet", "The TagSet does not exist", 404, BucketName=home.name)
    return {"TagSet": _pairs(tags)}


@s3.operation
def delete_bucket_tagging(ctx: Context, request: Json) -> None:
    """Remove a bucket's tags."""
    home = bucket(ctx, rows(ctx), request)
    arn = f"arn:aws:s3:::{home.name}"
    ctx.tx.tags.remove(arn, list(ctx.tx.tags.of(arn)))


@s3.operation
def put_object_tagging(ctx: Context, request: Json) -> Json:
    """Replace an object's tags."""
    return _change(ctx, request, _read(request))


@s3.operation
def delete_object_tagging(ctx: Context, request: Json) -> Json:
    """Remove an object's tags."""
    return _change(ctx, request, {})


def _change(ctx: Context, request: Json, tags: dict[str, str]) -> Json:
    check_tags(tags)
    found = rows(ctx)
    home = bucket(ctx, found, request)
    item = visible(found.get(request["Bucket"], request["Key"], request.get("VersionId")), request)
    found.change_meta(item, {**item.meta, "tags": tags})
    return {"VersionId": item.version} if home.versioning else {}


@s3.operation
def get_object_tagging(ctx: Context, request: Json) -> Json:
    """An object's tags."""
    found = rows(ctx)
    bucket(ctx, found, request)
    item = visible(found.get(request["Bucket"], request["Key"], request.get("VersionId")), request)
    return {"TagSet": _pairs(item.meta.get("tags", {}))}
