"""Fetches the models of multi-model endpoints when a front asks for one: from S3 to a folder that the replicas see.

A front sends one line, ``[fleet, variant, model]``, and gets one back: the model's id, or why it cannot be had.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson

from ....provider.platform import Platform
from ....store.object import NoSuchBucket, NoSuchObject, split_uri
from ....store.rows import Row
from .. import fleet as fleets

log = logging.getLogger(__name__)

Json = dict[str, Any]
_MAX_LINE = 8 << 10


def name_of(row: Row, fleet: Json) -> str:
    """How a front names a fleet."""
    return f"{row.uid}.{fleet['number']}"


class Librarian:
    """Answers the fronts. A model that several ask for is fetched once."""

    def __init__(self, platform: Platform):
        self._platform = platform
        self._fetching: dict[Path, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def running(self, path: Path) -> AsyncIterator[None]:
        """Answer on a Unix socket while the block runs."""
        path.unlink(missing_ok=True)
        server = await asyncio.start_unix_server(self._serve, str(path), limit=_MAX_LINE)
        os.chmod(path, 0o600)
        try:
            yield
        finally:
            server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            fleet, variant, model = orjson.loads(await reader.readline())
            began = time.perf_counter()
            answer = await self._answer(fleet, variant, model)
            writer.write(orjson.dumps({**answer, "seconds": time.perf_counter() - began}) + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            log.debug("a front went away while it asked for a model")
        finally:
            writer.close()

    async def _answer(self, fleet: str, variant: str, model: str) -> Json:
        try:
            found = await asyncio.to_thread(self._find, fleet, variant)
            if found is None:
                return {"error": f"The endpoint has no variant {variant} any more."}
            row, its, which = found
            bucket, key = split_uri(which["Containers"][0]["ModelDataUrl"].rstrip("/") + "/" + model.lstrip("/"))
            try:
                item = await asyncio.to_thread(self._platform.objects.find, bucket, key)
            except (NoSuchBucket, NoSuchObject):
                return {
                    "error": f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there is an "
                    "object located at the URL and that the role passed to CreateModel has permissions to download the model."
                }
            number = hashlib.sha256(f"{model}\0{item.etag}".encode()).hexdigest()[:32]
            folder = fleets.library_folder(self._platform, row, its, which) / number
            if not folder.exists():
                await self._fetch(folder, f"s3://{bucket}/{key}")
            return {"id": number}
        except fleets.ArtifactError as error:
            return {"error": str(error)}
        except Exception as error:  # the one who asked is told, whatever it was
            log.exception("fetching model %s of fleet %s failed", model, fleet)
            return {"error": f"The model could not be fetched: {type(error).__name__}: {error}"}

    def _find(self, name: str, variant: str) -> tuple[Row, Json, Json] | None:
        """The endpoint, fleet and variant that a front means."""
        uid, _, number = name.partition(".")
        with self._platform.database.read() as tx:
            rows = [r for r in tx.rows.list("Endpoint") if r.uid == uid]
        for row in rows:
            for part in ("current", "next"):
                its = row.private.get(part)
                if its is not None and str(its["number"]) == number:
                    for which in its["variants"]:
                        if which["VariantName"] == variant:
                            return row, its, which
        return None

    async def _fetch(self, folder: Path, uri: str) -> None:
        task = self._fetching.get(folder)
        if task is None:
            work = asyncio.to_thread(fleets.stage_model, self._platform, uri, folder)
            task = self._fetching[folder] = asyncio.create_task(work)
            task.add_done_callback(lambda _: self._fetching.pop(folder, None))
        await asyncio.shield(task)
