"""Weighted k-means by Lloyd's iterations, with k-means++ as its beginning.

Source: S. Lloyd, "Least squares quantization in PCM" (1982); D. Arthur and S. Vassilvitskii, "k-means++" (2007).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
_BLOCK = 1 << 22  # distances that are held at a time


def nearest(rows: Any, centers: Doubles) -> tuple[NDArray[np.int64], Doubles]:
    """For each row, dense or sparse, the nearest centre and the squared distance to it."""
    lengths = np.einsum("ij,ij->i", centers, centers)
    chosen = np.empty(rows.shape[0], dtype=np.int64)
    squared = np.empty(rows.shape[0])
    step = max(1, _BLOCK // len(centers))
    for at in range(0, rows.shape[0], step):
        part = rows[at : at + step].astype(np.float64)
        own = np.asarray(part.multiply(part).sum(axis=1)).ravel() if hasattr(part, "multiply") else None
        if own is None:
            own = np.einsum("ij,ij->i", part, part)
        distances = lengths - 2 * np.asarray(part @ centers.T)
        best = distances.argmin(axis=1)
        chosen[at : at + step] = best
        squared[at : at + step] = np.maximum(distances[np.arange(len(best)), best] + own, 0)
    return chosen, squared


def spread(rows: Doubles, weights: Doubles, k: int, random: np.random.Generator) -> Doubles:
    """k-means++: centres drawn one after another, each with the probability of its squared distance to the others."""
    chosen = [int(random.choice(len(rows), p=weights / weights.sum()))]
    squared = ((rows - rows[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < k:
        mass = squared * weights
        total = mass.sum()
        following = int(random.choice(len(rows), p=mass / total)) if total > 0 else int(random.integers(len(rows)))
        chosen.append(following)
        squared = np.minimum(squared, ((rows - rows[following]) ** 2).sum(axis=1))
    return rows[chosen].copy()


def sums(rows: Any, weights: Doubles, chosen: NDArray[np.int64], k: int) -> tuple[Doubles, Doubles]:
    """For each centre the weighted sum of its rows, and the sum of their weights."""
    from scipy.sparse import csr_matrix

    ends = np.arange(len(chosen) + 1)
    members = csr_matrix((weights, chosen, ends), shape=(len(chosen), k)).T
    added = members @ rows
    added = added.toarray() if hasattr(added, "toarray") else added
    return np.asarray(added, dtype=np.float64), np.asarray(np.bincount(chosen, weights, k), dtype=np.float64)


def lloyd(rows: Any, weights: Doubles, centers: Doubles, iterations: int, tolerance: float) -> tuple[Doubles, float]:
    """Centres moved to the means of their rows until they rest; with the mean squared distance that is left."""
    before = np.inf
    total = weights.sum()
    for _ in range(iterations):
        chosen, squared = nearest(rows, centers)
        loss = float((squared * weights).sum() / total)
        added, counts = sums(rows, weights, chosen, len(centers))
        centers = np.where(counts[:, None] > 0, added / np.maximum(counts, 1e-12)[:, None], centers)
        if before - loss <= tolerance * max(loss, 1e-12):
            break
        before = loss
    _, squared = nearest(rows, centers)
    return centers, float((squared * weights).sum() / total)
