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
from ....store.object import Unreachable, split_uri

log = logging.getLogger(__name__)

Json = dict[str, Any]
_EVERY_SECONDS = 1.0
_SHARE_SECONDS = 0.2
"""Of each second, for storing files: what keeps up with some 15,000 records a second."""
_MANY_BYTES = 256 << 20
"""When so much waits, it is all stored at once."""
AWS, EXACT = ("", "jsonl"), (".clary", "captured")
"""What is added to the target's prefix, and how files end: AWS's records, and ours."""


def running(platform: Platform) -> AbstractAsyncContextManager[None]:
    """Store captures while the block runs."""
    folder = platform.settings.folder / "run" / "capture"
    return repeated(_EVERY_SECONDS, "storing captured data", lambda: ingest(platform, folder))


def ingest(platform: Platform, folder: Path) -> int:
    """Store files that were handed over, the oldest first; how many. The key of each follows from its name: storing it twice
    is harmless. While requests come as fast as they can, they have the machine, and files wait.
    """
    paths = sorted(folder.glob("*.captured")) if folder.exists() else []
    hurry = sum(path.stat().st_size for path in paths) > _MANY_BYTES
    began = time.monotonic()
    for number, path in enumerate(paths):
        if not hurry and time.monotonic() - began > _SHARE_SECONDS:
            return number
        try:
            data = path.read_bytes()
            found, end = frames.every(data)
            (text, _), *items = found
            head = orjson.loads(text)
            bucket, key = _key(path.name, head, EXACT)
            objects = platform.objects.of(head["variant"][0])
            objects.put_file(bucket, key, io.BytesIO(_exact(head, data[:end], items)), "application/octet-stream")
            if lines := _lines(path.name, head, items):
                bucket, key = _key(path.name, head, AWS)
                objects.put_file(bucket, key, io.BytesIO(lines), "application/json")
        except (ValueError, KeyError, Unreachable) as error:
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
    """AWS's records. There may be 20,000 a second: what they share is written once, and only texts are encoded for each."""
    rule, moment = head["rule"], time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(head["at"]))
    halves: dict[tuple[bytes, str], _Half] = {}
    ids = str(_uuid(name))[:24].encode()  # of the file; the last twelve digits are the record's number
    end = b'"inferenceTime":"%b"},"eventVersion":"0"}\n' % moment.encode()
    lines: list[bytes] = []
    for number, ((fields, asked), (kind, answer)) in enumerate(zip(items[::2], items[1::2], strict=True)):
        asked_kind, _, inference_id, attributes, _, _, _, pieces = fields.split(frames.SEPARATOR)
        if pieces:  # AWS's records know no streams
            continue
        between = b'{"captureData":{'
        for wanted, half_kind, mode, body in (
            (rule["input"], asked_kind, "Input", asked),
            (rule["output"], kind, "Output", answer),
        ):
            if wanted:
                half = halves.get((half_kind, mode))
                if half is None:
                    half = halves[half_kind, mode] = _Half(rule, half_kind, mode)
                lines += (between, *half.record(body))
                between = b","
        lines += (between if between != b"," else b"", b'},"eventMetadata":{"eventId":"%b%012x",' % (ids, number))
        if inference_id:
            lines.append(b'"inferenceId":%b,' % orjson.dumps(inference_id.decode("latin-1")))
        if attributes:
            lines.append(b'"customAttributes":[%b],' % orjson.dumps(attributes.decode("latin-1")))
        lines.append(end)
    return b"".join(lines)


class _Half:
    """The input or output of records with one content type."""

    def __init__(self, rule: Json, kind: bytes, mode: str):
        name = kind.partition(b";")[0].strip().lower().decode("latin-1")
        self._text = name in rule["csv"] or name in rule["json"]
        self._before = b'"endpoint%b":{"observedContentType":%b,"mode":"%b","data":' % (
            mode.encode(), orjson.dumps(kind.decode("latin-1")), mode.upper().encode(),
        )  # fmt: skip
        self._after = b',"encoding":"%b"}' % (b"CSV" if name in rule["csv"] else b"JSON")

    def record(self, body: bytes) -> tuple[bytes, bytes, bytes]:
        """One of them, in pieces; text that is none is written as other bytes are."""
        if self._text:
            try:
                return self._before, orjson.dumps(body.decode()), self._after
            except UnicodeDecodeError:
                pass
        return self._before, b'"%b"' % base64.b64encode(body), b',"encoding":"BASE64"}'


def _exact(head: Json, data: bytes, items: list[frames.Item]) -> bytes:
    """The file as the front wrote it, without the halves that the rule does not keep."""
    rule = head["rule"]
    if rule["input"] and rule["output"]:
        return data
    kept: list[frames.Item] = []
    for (fields, asked), (kind, answer) in zip(items[::2], items[1::2], strict=True):
        kept += ((fields, asked if rule["input"] else b""), (kind, answer) if rule["output"] else (b"", b""))
    return frames.pack([(orjson.dumps(head), b""), *kept])
