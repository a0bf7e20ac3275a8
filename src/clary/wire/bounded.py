"""Readers of text that a caller wrote: JSON of bounded depth, and whole numbers in plain decimal.

Every reader raises ValueError for what it does not take, so that a border has one exception to turn into its error.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

MAX_DEPTH = 100
"""Levels of lists and maps in a document. Whatever walks or writes a document again may recurse this far."""

_DIGITS = re.compile(r"[0-9]{1,18}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,19}")


def loads(text: str | bytes) -> Any:
    """Return a JSON document; raise ValueError if it is not JSON, or nests deeper than `MAX_DEPTH`."""
    found = orjson.loads(text)
    opened = text.count(b"[") + text.count(b"{") if isinstance(text, bytes) else text.count("[") + text.count("{")
    if opened > MAX_DEPTH:
        check_depth(found)
    return found


def check_depth(document: Any, most: int | None = None) -> None:
    """Raise ValueError if a document nests deeper than `MAX_DEPTH`, or has more values than ``most``.

    A value counts as often as it occurs: documents in YAML are small with their aliases, and endless without.
    """
    level, seen = [document], 0
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for node in level:
            values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
            seen += len(values)
            if most is not None and seen > most:
                raise ValueError(f"the document has more than {most} values")
            below += (v for v in values if isinstance(v, (dict, list)))
        if not below:
            return
        level = below
    raise ValueError(f"the document nests deeper than {MAX_DEPTH} levels")


def digits(text: str) -> bool:
    """Return whether a text is a number of decimal digits, and short enough for ``int``.

    ``str.isdigit`` is true of more: of superscripts, for which ``int`` raises, and of digits of every alphabet.
    """
    return _DIGITS.fullmatch(text) is not None


def whole(text: str, low: int = 0, high: int = (1 << 31) - 1) -> int:
    """Return a whole number from its decimal digits; raise ValueError for anything else and outside the bounds.

    ``int`` alone takes digits of every alphabet, underscores, spaces and any length.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError(f"{text[:100]!r} is not a whole number")
    number = int(text)
    if not low <= number <= high:
        raise ValueError(f"{number} is not between {low} and {high}")
    return number
