"""Buckets and objects as rows of a transaction: versions, the latest one, scans in key order."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import orjson
from sqlalchemy import and_, bindparam, delete, false, insert, or_, select, text, true, update

from ..clock import now
from ..ids import token
from .direct import Direct, Statement
from .key_walk import LATEST, VERSIONS, after_prefix, walk
from .object import NULL, Bucket, Json, Object, dump_segments, load_segments
from .schema import bucket as home
from .schema import s3_object as table

_NAMES = ("bucket", "key", "etag", "size", "blobs", "meta", "modified", "version", "latest", "marker", "sequence")
_COLUMNS = [table.c[n] for n in _NAMES]
_WHOLE = [*_COLUMNS, table.c.data]
_HOME = [home.c[n] for n in ("name", "account", "region", "created", "versioning", "documents")]
_SPOT = and_(table.c.bucket == bindparam("b"), table.c.key == bindparam("k"))
_ONE = and_(_SPOT, table.c.version == bindparam("v"))

_LATEST = Statement(select(*_WHOLE).where(_SPOT, table.c.latest.is_(true())))
_VERSION = Statement(select(*_WHOLE).where(_ONE))
_NEWEST = Statement(select(table.c.version).where(_SPOT).order_by(table.c.sequence.desc()).limit(1))
_ANY = Statement(select(table.c.key).where(table.c.bucket == bindparam("b")).limit(1))
_BUCKET = Statement(select(*_HOME).where(home.c.name == bindparam("b")))
_BUCKETS = Statement(select(*_HOME).where(home.c.account == bindparam("a")).order_by(home.c.name))
_ADD_BUCKET = Statement(insert(home))
_SAVE_BUCKET = Statement(
    update(home).where(home.c.name == bindparam("b")).values(versioning=bindparam("v"), documents=bindparam("d"))
)
_DROP_BUCKET = Statement(delete(home).where(home.c.name == bindparam("b")))
_INSERT = Statement(insert(table))
_CONTENT = ("etag", "size", "modified", "blobs", "meta", "data", "marker", "sequence")  # in no index
_REPLACE = Statement(update(table).where(_ONE).values({n: bindparam(f"new_{n}") for n in _CONTENT}))
_UNLATEST = Statement(update(table).where(_SPOT, table.c.latest.is_(true())).values(latest=false()))
_MAKE_LATEST = Statement(update(table).where(_ONE).values(latest=true()))
_META = Statement(update(table).where(_ONE).values(meta=bindparam("m")))
_REMOVE = Statement(delete(table).where(_ONE))
_LOCK = Statement(text("select pg_advisory_xact_lock(hashtextextended(:name, 0))"))


def _look_up(exact: bool) -> Statement:
    of_key = and_(table.c.bucket == home.c.name, table.c.key == bindparam("k"))
    which = table.c.version == bindparam("v") if exact else table.c.latest.is_(true())
    joined = home.outerjoin(table, and_(of_key, which))
    return Statement(select(*_HOME, *_WHOLE).select_from(joined).where(home.c.name == bindparam("b")))


_LOOK_LATEST, _LOOK_VERSION = _look_up(False), _look_up(True)


def _bucket(row: Any) -> Bucket:
    name, account, region, created, versioning, documents = row[:6]
    return Bucket(name, account, region, created, versioning, {} if documents == "{}" else orjson.loads(documents))


def _object(row: Any) -> Object:
    bucket, key, etag, size, blobs, meta, modified, version, latest, marker, sequence, *data = row
    return Object(
        bucket, key, etag, size, load_segments(blobs) if blobs else (), orjson.loads(meta), modified, version,
        bool(latest), bool(marker), sequence, bytes(data[0]) if data and data[0] is not None else None,
    )  # fmt: skip


class ObjectRows:
    """Objects in one transaction."""

    def __init__(self, direct: Direct):
        self._direct = direct

    def bucket(self, name: str) -> Bucket | None:
        """A bucket, or None."""
        row = self._direct.one(_BUCKET, b=name)
        return _bucket(row) if row else None

    def buckets(self, account: str) -> list[Bucket]:
        """An account's buckets by name."""
        return [_bucket(row) for row in self._direct.all(_BUCKETS, a=account)]

    def add_bucket(self, bucket: Bucket) -> None:
        """Make a bucket."""
        self._direct.run(
            _ADD_BUCKET, name=bucket.name, account=bucket.account, region=bucket.region, created=bucket.created,
            versioning=bucket.versioning, documents=orjson.dumps(bucket.documents).decode(),
        )  # fmt: skip

    def save_bucket(self, bucket: Bucket) -> None:
        """Write a bucket's configuration."""
        documents = orjson.dumps(bucket.documents).decode()
        self._direct.run(_SAVE_BUCKET, b=bucket.name, v=bucket.versioning, d=documents)

    def delete_bucket(self, name: str) -> None:
        """Remove a bucket; the caller has seen that it is empty."""
        self._direct.run(_DROP_BUCKET, b=name)

    def empty(self, bucket: str) -> bool:
        """Whether a bucket holds no version of anything."""
        return self._direct.one(_ANY, b=bucket) is None

    def look(self, bucket: str, key: str, version: str | None = None) -> tuple[Bucket | None, Object | None]:
        """A bucket, and an object's latest version or a named one, by one statement."""
        if version is None:
            row = self._direct.one(_LOOK_LATEST, b=bucket, k=key)
        else:
            row = self._direct.one(_LOOK_VERSION, b=bucket, k=key, v=version)
        if row is None:
            return None, None
        return _bucket(row), _object(row[6:]) if row[6] is not None else None

    def get(self, bucket: str, key: str, version: str | None = None) -> Object | None:
        """An object's latest version (a delete marker too), or a named one."""
        if version is None:
            row = self._direct.one(_LATEST, b=bucket, k=key)
        else:
            row = self._direct.one(_VERSION, b=bucket, k=key, v=version)
        return _object(row) if row else None

    def lock(self, bucket: str, key: str) -> None:
        """Be the only writer of a key until the transaction ends; SQLite has only one writer anyway."""
        if self._direct.locks_keys:
            self._direct.run(_LOCK, name=f"s3:{bucket}/{key}")

    def put(self, new: Object, versioning: str) -> tuple[Object, list[str]]:
        """Store a new latest version; the stored object, and the blobs that nothing refers to any more."""
        self.lock(new.bucket, new.key)
        return self.put_after(self.get(new.bucket, new.key), new, versioning)

    def put_after(self, previous: Object | None, new: Object, versioning: str) -> tuple[Object, list[str]]:
        """``put`` for a caller who holds the key's lock and has read its latest version."""
        version = token(32) if versioning == "Enabled" else NULL
        orphans: list[str] = []
        if previous is not None and previous.version != version:
            if versioning == "Suspended" and (replaced := self.get(new.bucket, new.key, NULL)) is not None:
                orphans = self._drop(replaced)
            self._direct.run(_UNLATEST, b=new.bucket, k=new.key)
        stored = Object(
            new.bucket, new.key, new.etag, new.size, new.segments, new.meta, new.modified or now(), version, True,
            new.marker, (previous.sequence + 1) if previous else time.time_ns(), new.data,
        )  # fmt: skip
        values = _values(stored)
        if previous is None or previous.version != version:
            self._direct.run(_INSERT, **values)
            return stored, orphans
        content = {f"new_{name}": values[name] for name in _CONTENT}
        self._direct.run(_REPLACE, b=new.bucket, k=new.key, v=version, **content)
        return stored, [s.blob for s in previous.segments]

    def _drop(self, found: Object) -> list[str]:
        self._direct.run(_REMOVE, b=found.bucket, k=found.key, v=found.version)
        return [s.blob for s in found.segments]

    def change_meta(self, found: Object, meta: Json) -> None:
        """Replace an object's metadata document (tags)."""
        self._direct.run(_META, b=found.bucket, k=found.key, v=found.version, m=orjson.dumps(meta).decode())

    def remove(self, found: Object) -> list[str]:
        """Remove one version for good; its blobs. The version before it becomes the latest."""
        blobs = self._drop(found)
        if found.latest and (newest := self._direct.one(_NEWEST, b=found.bucket, k=found.key)) is not None:
            self._direct.run(_MAKE_LATEST, b=found.bucket, k=found.key, v=newest[0])
        return blobs

    def walk(
        self, bucket: str, prefix: str, delimiter: str, after: str, limit: int, versions: bool = False
    ) -> list[str]:
        """Keys after ``after``, of each group at a delimiter the first one; see ``key_walk``."""
        return walk(self._direct, VERSIONS if versions else LATEST, bucket, prefix, delimiter, after, limit)

    def scan(
        self,
        bucket: str,
        prefix: str,
        after: str,
        limit: int,
        versions: bool = False,
        after_sequence: int | None = None,
        exact: bool = True,
    ) -> list[Object]:
        """Objects by key after ``after``, without their inline bytes; with ``versions`` all, newest first in a key.

        With ``exact=False`` they need not begin with the prefix: it is where they begin.
        """
        end = after_prefix(prefix) if exact else None
        values: Json = {"b": bucket, "p": prefix, "after": after, "n": limit}
        if end is not None:
            values["e"] = end
        if after_sequence is not None:
            values["s"] = after_sequence
        statement = _scan(end is not None, versions, after_sequence is not None)
        return [_object(row) for row in self._direct.all(statement, **values)]


@lru_cache
def _scan(bounded: bool, versions: bool, within_key: bool) -> Statement:
    where = [table.c.bucket == bindparam("b"), table.c.key >= bindparam("p")]
    if bounded:
        where.append(table.c.key < bindparam("e"))
    order: list[Any] = [table.c.key]
    beyond = table.c.key > bindparam("after")
    if not versions:
        where += [table.c.latest.is_(true()), table.c.marker.is_(false()), beyond]
    else:
        older = and_(table.c.key == bindparam("after"), table.c.sequence < bindparam("s"))
        where.append(or_(beyond, older) if within_key else beyond)
        order.append(table.c.sequence.desc())
    return Statement(select(*_COLUMNS).where(*where).order_by(*order).limit(bindparam("n")))


def _values(item: Object) -> Json:
    return {
        "bucket": item.bucket, "key": item.key, "version": item.version, "latest": item.latest, "marker": item.marker,
        "sequence": item.sequence, "etag": item.etag, "size": item.size, "modified": item.modified,
        "blobs": dump_segments(item.segments), "meta": orjson.dumps(item.meta).decode(), "data": item.data,
    }  # fmt: skip
