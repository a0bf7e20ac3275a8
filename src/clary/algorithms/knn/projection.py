"""Fewer dimensions that keep distances about as they are.

Source: D. Achlioptas, "Database-friendly random projections" (2003) for ``sign``; N. Ailon and B. Chazelle, "The fast
Johnson-Lindenstrauss transform" (2009) for ``fjlt``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..readers.table import Floats


def made(kind: str, columns: int, target: int, random: np.random.Generator) -> Floats:
    """The matrix [columns, target] that rows are multiplied with."""
    if kind == "sign":
        signs = random.choice(np.array([-1.0, 1.0]), (columns, target)) / np.sqrt(target)
        return np.asarray(signs, dtype=np.float32)
    width = 1 << max(0, (columns - 1).bit_length())
    flipped = np.zeros((columns, width))
    flipped[np.arange(columns), np.arange(columns)] = random.choice((-1.0, 1.0), columns)
    spread = _hadamard(flipped) / np.sqrt(width)
    chosen = random.choice(width, target, replace=target > width)
    return np.asarray(spread[:, chosen] * np.sqrt(width / target), dtype=np.float32)


def _hadamard(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """The Walsh-Hadamard transform of each row; their length is a power of two."""
    width = rows.shape[1]
    step = 1
    while step < width:
        parts = rows.reshape(len(rows), width // (2 * step), 2, step)
        rows = np.concatenate([parts[:, :, :1] + parts[:, :, 1:], parts[:, :, :1] - parts[:, :, 1:]], axis=2)
        rows = rows.reshape(len(rows), width)
        step *= 2
    return rows
