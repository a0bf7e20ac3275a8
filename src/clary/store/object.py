"""What S3 stores, as values: buckets, objects and where their bytes are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
NULL = "null"


class Unreachable(LookupError):
    """An object or a bucket that an account cannot use: S3's code, status and words for the reason."""

    code, status, words = "", 404, ""


class NoSuchBucket(Unreachable):
    """The bucket does not exist."""

    code, words = "NoSuchBucket", "The specified bucket does not exist"


class NoSuchObject(Unreachable):
    """The key does not exist, or its latest version is a delete marker."""

    code, words = "NoSuchKey", "The specified key does not exist."


class Forbidden(Unreachable):
    """The bucket belongs to another account."""

    code, status, words = "AccessDenied", 403, "Access Denied"


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
    """One version of an object. ``meta`` holds its headers, user metadata, checksums and tags.

    Its bytes are ``data`` when they are few, the segments' otherwise; scans leave ``data`` out.
    """

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
    data: bytes | None = None


def dump_segments(segments: tuple[Segment, ...]) -> str:
    """Segments as they are stored."""
    return ",".join(f"{s.blob}:{s.size}" for s in segments)


def load_segments(text: str) -> tuple[Segment, ...]:
    """Segments from their stored form."""
    pairs = (item.partition(":") for item in text.split(",") if item)
    return tuple(Segment(blob, int(size)) for blob, _, size in pairs)


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URI; ValueError when it is not one."""
    if not uri.startswith("s3://"):
        raise ValueError(f"{uri!r} is not an S3 URI")
    bucket, _, key = uri[5:].partition("/")
    if not bucket:
        raise ValueError(f"{uri!r} names no bucket")
    return bucket, key
