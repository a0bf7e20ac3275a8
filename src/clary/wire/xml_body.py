"""XML bodies, and the names that the query protocol shares with them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree
from xml.sax.saxutils import escape, quoteattr

from .message import Malformed
from .model import Shape
from .values import text_reader, text_writer

Reader = Callable[[Any], Any]
Writer = Callable[[str, Any, list[str]], None]
Fields = Callable[[dict[str, Any], list[str]], None]

_CARE = {"\r": "&#xD;"}
_SPECIAL = re.compile(r"[&<>\r]")


def parse(body: bytes) -> ElementTree.Element:
    """The root element, its tags without namespaces; document types are refused (entity bombs)."""
    try:
        text = body.decode("utf-8-sig")  # as text its declaration counts no longer: no encoding hides what it holds
    except UnicodeDecodeError:
        raise Malformed("body is not UTF-8") from None
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise Malformed("body holds a document type declaration")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise Malformed(f"body is not XML: {error}") from None
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2]
        if any("}" in k for k in node.attrib):  # xsi:type and its like are modelled with a prefix
            node.attrib = {_prefixed(k): v for k, v in node.attrib.items()}
    return root


def _prefixed(name: str) -> str:
    space, _, local = name.rpartition("}")
    return f"xsi:{local}" if space.endswith("XMLSchema-instance") else local


def flat(shape: Shape) -> bool:
    """Whether a list's items stand without a wrapper."""
    return bool(shape["flattened"])


def item_name(shape: Shape) -> str:
    """The tag of a list's items."""
    return str(shape.child("member")["locationName"] or "member")


def member_name(name: str, member: Shape) -> str:
    """The tag of a structure's member."""
    if member.type == "list" and flat(member) and (inner := member.child("member")["locationName"]):
        return str(inner)
    return str(member["locationName"] or name)


def reader(shape: Shape, memo: dict[Any, Reader]) -> Reader:
    """A function from an element (or, for lists and maps, a sequence of them) to the parameter value."""
    if (found := memo.get(shape.key)) is not None:
        return found
    memo[shape.key] = lambda node: memo[shape.key](node)
    memo[shape.key] = made = _reader(shape, memo)
    return made


def _reader(shape: Shape, memo: dict[Any, Reader]) -> Reader:
    match shape.type:
        case "structure":
            return _structure_reader(shape, memo)
        case "list":
            item = reader(shape.child("member"), memo)
            return lambda nodes: [item(node) for node in nodes]
        case "map":
            key_shape, value_shape = shape.child("key"), shape.child("value")
            key_tag, value_tag = key_shape["locationName"] or "key", value_shape["locationName"] or "value"
            key, value = reader(key_shape, memo), reader(value_shape, memo)

            def read_map(nodes: Any) -> dict[str, Any]:
                pairs = ((n.find(key_tag), n.find(value_tag)) for n in nodes)
                return {key(k): value(v) for k, v in pairs if k is not None and v is not None}

            return read_map
    read = text_reader(shape, "iso8601")
    return lambda node: read(node.text or "")


def _structure_reader(shape: Shape, memo: dict[Any, Reader]) -> Reader:
    fields: dict[str, tuple[str, Reader, str]] = {}
    for name, member in shape.members.items():
        if member["location"]:
            continue
        if member["xmlAttribute"]:
            fields[member_name(name, member)] = (name, text_reader(member, "iso8601"), "attribute")
        else:
            kind = "many" if member.type in ("list", "map") and flat(member) else "one"
            fields[member_name(name, member)] = (name, reader(member, memo), kind)

    def read_structure(node: ElementTree.Element) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for child in node:
            if (field := fields.get(child.tag)) is None:
                continue
            name, read, kind = field
            if kind == "one":
                out[name] = read(child)
            elif (value := read([child])) and name in out:
                out[name].update(value) if type(value) is dict else out[name].extend(value)
            else:
                out[name] = value
        for key, text in node.attrib.items():
            if (field := fields.get(key)) is not None and field[2] == "attribute":
                out[field[0]] = field[1](text)
        return out

    return read_structure


