"""What happened to objects of buckets that tell somebody: a row for each, written with the change itself.

The row stays until those who want to know have been told, so nothing that was acknowledged is forgotten.
"""

from __future__ import annotations

import uuid

from sqlalchemy import bindparam, insert

from ..clock import now
from .direct import Direct, Statement
from .object import Bucket, Json, Object
from .rows import FIELDS, Key, Row, values_of
from .schema import resource

KIND = "ObjectEvent"
DOCUMENT = "BucketNotificationConfiguration"
"""The bucket's document that says who is told."""
FUNCTIONS = "LambdaFunctionConfigurations"

_INSERT = Statement(insert(resource).values({name: bindparam(name) for name in FIELDS}))


def record(direct: Direct, home: Bucket, event: str, item: Object, source: Json | None = None) -> list[Key]:
    """Note an event (``ObjectCreated:Put``) in the transaction of its change; the keys of the rows that were written.

    ``source`` says who asked: ``principalId`` and ``requestId``.
    """
    if not (home.documents.get(DOCUMENT) or {}).get(FUNCTIONS):
        return []
    at = now()
    spec: Json = {
        "bucket": home.name, "event": event, "key": item.key, "size": item.size, "etag": item.etag,
        "version": item.version if home.versioning else "", "sequencer": f"{item.sequence:016X}", **(source or {}),
    }  # fmt: skip
    identifier = uuid.uuid4().hex
    row = Row(KIND, home.account, home.region, identifier, "", spec, created=at, modified=at, due=at, uid=identifier)
    direct.run(_INSERT, **values_of(row))
    return [row.key]
