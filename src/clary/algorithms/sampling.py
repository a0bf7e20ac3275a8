"""A uniform sample of a stream of rows whose length is not known."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from .readers.table import Floats, Table, concatenate, dense


class Reservoir:
    """Keeps ``size`` rows, each row of the stream with the same chance (algorithm R: J. Vitter, 1985)."""

    def __init__(self, size: int, random: np.random.Generator):
        self._size = size
        self._random = random
        self._parts: list[Table] = []  # until it is full
        self._rows: Floats | None = None
        self._labels: Floats | None = None
        self.seen = 0

    def take(self, table: Table) -> None:
        """Some more rows."""
        rows = dense(table.features)
        room = max(0, min(self._size - self.seen, len(rows)))
        if room:
            self._parts.append(Table(rows[:room].copy(), None if table.labels is None else table.labels[:room]))
        if room < len(rows):
            self._fill()
            assert self._rows is not None
            places, kept = self._places(room, len(rows))
            self._rows[places] = rows[kept]
            if self._labels is not None and table.labels is not None:
                self._labels[places] = table.labels[kept]
        self.seen += len(rows)

    def _fill(self) -> None:
        if self._parts:
            whole = concatenate(self._parts)
            self._rows = np.array(whole.features)
            self._labels = None if whole.labels is None else whole.labels.copy()
            self._parts = []

    def _places(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which of the later rows replace which kept ones; of several for one place the last wins."""
        later = np.arange(start, stop)
        drawn = self._random.integers(0, self.seen + later + 1) if len(later) else later
        chosen = drawn < self._size
        return drawn[chosen], later[chosen]

    def sample(self) -> tuple[Floats, Floats | None]:
        """The rows that are kept now, and their labels."""
        self._fill()
        assert self._rows is not None
        return self._rows, self._labels


def sample(blocks: Iterable[Table], size: int, random: np.random.Generator) -> tuple[Floats, Floats | None]:
    """A uniform sample of all rows."""
    kept = Reservoir(size, random)
    for block in blocks:
        kept.take(block)
    return kept.sample()
