"""A table: rows of features, dense or sparse, and what belongs to each row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..environment import UserError

Floats = NDArray[np.float32]


@dataclass(slots=True)
class Table:
    """Rows: dense features, or sparse ones in compressed rows; labels, weights and ranking groups where present."""

    features: Any  # float32 [rows, columns], or scipy.sparse.csr_matrix
    labels: Floats | None = None  # [rows]
    weights: Floats | None = None  # [rows]
    groups: NDArray[np.int64] | None = None  # query ids, one a row

    @property
    def rows(self) -> int:
        """How many."""
        return int(self.features.shape[0])

    @property
    def columns(self) -> int:
        """Features a row."""
        return int(self.features.shape[1])

    @property
    def dense(self) -> bool:
        """Whether every feature of every row is stored."""
        return isinstance(self.features, np.ndarray)

    def part(self, chosen: Any) -> Table:
        """Some of the rows: a slice, or their numbers."""

        def of(values: Any) -> Any:
            return None if values is None else values[chosen]

        return Table(self.features[chosen], of(self.labels), of(self.weights), of(self.groups))


def compressed(values: Floats, indices: Any, ends: Any, columns: int) -> Any:
    """A sparse matrix of compressed rows; ``ends`` has one entry more than there are rows."""
    from scipy.sparse import csr_matrix

    return csr_matrix((values, np.asarray(indices, dtype=np.int64), np.asarray(ends)), shape=(len(ends) - 1, columns))


def stack(matrices: Sequence[Any], what: str = "The channel's files have") -> Any:
    """Matrices below each other. Sparse ones take the widest one's width; dense ones must agree (UserError)."""
    if len(matrices) == 1:
        return matrices[0]
    if all(isinstance(m, np.ndarray) for m in matrices):
        widths = {m.shape[1] for m in matrices}
        if len(widths) > 1:
            raise UserError(f"{what} different numbers of columns: {sorted(widths)}")
        return np.concatenate(matrices)
    from scipy.sparse import csr_matrix, vstack

    width = max(m.shape[1] for m in matrices)
    rows = [csr_matrix(m) for m in matrices]
    for matrix in rows:
        matrix.resize((matrix.shape[0], width))
    return vstack(rows, format="csr")


def concatenate(tables: Sequence[Table]) -> Table:
    """All rows of several tables; labels and the like only where all have them."""
    if len(tables) == 1:
        return tables[0]

    def joined(name: str) -> Any:
        parts = [getattr(t, name) for t in tables]
        return None if any(p is None for p in parts) else np.concatenate(parts)

    return Table(stack([t.features for t in tables]), joined("labels"), joined("weights"), joined("groups"))


def dense(matrix: Any) -> Floats:
    """A matrix with every zero written out."""
    return matrix if isinstance(matrix, np.ndarray) else np.asarray(matrix.toarray(), dtype=np.float32)