def writer(shape: Shape, memo: dict[Any, Writer]) -> Writer:
    """A function that appends a value under a tag to a list of strings."""
    if (found := memo.get(shape.key)) is not None:
        return found
    memo[shape.key] = lambda tag, value, out: memo[shape.key](tag, value, out)
    memo[shape.key] = made = _writer(shape, memo)
    return made


def namespace(shape: Shape) -> str:
    """The ``xmlns`` attribute that a shape carries, or nothing."""
    if not (space := shape["xmlNamespace"]):
        return ""
    if isinstance(space, str):
        return f' xmlns="{space}"'
    prefix = f":{space['prefix']}" if space.get("prefix") else ""
    return f' xmlns{prefix}="{space["uri"]}"'


def _writer(shape: Shape, memo: dict[Any, Writer]) -> Writer:
    match shape.type:
        case "structure":
            return _structure_writer(shape, memo)
        case "list":
            return _list_writer(shape, memo)
        case "map":
            return _map_writer(shape, memo)
    text, space = text_writer(shape, "iso8601"), namespace(shape)

    if shape.type not in ("string", "timestamp"):

        def write_plain(tag: str, value: Any, out: list[str]) -> None:
            out.append(f"<{tag}{space}>{text(value)}</{tag}>")

        return write_plain

    def write_scalar(tag: str, value: Any, out: list[str]) -> None:
        content = text(value)
        if _SPECIAL.search(content):
            content = escape(content, _CARE)
        out.append(f"<{tag}{space}>{content}</{tag}>")

    return write_scalar


def _structure_writer(shape: Shape, memo: dict[Any, Writer]) -> Writer:
    body, space = fields_writer(shape, memo), namespace(shape)
    attributes = {
        n: (m["locationName"] or n, text_writer(m, "iso8601")) for n, m in shape.members.items() if m["xmlAttribute"]
    }

    def write_structure(tag: str, value: dict[str, Any], out: list[str]) -> None:
        marks = "".join(
            f" {key}={quoteattr(write(value[n]))}" for n, (key, write) in attributes.items() if value.get(n) is not None
        )
        out.append(f"<{tag}{space}{marks}>")
        body(value, out)
        out.append(f"</{tag}>")

    return write_structure


def _list_writer(shape: Shape, memo: dict[Any, Writer]) -> Writer:
    name, flattened, space = item_name(shape), flat(shape), namespace(shape)
    item = writer(shape.child("member"), memo)

    def write_list(tag: str, value: list[Any], out: list[str]) -> None:
        if flattened:
            for v in value:
                item(tag, v, out)
            return
        out.append(f"<{tag}{space}>")
        for v in value:
            item(name, v, out)
        out.append(f"</{tag}>")

    return write_list


def _map_writer(shape: Shape, memo: dict[Any, Writer]) -> Writer:
    key_shape, value_shape, flattened = shape.child("key"), shape.child("value"), flat(shape)
    key_tag, value_tag = key_shape["locationName"] or "key", value_shape["locationName"] or "value"
    key, each, space = writer(key_shape, memo), writer(value_shape, memo), namespace(shape)

    def write_map(tag: str, value: dict[str, Any], out: list[str]) -> None:
        entry = tag if flattened else "entry"
        if not flattened:
            out.append(f"<{tag}{space}>")
        for k, v in value.items():
            out.append(f"<{entry}>")
            key(key_tag, k, out)
            each(value_tag, v, out)
            out.append(f"</{entry}>")
        if not flattened:
            out.append(f"</{tag}>")

    return write_map


def fields_writer(shape: Shape, memo: dict[Any, Writer]) -> Fields:
    """A writer of a structure's members without the structure's own tag."""
    fields = [
        (n, member_name(n, m), writer(m, memo))
        for n, m in shape.members.items()
        if not m["location"] and not m["xmlAttribute"]
    ]

    def write(value: dict[str, Any], out: list[str]) -> None:
        for name, tag, put in fields:
            if (v := value.get(name)) is not None:
                put(tag, v, out)

    return write
