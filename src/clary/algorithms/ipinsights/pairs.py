"""Entities and addresses: CSV of two columns, as numbers that a network takes."""

from __future__ import annotations

import csv
import io
import zlib
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..environment import UserError

Ints = NDArray[np.int64]
Pair = tuple[str, str]


def parse(text: bytes, name: str, first_line: int = 1) -> list[Pair]:
    """Lines of ``entity,address``; UserError for a line of another form."""
    found: list[Pair] = []
    for number, row in enumerate(csv.reader(io.StringIO(text.decode("utf-8", "replace"))), first_line):
        if not row:
            continue
        if len(row) != 2:
            raise UserError(
                f"line {number} of {name} has {len(row)} columns; it takes two, an entity and an IPv4 address"
            )
        found.append((row[0].strip(), row[1].strip()))
    return found


def address(text: str) -> int | None:
    """An IPv4 address as a number; None when it is none."""
    parts = text.split(".")
    if len(parts) != 4 or not all(p.isascii() and p.isdigit() and len(p) <= 3 and int(p) < 256 for p in parts):
        return None
    return int.from_bytes(bytes(map(int, parts)), "big")


def numbered(pairs: Iterable[Pair], buckets: int) -> tuple[Ints, Ints, int]:
    """Hashed entities and addresses of the pairs that are right, and how many are not."""
    entities: list[int] = []
    addresses: list[int] = []
    wrong = 0
    for entity, text in pairs:
        if (found := address(text)) is None:
            wrong += 1
            continue
        entities.append(zlib.crc32(entity.encode()) % buckets)
        addresses.append(found)
    return np.array(entities, dtype=np.int64), np.array(addresses, dtype=np.int64), wrong


def bits(addresses: Any) -> NDArray[np.float32]:
    """The 32 bits of each address, first bit first, as -1 and 1."""
    places = np.arange(31, -1, -1, dtype=np.int64)
    found: NDArray[np.float32] = (2 * ((addresses[:, None] >> places) & 1) - 1).astype(np.float32)
    return found
