"""Objects for the rest of the platform: metadata in the database, bytes in blobs or, when few, beside the metadata."""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import BinaryIO

from ..streams import joined
from . import object_events
from .blobs import Blobs
from .database import Database, Transaction
from .object import NoSuchBucket, NoSuchObject, Object, Segment
from .object_rows import ObjectRows

INLINE = 16 << 10
"""Bytes up to which an object lies in its row: one sync of the disk instead of three, and no file to open."""


class Objects:
    """Objects for the rest of the platform: whole reads and writes, each in a transaction of its own."""

    def __init__(self, database: Database, blobs: Blobs):
        self.database = database
        self.blobs = blobs

    def rows(self, tx: Transaction) -> ObjectRows:
        """The objects of a transaction."""
        return ObjectRows(tx.direct)

    def find(self, bucket: str, key: str, version: str | None = None) -> Object:
        """An object's latest version, or a named one; NoSuchBucket, NoSuchObject."""
        with self.database.read() as tx:
            rows = self.rows(tx)
            found = rows.get(bucket, key, version)
            if found is None or found.marker:
                if rows.bucket(bucket) is None:
                    raise NoSuchBucket(bucket)
                raise NoSuchObject(f"s3://{bucket}/{key}")
            return found

    def under(self, bucket: str, prefix: str) -> list[Object]:
        """Every object whose key begins with a prefix, by key; NoSuchBucket."""
        found: list[Object] = []
        with self.database.read() as tx:
            rows = self.rows(tx)
            if rows.bucket(bucket) is None:
                raise NoSuchBucket(bucket)
            after = ""
            while page := rows.scan(bucket, prefix, after, 1000):
                found += page
                after = page[-1].key
        return found

    def put_file(self, bucket: str, key: str, source: BinaryIO, content_type: str = "binary/octet-stream") -> Object:
        """Store a file's bytes under a key; NoSuchBucket."""
        data, size = source.read(INLINE + 1), 0
        digest = hashlib.md5(data, usedforsecurity=False)
        inline: bytes | None = None
        segments: tuple[Segment, ...] = ()
        if len(data) <= INLINE:
            inline, size = data, len(data)
        else:
            writer = self.blobs.create()
            try:
                writer.write(data)
                while data := source.read(1 << 20):
                    writer.write(data)
                    digest.update(data)
                segments, size = (Segment(writer.commit(), writer.size),), writer.size
            finally:
                writer.discard()
        meta = {"headers": {"ContentType": content_type}}
        return self.store(Object(bucket, key, digest.hexdigest(), size, segments, meta, data=inline))

    def store(self, new: Object) -> Object:
        """Make written blobs an object's latest version; NoSuchBucket."""

        def work(tx: Transaction) -> Object:
            rows = self.rows(tx)
            bucket = rows.bucket(new.bucket)
            if bucket is None:
                raise NoSuchBucket(new.bucket)
            stored, orphans = rows.put(new, bucket.versioning)
            tx.changed.extend(object_events.record(tx.direct, bucket, "ObjectCreated:Put", stored))
            tx.after_commit.append(lambda: self.discard(orphans))
            return stored

        return self.database.attempt(work)

    def delete(self, bucket: str, key: str) -> None:
        """Remove an object, or mark it deleted in a versioned bucket; missing ones are fine."""
        with self.database.write() as tx:
            rows = self.rows(tx)
            home = rows.bucket(bucket)
            found = rows.get(bucket, key)
            if home is None or found is None:
                return
            event = "ObjectRemoved:Delete"
            if home.versioning:
                event = "ObjectRemoved:DeleteMarkerCreated"
                found, orphans = rows.put(Object(bucket, key, "", 0, (), marker=True), home.versioning)
            else:
                orphans = rows.remove(found)
            tx.changed.extend(object_events.record(tx.direct, home, event, found))
            tx.after_commit.append(lambda: self.discard(orphans))

    def discard(self, blobs: list[str]) -> None:
        """Remove blobs that nothing refers to."""
        for blob in blobs:
            self.blobs.delete(blob)

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
