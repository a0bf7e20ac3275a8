"""Buckets and objects: metadata in the database, bytes in blobs. Knows versions and listing, not HTTP."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson
from sqlalchemy import Connection, and_, bindparam, delete, insert, or_, select, text, update

from ..clock import now
from ..ids import token
from .blobs import Blobs
from .database import Database, Transaction
from .schema import bucket as bucket_table
from .schema import s3_object as table

Json = dict[str, Any]
NULL = "null"


class NoSuchBucket(LookupError):
    """The bucket does not exist."""


class NoSuchObject(LookupError):
    """The key does not exist, or its latest version is a delete marker."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket and its configuration documents by name."""

    name: str
    account: str
    region: str
    created: float
    versioning: str = ""
    documents: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Segment:
    """A blob that holds a part of an object's bytes."""

    blob: str
    size: int


@dataclass(frozen=True, slots=True)
class Object:
    """One version of an object. ``meta`` holds its headers, user metadata, checksums and tags."""

    bucket: str
    key: str
    etag: str
    size: int
    segments: tuple[Segment, ...]
    meta: Json = field(default_factory=dict)
    modified: float = 0.0
    version: str = NULL
    latest: bool = True
    marker: bool = False
    sequence: int = 0


_COLUMNS = [
    table.c[n]
    for n in ("bucket", "key", "etag", "size", "blobs", "meta", "modified", "version", "latest", "marker", "sequence")
]
_LATEST = select(*_COLUMNS).where(
    table.c.bucket == bindparam("b"), table.c.key == bindparam("k"), table.c.latest.is_(True)
)
_VERSION = select(*_COLUMNS).where(
    table.c.bucket == bindparam("b"), table.c.key == bindparam("k"), table.c.version == bindparam("v")
)
_BUCKET = select(bucket_table).where(bucket_table.c.name == bindparam("b"))
_INSERT = insert(table)
_UNLATEST = (
    update(table)
    .where(table.c.bucket == bindparam("b"), table.c.key == bindparam("k"), table.c.latest.is_(True))
    .values(latest=False)
)
_REMOVE = delete(table).where(
    table.c.bucket == bindparam("b"), table.c.key == bindparam("k"), table.c.version == bindparam("v")
)


def dump_segments(segments: tuple[Segment, ...]) -> str:
    """Segments as they are stored."""
    return ",".join(f"{s.blob}:{s.size}" for s in segments)


def load_segments(text: str) -> tuple[Segment, ...]:
    """Segments from their stored form."""
    pairs = (item.partition(":") for item in text.split(",") if item)
    return tuple(Segment(blob, int(size)) for blob, _, size in pairs)


def _object(row: Any) -> Object:
    bucket, key, etag, size, blobs, meta, modified, version, latest, marker, sequence = row
    return Object(
        bucket, key, etag, size, load_segments(blobs), orjson.loads(meta), modified, version, bool(latest),
        bool(marker), sequence,
    )  # fmt: skip


