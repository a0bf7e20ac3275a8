"""Outlines of documents that callers write and no service model describes: templates, API descriptions, policies.

An outline is a JSON schema of the types that our readers count on. It says nothing of what is allowed beyond that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jsonschema

Json = dict[str, Any]

TEXT: Json = {"type": ["string", "null"]}
FLAG: Json = {"type": ["boolean", "string", "null"]}
ITEMS: Json = {"type": ["array", "null"]}
MAP: Json = {"type": ["object", "null"]}
TEXTS: Json = {"type": ["array", "null"], "items": {"type": "string"}}
SCALAR: Json = {"type": ["string", "number", "boolean", "null"]}


def each(of: Json) -> Json:
    """A map of values of one outline."""
    return {"type": ["object", "null"], "additionalProperties": of}


def every(of: Json) -> Json:
    """A list of items of one outline."""
    return {"type": ["array", "null"], "items": of}


def having(required: tuple[str, ...] = (), named: Json | None = None, **properties: Json) -> Json:
    """A map with some members; ``named`` are those whose names no argument can have."""
    return {"type": "object", "properties": {**(named or {}), **properties}, "required": list(required)}


def maybe(of: Json) -> Json:
    """A value of an outline, or null."""
    return {"anyOf": [of, {"type": "null"}]}


_TEXT_OR_TEXTS: Json = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
_PRINCIPAL: Json = {
    "anyOf": [{"type": "string"}, {"type": "object", "additionalProperties": _TEXT_OR_TEXTS}]
}  # fmt: skip
_STATEMENT = having(
    Sid={"type": "string"}, Effect={"type": "string"}, Action=_TEXT_OR_TEXTS, NotAction=_TEXT_OR_TEXTS,
    Resource=_TEXT_OR_TEXTS, NotResource=_TEXT_OR_TEXTS, Principal=_PRINCIPAL, NotPrincipal=_PRINCIPAL,
    Condition={
        "type": "object",
        "additionalProperties": {"type": "object", "additionalProperties": {"anyOf": [SCALAR, every(SCALAR)]}},
    },
)  # fmt: skip
POLICY = having(
    ("Statement",), Id={"type": "string"}, Version={"type": "string"},
    Statement={"anyOf": [_STATEMENT, {"type": "array", "items": _STATEMENT}]},
)  # fmt: skip
"""Policies of identities and resources, as far as everything that evaluates one counts on it."""


def problem_finder(outline: Json) -> Callable[[Any], str | None]:
    """Return a function that says what in a document is not as outlined; None if all is."""
    validator = jsonschema.Draft202012Validator(outline)

    def find(document: Any) -> str | None:
        error = next(validator.iter_errors(document), None)
        if error is None:
            return None
        while error.context:  # of several ways to be right, the one that is nearest
            error = max(error.context, key=lambda e: len(e.absolute_path))
        where = "/".join(map(str, error.absolute_path))
        return f"[/{where}] {error.message[:200]}"

    return find
