"""JSON bodies: a shape is compiled once into a function that reads, and one that writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from . import bounded
from .message import Malformed
from .model import Shape
from .values import bounds, read_blob, read_float, read_time, write_blob, write_float, write_time

Convert = Callable[[Any], Any]


def _typed(kind: str, *types: type) -> Convert:
    def read(node: Any) -> Any:
        if type(node) in types:
            return node
        raise Malformed(f"{_JSON_NAMES.get(type(node), 'value')} can not be converted to {kind}")

    return read


_JSON_NAMES = {
    str: "STRING_VALUE", int: "NUMBER_VALUE", float: "NUMBER_VALUE", bool: "TRUE_VALUE or FALSE_VALUE",
    dict: "START_OBJECT", list: "START_ARRAY",
}  # fmt: skip
_STRING = _typed("a String", str)
_BOOLEAN = _typed("a Boolean", bool)


def _integer(shape: Shape) -> Convert:
    read, (low, high) = _typed("a Long" if shape.type == "long" else "an Integer", int), bounds(shape)

    def read_integer(node: Any) -> int:
        number: int = read(node)
        if not low <= number <= high:
            raise Malformed(f"Numeric value ({number}) out of range of {shape.type}")
        return number

    return read_integer


def reader(shape: Shape, memo: dict[Any, Convert]) -> Convert:
    """A function from a parsed JSON node to the parameter value."""
    if (found := memo.get(shape.key)) is not None:
        return found
    memo[shape.key] = lambda node: memo[shape.key](node)  # a shape may hold itself
    memo[shape.key] = made = _reader(shape, memo)
    return made


def _reader(shape: Shape, memo: dict[Any, Convert]) -> Convert:
    if shape["document"]:
        return lambda node: node
    match shape.type:
        case "structure":
            return _structure_reader(shape, memo)
        case "list":
            item = reader(shape.child("member"), memo)

            def read_list(node: Any) -> list[Any]:
                if type(node) is not list:
                    raise Malformed("Unrecognized collection type: expected a list")
                return [None if n is None else item(n) for n in node]

            return read_list
        case "map":
            value = reader(shape.child("value"), memo)

            def read_map(node: Any) -> dict[str, Any]:
                if type(node) is not dict:
                    raise Malformed("Unrecognized collection type: expected a map")
                if not all(type(k) is str for k in node):  # CBOR has keys of every type
                    raise Malformed("Unrecognized collection type: expected a map of strings")
                return {k: value(v) for k, v in node.items() if v is not None}

            return read_map
        case "blob":
            return read_blob
        case "timestamp":
            style = shape["timestampFormat"] or "unixTimestamp"
            return lambda node: read_time(node, style)
        case "float" | "double":
            return read_float
        case "boolean":
            return _BOOLEAN
        case "integer" | "long":
            return _integer(shape)
    if shape["jsonvalue"]:  # only in headers is such a value text within text
        return lambda node: node
    return _STRING


def _structure_reader(shape: Shape, memo: dict[Any, Convert]) -> Convert:
    fields = {m["locationName"] or n: (n, reader(m, memo)) for n, m in shape.members.items()}
    get = fields.get

    def read_structure(node: Any) -> dict[str, Any]:
        if type(node) is not dict:
            raise Malformed("Start of structure or map found where not expected.")
        out = {}
        for key, value in node.items():
            if value is not None and (field := get(key)) is not None:
                out[field[0]] = field[1](value)
        return out

    return read_structure


def writer(shape: Shape, memo: dict[Any, Convert | None]) -> Convert | None:
    """A function to plain JSON values, or None where the value is already plain."""
    if shape.key in memo:
        return memo[shape.key]

    def later(value: Any) -> Any:
        write = memo[shape.key]
        return write(value) if write else value

    memo[shape.key] = later
    memo[shape.key] = made = _writer(shape, memo)
    return made


def _writer(shape: Shape, memo: dict[Any, Convert | None]) -> Convert | None:
    if shape["document"]:
        return None
    match shape.type:
        case "structure":
            fields = {n: (m["locationName"] or n, writer(m, memo)) for n, m in shape.members.items()}
            get = fields.get

            def write_structure(value: dict[str, Any]) -> dict[str, Any]:
                out = {}
                for name, v in value.items():
                    if v is not None and (field := get(name)) is not None:
                        key, write = field
                        out[key] = write(v) if write else v
                return out

            return write_structure
        case "list":
            item = writer(shape.child("member"), memo)
            if item is None:
                return list
            return lambda value: [None if v is None else item(v) for v in value]
        case "map":
            each = writer(shape.child("value"), memo)
            if each is None:
                return lambda value: {k: v for k, v in value.items() if v is not None}
            return lambda value: {k: each(v) for k, v in value.items() if v is not None}
        case "blob":
            return write_blob
        case "timestamp":
            style = shape["timestampFormat"] or "unixTimestamp"
            return lambda value: write_time(value, style)
        case "float" | "double":
            return write_float
    return None


def loads(body: bytes) -> Any:
    """A JSON document; an empty body is an empty object."""
    try:
        return bounded.loads(body) if body else {}
    except ValueError:
        raise Malformed("Could not parse request body into json") from None


def dumps(value: Any) -> bytes:
    """Compact JSON."""
    return orjson.dumps(value)
