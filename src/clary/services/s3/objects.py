"""Objects: put, get, head, copy, delete."""

from __future__ import annotations

import asyncio
import re
from typing import Any
from urllib.parse import unquote

from ...clock import now
from ...provider.context import Context
from ...provider.errors import AwsError, coded
from ...store import object_events
from ...store.direct import Direct
from ...store.object import NULL, Bucket, Object, Segment
from ...store.object_rows import ObjectRows
from ...store.objects import INLINE
from ...store.rows import Key
from ...web import FileSlice, FileSlices
from ...wire.values import write_time
from . import checksums, s3
from .body import Received, Receiver
from .conditions import check_delete, check_read, check_write
from .errors import bucket, invalid_argument, rows, usable, visible

Json = dict[str, Any]

_HEADERS = ("ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage", "Expires")
_ENCRYPTION = ("ServerSideEncryption", "SSEKMSKeyId", "BucketKeyEnabled")
_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")
MAX_KEY = 1024
MAX_USER_METADATA = 2048


@s3.operation
async def put_object(ctx: Context, request: Json) -> Json:
    """Store an object; it is visible, whole, when this returns."""
    check_key(request["Key"])
    receiver = Receiver(ctx, request)
    small = await receiver.small()
    if small is not None and len(small) <= INLINE:
        return await _put(ctx, request, receiver.hold(small))
    threads = ctx.platform.threads
    if small is not None:
        received = await asyncio.get_running_loop().run_in_executor(threads, receiver.store, small)
    else:
        await ctx.platform.database.look(lambda direct: _writable(ctx, ObjectRows(direct), request), threads)
        received = await receiver.stream()
    return await _put(ctx, request, received)


def _writable(ctx: Context, found: ObjectRows, request: Json) -> tuple[Bucket, Object | None]:
    home, present = found.look(request["Bucket"], request["Key"])
    home = usable(ctx, home, request, request["Bucket"])
    check_write(present, request)
    return home, present


async def _put(ctx: Context, request: Json, received: Received) -> Json:
    def work(direct: Direct) -> tuple[Object, list[str], Json, list[Key]]:
        found = ObjectRows(direct)
        found.lock(request["Bucket"], request["Key"])
        home, present = _writable(ctx, found, request)
        meta = object_meta(request, home)
        meta["checksum"] = received.checksum
        new = Object(
            home.name, request["Key"], received.md5.hex(), received.size, received.segments, meta, data=received.data
        )
        stored, orphans = found.put_after(present, new, home.versioning)
        events = object_events.record(direct, home, "ObjectCreated:Put", stored, asked_by(ctx))
        return stored, orphans, _version(stored, home.versioning), events

    try:
        stored, orphans, version, events = await ctx.platform.database.submit(work, ctx.platform.threads)
    except Exception as error:
        ctx.platform.objects.undo([s.blob for s in received.segments], error)
        raise
    ctx.platform.objects.discard(orphans)
    if events:
        ctx.platform.signals.notify(events)
    shown = checksums.shown(received.checksum)
    return {"ETag": f'"{stored.etag}"', **shown, **stored.meta["encryption"], **version}


def asked_by(ctx: Context) -> Json:
    """Who asked for a change, as those who hear of it are told."""
    return {"principalId": f"AWS:{ctx.caller.user_id}", "requestId": ctx.request_id}


def announce(ctx: Context, home: Bucket, event: str, item: Object) -> None:
    """Note what happened to an object, in the open transaction."""
    ctx.tx.changed.extend(object_events.record(ctx.tx.direct, home, event, item, asked_by(ctx)))


def check_key(key: str) -> None:
    """Keys are 1 to 1,024 bytes of UTF-8."""
    if len(key.encode("utf-8", "replace")) > MAX_KEY:
        raise coded("KeyTooLongError", "Your key is too long", 400, Size=len(key), MaxSizeAllowed=MAX_KEY)
    if "\x00" in key:
        raise invalid_argument("The key holds a null character", ArgumentName="key", ArgumentValue=key)


