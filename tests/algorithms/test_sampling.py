"""Samples of streams."""

from __future__ import annotations

import numpy as np
import pytest

from clary.algorithms.readers.table import Table
from clary.algorithms.sampling import sample


@pytest.mark.parametrize("batch", [1, 7, 100, 1000])
def test_every_row_has_the_same_chance(batch: int) -> None:
    rows = np.arange(1000, dtype=np.float32)[:, None]
    blocks = [Table(rows[at : at + batch], rows[at : at + batch, 0]) for at in range(0, 1000, batch)]
    random, counts = np.random.default_rng(0), np.zeros(1000)
    for _ in range(300):
        found, labels = sample(blocks, 50, random)
        assert labels is not None and np.array_equal(found[:, 0], labels) and len(np.unique(labels)) == 50
        counts[labels.astype(int)] += 1
    parts = counts.reshape(10, 100).sum(axis=1)  # each tenth of the stream should give a tenth of the samples
    assert parts == pytest.approx(1500, rel=0.12)


def test_a_short_stream_is_kept_whole() -> None:
    rows = np.arange(10, dtype=np.float32)[:, None]
    found, labels = sample([Table(rows[:4]), Table(rows[4:])], 50, np.random.default_rng(0))
    assert np.array_equal(found, rows) and labels is None
