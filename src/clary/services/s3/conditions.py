"""Conditional requests (RFC 9110 §13), with S3's answers."""

from __future__ import annotations

from typing import Any

from ...provider.errors import coded
from ...store.object import Object
from .errors import no_such_key, precondition_failed

Json = dict[str, Any]


def _matches(tags: str, etag: str) -> bool:
    return any(t.strip().removeprefix("W/").strip('"') in ("*", etag) for t in tags.split(","))


def check_read(found: Object, request: Json, copying: bool = False) -> None:
    """A get's or a copy source's conditions; 412, or 304 for what the reader has already."""
    modified = float(int(found.modified))
    if (tags := request.get("IfMatch")) is not None:
        if not _matches(tags, found.etag):
            raise precondition_failed("If-Match")
    elif (since := request.get("IfUnmodifiedSince")) is not None and modified > since.timestamp():
        raise precondition_failed("If-Unmodified-Since")
    if (tags := request.get("IfNoneMatch")) is not None:
        if _matches(tags, found.etag):
            raise _unchanged(found, "If-None-Match", copying)
    elif (since := request.get("IfModifiedSince")) is not None and modified <= since.timestamp():
        raise _unchanged(found, "If-Modified-Since", copying)


def _unchanged(found: Object, condition: str, copying: bool) -> Exception:
    if copying:
        return precondition_failed(condition)
    error = coded("NotModified", "Not Modified", 304)
    error.headers = {"ETag": f'"{found.etag}"'}  # type: ignore[attr-defined]
    return error


def check_delete(present: Object | None, request: Json) -> None:
    """A delete's conditions; 412 if the object is not the one that is meant."""
    exists = present is not None and not present.marker
    if (tags := request.get("IfMatch") or request.get("ETag")) is not None:
        if not exists or present is None:
            raise no_such_key(request["Key"])
        if not _matches(tags, present.etag):
            raise precondition_failed("If-Match")
    if not exists or present is None:
        return
    if (size := request.get("IfMatchSize", request.get("Size"))) is not None and size != present.size:
        raise precondition_failed("x-amz-if-match-size")
    since = request.get("IfMatchLastModifiedTime", request.get("LastModifiedTime"))
    if since is not None and int(since.timestamp()) != int(present.modified):
        raise precondition_failed("x-amz-if-match-last-modified-time")


def check_write(present: Object | None, request: Json) -> None:
    """A put's conditions: create only, or replace only what is known."""
    exists = present is not None and not present.marker
    if (tags := request.get("IfNoneMatch")) is not None:
        if tags.strip() != "*":
            raise coded(
                "NotImplemented",
                "A header you provided implies functionality that is not implemented",
                501,
                Header="If-None-Match",
            )
        if exists:
            raise precondition_failed("If-None-Match")
    if (tags := request.get("IfMatch")) is not None:
        if not exists or present is None:
            raise no_such_key(request["Key"])
        if not _matches(tags, present.etag):
            raise precondition_failed("If-Match")
