"""RecordIO-protobuf: frames of ``aialgs.data.Record`` messages.

Framing: uint32 magic, uint32 length (29 bits), payload, padding to 4 bytes. The schema is in the SageMaker developer
guide ("Common data formats for training"); the few fields in use are read by hand, without generated code. Records
of one shape follow each other in nearly every file: a run of them is read at once, as a matrix of bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..environment import UserError
from .table import Floats, Table, compressed

MAGIC = 0xCED7230A
HEAD = struct.pack("<I", MAGIC)
"""What RecordIO data begins with."""
_ENDS_EARLY = "the RecordIO data ends in the middle of a record"
_MALFORMED = "a protobuf record is malformed"
_FLOAT32, _FLOAT64, _INT32 = 2, 3, 7  # fields of Value
_WIDTH = {_FLOAT32: 4, _FLOAT64: 8}
_RUN = 1 << 16  # bytes of a run that are looked at in one go
_MIN_RUN = 4
_LONGEST_PAUSE = 255

Bytes = NDArray[np.uint8]


# ---- frames --------------------------------------------------------------------------------------------------------


def frame_length(data: bytes | memoryview, at: int, end: int) -> int:
    """The payload's length of the frame at ``at``; UserError when there is no whole frame."""
    if end - at < 8:
        raise UserError(_ENDS_EARLY)
    magic, length = struct.unpack_from("<II", data, at)
    if magic != MAGIC:
        raise UserError(f"the RecordIO data has a wrong magic number at byte {at}")
    length &= 0x1FFFFFFF
    if at + 8 + length > end:
        raise UserError(_ENDS_EARLY)
    return int(length)


def frames(data: bytes) -> Iterator[bytes]:
    """The payloads of a buffer of whole records."""
    at, end = 0, len(data)
    while at < end:
        length = frame_length(data, at, end)
        yield data[at + 8 : at + 8 + length]
        at += 8 + (length + 3) // 4 * 4


def whole(data: bytes | bytearray) -> int:
    """How many bytes of a buffer are whole frames."""
    at, end = 0, len(data)
    while end - at >= 8:
        magic, length = struct.unpack_from("<II", data, at)
        if magic != MAGIC:
            raise UserError(f"the RecordIO data has a wrong magic number at byte {at}")
        following = at + 8 + ((length & 0x1FFFFFFF) + 3) // 4 * 4
        if following > end:
            break
        at = following
    return at


def frame(payload: bytes) -> bytes:
    """One record."""
    return struct.pack("<II", MAGIC, len(payload)) + payload + b"\0" * (-len(payload) % 4)


# ---- messages ------------------------------------------------------------------------------------------------------


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    if at < end and data[at] < 0x80:
        return data[at], at + 1
    value = shift = 0
    while at < end and shift <= 63:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    raise UserError(_MALFORMED)


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Field number, wire type, and where the content of each field begins and ends (of a varint: its bytes)."""
    while at < end:
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == 2:
            size, at = _varint(data, at, end)
            stop = at + size
        elif kind == 0:
            _, stop = _varint(data, at, end)
        elif kind == 5:
            stop = at + 4
        elif kind == 1:
            stop = at + 8
        else:
            raise UserError(_MALFORMED)
        if stop > end:
            raise UserError(_MALFORMED)
        yield tag >> 3, kind, at, stop
        at = stop


Span = tuple[int, int]


@dataclass(slots=True)
class _Tensor:
    """Where a tensor's parts lie in the buffer."""

    kind: int = 0  # the field of Value; 0: none seen
    values: list[Span] = field(default_factory=list)
    keys: list[Span] = field(default_factory=list)
    shape: list[Span] = field(default_factory=list)


def _entries(data: bytes, at: int, end: int, wanted: int) -> Iterator[tuple[bytes, _Tensor]]:
    """A record's ``features`` (1) or ``label`` (2): names and tensors."""
    for number, kind, begin, stop in _fields(data, at, end):
        if number != wanted or kind != 2:
            continue
        name, tensor = b"", _Tensor()
        for part, wire, a, b in _fields(data, begin, stop):
            if part == 1 and wire == 2:
                name = data[a:b]
            elif part == 2 and wire == 2:
                tensor = _value(data, a, b)
        yield name, tensor


