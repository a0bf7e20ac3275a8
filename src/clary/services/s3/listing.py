"""Listings: keys under a prefix, rolled up at a delimiter, a page at a time."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ...provider.context import Context
from ...store.object import Object
from ...store.object_rows import ObjectRows
from . import s3
from .errors import bucket, invalid_argument, rows

Json = dict[str, Any]
MAX_KEYS = 1000
_LAST = "\U0010ffff"


@dataclass(slots=True)
class _Page:
    items: list[Object] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    truncated: bool = False
    last: str = ""  # the last key or common prefix of this page


def _walk(found: ObjectRows, name: str, prefix: str, delimiter: str, after: str, limit: int) -> _Page:
    """One page. A common prefix is jumped over, so a listing costs what it shows, not what it hides."""
    page = _Page()
    if limit == 0:
        return page
    if delimiter and after and (group := _group(after, prefix, delimiter)) == after:
        after = group + _LAST
    while True:
        batch = found.scan(name, prefix, after, limit + 1 - len(page.items) - len(page.prefixes))
        if not batch:
            return page
        for item in batch:
            if len(page.items) + len(page.prefixes) == limit:
                page.truncated = True
                return page
            after = item.key
            if delimiter and (group := _group(item.key, prefix, delimiter)):
                page.prefixes.append(group)
                page.last, after = group, group + _LAST
                break
            page.items.append(item)
            page.last = item.key


def _group(key: str, prefix: str, delimiter: str) -> str | None:
    at = key.find(delimiter, len(prefix))
    return key[: at + len(delimiter)] if at >= 0 else None


def _encoder(request: Json) -> Callable[[str], str]:
    kind = request.get("EncodingType")
    if kind is None:
        return lambda text: text
    if kind != "url":
        raise invalid_argument(
            "Invalid Encoding Method specified in Request", ArgumentName="encoding-type", ArgumentValue=kind
        )
    return lambda text: quote(text, safe="/-_.~")


def _limit(request: Json) -> int:
    asked = request.get("MaxKeys", MAX_KEYS)
    if asked < 0:
        raise invalid_argument(
            "Argument maxKeys must be an integer between 0 and 2147483647", ArgumentName="maxKeys", ArgumentValue=asked
        )
    return int(min(asked, MAX_KEYS))


def _content(item: Object, encode: Callable[[str], str]) -> Json:
    shown = {
        "Key": encode(item.key), "LastModified": item.modified, "ETag": f'"{item.etag}"', "Size": item.size,
        "StorageClass": item.meta.get("storage", "STANDARD"),
    }  # fmt: skip
    if checksum := item.meta.get("checksum"):
        shown |= {"ChecksumAlgorithm": [checksum["algorithm"]], "ChecksumType": checksum.get("type", "FULL_OBJECT")}
    return shown


def _common(request: Json, page: _Page, encode: Callable[[str], str], limit: int) -> Json:
    prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
    shown: Json = {
        "Name": request["Bucket"], "Prefix": encode(prefix), "MaxKeys": limit, "IsTruncated": page.truncated,
        "Contents": [_content(item, encode) for item in page.items],
        "CommonPrefixes": [{"Prefix": encode(p)} for p in page.prefixes],
    }  # fmt: skip
    if delimiter:
        shown["Delimiter"] = encode(delimiter)
    if request.get("EncodingType"):
        shown["EncodingType"] = "url"
    return shown


@s3.operation
def list_objects_v2(ctx: Context, request: Json) -> Json:
    """Keys, by continuation token."""
    found = rows(ctx)
    bucket(ctx, found, request)
    encode, limit = _encoder(request), _limit(request)
    after = request.get("StartAfter", "")
    if (text := request.get("ContinuationToken")) is not None:
        after = _read_token(text)
    page = _walk(found, request["Bucket"], request.get("Prefix", ""), request.get("Delimiter", ""), after, limit)
    shown = _common(request, page, encode, limit)
    shown["KeyCount"] = len(page.items) + len(page.prefixes)
    if request.get("StartAfter"):
        shown["StartAfter"] = encode(request["StartAfter"])
    if text is not None:
        shown["ContinuationToken"] = text
    if page.truncated:
        shown["NextContinuationToken"] = base64.urlsafe_b64encode(page.last.encode()).decode()
    return shown


def _read_token(text: str) -> str:
    try:
        return base64.urlsafe_b64decode(text).decode()
    except ValueError:
        raise invalid_argument(
            "The continuation token provided is incorrect", ArgumentName="continuation-token"
        ) from None


@s3.operation
def list_objects(ctx: Context, request: Json) -> Json:
    """Keys, by marker."""
    found = rows(ctx)
    bucket(ctx, found, request)
    encode, limit = _encoder(request), _limit(request)
    marker = request.get("Marker", "")
    page = _walk(found, request["Bucket"], request.get("Prefix", ""), request.get("Delimiter", ""), marker, limit)
    shown = _common(request, page, encode, limit)
    shown["Marker"] = encode(marker)
    if page.truncated and request.get("Delimiter"):
        shown["NextMarker"] = encode(page.last)
    return shown


@s3.operation
def list_object_versions(ctx: Context, request: Json) -> Json:
    """Every version and delete marker, newest first within a key."""
    found = rows(ctx)
    bucket(ctx, found, request)
    encode, limit = _encoder(request), _limit(request)
    key, version = request.get("KeyMarker", ""), request.get("VersionIdMarker")
    prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
    at = found.get(request["Bucket"], key, version) if version else None
    items: list[Object] = []
    prefixes: list[str] = []
    truncated, edge = False, at.sequence if at else None
    batch = found.scan(request["Bucket"], prefix, key, limit + 1, versions=True, after_sequence=edge)
    for item in batch:
        if len(items) + len(prefixes) == limit:
            truncated = True
            break
        if delimiter and (group := _group(item.key, prefix, delimiter)):
            if group not in prefixes:
                prefixes.append(group)
            continue
        items.append(item)
    shown: Json = {
        "Name": request["Bucket"], "Prefix": encode(prefix), "KeyMarker": encode(key), "MaxKeys": limit,
        "IsTruncated": truncated, "CommonPrefixes": [{"Prefix": encode(p)} for p in prefixes],
        "Versions": [
            {**_content(i, encode), "VersionId": i.version, "IsLatest": i.latest} for i in items if not i.marker
        ],
        "DeleteMarkers": [
            {"Key": encode(i.key), "VersionId": i.version, "IsLatest": i.latest, "LastModified": i.modified}
            for i in items if i.marker
        ],
    }  # fmt: skip
    if version:
        shown["VersionIdMarker"] = version
    if truncated and items:
        shown |= {"NextKeyMarker": encode(items[-1].key), "NextVersionIdMarker": items[-1].version}
    return shown
