"""Patch operations (RFC 6902, as far as API Gateway takes them) on documents. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from ....wire.message import Malformed
from ....wire.model import Shape
from ....wire.values import text_reader
from ..errors import bad_request
from . import rest

Json = dict[str, Any]


def patched(document: Json, operations: list[Json] | None, paths: Iterable[str], shape: str) -> Json:
    """Return a document with operations applied, its values in the types of a shape of the model.

    ``paths`` are those that may be changed; one that ends in ``/`` stands for all below it.
    """
    found: Json = _copy(document)
    allowed = tuple(paths)
    for operation in operations or ():
        path, kind = operation["path"], operation["op"]
        if not any(path == a or (a.endswith("/") and path.startswith(a)) for a in allowed):
            listed = ", ".join(a.rstrip("/") for a in allowed)
            raise bad_request(f"Invalid patch path  '{path}' specified for op '{kind}'. Must be one of: [{listed}]")
        _apply(found, [p.replace("~1", "/").replace("~0", "~") for p in path.strip("/").split("/")], kind, operation)
    typed: Json = _typed(found, _shape(shape), "")
    return typed


@cache
def _shape(name: str) -> Shape:
    return Shape(rest.model, {"shape": name})


def _typed(value: Any, shape: Shape, path: str) -> Any:
    """A value whose texts, which is all that patches give, have become what the shape says."""
    if value is None:
        return None
    invalid = bad_request(f"Invalid patch value '{str(value)[:100]}' specified for path '{path}'.")
    match shape.type:
        case "structure" | "map":
            if not isinstance(value, dict):
                raise invalid
            inner = shape.child("value") if shape.type == "map" else None
            return {
                k: _typed(v, known, f"{path}/{k}") if (known := inner or shape.members.get(k)) is not None else v
                for k, v in value.items()
            }
        case "list":
            if not isinstance(value, list):
                raise invalid
            return [_typed(v, shape.child("member"), f"{path}/{i}") for i, v in enumerate(value)]
        case "string":
            if not isinstance(value, str) or (shape["enum"] and value not in shape["enum"]):
                raise invalid
    if not isinstance(value, str) or shape.type == "string":
        return value
    try:
        return text_reader(shape, "iso8601")(value)
    except Malformed:
        raise invalid from None


def _apply(document: Json, parts: list[str], kind: str, operation: Json) -> None:
    holder = document
    for part in parts[:-1]:
        below = holder.setdefault(part, {})
        if isinstance(below, list):
            _apply_list(below, kind, operation, parts[-1])
            return
        if not isinstance(below, dict):
            raise bad_request(f"Invalid patch path  '{operation['path']}' specified for op '{kind}'.")
        holder = below
    last = parts[-1]
    if kind == "remove":
        if isinstance(holder.get(last), list) and operation.get("value"):
            holder[last] = [v for v in holder[last] if v != operation["value"]]
        else:
            holder.pop(last, None)
    elif kind in ("add", "replace"):
        value = operation.get("value")
        holder[last] = [*holder[last], value] if isinstance(holder.get(last), list) and kind == "add" else value
    else:
        raise bad_request(f"Patch operation {kind} is not supported.")


def _apply_list(items: list[Any], kind: str, operation: Json, value: str) -> None:
    if kind == "remove":
        if value in items:
            items.remove(value)
    elif value not in items:
        items.append(value)


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value