def _value(data: bytes, at: int, end: int) -> _Tensor:
    for kind, wire, begin, stop in _fields(data, at, end):
        if kind in (_FLOAT32, _FLOAT64, _INT32) and wire == 2:
            found = _Tensor(kind)
            for part, _, a, b in _fields(data, begin, stop):
                (found.values, found.keys, found.shape)[part - 1].append((a, b)) if part in (1, 2, 3) else None
            return found
    return _Tensor()


def _varints(packed: Bytes) -> NDArray[np.int64]:
    """All varints of packed bytes at once."""
    if not len(packed):
        return np.empty(0, dtype=np.int64)
    last = packed < 0x80
    if not last[-1]:
        raise UserError(_MALFORMED)
    ends = np.flatnonzero(last)
    if len(ends) == len(packed):
        return packed.astype(np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    place = np.arange(len(packed)) - np.repeat(starts, ends - starts + 1)
    if place.max() > 9:
        raise UserError(_MALFORMED)
    shifted = (packed & 0x7F).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(shifted, starts).astype(np.int64)


def _numbers(view: Bytes, kind: int, spans: Sequence[Span]) -> Floats:
    packed = view[spans[0][0] : spans[0][1]] if len(spans) == 1 else _joined(view, spans)
    if kind == _INT32:
        return _varints(packed).astype(np.int32).astype(np.float32)
    width = _WIDTH[kind]
    if len(packed) % width:
        raise UserError(_MALFORMED)
    return packed.view(np.uint8).copy().view(f"<f{width}").astype(np.float32)


def _joined(view: Bytes, spans: Sequence[Span]) -> Bytes:
    return np.concatenate([view[a:b] for a, b in spans]) if spans else view[:0]


# ---- tables --------------------------------------------------------------------------------------------------------


def table(data: bytes, name: str = "the data") -> Table:
    """All records of a buffer. Labels are there when every record has one. UserError for what is no such data."""
    try:
        return _table(data)
    except UserError as error:
        raise UserError(f"{name}: {error}") from None


def _table(data: bytes) -> Table:
    from .table import concatenate

    view = np.frombuffer(data, dtype=np.uint8)
    at, end = 0, len(data)
    found: list[Table] = []
    slow: list[tuple[int, int]] = []
    pause = left = 0  # runs are looked for less and less often where there are none
    while at < end:
        length = frame_length(data, at, end)
        stride = 8 + (length + 3) // 4 * 4
        run, rows = _run(data, view, at, length, stride, end) if not left else (None, 0)
        left = left - 1 if left else 0
        if run is not None:
            pause = 0
            if slow:
                found.append(_one_by_one(data, view, slow))
                slow = []
            found.append(run)
            at += rows * stride
        else:
            if not left:
                left = pause = min(_LONGEST_PAUSE, 2 * pause + 1)
            slow.append((at + 8, at + 8 + length))
            at += stride
    if slow:
        found.append(_one_by_one(data, view, slow))
    if not found:
        return Table(np.empty((0, 0), dtype=np.float32))
    if len({t.columns for t in found if t.dense}) > 1:
        raise UserError("its records have different numbers of features")
    return concatenate(found)


def _run(data: bytes, view: Bytes, at: int, length: int, stride: int, end: int) -> tuple[Table | None, int]:
    """The dense records from here on that differ in their numbers only, and how many they are."""
    count = (end - at + stride - 8 - length) // stride  # the last one's padding may be missing
    if at + count * stride > end:
        count -= 1
    if count < _MIN_RUN or view[at + stride : at + stride + 8].tobytes() != view[at : at + 8].tobytes():
        return None, 0
    features = _only(_entries(data, at + 8, at + 8 + length, 1))
    label = _only(_entries(data, at + 8, at + 8 + length, 2))
    if features is None or features.kind not in _WIDTH or features.keys or len(features.values) != 1:
        return None, 0
    numbers = [_columns(features, at)]
    if label is not None:
        if label.kind not in _WIDTH or len(label.values) != 1 or label.keys:
            return None, 0
        numbers.append(_columns(label, at))
    rows = view[at : at + count * stride].reshape(count, stride)
    same = np.ones(stride, dtype=bool)
    same[8 + length :] = False
    for begin, stop in numbers:
        same[begin:stop] = False
    fixed = np.flatnonzero(same)
    pattern = rows[0, fixed]
    step = max(1, _RUN // max(1, len(fixed)))
    matching = 0
    while matching < count:
        equal = (rows[matching : matching + step][:, fixed] == pattern).all(axis=1)
        if not equal.all():
            matching += int(equal.argmin())
            break
        matching += len(equal)
    if matching < _MIN_RUN:
        return None, 0
    matrix = _floats(rows[:matching], features, at)
    labels = None if label is None else np.ascontiguousarray(_floats(rows[:matching], label, at)[:, 0])
    return Table(matrix, labels), matching


def _only(entries: Iterator[tuple[bytes, _Tensor]]) -> _Tensor | None:
    found = dict(entries)
    return found.get(b"values") or next(iter(found.values()), None)


def _columns(tensor: _Tensor, at: int) -> Span:
    begin, stop = tensor.values[0]
    return begin - at, stop - at


def _floats(rows: Bytes, tensor: _Tensor, at: int) -> Floats:
    begin, stop = _columns(tensor, at)
    width = _WIDTH[tensor.kind]
    if (stop - begin) % width or stop == begin:
        raise UserError(_MALFORMED)
    return np.ascontiguousarray(rows[:, begin:stop]).view(f"<f{width}").astype(np.float32, copy=False)


def _one_by_one(data: bytes, view: Bytes, payloads: Sequence[Span]) -> Table:
    """Records of any shape; dense and sparse ones may be mixed."""
    if (usual := _usual(view, np.array(payloads, dtype=np.int64))) is not None:
        return usual
    tensors: list[_Tensor] = []
    labels: list[float] = []
    for begin, stop in payloads:
        tensor = _only(_entries(data, begin, stop, 1))
        if tensor is None or not tensor.kind:
            raise UserError("a RecordIO-protobuf record has no features")
        tensors.append(tensor)
        label = dict(_entries(data, begin, stop, 2)).get(b"values")
        if label is not None and label.kind and label.values:
            values = _numbers(view, label.kind, label.values)
            if len(values):
                labels.append(float(values[0]))
    known = np.array(labels, dtype=np.float32) if labels and len(labels) == len(tensors) else None
    if any(t.keys for t in tensors):
        return Table(_sparse(view, tensors), known)
    rows = [_numbers(view, t.kind, t.values) for t in tensors]
    if len({len(r) for r in rows}) > 1:
        raise UserError(f"RecordIO-protobuf records have {len({len(r) for r in rows})} different numbers of features")
    return Table(np.stack(rows), known)


def _sparse(view: Bytes, tensors: Sequence[_Tensor]) -> Any:
    keys = [_varints(_joined(view, t.keys)) for t in tensors]
    values = [_numbers(view, t.kind, t.values) if t.values else np.empty(0, dtype=np.float32) for t in tensors]
    if any(len(k) != len(v) for k, v in zip(keys, values, strict=True)):
        raise UserError("a sparse RecordIO-protobuf record has not as many keys as values")
    shapes = [int(_varints(_joined(view, t.shape))[-1]) for t in tensors if t.shape]
    ends = np.concatenate([[0], np.cumsum([len(k) for k in keys])])
    return _matrix(np.concatenate(values), np.concatenate(keys), ends, max(shapes, default=0))


def _matrix(values: Floats, keys: NDArray[np.int64], ends: Any, columns: int) -> Any:
    largest = int(keys.max()) + 1 if len(keys) else 0
    columns = columns or largest
    if largest > columns:
        raise UserError(f"a sparse RecordIO-protobuf record has the key {largest - 1}, its shape allows {columns - 1}")
    return compressed(values, keys, ends, columns)


# ---- many records at once ------------------------------------------------------------------------------------------


def _usual(view: Bytes, spans: NDArray[np.int64]) -> Table | None:
    """Sparse records laid out as every known writer does, all at once; None when one is laid out otherwise.

    ``features { values: tensor { values keys shape } } label { values: float32_tensor { one value } }``
    """
    reader = _Reader(view, spans[:, 0], spans[:, 1])
    if not reader.enter(0x0A) or not reader.named() or not reader.enter(0x12) or not reader.enter(0x12):
        return None
    values, keys, shape = reader.part(0x0A), reader.part(0x12), reader.part(0x1A)
    if not reader.leave() or not (keys[1] > keys[0]).any():
        return None
    labels: Floats | None = None
    if reader.more():
        if not reader.enter(0x12) or not reader.named() or not reader.enter(0x12) or not reader.enter(0x12):
            return None
        label = reader.part(0x0A)
        if not reader.leave() or reader.more() or (label[1] - label[0] != 4).any():
            return None
        labels = _floats32(view, label)
    packed, keys_of = _gather(view, keys)
    numbers = _varints(packed)
    ends = np.concatenate([[0], np.cumsum(packed < 0x80)])[np.concatenate([[0], np.cumsum(keys_of)])]
    if (4 * np.diff(ends) != values[1] - values[0]).any():
        raise UserError("a sparse RecordIO-protobuf record has not as many keys as values")
    shapes = _varints(_gather(view, shape)[0])
    return Table(_matrix(_floats32(view, values), numbers, ends, int(shapes.max()) if len(shapes) else 0), labels)


Ends = tuple[NDArray[np.int64], NDArray[np.int64]]


class _Reader:
    """Reads the same field of many records at a time. ``enter`` goes into a message that is the last of its parent."""

    def __init__(self, view: Bytes, at: NDArray[np.int64], stop: NDArray[np.int64]):
        self._view = np.concatenate([view, np.zeros(16, dtype=np.uint8)])
        self._at = at.copy()
        self._stop = stop
        self._record = stop

    def enter(self, tag: int) -> bool:
        """A message whose tag every record has here; False when not all have it."""
        if (self._at >= self._stop).any() or (self._view[self._at] != tag).any():
            return False
        self._at += 1
        size = self._varint()
        if (self._at + size > self._stop).any():
            return False
        self._stop = self._at + size
        return True

    def named(self) -> bool:
        """The map's key ``values``."""
        places = self._at[:, None] + np.arange(8)
        if (places >= len(self._view)).any() or (
            self._view[places] != np.frombuffer(b"\x0a\x06values", np.uint8)
        ).any():
            return False
        self._at += 8
        return True

    def part(self, tag: int) -> Ends:
        """Where a packed field lies; nowhere in records that lack it."""
        has = (self._at < self._stop) & (self._view[np.minimum(self._at, len(self._view) - 1)] == tag)
        before = self._at.copy()
        self._at = np.where(has, self._at + 1, self._at)
        size = np.where(has, self._varint(has), 0)
        begin = np.where(has, self._at, before)
        self._at = begin + size
        return begin, self._at.copy()

    def leave(self) -> bool:
        """Whether every record's message ends here."""
        good = bool((self._at == self._stop).all())
        self._stop = self._record
        return good

    def more(self) -> bool:
        """Whether records go on."""
        return bool((self._at < self._record).any())

    def _varint(self, where: Any = True) -> NDArray[np.int64]:
        value = np.zeros(len(self._at), dtype=np.int64)
        going = np.broadcast_to(np.asarray(where), self._at.shape).copy()
        for shift in range(0, 35, 7):
            byte = self._view[np.minimum(self._at, len(self._view) - 1)].astype(np.int64)
            value += np.where(going, (byte & 0x7F) << shift, 0)
            self._at = np.where(going, self._at + 1, self._at)
            going &= byte >= 0x80
            if not going.any():
                break
        return value


def _gather(view: Bytes, ends: Ends) -> tuple[Bytes, NDArray[np.int64]]:
    """The bytes of all spans, one after another, and how many each has."""
    sizes = ends[1] - ends[0]
    starts = np.repeat(ends[0] - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    return view[starts + np.arange(int(sizes.sum()))], sizes


def _floats32(view: Bytes, ends: Ends) -> Floats:
    return _gather(view, ends)[0].view("<f4").astype(np.float32)


# ---- writing -------------------------------------------------------------------------------------------------------


def _write_varint(value: int) -> bytes:
    out = bytearray()
    while True:
        byte, value = value & 0x7F, value >> 7
        out.append(byte | (0x80 if value else 0))
        if not value:
            return bytes(out)


def _message(number: int, content: bytes) -> bytes:
    return _write_varint(number << 3 | 2) + _write_varint(len(content)) + content


def write(labels: dict[str, Any]) -> bytes:
    """One framed record whose ``label`` map holds float tensors: what algorithms answer with."""
    out = b""
    for name, values in labels.items():
        tensor = _message(1, np.asarray(values, dtype="<f4").tobytes())
        out += _message(2, _message(1, name.encode()) + _message(2, _message(_FLOAT32, tensor)))
    return frame(out)
