"""Bodies of requests while their signatures are checked: small ones in memory, others in files without a name.

A signature may cover the body, so the body comes before the proof. What a stranger sends must not fill the memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from ..web import BodyTooLarge, Overloaded, Request

SMALL = 1 << 20
"""Bytes of a body that is kept in memory."""
MOST_ON_DISK = 1 << 30
"""Bytes of bodies in files, of all requests together."""
_BLOCK = 1 << 20


class Held:
    """A body that is here, and its SHA-256."""

    __slots__ = ("_file", "_request", "_small", "sha256", "size")

    def __init__(self, request: Request, sha256: str, size: int, small: bytes, file: IO[bytes] | None):
        self._request = request
        self.sha256 = sha256
        self.size = size
        self._small = small
        self._file = file

    async def read(self) -> bytes:
        """Return the bytes; raise Overloaded if the memory for bodies is in use."""
        file = self._file
        if file is None:
            return self._small
        self._request.body.keep(self.size)

        def read() -> bytes:
            file.seek(0)
            return file.read()

        return await asyncio.to_thread(read)


class Bodies:
    """Receives bodies. ``folder`` is on the disk that holds large ones."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._on_disk = 0

    @contextlib.asynccontextmanager
    async def hold(self, request: Request, limit: int) -> AsyncIterator[Held]:
        """Receive a body and hold it while the block runs.

        Raises BodyTooLarge beyond ``limit`` bytes, Overloaded if all requests together hold too much, OSError if the disk
        does not take it.
        """
        length = request.body.length
        if (early := request.context.get("body")) is not None or (length is not None and length <= SMALL):
            data = early if early is not None else await request.body.read(limit)
            yield Held(request, hashlib.sha256(data).hexdigest(), len(data), data, None)
            return
        if length is not None and length > limit:
            raise BodyTooLarge
        size = 0
        with tempfile.TemporaryFile(dir=self._folder) as file:
            try:
                digest = hashlib.sha256()
                while pieces := await request.body.arrived():
                    came = sum(map(len, pieces))
                    if size + came > limit:
                        raise BodyTooLarge
                    if self._on_disk + came > MOST_ON_DISK:
                        raise Overloaded
                    self._on_disk += came
                    size += came
                    data = b"".join(pieces)
                    digest.update(data)
                    await asyncio.to_thread(file.write, data)
                yield Held(request, digest.hexdigest(), size, b"", file)
            finally:
                self._on_disk -= size
