"""The ``vnd.amazon.eventstream`` frame: lengths, headers, payload, two checksums."""

from __future__ import annotations

import struct
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from typing import Any
from zlib import crc32

from . import json_body, xml_body
from .message import Malformed
from .model import Shape

TYPE = "application/vnd.amazon.eventstream"
_WIDTHS = {2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}


def frame(headers: dict[str, str | bytes | int | bool], payload: bytes = b"") -> bytes:
    """One message."""
    head = b"".join(_header(k, v) for k, v in headers.items())
    prelude = struct.pack("!II", 16 + len(head) + len(payload), len(head))
    message = prelude + struct.pack("!I", crc32(prelude)) + head + payload
    return message + struct.pack("!I", crc32(message))


def _header(name: str, value: Any) -> bytes:
    key = struct.pack("!B", len(name)) + name.encode()
    if value is True or value is False:
        return key + (b"\0" if value else b"\1")
    if isinstance(value, int):
        return key + b"\4" + struct.pack("!i", value)
    data, kind = (value, b"\6") if isinstance(value, bytes) else (value.encode(), b"\7")
    return key + kind + struct.pack("!H", len(data)) + data


Frames = Iterator[bytes] | AsyncIterator[bytes]


def writer(shape: Shape, dialect: str) -> Callable[[Iterable[dict[str, Any]] | AsyncIterable[dict[str, Any]]], Frames]:
    """Frames for a stream of ``{event name: event}`` dicts; ``dialect`` is ``json`` or ``xml``."""
    events = {name: _event(name, member, dialect) for name, member in shape.members.items()}

    def one(event: dict[str, Any]) -> bytes:
        ((name, value),) = event.items()
        return events[name](value)

    async def later(stream: AsyncIterable[dict[str, Any]]) -> AsyncIterator[bytes]:
        async for event in stream:
            yield one(event)

    def write(stream: Iterable[dict[str, Any]] | AsyncIterable[dict[str, Any]]) -> Frames:
        return later(stream) if isinstance(stream, AsyncIterable) else map(one, stream)

    return write


def _event(name: str, shape: Shape, dialect: str) -> Callable[[dict[str, Any]], bytes]:
    kind = "exception" if shape["exception"] else "event"
    fixed = {":message-type": kind, f":{kind}-type": name}
    heads = [n for n, m in shape.members.items() if m["eventheader"]]
    payload = next((n for n, m in shape.members.items() if m["eventpayload"]), None)
    content, encode = _payload(shape.members[payload] if payload else shape, dialect)

    def write(value: dict[str, Any]) -> bytes:
        headers: dict[str, Any] = {**fixed, **{n: value[n] for n in heads if n in value}}
        body = value.get(payload) if payload else {k: v for k, v in value.items() if k not in heads}
        data = encode(body) if body else b""
        if data:
            headers[":content-type"] = content
        return frame(headers, data)

    return write


def _payload(shape: Shape, dialect: str) -> tuple[str, Callable[[Any], bytes]]:
    if shape.type in ("blob", "string"):
        content = "application/octet-stream" if shape.type == "blob" else "text/plain"
        return content, lambda body: body.encode() if isinstance(body, str) else body
    if dialect == "json":
        plain = json_body.writer(shape, {})
        return "application/json", lambda body: json_body.dumps(plain(body) if plain else body)
    put = xml_body.writer(shape, {})

    def encode(body: Any) -> bytes:
        out: list[str] = []
        put(shape.name, body, out)
        return "".join(out).encode()

    return "application/xml", encode


def frames(data: bytes) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Split a buffer of whole frames into headers and payloads."""
    while data:
        total, heads = struct.unpack_from("!II", data)
        if (
            len(data) < total
            or crc32(data[:8]) != struct.unpack_from("!I", data, 8)[0]
            or crc32(data[: total - 4]) != struct.unpack_from("!I", data, total - 4)[0]
        ):
            raise Malformed("event stream checksum does not match")
        yield _headers(data, heads), data[12 + heads : total - 4]
        data = data[total:]


def _headers(data: bytes, length: int) -> dict[str, Any]:
    at = 12
    headers: dict[str, Any] = {}
    while at < 12 + length:
        size = data[at]
        name, kind, at = data[at + 1 : at + 1 + size].decode(), data[at + 1 + size], at + 2 + size
        if kind < 2:
            headers[name] = kind == 0
            continue
        width = _WIDTHS.get(kind)
        if width is None:
            width, at = struct.unpack_from("!H", data, at)[0], at + 2
        value = data[at : at + width]
        headers[name] = value.decode() if kind == 7 else _number(value) if kind in (2, 3, 4, 5, 8) else value
        at += width
    return headers


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)
