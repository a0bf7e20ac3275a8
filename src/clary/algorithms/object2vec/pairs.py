"""Pairs of token sequences: JSON lines of ``in0``, ``in1`` and a label."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ..environment import Channel, UserError
from ..readers.source import lines

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Sequences padded with -1 to one length, and labels."""

    first: Ints  # [pairs, length]
    second: Ints
    labels: NDArray[np.float32]

    def part(self, chosen: Any) -> Pairs:
        """Some of them."""
        return Pairs(self.first[chosen], self.second[chosen], self.labels[chosen])

    def __len__(self) -> int:
        return len(self.labels)


def padded(sequences: list[list[int]], limit: int) -> Ints:
    """Sequences as rows, what is beyond the limit left out."""
    longest = max(1, min(limit, max(map(len, sequences), default=1)))
    found = np.full((len(sequences), longest), -1, dtype=np.int64)
    for row, sequence in zip(found, sequences, strict=True):
        part = sequence[:longest]
        row[: len(part)] = part
    return found


def tokens(value: Any, vocabulary: int, where: str) -> list[int]:
    """A sequence of token numbers; UserError for anything else."""
    found = value if isinstance(value, list) else [value]
    if not found or not all(type(v) is int for v in found):
        raise UserError(f"{where} is no list of token numbers")
    if not 0 <= min(found) <= max(found) < vocabulary:
        raise UserError(f"{where} has tokens outside 0 to {vocabulary - 1}")
    return found


def read(
    channel: Channel,
    limits: tuple[int, int],
    vocabularies: tuple[int, int],
    spooled: tuple[Path, ...] = (),
    *,
    unlabelled: bool,
) -> Pairs:
    """A channel; ``unlabelled`` takes pairs without a label as positive ones."""
    sides: tuple[list[list[int]], list[list[int]]] = ([], [])
    labels: list[float] = []
    for name, number, line in lines(channel, spooled):
        where = f"line {number} of {name}"
        try:
            row = orjson.loads(line)
            label = row["label"] if not unlabelled or "label" in row else 1
            labels.append(float(label))
            for side, key, vocabulary in zip(sides, ("in0", "in1"), vocabularies, strict=True):
                side.append(tokens(row[key], vocabulary, f"{key} in {where}"))
        except UserError as error:
            raise UserError(f"Unable to read data channel '{channel.name}': {error}.") from None
        except (ValueError, TypeError, KeyError) as error:
            raise UserError(
                f"Unable to read data channel '{channel.name}': {where} is not of the form "
                f'{{"label": 0, "in0": [1, 2], "in1": [3]}} ({type(error).__name__}: {error}).'
            ) from None
    if not labels:
        raise UserError(f"Unable to read data channel '{channel.name}': No data was found.")
    return Pairs(padded(sides[0], limits[0]), padded(sides[1], limits[1]), np.array(labels, dtype=np.float32))