def object_meta(request: Json, home: Bucket) -> Json:
    """An object's metadata document from the members of a put, copy or multipart upload."""
    user = request.get("Metadata") or {}
    if sum(len(k) + len(v) for k, v in user.items()) > MAX_USER_METADATA:
        raise coded(
            "MetadataTooLarge", "Your metadata headers exceed the maximum allowed metadata size", 400,
            MaxSizeAllowed=MAX_USER_METADATA,
        )  # fmt: skip
    headers = {n: request[n] for n in _HEADERS if request.get(n) is not None}
    if "Expires" in headers:
        headers["Expires"] = write_time(headers["Expires"], "rfc822")
    encoding = [p.strip() for p in headers.pop("ContentEncoding", "").split(",")]
    if kept := ",".join(p for p in encoding if p and p != "aws-chunked"):
        headers["ContentEncoding"] = kept
    headers.setdefault("ContentType", "binary/octet-stream")
    default = {"ServerSideEncryption": "AES256"}
    if rules := (home.documents.get("encryption") or {}).get("Rules"):
        rule = rules[0].get("ApplyServerSideEncryptionByDefault") or {}
        default = {"ServerSideEncryption": rule.get("SSEAlgorithm", "AES256")}
        if rule.get("KMSMasterKeyID"):
            default["SSEKMSKeyId"] = rule["KMSMasterKeyID"]
    encryption = {n: request[n] for n in _ENCRYPTION if request.get(n) is not None} or default
    meta: Json = {"headers": headers, "user": user, "encryption": encryption}
    if request.get("StorageClass", "STANDARD") != "STANDARD":
        meta["storage"] = request["StorageClass"]
    if request.get("Tagging"):
        meta["tags"] = read_tagging(request["Tagging"])
    return meta


def read_tagging(text: str) -> dict[str, str]:
    """Tags from the ``x-amz-tagging`` header."""
    pairs = (item.partition("=") for item in text.split("&") if item)
    tags = {unquote(k.replace("+", " ")): unquote(v.replace("+", " ")) for k, _, v in pairs}
    check_tags(tags)
    return tags


def check_tags(tags: dict[str, str]) -> None:
    """Objects carry at most ten tags, of bounded length."""
    if len(tags) > 10:
        raise coded("BadRequest", "Object tags cannot be greater than 10", 400)
    for key, value in tags.items():
        if not 1 <= len(key) <= 128:
            raise coded("InvalidTag", "The TagKey you have provided is invalid", 400, TagKey=key)
        if len(value) > 256:
            raise coded("InvalidTag", "The TagValue you have provided is invalid", 400, TagKey=key)


def _version(item: Object, versioning: str) -> Json:
    return {"VersionId": item.version} if versioning else {}


@s3.operation
async def get_object(ctx: Context, request: Json) -> Json:
    """An object's bytes, whole or a range."""
    found, home = await _read(ctx, request)
    check_read(found, request)
    start, end = _span(found, request.get("Range"), request.get("PartNumber"))
    shown = _shown(found, home, request, partial=end - start != found.size)
    shown["Body"] = FileSlices(_slices(ctx, found, start, end)) if found.segments else (found.data or b"")[start:end]
    if end - start != found.size or ((request.get("Range") or request.get("PartNumber")) and found.size):
        shown["ContentRange"] = f"bytes {start}-{end - 1}/{found.size}"
    shown["ContentLength"] = end - start
    return shown


@s3.operation
async def head_object(ctx: Context, request: Json) -> Json:
    """What a get would show, without the bytes."""
    found, home = await _read(ctx, request)
    check_read(found, request)
    start, end = _span(found, request.get("Range"), request.get("PartNumber"))
    shown = _shown(found, home, request, partial=end - start != found.size)
    return {**shown, "ContentLength": end - start}


async def _read(ctx: Context, request: Json) -> tuple[Object, Bucket]:
    name, key, version = request["Bucket"], request["Key"], request.get("VersionId")
    home, found = await ctx.platform.database.look(
        lambda direct: ObjectRows(direct).look(name, key, version), ctx.platform.threads
    )
    home = usable(ctx, home, request, name)
    return visible(found, request), home


def _span(found: Object, text: str | None, part: int | None) -> tuple[int, int]:
    """First byte and the byte after the last that a request asks for; a range we cannot read means all."""
    if part is not None:
        if not 1 <= part <= (found.meta.get("parts") or 1):
            raise coded("InvalidPartNumber", "The requested partnumber is not satisfiable", 416)
        if not found.meta.get("parts"):  # not uploaded in parts: the whole of it is the first one
            return 0, found.size
        sizes = found.meta.get("part_sizes") or [s.size for s in found.segments]
        start = sum(sizes[: part - 1])
        return start, start + sizes[part - 1]
    match = _RANGE.match(text or "")
    if match is None or match[0] == "bytes=-":
        return 0, found.size
    first, last = match[1], match[2]
    if not first:
        start, end = max(0, found.size - int(last)), found.size
    else:
        start, end = int(first), min(found.size, int(last) + 1 if last else found.size)
        if last and int(last) < start:
            return 0, found.size
    if start >= found.size or (not first and int(last) == 0):
        raise coded(
            "InvalidRange", "The requested range is not satisfiable", 416, RangeRequested=text,
            ActualObjectSize=found.size,
        )  # fmt: skip
    return start, end


