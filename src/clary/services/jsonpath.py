"""The part of JSONPath that batch transform's filters take, and the mapping templates of REST APIs.

Source: AWS, "Associate Prediction Results with Input Records" (the operators ``$``, ``.name``, ``*``, ``['a','b']``, ``[1]``,
``[1,-1]``, ``[s:e]`` and their combinations). A slice's end is exclusive, as in every other JSONPath.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_TOKEN = re.compile(
    r"""\.(?P<name>[A-Za-z_][\w\-]*|\*)"""
    r"""|\[\s*(?P<names>'(?:[^'\\]|\\.)*'(?:\s*,\s*'(?:[^'\\]|\\.)*')*)\s*\]"""
    r"""|\[\s*(?P<indexes>\*|-?\d{0,9}(?::-?\d{0,9})?(?:\s*,\s*-?\d{0,9}(?::-?\d{0,9})?)*)\s*\]"""
)
_QUOTED = re.compile(r"'((?:[^'\\]|\\.)*)'")

MAX_LENGTH = 4096
MAX_MATCHES = 1_000_000

Step = Callable[[Any], tuple[Any, bool]]
"""What a value becomes, and whether that is a list of matches for the next step to go through one by one."""


class PathError(ValueError):
    """A path that cannot be read, or that leads nowhere in a record."""


def compile_path(text: str) -> Callable[[Any], Any]:
    """A function that applies a path to a value; PathError when it is not one."""
    if len(text) > MAX_LENGTH:
        raise PathError(f"the JSONPath {text[:100]}… has more than {MAX_LENGTH} characters")
    if not text.startswith("$"):
        raise PathError(f"{text!r} is not a JSONPath: it must begin with $")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            raise PathError(f"{text!r} is not a JSONPath that batch transform takes (at character {at})")
        steps.append(_step(found, text))
        at = found.end()
    return lambda value: _apply(steps, value, text)


def indexes_only(text: str) -> bool:
    """Whether a path uses what a CSV row has: positions, not names."""
    return all(m["name"] in (None, "*") and m["names"] is None for m in _TOKEN.finditer(text))


def _apply(steps: list[Step], value: Any, text: str) -> Any:
    matches, many = [value], False
    for step in steps:
        following: list[Any] = []
        for match in matches:
            try:
                result, several = step(match)
            except (IndexError, KeyError, TypeError):
                raise PathError(f"the path {text} does not exist in a record") from None
            many = many or several
            following += result if several else [result]
            if len(following) > MAX_MATCHES:  # slices may overlap: each step could double what there is
                raise PathError(f"the path {text} leads to more than {MAX_MATCHES} values")
        matches = following
    return matches if many else matches[0]


def _step(found: re.Match[str], text: str) -> Step:
    if found["name"] is not None:
        name = found["name"]
        return _every if name == "*" else lambda value: (_member(value, name), False)
    if found["names"] is not None:
        names = [re.sub(r"\\(.)", r"\1", m) for m in _QUOTED.findall(found["names"])]
        if len(names) == 1:
            return lambda value: (_member(value, names[0]), False)
        return lambda value: ({n: _member(value, n) for n in names}, False)
    if found["indexes"] == "*":
        return _every
    return _positions([part.strip() for part in found["indexes"].split(",")], text)


def _every(value: Any) -> tuple[Any, bool]:
    return list(value.values() if isinstance(value, dict) else value), True


def _member(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        raise TypeError
    return value[name]


def _positions(parts: list[str], text: str) -> Step:
    wanted: list[int | slice] = []
    for part in parts:
        if part in ("", "-"):
            raise PathError(f"{text!r} holds an empty index")
        if ":" in part:
            start, _, end = part.partition(":")
            wanted.append(slice(int(start) if start else None, int(end) if end else None))
        else:
            wanted.append(int(part))
    if len(wanted) == 1 and isinstance(wanted[0], int):
        only = wanted[0]
        return lambda value: (_list(value)[only], False)

    def pick(value: Any) -> tuple[Any, bool]:
        items = _list(value)
        found: list[Any] = []
        for where in wanted:
            found += items[where] if isinstance(where, slice) else [items[where]]
        return found, True

    return pick


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError
    return value
