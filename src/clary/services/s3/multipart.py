"""Multipart uploads. A finished upload keeps its parts' blobs: completing copies nothing."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from typing import Any

import orjson
from sqlalchemy import and_, delete, insert, or_, select

from ...clock import now
from ...ids import token
from ...provider.context import Context
from ...provider.errors import AwsError, coded
from ...provider.pages import whole
from ...store.key_walk import UPLOADS, walk
from ...store.object import Object, Segment, dump_segments, load_segments
from ...store.object_rows import ObjectRows
from ...store.schema import s3_part, s3_upload
from ...wire.bounded import digits
from . import checksums, s3
from .body import Received, Receiver
from .conditions import check_write
from .errors import bucket, invalid_argument, rows
from .listing import encoder, runs
from .objects import announce, check_key, object_meta, source_of

Json = dict[str, Any]
MIN_PART = 5 << 20
MAX_UPLOADS = 1000


def _no_such_upload(upload: str) -> Exception:
    text = "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed."
    return coded("NoSuchUpload", text, 404, UploadId=upload)


def _upload(ctx: Context, request: Json) -> Any:
    bucket(ctx, rows(ctx), request)
    found = (
        ctx.tx.connection.execute(select(s3_upload).where(s3_upload.c.id == request["UploadId"])).mappings().fetchone()
    )
    if found is None or found["bucket"] != request["Bucket"] or found["key"] != request["Key"]:
        raise _no_such_upload(request["UploadId"])
    return found


@s3.operation
def create_multipart_upload(ctx: Context, request: Json) -> Json:
    """Begin an upload."""
    check_key(request["Key"])
    home = bucket(ctx, rows(ctx), request)
    meta = object_meta(request, home)
    algorithm = request.get("ChecksumAlgorithm")
    if algorithm:
        kind = request.get("ChecksumType") or ("FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE")
        meta["checksum"] = {"algorithm": algorithm, "type": kind}
    upload = token(64)
    values = {"id": upload, "bucket": request["Bucket"], "key": request["Key"], "created": now()}
    ctx.tx.connection.execute(insert(s3_upload), {**values, "meta": orjson.dumps(meta).decode()})
    answer = {"Bucket": request["Bucket"], "Key": request["Key"], "UploadId": upload, **meta["encryption"]}
    if algorithm:
        answer |= {"ChecksumAlgorithm": algorithm, "ChecksumType": meta["checksum"]["type"]}
    return answer


@s3.operation
async def upload_part(ctx: Context, request: Json) -> Json:
    """Store one part; the same number again replaces it."""
    _check_number(request["PartNumber"])
    receiver = Receiver(ctx, request)
    loop, threads = asyncio.get_running_loop(), ctx.platform.threads

    def check() -> None:
        with ctx.platform.database.read() as tx:
            ctx.transaction = tx
            _upload(ctx, request)

    await loop.run_in_executor(threads, check)
    small = await receiver.small()
    received = await (receiver.stream() if small is None else loop.run_in_executor(threads, receiver.store, small))
    return await loop.run_in_executor(threads, _store_part, ctx, request, received)


def _check_number(number: int) -> None:
    if not 1 <= number <= 10000:
        raise invalid_argument(
            "Part number must be an integer between 1 and 10000, inclusive",
            ArgumentName="partNumber",
            ArgumentValue=number,
        )


def _store_part(ctx: Context, request: Json, received: Received) -> Json:
    try:
        with ctx.platform.database.write() as tx:
            ctx.transaction = tx
            _upload(ctx, request)
            meta = {"checksum": received.checksum}
            _replace_part(ctx, request, received.md5.hex(), received.size, received.segments, meta)
    except BaseException as error:
        ctx.platform.objects.undo([s.blob for s in received.segments], error)
        raise
    return {"ETag": f'"{received.md5.hex()}"', **checksums.shown(received.checksum, full=False)}


def _replace_part(
    ctx: Context, request: Json, etag: str, size: int, segments: tuple[Segment, ...], meta: Json
) -> float:
    where = (s3_part.c.upload == request["UploadId"]) & (s3_part.c.number == request["PartNumber"])
    connection = ctx.tx.connection
    previous = connection.execute(select(s3_part.c.blobs).where(where)).scalar()
    connection.execute(delete(s3_part).where(where))
    modified = now()
    values = {
        "upload": request["UploadId"], "number": request["PartNumber"], "etag": etag, "size": size,
        "modified": modified, "blobs": dump_segments(segments), "meta": orjson.dumps(meta).decode(),
    }  # fmt: skip
    connection.execute(insert(s3_part), values)
    if previous:
        orphans = [s.blob for s in load_segments(previous)]
        ctx.tx.after_commit.append(lambda: ctx.platform.objects.discard(orphans))
    return modified


@s3.operation
async def upload_part_copy(ctx: Context, request: Json) -> Json:
    """Store one part from an object, whole or a range of it."""
    _check_number(request["PartNumber"])

    def copy() -> Json:
        with ctx.platform.database.read() as tx:
            ctx.transaction = tx
            algorithm = (orjson.loads(_upload(ctx, request)["meta"]).get("checksum") or {}).get(
                "algorithm", "CRC64NVME"
            )
            source = source_of(ctx, ObjectRows(tx.direct), request)
        start, end = 0, source.size
        if text := request.get("CopySourceRange"):
            first, _, last = text.removeprefix("bytes=").partition("-")
            if not (digits(first) and digits(last) and int(first) <= int(last) < source.size):
                raise invalid_argument(
                    f"Range specified is not valid for source object of size: {source.size}",
                    ArgumentName="x-amz-copy-source-range", ArgumentValue=text,
                )  # fmt: skip
            start, end = int(first), int(last) + 1
        running = checksums.start(algorithm)
        segment, etag = _copy_range(ctx, source, start, end, running)
        checksum = {"algorithm": algorithm, "value": checksums.encode(running.digest()), "type": "FULL_OBJECT"}
        with ctx.platform.database.write() as tx:
            tx.after_rollback.append(lambda error: ctx.platform.objects.undo([s.blob for s in segment], error))
            ctx.transaction = tx
            _upload(ctx, request)
            modified = _replace_part(ctx, request, etag, end - start, segment, {"checksum": checksum})
        shown = checksums.shown(checksum, full=False)
        return {"CopyPartResult": {"ETag": f'"{etag}"', "LastModified": modified, **shown}}

    return await asyncio.get_running_loop().run_in_executor(ctx.platform.threads, copy)


def _copy_range(
    ctx: Context, source: Object, start: int, end: int, running: checksums.Running
) -> tuple[tuple[Segment, ...], str]:
    writer, digest, at = ctx.platform.blobs.create(), hashlib.md5(usedforsecurity=False), 0

    def take(data: bytes) -> None:
        writer.write(data)
        digest.update(data)
        running.update(data)

    try:
        if not source.segments:
            take((source.data or b"")[start:end])
        for segment in source.segments:
            low, high = max(start, at), min(end, at + segment.size)
            if low < high:
                with open(ctx.platform.blobs.path(segment.blob), "rb") as file:
                    file.seek(low - at)
                    left = high - low
                    while left and (data := file.read(min(left, 1 << 20))):
                        take(data)
                        left -= len(data)
            at += segment.size
        return (Segment(writer.commit(), writer.size),), digest.hexdigest()
    finally:
        writer.discard()


@s3.operation
def complete_multipart_upload(ctx: Context, request: Json) -> Json:
    """Make the listed parts an object. Repeating a completed call fails with NoSuchUpload, as on AWS."""
    upload = _upload(ctx, request)
    found = rows(ctx)
    home = bucket(ctx, found, request)
    check_write(found.get(request["Bucket"], request["Key"]), request)
    listed = (request.get("MultipartUpload") or {}).get("Parts") or []
    if not listed:
        raise coded(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
            400,
        )
    stored = {p["number"]: p for p in _parts(ctx, request["UploadId"])}
    chosen = _choose(listed, stored)
    meta = orjson.loads(upload["meta"])
    meta["parts"] = len(chosen)
    checksum = _checksum_of(meta.pop("checksum", None), chosen)
    if checksum is not None:
        _check_claim(request, checksum)
        meta["checksum"] = checksum
    digest = hashlib.md5(b"".join(bytes.fromhex(p["etag"]) for p in chosen), usedforsecurity=False).hexdigest()
    etag = f"{digest}-{len(chosen)}"
    segments = tuple(s for p in chosen for s in load_segments(p["blobs"]))
    if len(segments) != len(chosen):  # parts that were copied, or are empty, are not one segment each
        meta["part_sizes"] = [p["size"] for p in chosen]
    new = Object(request["Bucket"], request["Key"], etag, sum(p["size"] for p in chosen), segments, meta)
    made, orphans = found.put(new, home.versioning)
    announce(ctx, home, "ObjectCreated:CompleteMultipartUpload", made)
    kept = {p["number"] for p in chosen}
    orphans += [s.blob for n, p in stored.items() if n not in kept for s in load_segments(p["blobs"])]
    _forget(ctx, request["UploadId"])
    ctx.tx.after_commit.append(lambda: ctx.platform.objects.discard(orphans))
    answer = {
        "Location": f"http://{ctx.http.headers.get('host', 'localhost')}/{request['Bucket']}/{request['Key']}",
        "Bucket": request["Bucket"], "Key": request["Key"], "ETag": f'"{etag}"', **meta["encryption"],
        **checksums.shown(meta.get("checksum")),
    }  # fmt: skip
    return {**answer, "VersionId": made.version} if home.versioning else answer


def _choose(listed: list[Json], stored: dict[int, Any]) -> list[Any]:
    numbers = [p.get("PartNumber") for p in listed]
    if numbers != sorted(set(numbers), key=lambda n: n or 0):
        raise coded(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. Parts must be ordered by part number.",
            400,
        )
    chosen = []
    for part in listed:
        number, etag = part.get("PartNumber"), str(part.get("ETag", "")).strip('"')
        if number not in stored or stored[number]["etag"] != etag:
            text = "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified entity tag may not match the part's entity tag."
            raise coded("InvalidPart", text, 400, ETag=etag, PartNumber=number)
        chosen.append(stored[number])
    for part in chosen[:-1]:
        if part["size"] < MIN_PART:
            raise coded(
                "EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size", 400,
                ETag=part["etag"], MinSizeAllowed=MIN_PART, PartNumber=part["number"], ProposedSize=part["size"],
            )  # fmt: skip
    return chosen


def _checksum_of(wanted: Json | None, parts: list[Any]) -> Json | None:
    """The object's checksum from its parts': of the whole, or of the parts' checksums in a row (composite)."""
    sums = [(orjson.loads(p["meta"]).get("checksum") or {}) for p in parts]
    wanted = wanted or {"algorithm": sums[0].get("algorithm"), "type": "FULL_OBJECT"}
    algorithm = wanted["algorithm"]
    if any(s.get("algorithm") != algorithm for s in sums) or algorithm is None:
        return None
    digests = [base64.b64decode(s["value"]) for s in sums]
    if wanted["type"] == "COMPOSITE":
        whole = checksums.start(algorithm)
        whole.update(b"".join(digests))
        return {**wanted, "value": f"{checksums.encode(whole.digest())}-{len(parts)}"}
    if algorithm.startswith("SHA"):
        return None  # only CRCs of parts can be put together
    sizes = [p["size"] for p in parts]
    return {**wanted, "value": checksums.encode(checksums.combine(algorithm, list(zip(digests, sizes, strict=True))))}