def _slices(ctx: Context, found: Object, start: int, end: int) -> tuple[FileSlice, ...]:
    parts, at = [], 0
    for segment in found.segments:
        low, high = max(start, at), min(end, at + segment.size)
        if low < high:
            parts.append(FileSlice(ctx.platform.blobs.path(segment.blob), low - at, high - low))
        at += segment.size
    return tuple(parts)


def _shown(found: Object, home: Bucket, request: Json, partial: bool) -> Json:
    meta = found.meta
    shown: Json = {
        "AcceptRanges": "bytes", "LastModified": float(int(found.modified)), "ETag": f'"{found.etag}"',
        **meta.get("headers", {}), **meta.get("encryption", {}), **_version(found, home.versioning),
    }  # fmt: skip
    if meta.get("user"):
        shown["Metadata"] = meta["user"]
    if meta.get("tags"):
        shown["TagCount"] = len(meta["tags"])
    if meta.get("storage"):
        shown["StorageClass"] = meta["storage"]
    if request.get("ChecksumMode") == "ENABLED" and not partial:
        shown |= checksums.shown(meta.get("checksum"))
    if request.get("PartNumber") and meta.get("parts"):
        shown["PartsCount"] = meta["parts"]
    for name in _HEADERS:
        if request.get(f"Response{name}") is not None:
            value = request[f"Response{name}"]
            shown[name] = write_time(value, "rfc822") if name == "Expires" else value
    return shown


@s3.operation
async def get_object_attributes(ctx: Context, request: Json) -> Json:
    """Chosen attributes of an object."""
    found, home = await _read(ctx, request)
    wanted = request["ObjectAttributes"]
    shown: Json = {"LastModified": float(int(found.modified)), **_version(found, home.versioning)}
    if "ETag" in wanted:
        shown["ETag"] = found.etag
    if "ObjectSize" in wanted:
        shown["ObjectSize"] = found.size
    if "StorageClass" in wanted:
        shown["StorageClass"] = found.meta.get("storage", "STANDARD")
    if "Checksum" in wanted and found.meta.get("checksum"):
        shown["Checksum"] = checksums.shown(found.meta["checksum"])
    if "ObjectParts" in wanted and found.meta.get("parts"):
        shown["ObjectParts"] = {"TotalPartsCount": found.meta["parts"]}
    return shown


def copy_source(text: str) -> tuple[str, str, str | None]:
    """Bucket, key and version of an ``x-amz-copy-source`` header."""
    path, _, query = text.partition("?versionId=")
    name, _, key = unquote(path).lstrip("/").partition("/")
    if not name or not key:
        raise invalid_argument("Invalid copy source object key", ArgumentName="x-amz-copy-source", ArgumentValue=text)
    return name, key, query or None


def source_of(ctx: Context, found: ObjectRows, request: Json) -> Object:
    """The object that a copy reads, checked against the copy's own conditions."""
    name, key, version = copy_source(request["CopySource"])
    named = {
        "Bucket": name,
        "Key": key,
        "VersionId": version,
        "ExpectedBucketOwner": request.get("ExpectedSourceBucketOwner"),
    }
    bucket(ctx, found, {k: v for k, v in named.items() if v is not None}, reads=True)
    source = visible(found.get(name, key, version), {k: v for k, v in named.items() if v is not None})
    prefix = "CopySource"
    check_read(
        source,
        {n: request.get(prefix + n) for n in ("IfMatch", "IfNoneMatch", "IfModifiedSince", "IfUnmodifiedSince")},
        copying=True,
    )
    return source


