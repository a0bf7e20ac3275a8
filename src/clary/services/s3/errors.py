"""S3's errors, in AWS's words."""

from __future__ import annotations

from typing import Any

from ...provider.context import Context
from ...provider.errors import AwsError, coded
from ...store import border
from ...store.object import Bucket, Object
from ...store.object_rows import ObjectRows
from ...wire.bounded import digits


def no_such_bucket(name: str) -> AwsError:
    """The bucket is missing."""
    return coded("NoSuchBucket", "The specified bucket does not exist", 404, BucketName=name)


def no_such_key(key: str) -> AwsError:
    """The key is missing."""
    return coded("NoSuchKey", "The specified key does not exist.", 404, Key=key)


def precondition_failed(condition: str) -> AwsError:
    """A condition of the request does not hold."""
    text = "At least one of the pre-conditions you specified did not hold"
    return coded("PreconditionFailed", text, 412, Condition=condition)


def invalid_argument(text: str, **members: Any) -> AwsError:
    """An argument that S3 does not take."""
    return coded("InvalidArgument", text, 400, **members)


def rows(ctx: Context) -> ObjectRows:
    """The objects of the open transaction."""
    return ObjectRows(ctx.tx.direct)


def bucket(ctx: Context, found: ObjectRows, request: dict[str, Any], reads: bool | None = None) -> Bucket:
    """Return the bucket that a request names, checked as ``usable`` does."""
    name = request["Bucket"]
    return usable(ctx, found.bucket(name), request, name, reads)


def usable(ctx: Context, home: Bucket | None, request: dict[str, Any], name: str, reads: bool | None = None) -> Bucket:
    """Return a bucket that exists, has the expected owner, and that the caller may use.

    Without ``reads`` the HTTP method says whether it is read or written.
    """
    if home is None:
        raise no_such_bucket(name)
    check_owner(home, request.get("ExpectedBucketOwner"))
    reads = ctx.http.method in ("GET", "HEAD") if reads is None else reads
    account = "" if ctx.caller.anonymous else ctx.caller.account
    if not (border.readable if reads else border.writable)(home, account):
        raise coded("AccessDenied", "Access Denied", 403)
    return home


def check_owner(home: Bucket, expected: str | None) -> None:
    """``ExpectedBucketOwner``, which must be an account and the right one."""
    if expected is None:
        return
    if not (len(expected) == 12 and digits(expected)):
        text = f"The value of the expected bucket owner parameter must be an AWS Account ID... [{expected}]"
        raise coded("InvalidBucketOwnerAWSAccountID", text, 400)
    if home.account != expected:
        raise coded("AccessDenied", "Access Denied", 403)


def visible(found: Object | None, request: dict[str, Any]) -> Object:
    """An object that can be read: neither missing nor a delete marker."""
    version = request.get("VersionId")
    if found is None:
        if version is not None:
            raise coded(
                "NoSuchVersion", "The specified version does not exist.", 404, Key=request["Key"], VersionId=version
            )
        raise no_such_key(request["Key"])
    if found.marker:
        if version is not None:
            raise coded("MethodNotAllowed", "The specified method is not allowed against this resource.", 405)
        error = no_such_key(request["Key"])
        error.headers = {"x-amz-delete-marker": "true", "x-amz-version-id": found.version}  # type: ignore[attr-defined]
        raise error
    return found
