"""Random cut trees, and the score that says how much a point would change them.

Source: S. Guha, N. Mishra, G. Roy and O. Schrijvers, "Robust random cut forest based anomaly detection on streams"
(2016); the score is that of AWS's open-source Random Cut Forest library.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...native import load
from ..readers.table import Floats

_native: Final[Any] = load("cuts")
Ints = NDArray[np.int32]
_NONE = -1
_NUMBERS = 1 << 24  # of samples whose trees grow together
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
        beyond = np.fmax(low - points, 0) + np.fmax(points - high, 0)  # what is not a number is nowhere outside
        added = beyond.sum(axis=1, dtype=np.float64)
        whole = (high - low).sum(axis=1, dtype=np.float64) + added
        found: NDArray[np.float64] = np.where(whole > 0, added / np.maximum(whole, 1e-300), 0.0)
        return found


def scorer(forest: Forest) -> Callable[[Floats], Floats]:
    """How to have points scored soonest here. ValueError when that is no forest."""
    if _native is None:
        return forest.scores
    made = _native.Cuts(*(np.ascontiguousarray(getattr(forest, f.name)) for f in fields(forest)))

    def scores(points: Floats) -> Floats:
        sums = np.zeros(len(points))
        made.add(np.ascontiguousarray(points, dtype=np.float32), sums)
        return (sums / len(forest.roots)).astype(np.float32)

    return scores


def grown(samples: list[Floats], random: np.random.Generator) -> Forest:
    """A tree of each sample."""
    width = samples[0].shape[1]
    together = max(1, _NUMBERS // max(1, width * max(map(len, samples))))
    parts = [_grow(samples[at : at + together], random) for at in range(0, len(samples), together)]
    return _joined(parts)


def _grow(samples: list[Floats], random: np.random.Generator) -> Forest:
    """Some trees, level by level: all nodes of a level are cut at once."""
    rows = np.concatenate(samples)
    counts = np.array([len(s) for s in samples])
    members = np.arange(len(rows))  # rows in the order of the nodes that hold them
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    parents = np.full(len(samples), _NONE)
    levels: list[dict[str, Any]] = []
    first = depth = 0
    while len(starts):
        sizes = np.diff(np.append(starts, len(members)))
        held = rows[members]
        low, high = np.minimum.reduceat(held, starts), np.maximum.reduceat(held, starts)
        reach = np.cumsum(high.astype(np.float64) - low, axis=1)
        splits = reach[:, -1] > 0
        dimension, cut = _cuts(low, high, reach, random)
        owner = np.repeat(np.arange(len(starts)), sizes)
        below = held[np.arange(len(members)), dimension[owner]] <= cut[owner]
        following = first + len(starts)
        left = np.where(splits, following + 2 * (np.cumsum(splits) - 1), _NONE)
        levels.append(
            {
                "left": left, "right": np.where(splits, left + 1, _NONE), "parent": parents,
                "depth": np.full(len(starts), depth), "dimension": np.where(splits, dimension, 0),
                "cut": np.where(splits, cut, 0), "mass": sizes, "low": low, "high": high,
            }
        )  # fmt: skip
        kept = splits[owner]
        side = 2 * owner[kept] + ~below[kept]
        members = members[kept][np.argsort(side, kind="stable")]
        _, starts = np.unique(np.sort(side), return_index=True)
        parents = np.repeat(first + np.flatnonzero(splits), 2)
        first, depth = following, depth + 1
    found = {name: np.concatenate([level[name] for level in levels]) for name in levels[0]}
    return _forest(np.arange(len(samples)), found)


def _cuts(low: Floats, high: Floats, reach: Any, random: np.random.Generator) -> tuple[Any, Floats]:
    """For each node a dimension, by its width, and a place in it at random; rows up to the place go left."""
    nodes = np.arange(len(low))
    drawn = random.random(len(low)) * reach[:, -1]
    dimension = np.minimum((reach <= drawn[:, None]).sum(axis=1), low.shape[1] - 1)
    begin, end = low[nodes, dimension].astype(np.float64), high[nodes, dimension].astype(np.float64)
    cut = (begin + random.random(len(low)) * (end - begin)).astype(np.float32)
    outside = (cut >= high[nodes, dimension]) | (cut < low[nodes, dimension])  # rounding may take it there
    return dimension, np.where(outside, low[nodes, dimension], cut).astype(np.float32)


def _forest(roots: Any, found: dict[str, Any]) -> Forest:
    whole: dict[str, Any] = {
        n: found[n].astype(np.int32) for n in ("left", "right", "parent", "depth", "dimension", "mass")
    }
    plain: dict[str, Any] = {n: np.asarray(found[n], dtype=np.float32) for n in ("cut", "low", "high")}
    return Forest(roots=roots.astype(np.int32), **whole, **plain)


def _joined(parts: list[Forest]) -> Forest:
    """Forests as one: the numbers of nodes go on from part to part."""
    if len(parts) == 1:
        return parts[0]
    before = np.concatenate([[0], np.cumsum([len(p.mass) for p in parts])[:-1]])

    def moved(name: str) -> Any:
        shifted = [(getattr(p, name), b) for p, b in zip(parts, before, strict=True)]
        return np.concatenate([np.where(values == _NONE, _NONE, values + b) for values, b in shifted])

    links = ("left", "right", "parent")
    names = ("depth", "dimension", "mass", "cut", "low", "high")
    found = {n: np.concatenate([getattr(p, n) for p in parts]) for n in names} | {n: moved(n) for n in links}
    return _forest(np.concatenate([p.roots + b for p, b in zip(parts, before, strict=True)]), found)
