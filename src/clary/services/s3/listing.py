"""Listings: keys under a prefix, rolled up at a delimiter, a page at a time."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ...provider.context import Context
from ...store.key_walk import group_of
from ...store.object import Object
from ...store.object_rows import ObjectRows
from . import s3
from .errors import bucket, invalid_argument, rows

Json = dict[str, Any]
MAX_KEYS = 1000


@dataclass(slots=True)
class _Page:
    items: list[Object] = field(default_factory=list)
    prefixes: list[str] = field(default_factory=list)
    truncated: bool = False
    last: str = ""  # the last key or common prefix of this page


@dataclass(frozen=True, slots=True)
class Run:
    """Keys that stand next to each other in the index and belong to no group, or one group."""

    group: str | None
    first: str
    last: str
    count: int


def runs(keys: list[str], prefix: str, delimiter: str) -> Iterator[Run]:
    """Divide the keys of a walk into groups and into runs of keys between them."""
    at = 0
    while at < len(keys):
        group, end = group_of(keys[at], prefix, delimiter), at + 1
        while group is None and end < len(keys) and group_of(keys[end], prefix, delimiter) is None:
            end += 1
        yield Run(group, keys[at], keys[end - 1], end - at)
        at = end


def _walk(found: ObjectRows, name: str, prefix: str, delimiter: str, after: str, limit: int) -> _Page:
    """One page. A common prefix is jumped over, so a listing costs what it shows, not what it hides."""
    page = _Page()
    if limit == 0:
        return page
    if not delimiter:
        batch = found.scan(name, prefix, after, limit + 1)
        page.truncated, page.items = len(batch) > limit, batch[:limit]
        page.last = page.items[-1].key if page.items else ""
        return page
    keys = found.walk(name, prefix, delimiter, after, limit + 1)
    page.truncated = len(keys) > limit
    for run in runs(keys[:limit], prefix, delimiter):
        if run.group is not None:
            page.prefixes.append(run.group)
        else:
            page.items += found.scan(name, run.first, "", run.count, exact=False)
        page.last = run.group or run.last
    return page


def encoder(request: Json) -> Callable[[str], str]:
    """How answers spell keys: as they are, or percent-encoded where the request wants it."""
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
    encode, limit = encoder(request), _limit(request)
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
    encode, limit = encoder(request), _limit(request)
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
    encode, limit = encoder(request), _limit(request)
    key, version = request.get("KeyMarker", ""), request.get("VersionIdMarker")
    prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
    page = _walk_versions(found, request["Bucket"], prefix, delimiter, (key, version), limit)
    items, prefixes, truncated = page.items, page.prefixes, page.truncated
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
    if delimiter:
        shown["Delimiter"] = encode(delimiter)
    if request.get("EncodingType"):
        shown["EncodingType"] = "url"
    if truncated:
        shown["NextKeyMarker"] = encode(page.last)
        if items and items[-1].key == page.last:
            shown["NextVersionIdMarker"] = items[-1].version
    return shown


def _walk_versions(
    found: ObjectRows, name: str, prefix: str, delimiter: str, marker: tuple[str, str | None], limit: int
) -> _Page:
    """One page of versions, newest first within a key; a group counts once."""
    page = _Page()
    if limit == 0:
        return page
    key, version = marker
    at = found.get(name, key, version) if version else None
    edge = at.sequence if at else None
    if not delimiter:
        batch = found.scan(name, prefix, key, limit + 1, versions=True, after_sequence=edge)
        page.truncated, page.items = len(batch) > limit, batch[:limit]
        page.last = page.items[-1].key if page.items else ""
        return page
    if (
        edge is not None and group_of(key, prefix, delimiter) is None
    ):  # older versions of the key that the last page ended in
        rest = found.scan(name, prefix, key, limit + 1, versions=True, after_sequence=edge)
        page.items = [i for i in rest if i.key == key]
    for run in runs(found.walk(name, prefix, delimiter, key, limit + 1, versions=True), prefix, delimiter):
        left = limit - len(page.items) - len(page.prefixes)
        if left <= 0:
            page.truncated = True
            break
        if run.group is not None:
            page.prefixes.append(run.group)
            page.last = run.group
            continue
        batch = found.scan(name, run.first, "", left + 1, versions=True, exact=False)
        page.items += [i for i in batch if i.key <= run.last]
        page.last = run.last
        if len(page.items) + len(page.prefixes) > limit:
            break
    over = len(page.items) + len(page.prefixes) - limit
    if over > 0:
        page.truncated = True
        del page.items[len(page.items) - over :]
    if page.items and (not page.prefixes or page.items[-1].key > page.prefixes[-1]):
        page.last = page.items[-1].key
    return page
