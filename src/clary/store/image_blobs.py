"""The layers, configurations and manifests of container images: files named by their SHA-256, and uploads in progress.

A blob is there whole or not at all; who puts one in twice changes nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_UPLOAD_SECONDS = 86400.0


class WrongDigest(ValueError):
    """What was uploaded is not what its sender says it is."""


class NoSuchUpload(LookupError):
    """An upload that never was, has ended, or was given up."""


class ImageBlobs:
    """Blobs in one folder."""

    def __init__(self, folder: Path, durable: bool = True):
        self._blobs, self._uploads = folder / "sha256", folder / "uploads"
        self._durable = durable
        for each in (self._blobs, self._uploads):
            each.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, digest: str) -> Path:
        """Where a blob lies, if it is there."""
        if not DIGEST.fullmatch(digest):
            raise ValueError(f"{digest!r} is not a digest")
        return self._blobs / digest.removeprefix("sha256:")

    def size(self, digest: str) -> int | None:
        """Bytes of a blob; None when it is not there."""
        try:
            return self.path(digest).stat().st_size
        except (OSError, ValueError):
            return None

    def put(self, data: bytes) -> str:
        """Keep a small blob; its digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if self.size(digest) is None:
            upload = self.begin()
            self.append(upload, [data])
            self.finish(upload, digest)
        return digest

    def begin(self) -> str:
        """A new upload's name."""
        name = str(uuid.uuid4())
        (self._uploads / name).touch()
        return name

    def _upload(self, name: str) -> Path:
        path = self._uploads / name
        if not re.fullmatch(r"[0-9a-f-]{36}", name) or not path.exists():
            raise NoSuchUpload(name)
        return path

    def uploaded(self, name: str) -> int:
        """Bytes that have arrived."""
        return self._upload(name).stat().st_size

    def append(self, name: str, pieces: Iterable[bytes]) -> int:
        """Add to an upload; its bytes so far."""
        with self._upload(name).open("ab") as file:
            file.writelines(pieces)
            return file.tell()

    def finish(self, name: str, digest: str) -> None:
        """An upload becomes a blob. WrongDigest when it is another one."""
        path, target = self._upload(name), self.path(digest)
        with path.open("rb") as file:
            found = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
            if found != digest:
                raise WrongDigest(found)
            if self._durable:
                os.fsync(file.fileno())
        os.rename(path, target)
        if self._durable:
            folder = os.open(self._blobs, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)

    def give_up(self, name: str) -> None:
        """Forget an upload."""
        self._upload(name).unlink(missing_ok=True)

    def sweep(self, used: set[str], grace: float) -> int:
        """Remove blobs that no image has, and uploads that nobody goes on with; how many there were."""
        removed = 0
        now = time.time()
        for folder, seconds in ((self._blobs, grace), (self._uploads, _UPLOAD_SECONDS)):
            for path in folder.iterdir():
                with contextlib.suppress(OSError):
                    if f"sha256:{path.name}" not in used and path.stat().st_mtime < now - seconds:
                        path.unlink()
                        removed += 1
        return removed


class ImageStores:
    """The blobs of every account, apart: who knows a digest of another's cannot have what it names."""

    def __init__(self, folder: Path, durable: bool = True):
        self._folder = folder
        self._durable = durable

    def of(self, account: str) -> ImageBlobs:
        """An account's blobs."""
        if not (account.isascii() and account.isalnum()):
            raise ValueError(f"{account!r} is no account")
        return ImageBlobs(self._folder / account, self._durable)

    def every(self) -> dict[str, ImageBlobs]:
        """The blobs of each account that has some."""
        folders = sorted(self._folder.iterdir()) if self._folder.is_dir() else []
        return {folder.name: ImageBlobs(folder, self._durable) for folder in folders}

    def holding(self, digest: str) -> ImageBlobs | None:
        """Those among which a blob is, for who may see all of them."""
        return next((blobs for blobs in self.every().values() if blobs.size(digest) is not None), None)
