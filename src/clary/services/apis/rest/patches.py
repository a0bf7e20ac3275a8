"""Patch operations (RFC 6902, as far as API Gateway takes them) on documents. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import bad_request

Json = dict[str, Any]


def patched(document: Json, operations: list[Json] | None, paths: Iterable[str]) -> Json:
    """A document with operations applied; ``paths`` are those that may be changed, one that ends in ``/`` all below it."""
    found: Json = _copy(document)
    allowed = tuple(paths)
    for operation in operations or ():
        path, kind = operation.get("path", ""), operation["op"]
        if not any(path == a or (a.endswith("/") and path.startswith(a)) for a in allowed):
            listed = ", ".join(a.rstrip("/") for a in allowed)
            raise bad_request(f"Invalid patch path  '{path}' specified for op '{kind}'. Must be one of: [{listed}]")
        _apply(found, [p.replace("~1", "/").replace("~0", "~") for p in path.strip("/").split("/")], kind, operation)
    return found


def _apply(document: Json, parts: list[str], kind: str, operation: Json) -> None:
    holder = document
    for part in parts[:-1]:
        below = holder.setdefault(part, {})
        if isinstance(below, list):
            _apply_list(below, kind, operation, parts[-1])
            return
        holder = below
    last = parts[-1]
    if kind == "remove":
        if isinstance(holder.get(last), list) and operation.get("value"):
            holder[last] = [v for v in holder[last] if v != operation["value"]]
        else:
            holder.pop(last, None)
    elif kind in ("add", "replace"):
        value = _typed(holder.get(last), operation.get("value"))
        if isinstance(holder.get(last), list) and kind == "add":
            holder[last] = [*holder[last], operation.get("value")]
        else:
            holder[last] = value
    else:
        raise bad_request(f"Patch operation {kind} is not supported.")


def _apply_list(items: list[Any], kind: str, operation: Json, value: str) -> None:
    if kind == "remove":
        if value in items:
            items.remove(value)
    elif value not in items:
        items.append(value)


def _typed(before: Any, value: Any) -> Any:
    """A value, which patches give as text, in the type that it replaces."""
    if isinstance(before, bool):
        return str(value).lower() == "true"
    if isinstance(before, int) and value is not None:
        try:
            return int(value)
        except ValueError:
            raise bad_request(f"Invalid value {value!r}: a number is needed.") from None
    return value


def _copy(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value
