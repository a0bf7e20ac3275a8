"""Objects for the rest of the platform: metadata in the database, bytes in blobs or, when few, beside the metadata."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from pathlib import Path
from typing import BinaryIO

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from ..streams import joined
from . import border, object_events
from .blobs import Blobs
from .database import Database, Transaction
from .object import Bucket, Forbidden, NoSuchBucket, NoSuchObject, Object, Segment, load_segments
from .object_rows import ObjectRows
from .schema import s3_object, s3_part

_DOUBT_SECONDS = 60.0  # after which a server has given up a connection that went away
INLINE = 16 << 10
"""Bytes up to which an object lies in its row: one sync of the disk instead of three, and no file to open."""


class Objects:
    """Bytes of objects that were found, and accounts' views of them."""

    def __init__(self, database: Database, blobs: Blobs):
        self.database = database
        self.blobs = blobs
        self.doubtful: list[
            tuple[float, list[str]]
        ] = []  # blobs whose transactions may have been committed, and since when

    def rows(self, tx: Transaction) -> ObjectRows:
        """The objects of a transaction."""
        return ObjectRows(tx.direct)

    def of(self, account: str) -> AccountObjects:
        """Return the objects as an account sees them. Everything done for a caller names the caller's account here."""
        return AccountObjects(self, account)

    def discard(self, blobs: list[str]) -> None:
        """Remove blobs that nothing refers to."""
        for blob in blobs:
            self.blobs.delete(blob)

    def undo(self, blobs: list[str], error: BaseException) -> None:
        """Remove blobs of a transaction that failed, unless it may be on disk all the same.

        A server that goes away while it commits leaves that open: such blobs are looked at later.
        """
        if self.database.sqlite or not isinstance(error, DBAPIError):
            self.discard(blobs)
        elif blobs:
            self.doubtful.append((time.monotonic(), blobs))

    def settle(self, older_than: float = _DOUBT_SECONDS) -> int:
        """Remove doubtful blobs that no row refers to; how many there were."""
        due = [entry for entry in self.doubtful if entry[0] <= time.monotonic() - older_than]
        blobs = {blob for _, found in due for blob in found}
        if not blobs:
            return 0
        orphans = blobs - self.referenced()
        self.discard(sorted(orphans))
        for entry in due:
            self.doubtful.remove(entry)
        return len(orphans)

    def referenced(self) -> set[str]:
        """Return the blobs that rows refer to."""
        used: set[str] = set()
        with self.database.read() as tx:
            for column in (s3_object.c.blobs, s3_part.c.blobs):
                for (text,) in tx.connection.execute(select(column)):
                    used.update(s.blob for s in load_segments(text))
        return used

    def copy_to(self, found: Object, target: Path) -> None:
        """Write an object's bytes to a new file, sharing them with the blob where the file system can."""
        with open(target, "xb") as out:
            if not found.segments:
                out.write(self.inline(found))
            for segment in found.segments:
                with open(self.blobs.path(segment.blob), "rb") as source:
                    _copy(source, out, segment.size)

    def link_to(self, found: Object, target: Path) -> None:
        """Make a file that shares an object's bytes; only for targets that nobody can write to."""
        if len(found.segments) == 1:
            with contextlib.suppress(OSError):
                os.link(self.blobs.path(found.segments[0].blob), target)
                return
        self.copy_to(found, target)

    def read(self, found: Object) -> bytes:
        """An object's bytes, whole; for small objects."""
        return b"".join(p if isinstance(p, bytes) else p.read_bytes() for p in self.pieces(found))

    def open(self, found: Object) -> BinaryIO:
        """An object's bytes as a stream."""
        return joined([p if isinstance(p, bytes) else str(p) for p in self.pieces(found)])

    def pieces(self, found: Object) -> list[Path | bytes]:
        """The files that hold an object's bytes, in order, or the bytes themselves."""
        if not found.segments:
            return [self.inline(found)]
        return [self.blobs.path(s.blob) for s in found.segments]

    def inline(self, found: Object) -> bytes:
        """The bytes of an object that has no segments, read now if a scan left them out; NoSuchObject."""
        if found.data is not None or not found.size:
            return found.data or b""
        with self.database.read() as tx:
            again = self.rows(tx).get(found.bucket, found.key, found.version)
        if again is None or again.etag != found.etag or again.data is None:
            raise NoSuchObject(f"s3://{found.bucket}/{found.key} was replaced or removed meanwhile")
        return again.data