class ObjectRows:
    """Objects in one transaction."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def bucket(self, name: str) -> Bucket | None:
        """A bucket, or None."""
        row = self._connection.execute(_BUCKET, {"b": name}).mappings().fetchone()
        return Bucket(**{**row, "documents": orjson.loads(row["documents"])}) if row else None

    def buckets(self, account: str) -> list[Bucket]:
        """An account's buckets by name."""
        statement = select(bucket_table).where(bucket_table.c.account == account).order_by(bucket_table.c.name)
        rows = self._connection.execute(statement).mappings()
        return [Bucket(**{**row, "documents": orjson.loads(row["documents"])}) for row in rows]

    def add_bucket(self, bucket: Bucket) -> None:
        """Make a bucket."""
        values = {
            "name": bucket.name, "account": bucket.account, "region": bucket.region, "created": bucket.created,
            "versioning": bucket.versioning, "documents": orjson.dumps(bucket.documents).decode(),
        }  # fmt: skip
        self._connection.execute(insert(bucket_table), values)

    def save_bucket(self, bucket: Bucket) -> None:
        """Write a bucket's configuration."""
        documents = orjson.dumps(bucket.documents).decode()
        statement = update(bucket_table).where(bucket_table.c.name == bucket.name)
        self._connection.execute(statement.values(versioning=bucket.versioning, documents=documents))

    def delete_bucket(self, name: str) -> None:
        """Remove a bucket; the caller has seen that it is empty."""
        self._connection.execute(delete(bucket_table).where(bucket_table.c.name == name))

    def empty(self, bucket: str) -> bool:
        """Whether a bucket holds no version of anything."""
        return self._connection.execute(select(table.c.key).where(table.c.bucket == bucket).limit(1)).first() is None

    def get(self, bucket: str, key: str, version: str | None = None) -> Object | None:
        """An object's latest version (a delete marker too), or a named one."""
        if version is None:
            row = self._connection.execute(_LATEST, {"b": bucket, "k": key}).fetchone()
        else:
            row = self._connection.execute(_VERSION, {"b": bucket, "k": key, "v": version}).fetchone()
        return _object(row) if row else None

    def lock(self, bucket: str, key: str) -> None:
        """Be the only writer of a key until the transaction ends; SQLite has only one writer anyway."""
        if self._connection.dialect.name == "postgresql":
            statement = text("select pg_advisory_xact_lock(hashtextextended(:name, 0))")
            self._connection.execute(statement, {"name": f"s3:{bucket}/{key}"})

    def put(self, new: Object, versioning: str) -> tuple[Object, list[str]]:
        """Store a new latest version; the stored object, and the blobs that nothing refers to any more."""
        self.lock(new.bucket, new.key)
        previous = self.get(new.bucket, new.key)
        version = token(32) if versioning == "Enabled" else NULL
        orphans: list[str] = []
        if previous is not None:
            replaced = previous if previous.version == version else None
            if replaced is None and versioning == "Suspended":
                replaced = self.get(new.bucket, new.key, NULL)
            if replaced is not None:
                orphans = [s.blob for s in replaced.segments]
                self._connection.execute(_REMOVE, {"b": new.bucket, "k": new.key, "v": version})
            if previous.version != version:
                self._connection.execute(_UNLATEST, {"b": new.bucket, "k": new.key})
        stored = Object(
            new.bucket, new.key, new.etag, new.size, new.segments, new.meta, new.modified or now(), version, True,
            new.marker, (previous.sequence + 1) if previous else time.time_ns(),
        )  # fmt: skip
        self._connection.execute(_INSERT, _values(stored))
        return stored, orphans

    def change_meta(self, found: Object, meta: Json) -> None:
        """Replace an object's metadata document (tags)."""
        where = and_(table.c.bucket == found.bucket, table.c.key == found.key, table.c.version == found.version)
        self._connection.execute(update(table).where(where).values(meta=orjson.dumps(meta).decode()))

    def remove(self, found: Object) -> list[str]:
        """Remove one version for good; its blobs. The version before it becomes the latest."""
        where = {"b": found.bucket, "k": found.key, "v": found.version}
        self._connection.execute(_REMOVE, where)
        if found.latest:
            statement = select(table.c.version).where(table.c.bucket == found.bucket, table.c.key == found.key)
            newest = self._connection.execute(statement.order_by(table.c.sequence.desc()).limit(1)).scalar()
            if newest is not None:
                where_newest = and_(table.c.bucket == found.bucket, table.c.key == found.key, table.c.version == newest)
                self._connection.execute(update(table).where(where_newest).values(latest=True))
        return [s.blob for s in found.segments]

    def scan(
        self,
        bucket: str,
        prefix: str,
        after: str,
        limit: int,
        versions: bool = False,
        after_sequence: int | None = None,
    ) -> list[Object]:
        """Objects by key after ``after``; with ``versions`` every version, newest first within a key."""
        where = [table.c.bucket == bucket, table.c.key >= prefix]
        if (end := _after_prefix(prefix)) is not None:
            where.append(table.c.key < end)
        if not versions:
            where += [table.c.latest.is_(True), table.c.marker.is_(False), table.c.key > after]
            order: list[Any] = [table.c.key]
        else:
            if after_sequence is None:
                where.append(table.c.key > after)
            else:
                where.append(or_(table.c.key > after, and_(table.c.key == after, table.c.sequence < after_sequence)))
            order = [table.c.key, table.c.sequence.desc()]
        statement = select(*_COLUMNS).where(*where).order_by(*order).limit(limit)
        return [_object(row) for row in self._connection.execute(statement)]


