"""A uniform sample of a stream of rows whose length is not known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .readers.table import Floats, Table, dense


class Reservoir:
    """Keeps ``size`` rows, each row of the stream with the same chance (algorithm R: J. Vitter, 1985)."""

    def __init__(self, size: int, random: np.random.Generator):
        self._size = size
        self._random = random
        self._rows: Floats | None = None
        self._labels: Floats | None = None
        self.seen = 0

    def take(self, table: Table) -> None:
        """Some more rows."""
        rows = dense(table.features)
        if self._rows is None:
            self._rows = np.empty((0, rows.shape[1]), dtype=np.float32)
            self._labels = None if table.labels is None else np.empty(0, dtype=np.float32)
        room = max(0, min(self._size - len(self._rows), len(rows)))
        if room:
            self._rows = np.concatenate([self._rows, rows[:room]])
            if self._labels is not None and table.labels is not None:
                self._labels = np.concatenate([self._labels, table.labels[:room]])
        places, kept = self._places(room, len(rows))
        self._rows[places] = rows[kept]
        if self._labels is not None and table.labels is not None:
            self._labels[places] = table.labels[kept]
        self.seen += len(rows)

    def _places(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which of the later rows replace which kept ones; of several for one place the last wins."""
        later = np.arange(start, stop)
        drawn = self._random.integers(0, self.seen + later + 1) if len(later) else later
        chosen = drawn < self._size
        return drawn[chosen], later[chosen]

    def sample(self) -> tuple[Floats, Floats | None]:
        """The rows that are kept now, and their labels."""
        assert self._rows is not None
        return self._rows, self._labels


def sample(blocks: Iterable[Table], size: int, random: np.random.Generator) -> tuple[Floats, Floats | None]:
    """A uniform sample of all rows."""
    kept = Reservoir(size, random)
    for block in blocks:
        kept.take(block)
    return kept.sample()
