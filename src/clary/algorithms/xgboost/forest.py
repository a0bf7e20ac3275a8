"""Trees as arrays: for a few rows at a time, walking them is several times faster than asking the library.

``inplace_predict`` spends about 300 µs a call before it looks at the first tree. Where it is compiled, ``native.trees``
walks the trees; else numpy does, one level at a time, all trees and rows at once. The arithmetic is the library's own,
float32 in the same order, and a forest is used only if it gives the library's very bits on rows drawn around its own
split points (``make bench``, "InvokeEndpoint").
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ...native import load

Floats = NDArray[np.float32]
Ints = NDArray[np.intp]  # what numpy indexes with: no conversion on the way

_MAX_NODES = 200_000
_MAX_DEPTH = 24
_PROBES = 192
_WORTH_WALKING = 30_000  # rows × trees × depth; about here walking with numpy takes as long as the library's call
_trees = load("trees")
_PLAIN = ("reg:squarederror", "reg:pseudohubererror", "reg:absoluteerror", "reg:quantileerror", "binary:logitraw")
_LOGISTIC = ("binary:logistic", "reg:logistic")


def build(booster: Any, rounds: int) -> Forest | None:
    """A forest that answers as the booster does with its first ``rounds`` rounds (0: all); None when there is none."""
    learner = orjson.loads(bytes(booster.save_raw("json")))["learner"]
    objective, gradient = learner["objective"]["name"], learner["gradient_booster"]
    if objective not in (*_PLAIN, *_LOGISTIC) or gradient["name"] != "gbtree":
        return None
    model = gradient["model"]
    trees, ends = model["trees"], model["iteration_indptr"]
    trees = trees[: ends[rounds]] if rounds else trees
    if any(model["tree_info"]) or not trees or any(any(t["split_type"]) for t in trees):
        return None
    if sum(len(t["left_children"]) for t in trees) > _MAX_NODES or any(
        int(t["tree_param"]["size_leaf_vector"]) > 1 for t in trees
    ):
        return None
    base = _base(learner["learner_model_param"]["base_score"])
    if base is None:
        return None
    forest = Forest(trees, int(booster.num_features()), base, objective in _LOGISTIC)
    return forest if forest.depth <= _MAX_DEPTH and forest.equals(booster, rounds) else None


def _base(text: str) -> np.float32 | None:
    values = orjson.loads(text) if text.startswith("[") else [float(text)]
    return np.float32(values[0]) if len(values) == 1 else None


class Forest:
    """Every tree's nodes in one table, breadth first, so that a right child follows its left one."""

    def __init__(self, trees: list[dict[str, Any]], width: int, base: np.float32, logistic: bool):
        features: list[int] = []
        limits: list[float] = []
        lefts: list[int] = []
        values: list[float] = []
        roots: list[int] = []
        depths: list[int] = []
        self.depth = 0
        for tree in trees:
            roots.append(len(features))
            depth, level = 0, [0]
            next_free = len(features) + 1
            while level:
                below: list[int] = []
                for node in level:
                    left = tree["left_children"][node]
                    condition = tree["split_conditions"][node]
                    values.append(condition)
                    if left < 0:  # a leaf leads to itself: nothing is at or above NaN
                        features.append(0)
                        limits.append(np.nan)
                        lefts.append(len(features) - 1)
                    else:
                        features.append(tree["split_indices"][node])
                        limits.append(condition)
                        lefts.append(next_free)
                        next_free += 2
                        below += (left, tree["right_children"][node])
                if below:
                    depth += 1
                level = below
            depths.append(depth)
            self.depth = max(self.depth, depth)
        self._features: Ints = np.array(features, dtype=np.intp)
        self._limits: Floats = np.array(limits, dtype=np.float32)
        self._lefts: Ints = np.array(lefts, dtype=np.intp)
        self._values: Floats = np.array(values, dtype=np.float32)
        self._roots: Ints = np.array(roots, dtype=np.intp)
        self._logistic = logistic
        self._base = _logit(base) if logistic else base
        self._sums = np.empty((_PROBES, len(roots) + 1), dtype=np.float32)
        self._margins = np.empty(_PROBES, dtype=np.float32)
        self._native: Any = None
        if _trees is not None:
            numbers = (self._features, self._lefts, self._values, self._roots, np.array(depths, dtype=np.intp))
            self._native = _trees.Trees(self._limits, *numbers, width)

    def takes(self, rows: int) -> bool:
        """Whether so many rows are better walked than handed to the library."""
        return rows <= _PROBES and (self._native is not None or rows * len(self._roots) * self.depth <= _WORTH_WALKING)

    def predict(self, rows: Floats) -> Floats:
        """Predictions of a few rows (rows × features, no missing values, C order)."""
        count, width = rows.shape
        if self._native is not None:
            margins = np.empty(count, dtype=np.float32)
            self._native.margins(rows, self._base, margins)
            if self._logistic:
                self._native.chances(margins)
            return margins
        flat, at = rows.ravel(), self._roots
        if count > 1:
            at = np.broadcast_to(at, (count, len(at)))
            offsets = np.arange(0, count * width, width, dtype=np.intp)[:, None]
        for _ in range(self.depth):
            feature = self._features.take(at)
            if count > 1:
                feature = feature + offsets
            at = self._lefts.take(at) + (flat.take(feature) >= self._limits.take(at))
        sums = self._sums[:count]
        sums[:, 0] = self._base
        sums[:, 1:] = self._values.take(at)
        margins = sums.cumsum(axis=1, dtype=np.float32)[:, -1]  # one after another, as the library adds
        return _sigmoid(margins) if self._logistic else margins

    def answers(self, message: bytearray, at: int, size: int, head: bytes, said: bytes, rows: Floats) -> bytes | None:
        """The answer to a whole message of plain rows (``native.trees.answers``), where that can be had."""
        if self._native is None:
            return None
        found: bytes | None = _trees.answers(
            message, at, size, head, said, self._native, self._base, self._logistic, rows, self._margins
        )
        return found

    def equals(self, booster: Any, rounds: int) -> bool:
        """Whether it gives the library's bits, on rows that lie on and beside split points."""
        width = int(booster.num_features())
        probe = np.zeros((_PROBES, width), dtype=np.float32)
        random = np.random.default_rng(0)
        splits = np.isfinite(self._limits)
        for feature in range(width):
            points = self._limits[splits & (self._features == feature)]
            if len(points):
                drawn = random.choice(points, _PROBES)
                toward = random.choice(np.array([-np.inf, np.inf], dtype=np.float32), _PROBES)
                probe[:, feature] = np.where(random.random(_PROBES) < 0.4, drawn, np.nextafter(drawn, toward))
        expected = booster.inplace_predict(probe, iteration_range=(0, rounds), validate_features=False)
        return expected.shape == (_PROBES,) and bool(
            np.array_equal(self.predict(probe), expected)
            and all(np.array_equal(self.predict(probe[i : i + 1]), expected[i : i + 1]) for i in range(0, _PROBES, 16))
        )


def _c_expf() -> Callable[[float], float]:
    """C's single-precision exponential, which the library calls."""
    try:
        found = ctypes.CDLL(None).expf
    except (OSError, AttributeError):
        return lambda x: float(np.exp(np.float32(x)))
    found.argtypes, found.restype = [ctypes.c_float], ctypes.c_float
    expf: Callable[[float], float] = found
    return expf


_expf = _c_expf()


def _sigmoid(margins: Floats) -> Floats:
    """``Sigmoid`` of xgboost's ``src/common/math.h``; numpy's own exponential differs in the last bit."""
    one = np.float32(1)
    powers = np.array([_expf(x) for x in np.minimum(-margins, np.float32(88.7)).tolist()], dtype=np.float32)
    found: Floats = one / (powers + one + np.float32(1e-16))
    return found


def _logit(probability: np.float32) -> np.float32:
    """``ProbToMargin`` of xgboost's ``src/objective/regression_loss.h``."""
    one = np.float32(1)
    return np.float32(-np.log(np.float64(one / probability - one)))
