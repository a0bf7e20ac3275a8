"""Constraint checks compiled from a shape, with the words AWS uses when they fail."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ..patterns import PatternError, compile_pattern
from .model import Shape

Check = Callable[[Any, str, list[str]], None]
"""Takes a value, the path to it in AWS's spelling, and the list that violations are added to."""

_SHOWN = 1024
"""Characters of an offending value that a message repeats."""
_BACKTRACKED = 4096
"""Characters of a value that Python's engine is given; the models' few patterns for it allow fewer, or are simple."""


def message(violations: list[str]) -> str:
    """The one-line message AWS makes of several violations."""
    noun = "error" if len(violations) == 1 else "errors"
    return f"{len(violations)} validation {noun} detected: {'; '.join(violations)}"


def checker(shape: Shape, memo: dict[Any, Check | None]) -> Check | None:
    """A check of every constraint under a shape, or None where there is none."""
    if shape.name in memo:
        return memo[shape.name]

    def later(value: Any, at: str, out: list[str]) -> None:
        check = memo[shape.name]
        if check:
            check(value, at, out)

    memo[shape.name] = later
    memo[shape.name] = made = _checker(shape, memo)
    return made


def _say(value: Any, at: str, rule: str) -> str:
    shown = "null" if value is None else f"'{_text(value)}'"
    return f"Value {shown} at '{at}' failed to satisfy constraint: {rule}"


def _text(value: Any) -> str:
    return value[:_SHOWN] if isinstance(value, str) else str(value)[:_SHOWN]


def _low(name: str) -> str:
    return name[:1].lower() + name[1:]


def _checker(shape: Shape, memo: dict[Any, Check | None]) -> Check | None:
    match shape.type:
        case "structure":
            return _structure(shape, memo)
        case "list":
            return _list(shape, memo)
        case "map":
            return _map(shape, memo)
        case "string":
            return _string(shape)
        case "integer" | "long" | "float" | "double":
            return _bounds(shape, lambda value: value, "value")
        case "blob":
            return _bounds(shape, len, "length")
    return None


def _structure(shape: Shape, memo: dict[Any, Check | None]) -> Check | None:
    required = [(n, _low(n)) for n in shape["required"] or ()]
    fields = [(n, _low(n), c) for n, m in shape.members.items() if (c := checker(m, memo))]
    if not required and not fields:
        return None

    def check(value: dict[str, Any], at: str, out: list[str]) -> None:
        dot = at + "." if at else ""
        for name, low in required:
            if value.get(name) is None:
                out.append(_say(None, dot + low, "Member must not be null"))
        for name, low, inner in fields:
            if (v := value.get(name)) is not None:
                inner(v, dot + low, out)

    return check


def _list(shape: Shape, memo: dict[Any, Check | None]) -> Check | None:
    item, size, sparse = checker(shape.child("member"), memo), _bounds(shape, len, "length"), shape["sparse"]

    def check(value: list[Any], at: str, out: list[str]) -> None:
        if size:
            size(value, at, out)
        for i, v in enumerate(value, 1):
            if v is None:
                if not sparse:
                    out.append(_say(None, f"{at}.{i}.member", "Member must not be null"))
            elif item:
                item(v, f"{at}.{i}.member", out)

    return check


def _map(shape: Shape, memo: dict[Any, Check | None]) -> Check | None:
    key, each = checker(shape.child("key"), memo), checker(shape.child("value"), memo)
    size, sparse = _bounds(shape, len, "length"), shape["sparse"]

    def check(value: dict[str, Any], at: str, out: list[str]) -> None:
        if size:
            size(value, at, out)
        for k, v in value.items():
            if key and (broken := _rules(key, k)):
                out.append(_say(value, at, f"Map keys must satisfy constraint: [{', '.join(broken)}]"))
            if v is None:
                if not sparse:
                    out.append(_say(None, f"{at}.{k}.member", "Member must not be null"))
            elif each and (broken := _rules(each, v)) and not isinstance(v, (dict, list)):
                out.append(_say(value, at, f"Map value must satisfy constraint: [{', '.join(broken)}]"))
            elif each and isinstance(v, (dict, list)):
                each(v, f"{at}.{k}.member", out)

    return check


def _rules(check: Check, value: Any) -> list[str]:
    """The bare rules that a scalar breaks, as AWS lists them for maps."""
    out: list[str] = []
    check(value, "", out)
    return [line.partition("constraint: ")[2] for line in out]


def _string(shape: Shape) -> Check | None:
    size, allowed = _bounds(shape, len, "length"), shape["enum"]
    matches = _matcher(shape["pattern"])
    if not (size or allowed or matches):
        return None
    known = frozenset(allowed or ())
    words = f"Member must satisfy enum value set: [{', '.join(allowed or ())}]"

    def check(value: str, at: str, out: list[str]) -> None:
        if known and value not in known:
            out.append(_say(value, at, words))
        if size:
            size(value, at, out)
        if matches and not matches(value):
            out.append(_say(value, at, f"Member must satisfy regular expression pattern: {shape['pattern']}"))

    return check


def _matcher(pattern: str | None) -> Callable[[str], bool] | None:
    """Whether a whole value matches. What the linear engine lacks runs in Python's, and on short values only."""
    if not pattern or pattern in (".*", "[\\s\\S]*"):
        return None
    text = _from_java(pattern)
    try:
        return compile_pattern(text).full
    except PatternError:
        pass
    try:
        compiled = re.compile(text)
    except re.error:
        return None
    return lambda value: len(value) <= _BACKTRACKED and compiled.fullmatch(value) is not None


def _from_java(pattern: str) -> str:
    """Java's Unicode classes as Python character ranges."""
    for name, chars in {"L": "a-zA-Z\u00c0-\u024f", "N": "0-9", "Z": r"\s"}.items():
        pattern = pattern.replace(f"\\p{{{name}}}", chars)
    return pattern


def _bounds(shape: Shape, measure: Callable[[Any], float], noun: str) -> Check | None:
    low, high = shape["min"], shape["max"]
    if low is None and high is None:
        return None

    def check(value: Any, at: str, out: list[str]) -> None:
        size = measure(value)
        if low is not None and size < low:
            out.append(_say(value, at, f"Member must have {noun} greater than or equal to {low}"))
        if high is not None and size > high:
            out.append(_say(value, at, f"Member must have {noun} less than or equal to {high}"))

    return check
