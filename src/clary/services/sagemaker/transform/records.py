"""An object's bytes as records, and records as payloads; one object is never held whole unless it is one record."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO

_RECORDIO = 0xCED7230A
SizeOf = Callable[[bytes], int]


class RecordError(Exception):
    """An object that cannot be split, or a record that no payload may hold."""


def records(file: BinaryIO, split: str, limit: int) -> Iterator[bytes]:
    """Whole records with their framing; ``limit`` bounds one record (0: none)."""
    match split:
        case "Line":
            return _lines(file, limit)
        case "RecordIO":
            return _framed(file, limit, _recordio_size, 8)
        case "TFRecord":
            return _framed(file, limit, _tfrecord_size, 12)
    return _whole(file, limit)


def bare(record: bytes, split: str) -> bytes:
    """A record without its framing, as it is sent when it is sent alone."""
    match split:
        case "RecordIO":
            return record[8 : 8 + _recordio_length(record)]
        case "TFRecord":
            return record[12:-4]
    return record


def payloads(found: Iterable[bytes], together: bool, limit: int) -> Iterator[list[bytes]]:
    """Records grouped in order: one by one, or as many as fit into ``limit`` bytes (0: all)."""
    group: list[bytes] = []
    size = 0
    for record in found:
        if group and (not together or (limit and size + len(record) > limit)):
            yield group
            group, size = [], 0
        group.append(record)
        size += len(record)
    if group:
        yield group


def _too_large(limit: int) -> RecordError:
    return RecordError(f"a record is larger than MaxPayloadInMB allows ({limit >> 20} MB)")


def _whole(file: BinaryIO, limit: int) -> Iterator[bytes]:
    data = file.read(limit + 1 if limit else -1)
    if limit and len(data) > limit:
        raise _too_large(limit)
    yield data


def _lines(file: BinaryIO, limit: int) -> Iterator[bytes]:
    while line := file.readline(limit + 1 if limit else -1):
        if limit and len(line) > limit:
            raise _too_large(limit)
        yield line


def _framed(file: BinaryIO, limit: int, size: SizeOf, head: int) -> Iterator[bytes]:
    while begin := file.read(head):
        if len(begin) < head:
            raise RecordError("the object ends in the middle of a record")
        left = size(begin)
        if limit and left + head > limit:
            raise _too_large(limit)
        rest = file.read(left)
        if len(rest) < left:
            raise RecordError("the object ends in the middle of a record")
        yield begin + rest


def _recordio_length(begin: bytes) -> int:
    magic, length = struct.unpack_from("<II", begin)
    if magic != _RECORDIO:
        raise RecordError("the object is not RecordIO: a record has a wrong magic number")
    return int(length & 0x1FFFFFFF)


def _recordio_size(begin: bytes) -> int:
    return (_recordio_length(begin) + 3) // 4 * 4


def _tfrecord_size(begin: bytes) -> int:
    return int(struct.unpack_from("<Q", begin)[0]) + 4