class AccountObjects:
    """Whole reads and writes as an account, each in a transaction of its own."""

    def __init__(self, objects: Objects, account: str):
        self._objects = objects
        self._database = objects.database
        self.account = account

    def find(self, bucket: str, key: str, version: str | None = None) -> Object:
        """Return an object's latest version, or a named one; Unreachable."""
        with self._database.read() as tx:
            home, found = ObjectRows(tx.direct).look(bucket, key, version)
        if home is None:
            raise NoSuchBucket(bucket)
        if not border.readable(home, self.account):
            raise Forbidden(f"s3://{bucket}/{key}")
        if found is None or found.marker:
            raise NoSuchObject(f"s3://{bucket}/{key}")
        return found

    def under(self, bucket: str, prefix: str) -> list[Object]:
        """Return every object whose key begins with a prefix, by key; Unreachable."""
        found: list[Object] = []
        with self._database.read() as tx:
            rows = ObjectRows(tx.direct)
            home = rows.bucket(bucket)
            if home is None:
                raise NoSuchBucket(bucket)
            if not border.readable(home, self.account):
                raise Forbidden(f"s3://{bucket}/{prefix}")
            after = ""
            while page := rows.scan(bucket, prefix, after, 1000):
                found += page
                after = page[-1].key
        return found

    def forbidden(self, bucket: str) -> bool:
        """Return whether a bucket exists and the account may not write to it."""
        with self._database.read() as tx:
            home = ObjectRows(tx.direct).bucket(bucket)
        return home is not None and not border.writable(home, self.account)

    def put_file(self, bucket: str, key: str, source: BinaryIO, content_type: str = "binary/octet-stream") -> Object:
        """Store a file's bytes under a key; Unreachable."""
        with self._database.read() as tx:  # before the bytes are copied
            self._writable(ObjectRows(tx.direct), bucket)
        data, size = source.read(INLINE + 1), 0
        digest = hashlib.md5(data, usedforsecurity=False)
        inline: bytes | None = None
        segments: tuple[Segment, ...] = ()
        if len(data) <= INLINE:
            inline, size = data, len(data)
        else:
            writer = self._objects.blobs.create()
            try:
                writer.write(data)
                while data := source.read(1 << 20):
                    writer.write(data)
                    digest.update(data)
                segments, size = (Segment(writer.commit(), writer.size),), writer.size
            finally:
                writer.discard()
        meta = {"headers": {"ContentType": content_type}}
        try:
            return self.store(Object(bucket, key, digest.hexdigest(), size, segments, meta, data=inline))
        except BaseException as error:
            self._objects.undo([s.blob for s in segments], error)
            raise

    def store(self, new: Object) -> Object:
        """Make written blobs an object's latest version; Unreachable."""

        def work(tx: Transaction) -> Object:
            rows = ObjectRows(tx.direct)
            bucket = self._writable(rows, new.bucket)
            stored, orphans = rows.put(new, bucket.versioning)
            tx.changed.extend(object_events.record(tx.direct, bucket, "ObjectCreated:Put", stored))
            tx.after_commit.append(lambda: self._objects.discard(orphans))
            return stored

        return self._database.attempt(work)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object, or mark it deleted in a versioned bucket; ignore a missing one. Unreachable."""
        with self._database.write() as tx:
            rows = ObjectRows(tx.direct)
            if rows.bucket(bucket) is None or (found := rows.get(bucket, key)) is None:
                return
            home = self._writable(rows, bucket)
            event = "ObjectRemoved:Delete"
            if home.versioning:
                event = "ObjectRemoved:DeleteMarkerCreated"
                found, orphans = rows.put(Object(bucket, key, "", 0, (), marker=True), home.versioning)
            else:
                orphans = rows.remove(found)
            tx.changed.extend(object_events.record(tx.direct, home, event, found))
            tx.after_commit.append(lambda: self._objects.discard(orphans))

    def _writable(self, rows: ObjectRows, bucket: str) -> Bucket:
        home = rows.bucket(bucket)
        if home is None:
            raise NoSuchBucket(bucket)
        if not border.writable(home, self.account):
            raise Forbidden(f"s3://{bucket}")
        return home


def _copy(source: BinaryIO, out: BinaryIO, size: int) -> None:
    """Append a whole file to another, in the kernel where it can."""
    left = size
    if hasattr(os, "copy_file_range"):
        with contextlib.suppress(OSError):  # file systems that cannot share ranges: copy what is left below
            while left and (moved := os.copy_file_range(source.fileno(), out.fileno(), left)):
                left -= moved
    while data := os.read(source.fileno(), 1 << 20):
        view = memoryview(data)
        while view:
            view = view[os.write(out.fileno(), view) :]
