"""Evaluation metrics: which way is better, and those that the library lacks, computed with scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Score = Callable[[Floats, Floats], float]

MAXIMIZED = frozenset(
    (
        "accuracy", "auc", "aucpr", "balanced_accuracy", "f1", "f1_binary", "f1_macro", "map", "ndcg", "precision",
        "precision_macro", "precision_micro", "r2", "recall", "recall_macro", "recall_micro", "pre",
    )
)  # fmt: skip


def _sklearn(name: str, **options: Any) -> Score:
    def score(labels: Floats, predicted: Floats) -> float:
        from sklearn import metrics  # loaded only by jobs that ask for such a metric

        return float(getattr(metrics, name)(labels, predicted, **options))

    return score


_QUIET = {"zero_division": 0}
CUSTOM: dict[str, Score] = {
    "accuracy": _sklearn("accuracy_score"),
    "balanced_accuracy": _sklearn("balanced_accuracy_score"),
    "f1": _sklearn("f1_score", average="macro", **_QUIET),
    "f1_binary": _sklearn("f1_score", average="binary", **_QUIET),
    "f1_macro": _sklearn("f1_score", average="macro", **_QUIET),
    "precision": _sklearn("precision_score", **_QUIET),
    "precision_macro": _sklearn("precision_score", average="macro", **_QUIET),
    "precision_micro": _sklearn("precision_score", average="micro", **_QUIET),
    "recall": _sklearn("recall_score", **_QUIET),
    "recall_macro": _sklearn("recall_score", average="macro", **_QUIET),
    "recall_micro": _sklearn("recall_score", average="micro", **_QUIET),
    "mse": lambda labels, predicted: float(np.mean((labels - predicted) ** 2)),
    "r2": _sklearn("r2_score"),
}
_REGRESSION = frozenset(("mse", "r2"))


def maximized(name: str) -> bool:
    """Whether more is better."""
    return name.partition("@")[0] in MAXIMIZED


def split(names: list[str]) -> tuple[list[str], list[str]]:
    """The library's own metrics, and ours."""
    return [n for n in names if n not in CUSTOM], [n for n in names if n in CUSTOM]


def callback(names: list[str], objective: str) -> Callable[[Floats, Any], list[tuple[str, float]]] | None:
    """A function for the library that computes our metrics from its predictions."""
    if not names:
        return None

    def evaluate(predictions: Floats, matrix: Any) -> list[tuple[str, float]]:
        labels = matrix.get_label()
        classes = _classes(predictions, objective)
        return [(n, CUSTOM[n](labels, predictions if n in _REGRESSION else classes)) for n in names]

    return evaluate


def _classes(predictions: Floats, objective: str) -> Any:
    """Predicted classes; the library hands over transformed predictions, margins only for ``binary:logitraw``."""
    if predictions.ndim == 2 and predictions.shape[1] > 1:
        return predictions.argmax(axis=1)
    if objective == "binary:logitraw":
        return (predictions > 0).astype(np.int64)
    if objective.startswith(("binary:", "reg:logistic")):
        return (predictions > 0.5).astype(np.int64)
    return predictions.astype(np.int64)