def _after_prefix(prefix: str) -> str | None:
    """The first text after all that begin with a prefix."""
    text = prefix
    while text:
        code = ord(text[-1])
        if code < 0xD7FF or 0xDFFF < code < 0x10FFFF:
            return text[:-1] + chr(code + 1)
        text = text[:-1]
    return None


def _values(item: Object) -> Json:
    return {
        "bucket": item.bucket, "key": item.key, "version": item.version, "latest": item.latest, "marker": item.marker,
        "sequence": item.sequence, "etag": item.etag, "size": item.size, "modified": item.modified,
        "blobs": dump_segments(item.segments), "meta": orjson.dumps(item.meta).decode(),
    }  # fmt: skip


class Objects:
    """Objects for the rest of the platform: whole reads and writes, each in a transaction of its own."""

    def __init__(self, database: Database, blobs: Blobs):
        self.database = database
        self.blobs = blobs

    def rows(self, tx: Transaction) -> ObjectRows:
        """The objects of a transaction."""
        return ObjectRows(tx.connection)

    def find(self, bucket: str, key: str) -> Object:
        """An object's latest version; NoSuchBucket, NoSuchObject."""
        with self.database.read() as tx:
            rows = self.rows(tx)
            found = rows.get(bucket, key)
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
        import hashlib

        writer, digest = self.blobs.create(), hashlib.md5(usedforsecurity=False)
        try:
            while data := source.read(1 << 20):
                writer.write(data)
                digest.update(data)
            segments = (Segment(writer.commit(), writer.size),)
        finally:
            writer.discard()
        new = Object(bucket, key, digest.hexdigest(), writer.size, segments, {"headers": {"ContentType": content_type}})
        return self.store(new)

    def store(self, new: Object) -> Object:
        """Make written blobs an object's latest version; NoSuchBucket."""

        def work(tx: Transaction) -> Object:
            rows = self.rows(tx)
            bucket = rows.bucket(new.bucket)
            if bucket is None:
                raise NoSuchBucket(new.bucket)
            stored, orphans = rows.put(new, bucket.versioning)
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
            if home.versioning:
                _, orphans = rows.put(Object(bucket, key, "", 0, (), marker=True), home.versioning)
            else:
                orphans = rows.remove(found)
            tx.after_commit.append(lambda: self.discard(orphans))

    def discard(self, blobs: list[str]) -> None:
        """Remove blobs that nothing refers to."""
        for blob in blobs:
            self.blobs.delete(blob)

    def copy_to(self, found: Object, target: Path) -> None:
        """Write an object's bytes to a new file, sharing them with the blob where the file system can."""
        with open(target, "xb") as out:
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
        return b"".join(self.blobs.path(s.blob).read_bytes() for s in found.segments)

    def paths(self, found: Object) -> Iterator[Path]:
        """The files that hold an object's bytes, in order."""
        return (self.blobs.path(s.blob) for s in found.segments)


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


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URI; ValueError when it is not one."""
    if not uri.startswith("s3://"):
        raise ValueError(f"{uri!r} is not an S3 URI")
    bucket, _, key = uri[5:].partition("/")
    if not bucket:
        raise ValueError(f"{uri!r} names no bucket")
    return bucket, key