def _check_claim(request: Json, checksum: Json) -> None:
    """What the client says the finished object's checksum is."""
    told = request.get(f"Checksum{checksum['algorithm']}")
    if told is not None and told.partition("-")[0] != checksum["value"].partition("-")[0]:
        raise coded(
            "BadDigest", f"The {checksum['algorithm']} you specified did not match the calculated checksum.", 400
        )


def _parts(ctx: Context, upload: str) -> list[Any]:
    statement = select(s3_part).where(s3_part.c.upload == upload).order_by(s3_part.c.number)
    return list(ctx.tx.connection.execute(statement).mappings())


def _forget(ctx: Context, upload: str) -> None:
    ctx.tx.connection.execute(delete(s3_part).where(s3_part.c.upload == upload))
    ctx.tx.connection.execute(delete(s3_upload).where(s3_upload.c.id == upload))


@s3.operation
def abort_multipart_upload(ctx: Context, request: Json) -> None:
    """Drop an upload and its parts."""
    _upload(ctx, request)
    orphans = [s.blob for p in _parts(ctx, request["UploadId"]) for s in load_segments(p["blobs"])]
    _forget(ctx, request["UploadId"])
    ctx.tx.after_commit.append(lambda: ctx.platform.objects.discard(orphans))


@s3.operation
def list_parts(ctx: Context, request: Json) -> Json:
    """An upload's parts."""
    upload = _upload(ctx, request)
    marker = int(request.get("PartNumberMarker") or 0)
    limit = min(request.get("MaxParts", 1000), 1000)
    parts = [p for p in _parts(ctx, request["UploadId"]) if p["number"] > marker]
    page = parts[:limit]
    shown = [
        {
            "PartNumber": p["number"], "ETag": f'"{p["etag"]}"', "Size": p["size"], "LastModified": p["modified"],
            **checksums.shown(orjson.loads(p["meta"]).get("checksum"), full=False),
        }
        for p in page
    ]  # fmt: skip
    answer: Json = {
        "Bucket": upload["bucket"], "Key": upload["key"], "UploadId": upload["id"], "MaxParts": limit,
        "IsTruncated": len(parts) > limit, "Parts": shown, "StorageClass": "STANDARD", "PartNumberMarker": marker,
    }  # fmt: skip
    return {**answer, "NextPartNumberMarker": page[-1]["number"]} if page else answer


