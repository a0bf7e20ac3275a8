"""Scalars as each protocol spells them."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import formatdate, parsedate_to_datetime
from functools import lru_cache
from typing import Any

from . import bounded
from .message import Malformed
from .model import Shape

INTEGER, LONG = (-(1 << 31), (1 << 31) - 1), (-(1 << 63), (1 << 63) - 1)
"""Bounds of the models' types of whole numbers."""


def bounds(shape: Shape) -> tuple[int, int]:
    """Return the least and the greatest number of an integer shape's type."""
    return LONG if shape.type == "long" else INTEGER


def shown(value: Any) -> str:
    """Return a short text for a value in an error message; containers are not spelled out."""
    if isinstance(value, (dict, list, tuple)):
        return "a map" if isinstance(value, dict) else "a list"
    text = repr(value)
    return text if len(text) <= 100 else f"{text[:100]}…"


def check_text(text: str) -> str:
    """Return a text as it is; Malformed if it holds halves of characters, as bytes that are not UTF-8 leave them."""
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise Malformed("a text is not UTF-8")
    return text


def read_time(text: Any, style: str = "iso8601") -> datetime:
    """A moment from its wire spelling: ``iso8601``, ``rfc822`` or ``unixTimestamp``."""
    try:
        if isinstance(text, bool):
            raise ValueError
        if style == "unixTimestamp" or isinstance(text, (int, float)):
            return datetime.fromtimestamp(float(text), UTC)
        if style == "rfc822":
            parsed = parsedate_to_datetime(text)
        else:
            parsed = datetime.fromisoformat(text)
        return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        raise Malformed(f"{shown(text)} is not a {style} timestamp") from None


@lru_cache(4096)
def _http_date(seconds: int) -> str:
    return formatdate(seconds, usegmt=True)


@lru_cache(4096)
def _iso_date(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:19]


def write_time(value: datetime | float | int | str, style: str = "iso8601") -> Any:
    """A moment (a datetime, or seconds since the epoch) in its wire spelling; a string passes through."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):
        value = (value.replace(tzinfo=UTC) if value.tzinfo is None else value).timestamp()
    if style == "unixTimestamp":
        return int(value) if float(value).is_integer() else round(value, 3)
    if style == "rfc822":
        return _http_date(int(value // 1))
    seconds, microseconds = divmod(round(value * 1_000_000), 1_000_000)
    return _iso_date(seconds) + (f".{microseconds // 1000:03d}Z" if microseconds else "Z")


def read_blob(text: str | bytes) -> bytes:
    """Bytes from base64."""
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, binascii.Error, ValueError):
        raise Malformed("blob is not base64") from None


def write_blob(value: bytes | str) -> str:
    """Base64 of bytes, or of a string's UTF-8."""
    return base64.b64encode(value.encode() if isinstance(value, str) else value).decode()


_BOOL = {"true": True, "false": False}
_ODD = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def read_bool(text: str) -> bool:
    """A boolean from ``true`` or ``false`` in any case."""
    try:
        return _BOOL[text.strip().lower()]
    except (KeyError, AttributeError):
        raise Malformed(f"{shown(text)} is not a boolean") from None


def read_int(text: str, low: int = LONG[0], high: int = LONG[1]) -> int:
    """An integer from its decimal spelling."""
    try:
        return bounded.whole(text.strip(), low, high)
    except (AttributeError, ValueError):
        raise Malformed(f"{shown(text)} is not an integer") from None


def read_float(text: Any) -> float:
    """A number, or one of AWS's spellings of the numbers that JSON lacks."""
    try:
        if isinstance(text, bool):
            raise ValueError
        return _ODD[text] if isinstance(text, str) and text in _ODD else float(text)
    except (TypeError, ValueError, OverflowError):
        raise Malformed(f"{shown(text)} is not a number") from None


def write_float(value: float) -> float | str:
    """A finite number as it is; the others as ``NaN``, ``Infinity``, ``-Infinity``."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value


def write_bool(value: bool) -> str:
    """``true`` or ``false``."""
    return "true" if value else "false"


def read_json(text: str) -> Any:
    """A JSON document that travels as base64 in a header."""
    try:
        return bounded.loads(read_blob(text))
    except ValueError:
        raise Malformed("header is not base64 of JSON") from None


def text_reader(shape: Shape, style: str) -> Callable[[str], Any]:
    """A reader of a scalar spelled as text: a header, a label, a query parameter, an XML leaf."""
    match shape.type:
        case "integer" | "long" | "short" | "byte":
            low, high = bounds(shape)
            return lambda text: read_int(text, low, high)
        case "float" | "double":
            return read_float
        case "boolean":
            return read_bool
        case "blob":
            return read_blob
        case "timestamp":
            style = shape["timestampFormat"] or style
            return lambda text: read_time(text, style)
    if shape["jsonvalue"]:
        return read_json
    return check_text


def text_writer(shape: Shape, style: str) -> Callable[[Any], str]:
    """A writer of a scalar as text."""
    match shape.type:
        case "boolean":
            return write_bool
        case "float" | "double":
            return lambda value: str(write_float(value))
        case "blob":
            return write_blob
        case "timestamp":
            style = shape["timestampFormat"] or style
            return lambda value: str(write_time(value, style))
    if shape["jsonvalue"]:
        return lambda value: write_blob(json.dumps(value))
    return str
