"""CBOR bodies: as JSON's, but bytes stay bytes and a timestamp is tag 1."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import cbor2

from . import json_body
from .bounded import MAX_DEPTH
from .json_body import Convert
from .message import Malformed
from .model import Shape
from .values import shown


def _refuse(*_: Any) -> Any:
    raise ValueError("the tag is not part of the protocol")


_TAGS = {tag: _refuse for tag in (0, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 100, 256, 258, 260, 261, 1004, 43000)}
"""Tags that the decoder knows and the protocol does not: references, patterns, sets, big numbers …"""


def loads(body: bytes) -> Any:
    """A CBOR document; an empty body is an empty map."""
    if not body:
        return {}
    try:
        return cbor2.loads(body, semantic_decoders=_TAGS, tag_hook=_refuse, max_depth=MAX_DEPTH)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError, EOFError):
        raise Malformed("body is not CBOR") from None


def dumps(value: Any) -> bytes:
    """A CBOR document; moments travel as tag 1."""
    return cbor2.dumps(value, datetime_as_timestamp=True, timezone=UTC)


def reader(shape: Shape, memo: dict[Any, Convert]) -> Convert:
    """As ``json_body.reader``, with the scalars that CBOR spells natively."""
    _teach(shape, memo, _READERS, set())
    return json_body.reader(shape, memo)


def writer(shape: Shape, memo: dict[Any, Convert | None]) -> Convert | None:
    """As ``json_body.writer``, with the scalars that CBOR spells natively."""
    _teach(shape, memo, _WRITERS, set())
    return json_body.writer(shape, memo)


def _read_bytes(value: Any) -> bytes:
    if type(value) is not bytes:
        raise Malformed(f"{shown(value)} is not a string of bytes")
    return value


def _read_number(value: Any) -> float:
    if type(value) not in (int, float):
        raise Malformed(f"{shown(value)} is not a number")
    return float(value)


def _read_moment(value: Any) -> datetime:
    """A moment; a bare number counts as seconds."""
    try:
        if isinstance(value, datetime):
            return value.astimezone(UTC)
        return datetime.fromtimestamp(_read_number(value), UTC)
    except (ValueError, OverflowError, OSError):
        raise Malformed(f"{shown(value)} is not a timestamp") from None


def _write_moment(value: Any) -> Any:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, (int, float)) else value


_READERS: dict[str, Any] = {
    "blob": _read_bytes, "float": _read_number, "double": _read_number, "timestamp": _read_moment
}  # fmt: skip
_WRITERS: dict[str, Any] = {"blob": None, "float": None, "double": None, "timestamp": _write_moment}


def _teach(shape: Shape, memo: dict[Any, Any], plain: dict[str, Any], seen: set[Any]) -> None:
    """Put the scalars that CBOR spells natively in the memo before JSON's compiler sees them."""
    if shape.key in seen:
        return
    seen.add(shape.key)
    if shape.type in plain:
        memo[shape.key] = plain[shape.type]
    for member in shape.members.values():
        _teach(member, memo, plain, seen)
    for role in ("member", "key", "value"):
        if shape.type in ("list", "map") and role in shape.traits:
            _teach(shape.child(role), memo, plain, seen)
