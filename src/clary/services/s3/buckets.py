"""Buckets: make, find, list, delete."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from ...clock import now
from ...provider.context import Context
from ...provider.errors import coded
from ...store.object import Bucket
from . import s3
from .errors import bucket, rows

Json = dict[str, Any]
_NAME = re.compile(
    r"^(?!xn--|sthree-|amzn-s3-demo-)(?!.*(-s3alias|--ol-s3|\.mrap|--x-s3)$)[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]$"
)
_ADDRESS = re.compile(r"^\d+\.\d+\.\d+\.\d+$")


def canonical_id(account: str) -> str:
    """The 64-digit id that S3 shows of an account."""
    return hashlib.sha256(f"canonical:{account}".encode()).hexdigest()


def owner(account: str) -> Json:
    """An owner as answers show it."""
    return {"ID": canonical_id(account)}


@s3.operation
def create_bucket(ctx: Context, request: Json) -> Json:
    """Make a bucket; the same owner's second call succeeds in us-east-1 only, as on AWS."""
    name = request["Bucket"]
    if not _NAME.match(name) or ".." in name or _ADDRESS.match(name):
        raise coded("InvalidBucketName", "The specified bucket is not valid.", 400, BucketName=name)
    if ctx.caller.anonymous:
        raise coded("AccessDenied", "Access Denied", 403)
    asked = (request.get("CreateBucketConfiguration") or {}).get("LocationConstraint")
    region = ("eu-west-1" if asked == "EU" else asked) or ctx.region
    if asked == "us-east-1":
        raise coded(
            "InvalidLocationConstraint", "The specified location-constraint is not valid", 400, LocationConstraint=asked
        )
    if asked is None and ctx.region != "us-east-1":
        text = "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to."
        raise coded("IllegalLocationConstraintException", text, 400)
    found = rows(ctx)
    if (present := found.bucket(name)) is not None:
        if present.account != ctx.account:
            text = "The requested bucket name is not available. The bucket namespace is shared by all users of the system. Please select a different name and try again."
            raise coded("BucketAlreadyExists", text, 409, BucketName=name)
        if present.region != "us-east-1" or region != "us-east-1":
            text = "Your previous request to create the named bucket succeeded and you already own it."
            raise coded("BucketAlreadyOwnedByYou", text, 409, BucketName=name)
    else:
        found.add_bucket(Bucket(name, ctx.account, region, now()))
    return {"Location": f"/{name}", "BucketArn": f"arn:aws:s3:::{name}"}


@s3.operation
def head_bucket(ctx: Context, request: Json) -> Json:
    """Whether a bucket is there and the caller's."""
    home = bucket(ctx, rows(ctx), request)
    return {"BucketRegion": home.region, "BucketArn": f"arn:aws:s3:::{home.name}"}


@s3.operation
def delete_bucket(ctx: Context, request: Json) -> None:
    """Remove an empty bucket."""
    found = rows(ctx)
    home = bucket(ctx, found, request)
    if not found.empty(home.name):
        text = "The bucket you tried to delete is not empty"
        if home.versioning:
            text += ". You must delete all versions in the bucket."
        raise coded("BucketNotEmpty", text, 409, BucketName=home.name)
    found.delete_bucket(home.name)
    ctx.tx.tags.remove(f"arn:aws:s3:::{home.name}", list(ctx.tx.tags.of(f"arn:aws:s3:::{home.name}")))


@s3.operation
def list_buckets(ctx: Context, request: Json) -> Json:
    """The caller's buckets."""
    if ctx.caller.anonymous:
        raise coded("AccessDenied", "Access Denied", 403)
    found = [b for b in rows(ctx).buckets(ctx.account) if b.name.startswith(request.get("Prefix", ""))]
    if region := request.get("BucketRegion"):
        found = [b for b in found if b.region == region]
    after, limit = request.get("ContinuationToken", ""), request.get("MaxBuckets", 10000)
    found = [b for b in found if b.name > after]
    page = found[:limit]
    shown = [
        {"Name": b.name, "CreationDate": b.created, "BucketRegion": b.region, "BucketArn": f"arn:aws:s3:::{b.name}"}
        for b in page
    ]
    answer: Json = {"Buckets": shown, "Owner": owner(ctx.account)}
    if request.get("Prefix"):
        answer["Prefix"] = request["Prefix"]
    return {**answer, "ContinuationToken": page[-1].name} if len(found) > limit else answer


@s3.operation
def get_bucket_location(ctx: Context, request: Json) -> Json:
    """A bucket's region; us-east-1 is spelled as nothing."""
    home = bucket(ctx, rows(ctx), request)
    return {"LocationConstraint": "" if home.region == "us-east-1" else home.region}


@s3.operation
def get_bucket_versioning(ctx: Context, request: Json) -> Json:
    """Whether versions are kept."""
    home = bucket(ctx, rows(ctx), request)
    return {"Status": home.versioning} if home.versioning else {}


@s3.operation
def put_bucket_versioning(ctx: Context, request: Json) -> None:
    """Keep versions, or stop keeping them."""
    found = rows(ctx)
    home = bucket(ctx, found, request)
    status = request["VersioningConfiguration"].get("Status")
    if status not in ("Enabled", "Suspended"):
        raise coded("IllegalVersioningConfigurationException", "The Versioning element must be specified", 400)
    found.save_bucket(Bucket(home.name, home.account, home.region, home.created, status, home.documents))


@s3.operation
def get_bucket_acl(ctx: Context, request: Json) -> Json:
    """The owner has everything: ACLs are disabled, as for every new bucket on AWS."""
    home = bucket(ctx, rows(ctx), request)
    return _full_control(home.account)


@s3.operation
def get_object_acl(ctx: Context, request: Json) -> Json:
    """As ``get_bucket_acl``, for one object."""
    from .errors import visible

    found = rows(ctx)
    home = bucket(ctx, found, request)
    visible(found.get(request["Bucket"], request["Key"], request.get("VersionId")), request)
    return _full_control(home.account)


def _full_control(account: str) -> Json:
    grantee = {**owner(account), "Type": "CanonicalUser"}
    return {"Owner": owner(account), "Grants": [{"Grantee": grantee, "Permission": "FULL_CONTROL"}]}


@s3.operation
def put_bucket_acl(ctx: Context, request: Json) -> None:
    """Only what changes nothing is accepted while ACLs are disabled."""
    bucket(ctx, rows(ctx), request)
    _refuse_acl(request)


@s3.operation
def put_object_acl(ctx: Context, request: Json) -> Json:
    """As ``put_bucket_acl``, for one object."""
    bucket(ctx, rows(ctx), request)
    _refuse_acl(request)
    return {}


def _refuse_acl(request: Json) -> None:
    if request.get("ACL") not in ("private", "bucket-owner-full-control"):
        raise coded("AccessControlListNotSupported", "The bucket does not allow ACLs", 400)
