"""The query protocol's requests: dotted form fields, nested and read by shape."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

from .message import Malformed
from .model import Shape
from .values import text_reader
from .xml_body import flat, item_name, member_name

Tree = dict[str, Any]
Reader = Callable[[Any], Any]

MAX_FIELDS = 10_000


def tree(body: bytes, query: str = "") -> Tree:
    """Nest dotted form fields: ``A.member.1=x`` becomes ``{'A': {'member': {'1': 'x'}}}``."""
    root: Tree = {}
    try:
        fields = parse_qsl(query, True, max_num_fields=MAX_FIELDS)
        fields += parse_qsl(body.decode(), True, max_num_fields=MAX_FIELDS)
    except ValueError:
        raise Malformed("body is not a form, or has too many fields") from None
    for field, value in fields:
        *path, leaf = field.split(".", 32)
        node = root
        for step in path:
            below = node.get(step)
            if type(below) is not dict:
                below = node[step] = {}
            node = below
        node[leaf] = value
    return root


def _items(node: Any) -> list[Any]:
    if type(node) is not dict:
        return []
    return [node[i] for i in sorted((k for k in node if k.isascii() and k.isdigit() and len(k) < 10), key=int)]


def reader(shape: Shape, memo: dict[Any, Reader]) -> Reader:
    """A function from a node of the tree to the parameter value."""
    if (found := memo.get(shape.key)) is not None:
        return found
    memo[shape.key] = lambda node: memo[shape.key](node)
    memo[shape.key] = made = _reader(shape, memo)
    return made


def _reader(shape: Shape, memo: dict[Any, Reader]) -> Reader:
    match shape.type:
        case "structure":
            fields = {member_name(n, m): (n, reader(m, memo)) for n, m in shape.members.items()}

            def read_structure(node: Any) -> dict[str, Any]:
                if type(node) is not dict:
                    return {}
                return {
                    field[0]: field[1](value) for key, value in node.items() if (field := fields.get(key)) is not None
                }

            return read_structure
        case "list":
            item = reader(shape.child("member"), memo)
            if flat(shape):
                return lambda node: [item(n) for n in _items(node)]
            name = item_name(shape)
            return lambda node: [item(n) for n in _items(node.get(name) if type(node) is dict else None)]
        case "map":
            key_shape, value_shape = shape.child("key"), shape.child("value")
            key_name, value_name = key_shape["locationName"] or "key", value_shape["locationName"] or "value"
            key, value, flattened = reader(key_shape, memo), reader(value_shape, memo), flat(shape)

            def read_map(node: Any) -> dict[str, Any]:
                entries = node if flattened or type(node) is not dict else node.get("entry")
                return {
                    key(e[key_name]): value(e[value_name])
                    for e in _items(entries)
                    if type(e) is dict and key_name in e and value_name in e
                }

            return read_map
    read = text_reader(shape, "iso8601")

    def read_scalar(node: Any) -> Any:
        if type(node) is not str:
            raise Malformed("a structure stands where a value was expected")
        return read(node)

    return read_scalar
