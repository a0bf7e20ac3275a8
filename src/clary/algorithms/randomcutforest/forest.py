"""Random cut trees, and the score that says how much a point would change them.

Source: S. Guha, N. Mishra, G. Roy and O. Schrijvers, "Robust random cut forest based anomaly detection on streams"
(2016); the score is that of AWS's open-source Random Cut Forest library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..readers.table import Floats

Ints = NDArray[np.int32]
_NONE = -1
_PAIRS = 1 << 21  # numbers (points by trees by features) that are worked on at a time


@dataclass(frozen=True, slots=True)
class Forest:
    """The nodes of all trees in one array each. A leaf has no children; its box is a point."""

    roots: Ints  # [trees]
    left: Ints  # [nodes]
    right: Ints
    parent: Ints
    depth: Ints
    dimension: Ints  # that the cut is in
    cut: Floats  # a point goes left when it is not above
    mass: Ints  # points below
    low: Floats  # [nodes, features]: the box around the points below
    high: Floats

    def scores(self, points: Floats) -> Floats:
        """How odd each point is: about 1 for ordinary ones, several for outliers."""
        trees = len(self.roots)
        step = max(1, _PAIRS // max(1, trees * points.shape[1]))
        parts = [self._scores(points[at : at + step]) for at in range(0, len(points), step)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)

    def _scores(self, points: Floats) -> Floats:
        """All points in all trees at once: down to the leaves, and up again."""
        trees = len(self.roots)
        which = np.repeat(np.arange(len(points)), trees)
        node = np.tile(self.roots, len(points))
        total = self.mass[node].astype(np.float64)
        moving = np.flatnonzero(self.left[node] != _NONE)
        while len(moving):
            here = node[moving]
            value = points[which[moving], self.dimension[here]]
            node[moving] = np.where(value <= self.cut[here], self.left[here], self.right[here])
            moving = moving[self.left[node[moving]] != _NONE]
        score = self._leaf_scores(points, which, node, total)
        rising = np.flatnonzero(self.parent[node] != _NONE)
        while len(rising):
            node[rising] = self.parent[node[rising]]
            here = node[rising]
            apart = self._separated(points[which[rising]], here)
            score[rising] = apart / (self.depth[here] + 1) + (1 - apart) * score[rising]
            inside = apart <= 0  # boxes further up hold the point too
            rising = rising[~inside & (self.parent[here] != _NONE)]
        found = score * np.log2(total + 1)
        return np.asarray(found.reshape(len(points), trees).mean(axis=1), dtype=np.float32)

    def _leaf_scores(self, points: Floats, which: Any, leaf: Ints, total: NDArray[np.float64]) -> NDArray[np.float64]:
        depth, mass = self.depth[leaf].astype(np.float64), self.mass[leaf].astype(np.float64)
        same = (points[which] == self.low[leaf]).all(axis=1)
        known = (1 - mass / (2 * total)) / (depth + np.log2(mass + 1))
        found: NDArray[np.float64] = np.where(same, known, 1 / (depth + 1))
        return found

    def _separated(self, points: Floats, node: Ints) -> NDArray[np.float64]:
        """The chance that a random cut of a box that also holds the point would part it from the others."""
        low, high = self.low[node], self.high[node]
        beyond = np.maximum(low - points, 0) + np.maximum(points - high, 0)
        added = beyond.sum(axis=1, dtype=np.float64)
        whole = (high - low).sum(axis=1, dtype=np.float64) + added
        found: NDArray[np.float64] = np.where(whole > 0, added / np.maximum(whole, 1e-300), 0.0)
        return found


def grown(samples: list[Floats], random: np.random.Generator) -> Forest:
    """A tree of each sample."""
    grower = _Grower(random)
    roots = [grower.tree(rows) for rows in samples]
    return grower.forest(np.array(roots, dtype=np.int32))


class _Grower:
    """Grows trees into one set of lists."""

    def __init__(self, random: np.random.Generator):
        self._random = random
        self._nodes: list[tuple[int, int, int, float, int]] = []  # parent, depth, dimension, cut, mass
        self._children: list[list[int]] = []
        self._boxes: list[tuple[Floats, Floats]] = []

    def tree(self, rows: Floats) -> int:
        """Its root."""
        root = len(self._nodes)
        waiting = [(rows, _NONE, 0)]
        while waiting:
            part, parent, depth = waiting.pop()
            number = len(self._nodes)
            if parent != _NONE:
                self._children[parent].append(number)
            low, high = part.min(axis=0), part.max(axis=0)
            reach = np.cumsum(high.astype(np.float64) - low)
            self._boxes.append((low, high))
            self._children.append([])
            if reach[-1] <= 0:
                self._nodes.append((parent, depth, 0, 0.0, len(part)))
                continue
            dimension, cut, below = self._cut(part, low, high, reach)
            self._nodes.append((parent, depth, dimension, cut, len(part)))
            waiting.append((part[~below], number, depth + 1))
            waiting.append((part[below], number, depth + 1))  # taken first: it becomes the left child
        return root

    def _cut(self, rows: Floats, low: Floats, high: Floats, reach: Any) -> tuple[int, float, Any]:
        """A dimension by its width, a place in it at random, and which rows are not above it."""
        while True:
            dimension = int(np.searchsorted(reach, self._random.random() * reach[-1], side="right"))
            dimension = min(dimension, len(reach) - 1)
            begin, end = float(low[dimension]), float(high[dimension])
            place = np.float32(begin + self._random.random() * (end - begin))
            below = rows[:, dimension] <= place
            if 0 < below.sum() < len(rows):
                return dimension, float(place), below

    def forest(self, roots: Ints) -> Forest:
        """Everything that was grown."""
        nodes = np.array(self._nodes, dtype=np.float64)
        children = np.array([pair or [_NONE, _NONE] for pair in self._children], dtype=np.int32)
        whole = nodes.astype(np.int32)
        return Forest(
            roots, children[:, 0].copy(), children[:, 1].copy(), whole[:, 0].copy(), whole[:, 1].copy(),
            whole[:, 2].copy(), nodes[:, 3].astype(np.float32), whole[:, 4].copy(),
            np.stack([low for low, _ in self._boxes]), np.stack([high for _, high in self._boxes]),
        )  # fmt: skip
