"""What the front and a replica say to each other: batches of requests one way, batches of answers the other.

A message is its length (uint32), a count (uint16), then for each item two lengths (uint32) – head and body – and at
last all heads and bodies. Little endian. A head is a few fields joined by NUL: of a request Content-Type, Accept,
custom attributes, inference id, target model, the session if there is one, and ``pieces`` when the answer may come in
pieces; of an answer status, Content-Type, custom attributes, and notes of the form ``name=value``: ``model`` (of many: the
microseconds that it took to load, how many are loaded, and the microseconds that others took to be given up),
``new-session`` and ``closed-session``. An answer in pieces is a message a piece; later ones have the head ``+``, and an empty
head ends it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Final

from ..native import load

MAX_MESSAGE = 256 << 20
MAX_REQUEST = (1 << 30) + (1 << 20)
"""Bytes that a replica reads at most: the largest input of an asynchronous request, and its head."""
SEPARATOR = b"\0"
PING = b"\0ping"
EXECUTION_PARAMETERS = b"\0execution-parameters"
IN_PIECES = b"\0pieces"
MORE, END = b"+", b""
UNSEEN = b"\0unseen"
"""Ends the head of an answer to a request that nobody has seen: it can go to another replica."""
ABSENT = b"\0absent"
"""Ends the head of an answer to a request for one of many models whose files are not there any more."""

Item = tuple[bytes, bytes]
"""Head and body."""

Answer = tuple[int, bytes, bytes, bytes]
"""Status, content type, custom attributes with the notes behind them, and body."""

_COUNT = struct.Struct("<IH")


def _pack(items: Sequence[Item]) -> bytes:
    """One message."""
    lengths: list[int] = []
    parts: list[bytes] = []
    size = 2
    for head, body in items:
        lengths += (len(head), len(body))
        parts += (head, body)
        size += 8 + len(head) + len(body)
    return b"".join((_COUNT.pack(size, len(items)), struct.pack(f"<{len(lengths)}I", *lengths), *parts))


def opening(head: bytes, size: int) -> bytes:
    """The beginning of a message with one item; the ``size`` bytes of its body follow."""
    return b"".join((_COUNT.pack(10 + len(head) + size, 1), struct.pack("<2I", len(head), size), head))


def _unpack(data: bytes | bytearray | memoryview, at: int, size: int) -> list[Item]:
    """The items of the message whose count stands at ``at`` and which is ``size`` bytes long."""
    (count,) = struct.unpack_from("<H", data, at)
    lengths = struct.unpack_from(f"<{2 * count}I", data, at + 2)
    position = at + 2 + 8 * count
    if position + sum(lengths) != at + size:
        raise ValueError("a message's lengths do not add up")
    items: list[Item] = []
    view = data if isinstance(data, bytes) else memoryview(data)  # a slice of a bytearray would be one copy more
    for i in range(0, 2 * count, 2):
        middle, end = position + lengths[i], position + lengths[i] + lengths[i + 1]
        items.append((bytes(view[position:middle]), bytes(view[middle:end])))
        position = end
    if isinstance(view, memoryview):
        view.release()
    return items


def every(data: bytes) -> tuple[list[Item], int]:
    """The items of all messages that stand one after another, and where the last whole one ends."""
    items: list[Item] = []
    at = 0
    while len(data) - at >= 4:
        size = int.from_bytes(data[at : at + 4], "little")
        if len(data) - at - 4 < size:
            break
        items += unpack(data, at + 4, size)
        at += 4 + size
    return items, at


def _answers(data: bytes, at: int, size: int) -> list[Answer]:
    """The items of a message of answers."""
    found: list[Answer] = []
    for head, body in _unpack(data, at, size):
        status, content_type, custom = head.split(SEPARATOR, 2)
        found.append((int(status), content_type, custom, body))
    return found


def _head(content_type: bytes, headers: dict[bytes, bytes], accept: bytes, model: bytes) -> bytes:
    """The head of a request. ``accept`` is the name of the header that says what is accepted; empty: nobody asks that."""
    get = headers.get
    head = SEPARATOR.join((
        content_type, get(accept, b"") if accept else b"", get(b"x-amzn-sagemaker-custom-attributes", b""),
        get(b"x-amzn-sagemaker-inference-id", b""), model,
    ))  # fmt: skip
    session = get(b"x-amzn-sagemaker-session-id")
    return head if session is None else head + SEPARATOR + session


def _response(
    date: bytes, content_type: bytes, variant: bytes, noted: bytes, prefix: bytes, number: int, body: bytes
) -> bytes:
    """An answer as the client gets it. Its id is a prefix and a number; ``date`` and ``noted`` are whole lines."""
    return b"".join((
        b"HTTP/1.1 200 OK\r\n", date, b"Content-Type: ", content_type,
        b"\r\nx-Amzn-Invoked-Production-Variant: ", variant, b"\r\n", noted,
        b"x-amzn-RequestId: ", prefix, b"%012x" % number, b"\r\nContent-Length: ", b"%d" % len(body), b"\r\n\r\n", body,
    ))  # fmt: skip


_native = load("frames")
pack: Final[Callable[[Sequence[Item]], bytes]] = _native.pack if _native is not None else _pack
unpack: Final[Callable[[bytes | bytearray | memoryview, int, int], list[Item]]] = (
    _native.unpack if _native is not None else _unpack
)
answers: Final[Callable[[bytes, int, int], list[Answer]]] = _native.answers if _native is not None else _answers
request_head: Final[Callable[[bytes, dict[bytes, bytes], bytes, bytes], bytes]] = (
    _native.head if _native is not None else _head
)
response: Final[Callable[[bytes, bytes, bytes, bytes, bytes, int, bytes], bytes]] = (
    _native.response if _native is not None else _response
)


def absent() -> Item:
    """The answer to a request for a model whose files are not there."""
    return SEPARATOR.join((b"404", b"text/plain", b"")) + ABSENT, b"The model's files are not there."
