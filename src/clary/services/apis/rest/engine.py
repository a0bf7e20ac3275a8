"""The program that fills mapping templates in and checks bodies against models, in processes of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jsonschema

from ....patterns import PatternError, compile_pattern
from ....wire import bounded
from ...confined import serve
from .mapping import Source, merged

Json = dict[str, Any]


def render(template: str, source: Json) -> tuple[str, Json]:
    """A template filled in, and what it overrides."""
    return merged(template, Source(**source))


def fits(schema: str, body: str) -> bool:
    """Whether a body is what a schema says."""
    try:
        value = bounded.loads(body or "{}")
    except ValueError:
        return False
    return bool(_checker(schema).is_valid(value))


def _search(pattern: str, text: str) -> bool:
    """Whether a pattern is found in a text; one that the linear engine lacks runs on Python's, and on our time."""
    try:
        return compile_pattern(pattern).search(text) is not None
    except PatternError:
        return re.search(pattern, text) is not None


def _pattern(validator: Any, pattern: str, instance: Any, schema: Json) -> Iterator[Any]:
    if isinstance(instance, str) and not _search(pattern, instance):
        yield jsonschema.ValidationError(f"{instance!r} does not match {pattern!r}")


def _unique(validator: Any, unique: bool, instance: Any, schema: Json) -> Iterator[Any]:
    """``uniqueItems`` in linear time: the library compares each item with each."""
    if unique and isinstance(instance, list) and len({_frozen(v) for v in instance}) < len(instance):
        yield jsonschema.ValidationError("the items are not unique")


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return "map", frozenset((k, _frozen(v)) for k, v in value.items())
    return ("list", tuple(map(_frozen, value))) if isinstance(value, list) else (isinstance(value, bool), value)


_Validator = jsonschema.validators.extend(jsonschema.Draft4Validator, {"pattern": _pattern, "uniqueItems": _unique})


@lru_cache(256)
def _checker(schema: str) -> Any:
    return _Validator(bounded.loads(schema))


if __name__ == "__main__":
    serve({"render": render, "fits": fits})
