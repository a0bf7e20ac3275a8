"""CBOR bodies: as JSON's, but bytes stay bytes and a timestamp is tag 1."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import cbor2

from . import json_body
from .json_body import Convert
from .message import Malformed
from .model import Shape


def loads(body: bytes) -> Any:
    """A CBOR document; an empty body is an empty map."""
    try:
        return cbor2.loads(body) if body else {}
    except (cbor2.CBORError, ValueError, OverflowError, RecursionError, MemoryError, EOFError):
        raise Malformed("body is not CBOR") from None


def dumps(value: Any) -> bytes:
    """A CBOR document; moments travel as tag 1."""
    return cbor2.dumps(value, datetime_as_timestamp=True, timezone=UTC)


_PLAIN = frozenset(("blob", "float", "double", "timestamp"))


def reader(shape: Shape, memo: dict[Any, Convert]) -> Convert:
    """As ``json_body.reader``, with the scalars that CBOR spells natively."""
    _teach(shape, memo, lambda node: node, set())
    return json_body.reader(shape, memo)


def writer(shape: Shape, memo: dict[Any, Convert | None]) -> Convert | None:
    """As ``json_body.writer``, with the scalars that CBOR spells natively."""
    _teach(shape, memo, None, set())
    return json_body.writer(shape, memo)


def _when(value: Any) -> Any:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, (int, float)) else value


def _teach(shape: Shape, memo: dict[Any, Any], same: Any, seen: set[Any]) -> None:
    """Put the scalars that CBOR spells natively in the memo before JSON's compiler sees them."""
    if shape.key in seen:
        return
    seen.add(shape.key)
    if shape.type in _PLAIN:
        memo[shape.key] = _when if shape.type == "timestamp" else same
    for member in shape.members.values():
        _teach(member, memo, same, seen)
    for role in ("member", "key", "value"):
        if shape.type in ("list", "map") and role in shape.traits:
            _teach(shape.child(role), memo, same, seen)
