"""From scores to probabilities, and how good predictions are: what algorithms log, the threshold of a classifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .hyperparameters import Params

Doubles = NDArray[np.float64]


def sigmoid(scores: Doubles) -> Doubles:
    """1 / (1 + e^-x), without overflow."""
    found: Doubles = 0.5 * (1 + np.tanh(0.5 * scores))
    return found


def softmax(scores: Doubles) -> Doubles:
    """Probabilities along the last axis."""
    raised = np.exp(scores - scores.max(axis=-1, keepdims=True))
    found: Doubles = raised / raised.sum(axis=-1, keepdims=True)
    return found


def ranks_above(scores: Doubles, labels: Doubles) -> float:
    """The area under the ROC curve: how often a positive row scores above a negative one; ties count half."""
    order = np.argsort(scores, kind="stable")
    _, inverse, counts = np.unique(scores[order], return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    rank = ((last - counts + 1 + last) / 2)[inverse]
    positive = labels[order] > 0.5
    count = int(positive.sum())
    if not 0 < count < len(labels):
        return 0.0
    return float((rank[positive].sum() - count * (count + 1) / 2) / (count * (len(labels) - count)))


@dataclass(frozen=True, slots=True)
class Curve:
    """True and false positives at every threshold; the first threshold lets nothing through."""

    thresholds: Doubles
    true: Doubles
    false: Doubles
    positives: float
    negatives: float

    @classmethod
    def of(cls, scores: Doubles, labels: Doubles) -> Curve:
        """The curve of some scores; label 1 is positive."""
        order = np.argsort(-scores, kind="stable")
        ranked, hit = scores[order], labels[order] > 0.5
        last = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
        true, false = np.cumsum(hit)[last], np.cumsum(~hit)[last]
        above = np.nextafter(ranked[0], np.inf)
        return cls(
            np.append(above, ranked[last]), np.append(0.0, true), np.append(0.0, false), float(hit.sum()),
            float(len(hit) - hit.sum()),
        )  # fmt: skip

    @property
    def accuracy(self) -> Doubles:
        """The part of rows that are told right."""
        found: Doubles = (self.true + self.negatives - self.false) / (self.positives + self.negatives)
        return found

    @property
    def precision(self) -> Doubles:
        """The part of what is let through that is positive; 0 where nothing is."""
        found: Doubles = self.true / np.maximum(self.true + self.false, 1)
        return found

    @property
    def recall(self) -> Doubles:
        """The part of what is positive that is let through."""
        found: Doubles = self.true / max(self.positives, 1)
        return found

    def f_beta(self, beta: float) -> Doubles:
        """The weighted harmonic mean of precision and recall."""
        wide = beta * beta
        found: Doubles = (1 + wide) * self.true / np.maximum(wide * self.positives + self.true + self.false, 1e-12)
        return found

    def best(self, criterion: str, params: Params) -> tuple[float, float]:
        """The threshold that serves a criterion best, and what it reaches there."""
        if criterion in ("f1", "f_beta"):
            values = self.f_beta(1.0 if criterion == "f1" else params["f_beta"])
        elif criterion == "precision_at_target_recall":
            values = np.where(self.recall >= params["target_recall"], self.precision, -1.0)
        elif criterion == "recall_at_target_precision":
            values = np.where(self.precision >= params["target_precision"], self.recall, -1.0)
        else:
            values = self.accuracy
        best = int(values.argmax())
        if best + 1 < len(self.thresholds) and best:  # half-way to the next score, so that near ones are told alike
            return float((self.thresholds[best] + self.thresholds[best + 1]) / 2), float(values[best])
        return float(self.thresholds[best]), float(values[best])


def binary(scores: Doubles, labels: Doubles, threshold: float, beta: float) -> dict[str, float]:
    """The scores of a binary classifier at a threshold."""
    told = scores >= threshold
    is_true = labels > 0.5
    hits, false = float((told & is_true).sum()), float((told & ~is_true).sum())
    positives, negatives = float(is_true.sum()), float((~is_true).sum())
    recall = hits / max(positives, 1)
    wide = beta * beta
    return {
        "binary_classification_accuracy": float((told == is_true).mean()),
        f"binary_f_{beta:.3f}": (1 + wide) * hits / max(wide * positives + hits + false, 1e-12),
        "precision": hits / max(hits + false, 1),
        "recall": recall,
        "roc_auc_score": ranks_above(scores, labels),
        "binary_balanced_accuracy": (recall + (negatives - false) / max(negatives, 1)) / 2,
    }


def multiclass(chances: Doubles, labels: Doubles, top: int, beta: float) -> dict[str, float]:
    """The scores of a multiclass classifier; ``chances`` are [rows, classes]."""
    classes = chances.shape[1]
    told, true = chances.argmax(axis=1), labels.astype(np.int64)
    rows = np.arange(len(true))
    place = (chances > chances[rows, true][:, None]).sum(axis=1)  # how many classes stand before the right one
    table = np.zeros((classes, classes))
    np.add.at(table, (true, told), 1)
    hits, here, said = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    present = here > 0
    recall = hits[present] / here[present]
    precision = hits[present] / np.maximum(said[present], 1)
    wide = beta * beta
    f = (1 + wide) * precision * recall / np.maximum(wide * precision + recall, 1e-12)
    return {
        "multiclass_accuracy": float((told == true).mean()),
        f"multiclass_top_k_accuracy_{top}": float((place < top).mean()),
        "dcg": float((1 / np.log2(place + 2)).mean()),
        "macro_recall": float(recall.mean()),
        "macro_precision": float(precision.mean()),
        f"macro_f_{beta:.3f}": float(f.mean()),
        "multiclass_balanced_accuracy": float(recall.mean()),
    }


def regression(predicted: Doubles, labels: Doubles) -> dict[str, float]:
    """The losses of a regressor."""
    error = predicted - labels
    mse = float((error**2).mean())
    spread = float(((labels - labels.mean()) ** 2).mean())
    return {
        "mse": mse, "absolute_loss": float(np.abs(error).mean()), "rmse": mse**0.5,
        "r2": 1 - mse / spread if spread else 0.0,
    }  # fmt: skip
