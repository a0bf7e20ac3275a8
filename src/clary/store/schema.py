"""The tables. A column is added by a migration in ``migrations.py``, never only here."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Float, Index, Integer, LargeBinary, MetaData, String, Table, Text

metadata = MetaData()

Bytewise = String().with_variant(String(collation="C"), "postgresql")
"""Text that sorts by its UTF-8 bytes in every database, as S3 sorts keys."""

Serial = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit row number; SQLite counts only plain INTEGER keys up by itself."""

resource = Table(
    "resource",
    metadata,
    Column("kind", String, primary_key=True),
    Column("account", String, primary_key=True),
    Column("region", String, primary_key=True),  # empty for global services
    Column("name", Bytewise, primary_key=True),
    Column("uid", String, nullable=False, unique=True),
    Column("arn", String, nullable=False),
    Column("state", String, nullable=False, server_default=""),  # the status that lists filter and sort by
    Column("spec", Text, nullable=False),  # what was asked for, in AWS's spelling
    Column("status", Text, nullable=False),  # what is, in AWS's spelling
    Column("private", Text, nullable=False, server_default="{}"),  # what only the reconciler reads
    Column("wish", Text, nullable=False, server_default="{}"),  # what the API asks of the reconciler
    Column("created", Float, nullable=False),
    Column("modified", Float, nullable=False),
    Column("due", Float),  # when the reconciler looks again; null for rows at rest
    Column("lease", String),
    Column("leased_until", Float),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("note", Text),  # the last fault, for people
    Column("revision", Integer, nullable=False, server_default="1"),
    Index("resource_due", "due"),
    Index("resource_created", "kind", "account", "region", "created"),
    Index("resource_arn", "arn"),
)

tag = Table(
    "tag",
    metadata,
    Column("arn", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("value", String, nullable=False),
)

access_key = Table(
    "access_key",
    metadata,
    Column("id", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("user_name", String),  # null for the root user
    Column("secret", String, nullable=False),
    Column("state", String, nullable=False),
    Column("created", Float, nullable=False),
)

setting = Table(
    "setting",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

bucket = Table(
    "s3_bucket",
    metadata,
    Column("name", String, primary_key=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("created", Float, nullable=False),
    Column("versioning", String, nullable=False, server_default=""),  # empty, Enabled or Suspended
    Column("documents", Text, nullable=False, server_default="{}"),  # policy, CORS, encryption … by name
)

s3_object = Table(
    "s3_object",
    metadata,
    Column("bucket", String, primary_key=True),
    Column("key", Bytewise, primary_key=True),
    Column("version", String, primary_key=True),  # "null" outside versioned buckets
    Column("latest", Boolean, nullable=False),
    Column("marker", Boolean, nullable=False, server_default="0"),  # a delete marker
    Column("sequence", BigInteger, nullable=False),  # the order of a key's versions
    Column("etag", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified", Float, nullable=False),
    Column("blobs", Text, nullable=False),  # blob ids and their sizes, in order
    Column("meta", Text, nullable=False),  # headers, user metadata, checksums, tags
    Column("data", LargeBinary),  # the bytes themselves, when they are few
    Index("s3_object_latest", "bucket", "latest", "key"),
)

s3_upload = Table(
    "s3_upload",
    metadata,
    Column("id", String, primary_key=True),
    Column("bucket", String, nullable=False),
    Column("key", Bytewise, nullable=False),
    Column("created", Float, nullable=False),
    Column("meta", Text, nullable=False),
    Index("s3_upload_key", "bucket", "key"),
)

s3_part = Table(
    "s3_part",
    metadata,
    Column("upload", String, primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("etag", String, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("modified", Float, nullable=False),
    Column("blobs", Text, nullable=False),
    Column("meta", Text, nullable=False),
)

log_stream = Table(
    "log_stream",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("log_group", String, nullable=False),
    Column("name", Bytewise, nullable=False),
    Column("created", BigInteger, nullable=False),  # milliseconds, as all times of this service
    Column("first_event", BigInteger),
    Column("last_event", BigInteger),
    Column("last_ingestion", BigInteger),
    Column("cursor", BigInteger, nullable=False, server_default="0"),  # bytes of a process's log already stored
    Index("log_stream_name", "account", "region", "log_group", "name", unique=True),
)

log_event = Table(
    "log_event",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("stream", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("ingested", BigInteger, nullable=False),
    Column("message", Text, nullable=False),
    Index("log_event_order", "stream", "at", "id"),
)

metric = Table(
    "metric",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("account", String, nullable=False),
    Column("region", String, nullable=False),
    Column("namespace", Bytewise, nullable=False),
    Column("name", Bytewise, nullable=False),
    Column("dimensions", Bytewise, nullable=False),  # a sorted JSON list of pairs
    Index("metric_name", "account", "region", "namespace", "name", "dimensions", unique=True),
)

metric_point = Table(
    "metric_point",
    metadata,
    Column("metric", BigInteger, primary_key=True),
    Column(
        "at", BigInteger, primary_key=True
    ),  # seconds, at the beginning of a minute or, of high resolution, a second
    Column("unit", String, primary_key=True),
    Column("count", Float, nullable=False),
    Column("total", Float, nullable=False),
    Column("low", Float, nullable=False),
    Column("high", Float, nullable=False),
    Column("samples", Text, nullable=False),  # values and how often each came, for percentiles
    Index("metric_point_at", "at"),
)

metric_file = Table(
    "metric_file",
    metadata,
    Column("name", String, primary_key=True),  # of a file whose points are stored, until it is removed
)

async_request = Table(
    "async_request",
    metadata,
    Column("id", Serial, primary_key=True, autoincrement=True),
    Column("endpoint", String, nullable=False),  # the endpoint's uid
    Column("received", Float, nullable=False),
    Column("request", Text, nullable=False),  # where from, where to, content types and limits
    Column("body", LargeBinary),  # of a request that has no input object
    Index("async_request_endpoint", "endpoint", "id"),
)
