"""Stores what the fronts captured in S3, where AWS puts it: ``<target>/<endpoint>/<variant>/yyyy/mm/dd/hh/….jsonl``."""

from __future__ import annotations

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
from ....store.object import NoSuchBucket, split_uri

log = logging.getLogger(__name__)

Json = dict[str, Any]
_EVERY_SECONDS = 1.0


def running(platform: Platform) -> AbstractAsyncContextManager[None]:
    """Store captures while the block runs."""
    folder = platform.settings.folder / "run" / "capture"
    return repeated(_EVERY_SECONDS, "storing captured data", lambda: ingest(platform, folder))


def ingest(platform: Platform, folder: Path) -> int:
    """Store every file that was handed over. Its key follows from its name: storing it twice is harmless."""
    paths = sorted(folder.glob("*.jsonl")) if folder.exists() else []
    for path in paths:
        head, _, lines = path.read_bytes().partition(b"\n")
        try:
            bucket, key = _key(path.name, orjson.loads(head))
            platform.objects.put_file(bucket, key, io.BytesIO(lines), "application/json")
        except (ValueError, KeyError, NoSuchBucket) as error:
            log.warning("captured data of %s is lost: %r", path.name, error)
        path.unlink()
    return len(paths)


def _key(name: str, head: Json) -> tuple[str, str]:
    bucket, prefix = split_uri(head["target"].rstrip("/"))
    _, _, endpoint, variant, hour = head["place"]
    at = time.gmtime(head["at"])
    number = uuid.UUID(bytes=hashlib.sha256(name.encode()).digest()[:16], version=4)
    file = f"{time.strftime('%M-%S', at)}-{int(head['at'] * 1000) % 1000:03d}-{number}.jsonl"
    return bucket, "/".join(filter(None, (prefix, endpoint, variant, hour, file)))
