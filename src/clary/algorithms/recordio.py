"""RecordIO-protobuf: frames of ``aialgs.data.Record`` messages.

Framing: uint32 magic, uint32 length (29 bits), payload, padding to 4 bytes. The schema is in the SageMaker developer
guide ("Common data formats for training"); the few fields in use are read by hand, without generated code.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .environment import UserError

MAGIC = 0xCED7230A
_TENSORS = {2: ("<f4", 4), 3: ("<f8", 8), 7: ("", 0)}  # field of Value → element type and size; 7 is varint int32

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One value of a record; ``keys`` is empty when it is dense."""

    values: Floats
    keys: NDArray[np.uint64]
    columns: int  # of a sparse one


def frames(data: bytes) -> Iterator[bytes]:
    """The payloads of a buffer of whole records."""
    at, end = 0, len(data)
    while at < end:
        if end - at < 8:
            raise UserError("the RecordIO data ends in the middle of a record")
        magic, length = struct.unpack_from("<II", data, at)
        if magic != MAGIC:
            raise UserError(f"the RecordIO data has a wrong magic number at byte {at}")
        length &= 0x1FFFFFFF
        if at + 8 + length > end:
            raise UserError("the RecordIO data ends in the middle of a record")
        yield data[at + 8 : at + 8 + length]
        at += 8 + (length + 3) // 4 * 4


def frame(payload: bytes) -> bytes:
    """One record."""
    return struct.pack("<II", MAGIC, len(payload)) + payload + b"\0" * (-len(payload) % 4)


def _varint(data: bytes, at: int) -> tuple[int, int]:
    shift = value = 0
    while True:
        if at >= len(data) or shift > 63:
            raise UserError("a protobuf record is malformed")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def _fields(data: bytes) -> Iterator[tuple[int, int, bytes | int]]:
    """Field number, wire type and content of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield number, kind, value
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            yield number, kind, data[at : at + size]
            at += size
        elif kind == 2:
            size, at = _varint(data, at)
            if at + size > len(data):
                raise UserError("a protobuf record is malformed")
            yield number, kind, data[at : at + size]
            at += size
        else:
            raise UserError("a protobuf record is malformed")


def _varints(data: bytes) -> list[int]:
    found, at = [], 0
    while at < len(data):
        value, at = _varint(data, at)
        found.append(value)
    return found


def _tensor(data: bytes, kind: int) -> Tensor:
    dtype, size = _TENSORS[kind]
    values: list[Floats] = []
    keys: list[int] = []
    shape: list[int] = []
    for number, wire, content in _fields(data):
        packed = content if isinstance(content, bytes) else b""
        if number == 1 and not size:
            numbers = _varints(packed) if wire == 2 else [content]
            values.append(np.array(numbers, dtype=np.uint64).astype(np.int64).astype(np.float32))
        elif number == 1:
            if len(packed) % size:
                raise UserError("a protobuf record is malformed")
            values.append(np.frombuffer(packed, dtype=dtype).astype(np.float32))
        elif number == 2:
            keys += _varints(packed) if wire == 2 else [content if isinstance(content, int) else 0]
        elif number == 3:
            shape += _varints(packed) if wire == 2 else [content if isinstance(content, int) else 0]
    joined = np.concatenate(values) if values else np.empty(0, dtype=np.float32)
    return Tensor(joined, np.array(keys, dtype=np.uint64), shape[-1] if shape else 0)


def _entries(data: bytes, wanted: int) -> dict[str, Tensor]:
    """A record's ``features`` (1) or ``label`` (2) by key."""
    found: dict[str, Tensor] = {}
    for number, _, entry in _fields(data):
        if number != wanted or not isinstance(entry, bytes):
            continue
        name, value = "", b""
        for part, _, content in _fields(entry):
            if part == 1 and isinstance(content, bytes):
                name = content.decode("utf-8", "replace")
            elif part == 2 and isinstance(content, bytes):
                value = content
        for kind, _, content in _fields(value):
            if kind in _TENSORS and isinstance(content, bytes):
                found[name] = _tensor(content, kind)
    return found


def read(data: bytes) -> tuple[list[Tensor], Floats | None]:
    """The features of every record, and their labels when all have one."""
    features: list[Tensor] = []
    labels: list[float] = []
    for payload in frames(data):
        entries = _entries(payload, 1)
        tensor = entries.get("values") or next(iter(entries.values()), None)
        if tensor is None:
            raise UserError("a RecordIO-protobuf record has no features")
        features.append(tensor)
        label = _entries(payload, 2).get("values")
        if label is not None and len(label.values):
            labels.append(float(label.values[0]))
    return features, np.array(labels, dtype=np.float32) if len(labels) == len(features) and labels else None


def _write_varint(value: int) -> bytes:
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _message(number: int, content: bytes) -> bytes:
    return _write_varint(number << 3 | 2) + _write_varint(len(content)) + content


def write(labels: dict[str, list[float]]) -> bytes:
    """One framed record whose ``label`` map holds float tensors: what algorithms answer with."""
    out = b""
    for name, values in labels.items():
        tensor = _message(1, np.asarray(values, dtype="<f4").tobytes())
        out += _message(2, _message(1, name.encode()) + _message(2, _message(2, tensor)))
    return frame(out)
