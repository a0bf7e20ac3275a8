"""Files that hold bytes: written aside, synced, renamed, never changed after."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from .. import litter


class Blobs:
    """A folder of blobs. An id that was returned names a complete file on disk."""

    def __init__(self, root: Path, durable: bool = True):
        self.root = root
        self.durable = durable
        self._aside = root / "tmp"
        self._aside.mkdir(parents=True, exist_ok=True)
        self._made: set[str] = set()

    def path(self, blob: str) -> Path:
        """Where a blob lies."""
        return self.root / blob[:2] / blob

    def create(self) -> BlobWriter:
        """A writer of a new blob."""
        return BlobWriter(self, secrets.token_hex(16))

    def link(self, blob: str) -> str:
        """A second blob with the same bytes, without copying them where the file system allows."""
        made = secrets.token_hex(16)
        self.folder(made)
        try:
            os.link(self.path(blob), self.path(made))
        except OSError:
            try:
                shutil.copyfile(self.path(blob), self.path(made))
            except BaseException:
                self.delete(made)
                raise
        return made

    def delete(self, blob: str) -> None:
        """Remove a blob; one that is gone already is fine."""
        litter.remove(self.path(blob))

    def folder(self, blob: str) -> Path:
        """The folder a blob lies in, made if need be."""
        folder = self.root / blob[:2]
        if blob[:2] not in self._made:
            folder.mkdir(parents=True, exist_ok=True)
            self._made.add(blob[:2])
        return folder

    def older_than(self, seconds: float) -> Iterator[str]:
        """Ids of blobs that were written longer ago than this; abandoned half-written files are removed on the way."""
        limit = time.time() - seconds
        for entry in os.scandir(self.root):
            for file in os.scandir(entry.path) if entry.is_dir() else ():
                with contextlib.suppress(FileNotFoundError):
                    if file.stat().st_mtime >= limit:
                        continue
                    if entry.name == "tmp":
                        os.unlink(file.path)
                    else:
                        yield file.name


class BlobWriter:
    """Bytes on their way into a blob; nothing is visible before ``commit``."""

    def __init__(self, blobs: Blobs, blob: str):
        self._blobs = blobs
        self.blob = blob
        self._path = blobs.root / "tmp" / blob  # where the bytes are now
        self._fd = os.open(
            self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644
        )  # jobs may read it; the home folder keeps others out
        self.size = 0
        self._kept = False

    def write(self, data: bytes) -> None:
        """Append bytes."""
        view = memoryview(data)
        while view:
            written = os.write(self._fd, view)
            view = view[written:]
        self.size += len(data)

    def commit(self) -> str:
        """Make the blob durable and visible; its id."""
        if self._blobs.durable:
            os.fsync(self._fd)
        self._close()
        folder = self._blobs.folder(self.blob)
        os.rename(self._path, folder / self.blob)
        self._path = folder / self.blob
        if self._blobs.durable:
            handle = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        self._kept = True
        return self.blob

    def discard(self) -> None:
        """Drop what was written, wherever it is; harmless after a ``commit`` that succeeded."""
        self._close()
        if not self._kept:
            litter.remove(self._path)

    def _close(self) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
