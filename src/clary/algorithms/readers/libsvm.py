"""libsvm text: ``label[:weight] [qid:n] index:value …``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..environment import UserError
from .table import Table, compressed


def table(data: bytes, name: str = "the data", labelled: bool = True, first_line: int = 1) -> Table:
    """Rows of a text; indices are offsets, as XGBoost's training loader takes them."""
    indices: list[int] = []
    values: list[float] = []
    ends = [0]
    labels: list[float] = []
    weights: list[float] = []
    groups: list[int] = []
    for number, line in enumerate(data.splitlines(), first_line):
        tokens = line.partition(b"#")[0].split()
        if not tokens:
            continue
        try:
            for position, token in enumerate(tokens):
                key, colon, value = token.partition(b":")
                if position == 0 and labelled:
                    labels.append(float(key))
                    if colon:
                        weights.append(float(value))
                elif key == b"qid":
                    groups.append(int(value))
                elif colon:
                    indices.append(int(key))
                    values.append(float(value))
        except ValueError:
            raise UserError(f"Failed to parse libsvm data in line {number} of {name}: {line[:80]!r}") from None
        ends.append(len(indices))
    if indices and min(indices) < 0:
        raise UserError(f"{name} has a negative feature index")
    features = compressed(np.array(values, dtype=np.float32), indices, ends, (max(indices) + 1) if indices else 0)
    return Table(
        features,
        np.array(labels, dtype=np.float32) if labelled else None,
        np.array(weights, dtype=np.float32) if len(weights) == len(labels) and weights else None,
        np.array(groups, dtype=np.int64) if len(groups) == len(ends) - 1 and groups else None,
    )


def request(body: bytes) -> Any:
    """The feature matrix of a request; tokens that are no pairs, as a label is, are left out."""
    return table(b"\n".join(_featured(body)), labelled=False).features


def _featured(body: bytes) -> Iterator[bytes]:
    for line in body.splitlines():
        if line.strip():
            yield b" ".join(t for t in line.split() if b":" in t) or b"0:nan"
