"""Fetches the models of multi-model endpoints when a front asks for one: from S3 to a folder that the replicas see.

A front sends one line, ``[fleet, variant, model, idle]``, and gets one back: the model's id, or why it cannot be had, and
which of the idle ones have been removed, because a variant's models took more room than they may.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson

from .... import litter
from ....provider.platform import Platform
from ....store.object import Unreachable, split_uri
from ....store.rows import Row
from .. import fleet as fleets

log = logging.getLogger(__name__)

Json = dict[str, Any]
_MAX_LINE = 8 << 10
_GOING = ".gone-"


def name_of(row: Row, fleet: Json) -> str:
    """How a front names a fleet."""
    return f"{row.uid}.{fleet['number']}"


class _Shelf:
    """The fetched models of one variant: their sizes, and when each was asked for."""

    def __init__(self, folder: Path, room: int):
        self.folder = folder
        self.room = room
        self._sizes: dict[str, int] | None = None  # not looked at yet
        self._asked: dict[str, float] = {}

    async def lacks(self, number: str) -> bool:
        """Whether a model has to be fetched; one that has not is asked for now, and so not removed for others."""
        if self._sizes is None:
            found = await asyncio.to_thread(_measure, self.folder)
            self._sizes = self._sizes or found
        self._asked[number] = time.monotonic()
        return not (self.folder / number).exists()

    async def add(self, number: str) -> None:
        """A model has been fetched."""
        size = await asyncio.to_thread(_size, self.folder / number)
        assert self._sizes is not None
        self._sizes[number] = size

    async def remove(self, idle: list[tuple[str, float]], room: int) -> list[str]:
        """Remove models until the rest takes no more than so much room: of those that were idle at some time, and were
        not asked for since, the first. Their ids."""
        assert self._sizes is not None
        gone: list[str] = []
        going: list[Path] = []
        for number, at in idle:
            if sum(self._sizes.values()) <= room:
                break
            if number in self._sizes and self._asked.get(number, 0.0) <= at:
                going.append(self.folder / f"{_GOING}{number}-{time.monotonic_ns()}")
                with contextlib.suppress(FileNotFoundError):
                    os.rename(self.folder / number, going[-1])
                del self._sizes[number]
                self._asked.pop(number, None)
                gone.append(number)
        for folder in going:
            await asyncio.to_thread(litter.remove, folder)
        if gone:
            log.info("removed %d idle models of %s to make room", len(gone), self.folder)
        return gone


def _measure(folder: Path) -> dict[str, int]:
    """The models in a folder; what an earlier control was removing when it ended is removed."""
    for left in folder.glob(f"{_GOING}*"):
        litter.remove(left)
    return {path.name: _size(path) for path in folder.iterdir() if not path.name.startswith(".")}


def _size(folder: Path) -> int:
    """Bytes on disk of a folder's files."""
    found = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                found += os.lstat(os.path.join(where, name)).st_blocks * 512
    return found


class Librarian:
    """Answers the fronts. A model that several ask for is fetched once."""

    def __init__(self, platform: Platform):
        self._platform = platform
        self._fetching: dict[Path, asyncio.Task[list[str]]] = {}
        self._shelves: dict[Path, _Shelf] = {}

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
            fleet, variant, model, *more = orjson.loads(await reader.readline())
            began = time.perf_counter()
            answer = await self._answer(fleet, variant, model, more[0] if more else [])
            writer.write(orjson.dumps({**answer, "seconds": time.perf_counter() - began}) + b"\n")
            await writer.drain()
        except (OSError, ValueError):
            log.debug("a front went away while it asked for a model")
        finally:
            writer.close()

    async def _answer(self, fleet: str, variant: str, model: str, idle: list[str]) -> Json:
        asked = time.monotonic()
        try:
            found = await asyncio.to_thread(self._find, fleet, variant)
            if found is None:
                return {"error": f"The endpoint has no variant {variant} any more."}
            row, its, which = found
            bucket, key = split_uri(which["Containers"][0]["ModelDataUrl"].rstrip("/") + "/" + model.lstrip("/"))
            try:
                item = await asyncio.to_thread(self._platform.objects.of(row.account).find, bucket, key)
            except Unreachable:
                return {
                    "error": f"Failed to download model data(bucket: {bucket}, key: {key}). Please ensure that there is an "
                    "object located at the URL and that the role passed to CreateModel has permissions to download the model."
                }
            number = hashlib.sha256(f"{model}\0{item.etag}".encode()).hexdigest()[:32]
            shelf = self._shelf(fleets.library_folder(self._platform, row, its, which))
            if await shelf.lacks(number):
                gone = await self._fetch(shelf, row.account, number, f"s3://{bucket}/{key}", [(i, asked) for i in idle])
                return {"id": number, "gone": gone} if gone else {"id": number}
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

    def _shelf(self, folder: Path) -> _Shelf:
        found = self._shelves.get(folder)
        if found is None:
            self._shelves = {path: shelf for path, shelf in self._shelves.items() if path.exists()}
            found = self._shelves[folder] = _Shelf(folder, int(self._platform.settings.models_gb * 1e9))
        return found

    async def _fetch(
        self, shelf: _Shelf, account: str, number: str, uri: str, idle: list[tuple[str, float]]
    ) -> list[str]:
        """Fetch a model; the ids of those that were removed for it."""
        folder = shelf.folder / number
        task = self._fetching.get(folder)
        if task is None:
            task = self._fetching[folder] = asyncio.create_task(self._put(shelf, account, folder, uri, idle))
            task.add_done_callback(lambda _: self._fetching.pop(folder, None))
        return await asyncio.shield(task)

    async def _put(
        self, shelf: _Shelf, account: str, folder: Path, uri: str, idle: list[tuple[str, float]]
    ) -> list[str]:
        try:
            await asyncio.to_thread(fleets.stage_model, self._platform, account, uri, folder)
        except OSError as error:
            if error.errno != errno.ENOSPC or not (gone := await shelf.remove(idle, 0)):
                raise
            await asyncio.to_thread(fleets.stage_model, self._platform, account, uri, folder)
        else:
            gone = []
        await shelf.add(folder.name)
        return gone + await shelf.remove([i for i in idle if i[0] not in gone], shelf.room)