@s3.operation
def copy_object(ctx: Context, request: Json) -> Json:
    """A new object with the bytes of another; the bytes are shared on disk."""
    check_key(request["Key"])
    found = rows(ctx)
    home = bucket(ctx, found, request)
    source = source_of(ctx, found, request)
    replace = request.get("MetadataDirective") == "REPLACE"
    same = source.bucket == request["Bucket"] and source.key == request["Key"] and source.latest
    changes = replace or any(
        request.get(n) for n in ("StorageClass", "ServerSideEncryption", "WebsiteRedirectLocation")
    )
    if same and not changes and not home.versioning:
        raise coded(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the "
            "object's metadata, storage class, website redirect location or encryption attributes.", 400,
        )  # fmt: skip
    meta = object_meta(request, home)
    if not replace:
        meta |= {k: source.meta[k] for k in ("headers", "user") if k in source.meta}
    if request.get("TaggingDirective") != "REPLACE" and source.meta.get("tags"):
        meta["tags"] = source.meta["tags"]
    if source.meta.get("checksum"):
        meta["checksum"] = source.meta["checksum"]
    etag = source.etag
    segments = _linked(ctx, source)
    new = Object(request["Bucket"], request["Key"], etag, source.size, segments, meta, data=source.data)
    stored, orphans = found.put(new, home.versioning)
    announce(ctx, home, "ObjectCreated:Copy", stored)
    ctx.tx.after_commit.append(lambda: ctx.platform.objects.discard(orphans))
    result = {"ETag": f'"{etag}"', "LastModified": stored.modified, **checksums.shown(meta.get("checksum"))}
    answer = {"CopyObjectResult": result, **meta["encryption"], **_version(stored, home.versioning)}
    if source.version != NULL:
        answer["CopySourceVersionId"] = source.version
    return answer


def _linked(ctx: Context, source: Object) -> tuple[Segment, ...]:
    """Return blobs that share a source's bytes; they are removed if the transaction fails."""
    made: list[str] = []
    ctx.tx.after_rollback.append(lambda error: ctx.platform.objects.undo(made, error))
    for segment in source.segments:
        made.append(ctx.platform.blobs.link(segment.blob))
    return tuple(Segment(blob, segment.size) for blob, segment in zip(made, source.segments, strict=True))


@s3.operation
def delete_object(ctx: Context, request: Json) -> Json:
    """Remove an object or a version; in a versioned bucket, mark it deleted."""
    found = rows(ctx)
    home = bucket(ctx, found, request)
    return _delete(ctx, found, home, request)


_DELETE_CONDITIONS = ("IfMatch", "IfMatchSize", "IfMatchLastModifiedTime", "ETag", "Size", "LastModifiedTime")


def _delete(ctx: Context, found: ObjectRows, home: Bucket, wanted: Json) -> Json:
    key, version = wanted["Key"], wanted.get("VersionId")
    if any(n in wanted for n in _DELETE_CONDITIONS):
        found.lock(home.name, key)
        check_delete(found.get(home.name, key, version), wanted)
    if version is not None or not home.versioning:
        item = found.get(home.name, key, version)
        if item is None:
            return {"VersionId": version} if version else {}
        orphans = found.remove(item)
        announce(ctx, home, "ObjectRemoved:Delete", item)
        ctx.tx.after_commit.append(lambda: ctx.platform.objects.discard(orphans))
        shown: Json = {"VersionId": item.version} if home.versioning else {}
        return {**shown, "DeleteMarker": True} if item.marker else shown
    marker = Object(home.name, key, "", 0, (), marker=True, modified=now())
    stored, orphans = found.put(marker, home.versioning)
    announce(ctx, home, "ObjectRemoved:DeleteMarkerCreated", stored)
    ctx.tx.after_commit.append(lambda: ctx.platform.objects.discard(orphans))
    return {"DeleteMarker": True, "VersionId": stored.version}


@s3.operation
def delete_objects(ctx: Context, request: Json) -> Json:
    """Remove up to a thousand objects."""
    found = rows(ctx)
    home = bucket(ctx, found, request)
    items = request["Delete"]["Objects"]
    if not 1 <= len(items) <= 1000:
        raise coded(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
            400,
        )
    deleted: list[Json] = []
    failed: list[Json] = []
    for item in items:
        try:
            gone = _delete(ctx, found, home, item)
        except AwsError as error:
            named = {k: item[k] for k in ("Key", "VersionId") if k in item}
            failed.append({**named, "Code": error.code, "Message": error.message})
            continue
        shown: Json = {"Key": item["Key"]}
        if item.get("VersionId"):
            shown["VersionId"] = item["VersionId"]
        if gone.get("DeleteMarker"):
            shown |= {"DeleteMarker": True, "DeleteMarkerVersionId": gone["VersionId"]}
        deleted.append(shown)
    errors: Json = {"Errors": failed} if failed else {}
    return errors if request["Delete"].get("Quiet") else {"Deleted": deleted, **errors}