@s3.operation
def list_multipart_uploads(ctx: Context, request: Json) -> Json:
    """A bucket's unfinished uploads by key, those of a key by time; groups at a delimiter count once."""
    name = request["Bucket"]
    bucket(ctx, rows(ctx), request)
    encode = encoder(request)
    prefix, delimiter = request.get("Prefix", ""), request.get("Delimiter", "")
    limit = whole(request.get("MaxUploads"), MAX_UPLOADS, _max_uploads(request))
    limit = min(limit, MAX_UPLOADS)
    marker, identifier = (
        request.get("KeyMarker", ""),
        request.get("UploadIdMarker", "") if request.get("KeyMarker") else "",
    )
    uploads = _uploads(ctx, name, marker, marker, limit + 1, identifier) if identifier else []
    prefixes: list[str] = []
    last, truncated = "", False
    keys = walk(ctx.tx.direct, UPLOADS, name, prefix, delimiter, marker, limit + 1) if limit else []
    for run in runs(keys, prefix, delimiter):
        left = limit - len(uploads) - len(prefixes)
        if left <= 0:
            truncated = True
            break
        if run.group is not None:
            prefixes.append(run.group)
            last = run.group
        else:
            uploads += _uploads(ctx, name, run.first, run.last, left + 1)
    if len(uploads) + len(prefixes) > limit > 0:
        truncated = True
        del uploads[limit - len(prefixes) - len(uploads) :]
    own = bool(uploads) and uploads[-1]["key"] > last
    answer: Json = {
        "Bucket": name, "Prefix": encode(prefix), "MaxUploads": limit, "IsTruncated": truncated, "KeyMarker": encode(marker),
        "UploadIdMarker": identifier, "CommonPrefixes": [{"Prefix": encode(p)} for p in prefixes],
        "Uploads": [
            {"Key": encode(u["key"]), "UploadId": u["id"], "Initiated": u["created"], "StorageClass": "STANDARD"}
            for u in uploads
        ],
    }  # fmt: skip
    if delimiter:
        answer["Delimiter"] = encode(delimiter)
    if request.get("EncodingType"):
        answer["EncodingType"] = "url"
    if truncated:
        answer["NextKeyMarker"] = encode(uploads[-1]["key"] if own else last)
        answer["NextUploadIdMarker"] = uploads[-1]["id"] if own else ""
    return answer


def _max_uploads(request: Json) -> AwsError:
    return invalid_argument(
        "Argument max-uploads must be an integer between 0 and 2147483647", ArgumentName="max-uploads",
        ArgumentValue=request.get("MaxUploads"),
    )  # fmt: skip


def _uploads(ctx: Context, name: str, first: str, last: str, limit: int, after: str = "") -> list[Any]:
    """Uploads of the keys from one to another; those of the first one from behind an upload, where that is there still."""
    own = and_(s3_upload.c.bucket == name, s3_upload.c.key >= first, s3_upload.c.key <= last)
    order = (s3_upload.c.key, s3_upload.c.created, s3_upload.c.id)
    statement = select(s3_upload).where(own).order_by(*order).limit(limit)
    if after:
        seen = select(s3_upload.c.created).where(own, s3_upload.c.id == after)
        created = ctx.tx.connection.execute(seen).scalar_one_or_none()
        if created is None:
            statement = statement.where(s3_upload.c.id > after)
        else:
            later = and_(s3_upload.c.created == created, s3_upload.c.id > after)
            statement = statement.where(or_(s3_upload.c.created > created, later))
    return list(ctx.tx.connection.execute(statement).mappings())
