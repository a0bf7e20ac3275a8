"""Stores what the fronts captured in S3, where AWS puts it: ``<target>/<endpoint>/<variant>/yyyy/mm/dd/hh/….jsonl``.

Format: AWS, "Capture data from real-time endpoint" (one JSON document a line). Beside it, under ``<target>.clary``,
lie the same requests and streamed ones byte for byte, as the front wrote them: ``clary replay`` sends them again.
"""

from __future__ import annotations

import base64
import hashlib
import io
import logging
import time
import uuid
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import orjson

from ....control.chores import repeated
from ....provider.platform import Platform
from ....serving import frames
from ....store.object import NoSuchBucket, split_uri

log = logging.getLogger(__name__)

Json = dict[str, Any]
_EVERY_SECONDS = 1.0
AWS, EXACT = ("", "jsonl"), (".clary", "captured")
"""What is added to the target's prefix, and how files end: AWS's records, and ours."""


def running(platform: Platform) -> AbstractAsyncContextManager[None]:
    """Store captures while the block runs."""
    folder = platform.settings.folder / "run" / "capture"
    return repeated(_EVERY_SECONDS, "storing captured data", lambda: ingest(platform, folder))


def ingest(platform: Platform, folder: Path) -> int:
    """Store every file that was handed over. Its key follows from its name: storing it twice is harmless."""
    paths = sorted(folder.glob("*.captured")) if folder.exists() else []
    for path in paths:
        try:
            data = path.read_bytes()
            (text, _), *items = frames.unpack(data, 4, len(data) - 4)
            head = orjson.loads(text)
            bucket, key = _key(path.name, head, EXACT)
            platform.objects.put_file(bucket, key, io.BytesIO(_exact(head, data, items)), "application/octet-stream")
            if lines := _lines(path.name, head, items):
                bucket, key = _key(path.name, head, AWS)
                platform.objects.put_file(bucket, key, io.BytesIO(lines), "application/json")
        except (ValueError, KeyError, NoSuchBucket) as error:
            log.warning("captured data of %s is lost: %r", path.name, error)
        path.unlink()
    return len(paths)


def _key(name: str, head: Json, kind: tuple[str, str]) -> tuple[str, str]:
    bucket, prefix = split_uri(head["rule"]["target"].rstrip("/"))
    prefix += kind[0]
    _, _, endpoint, variant = head["variant"]
    at = time.gmtime(head["at"])
    file = f"{time.strftime('%M-%S', at)}-{int(head['at'] * 1000) % 1000:03d}-{_uuid(name)}.{kind[1]}"
    return bucket, "/".join(filter(None, (prefix, endpoint, variant, time.strftime("%Y/%m/%d/%H", at), file)))


def _uuid(text: str) -> uuid.UUID:
    return uuid.UUID(bytes=hashlib.sha256(text.encode()).digest()[:16], version=4)


def _lines(name: str, head: Json, items: list[frames.Item]) -> bytes:
    rule, moment = head["rule"], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(head["at"]))
    lines = []
    for number, ((fields, asked), (kind, answer)) in enumerate(zip(items[::2], items[1::2], strict=True)):
        asked_kind, _, inference_id, attributes, _, _, _, pieces = fields.split(frames.SEPARATOR)
        if pieces:  # AWS's records know no streams
            continue
        data: Json = {}
        if rule["input"]:
            data["endpointInput"] = _part(rule, asked_kind, asked, "INPUT")
        if rule["output"]:
            data["endpointOutput"] = _part(rule, kind, answer, "OUTPUT")
        meta: Json = {"eventId": str(_uuid(f"{name}:{number}"))}
        if inference_id:
            meta["inferenceId"] = inference_id.decode("latin-1")
        if attributes:
            meta["customAttributes"] = [attributes.decode("latin-1")]
        meta["inferenceTime"] = moment
        lines.append(orjson.dumps({"captureData": data, "eventMetadata": meta, "eventVersion": "0"}))
    return b"\n".join((*lines, b"")) if lines else b""


def _exact(head: Json, data: bytes, items: list[frames.Item]) -> bytes:
    """The file as the front wrote it, without the halves that the rule does not keep."""
    rule = head["rule"]
    if rule["input"] and rule["output"]:
        return data
    kept: list[frames.Item] = []
    for (fields, asked), (kind, answer) in zip(items[::2], items[1::2], strict=True):
        kept += ((fields, asked if rule["input"] else b""), (kind, answer) if rule["output"] else (b"", b""))
    return frames.pack([(orjson.dumps(head), b""), *kept])


def _part(rule: Json, kind: bytes, body: bytes, mode: str) -> dict[str, str]:
    name = kind.partition(b";")[0].strip().lower().decode("latin-1")
    encoding = "CSV" if name in rule["csv"] else "JSON" if name in rule["json"] else "BASE64"
    if encoding != "BASE64":
        try:
            text = body.decode()
        except UnicodeDecodeError:
            encoding = "BASE64"
    if encoding == "BASE64":
        text = base64.b64encode(body).decode()
    return {"observedContentType": kind.decode("latin-1"), "mode": mode, "data": text, "encoding": encoding}
