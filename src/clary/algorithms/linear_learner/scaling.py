"""Features and labels brought to mean 0 and deviation 1 while learning, and weights brought back for the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..hyperparameters import Params
from ..readers.table import Table

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scaling:
    """What is taken from features and labels, and what they are divided by."""

    mean: Doubles  # [features]
    deviation: Doubles  # [features]
    label_mean: float = 0.0
    label_deviation: float = 1.0

    @classmethod
    def of(cls, sample: Table, params: Params) -> Scaling:
        """From the first rows. Sparse features are divided only: without their zeros they would no longer be sparse."""
        width = sample.columns
        mean, deviation = np.zeros(width), np.ones(width)
        moments = _moments(sample.features)
        if params["normalize_data"] is not False:
            deviation = np.where(moments[1] > 1e-12, moments[1], 1.0)
        if params["unbias_data"] is not False and params["use_bias"] and sample.dense:
            mean = moments[0]
        if params["predictor_type"] != "regressor" or sample.labels is None:
            return cls(mean, deviation)
        label_mean, label_deviation = 0.0, 1.0
        if params["normalize_label"] is not False:
            label_deviation = float(sample.labels.std()) or 1.0
        if params["unbias_label"] is not False and params["use_bias"]:
            label_mean = float(sample.labels.mean())
        return cls(mean, deviation, label_mean, label_deviation)

    def features(self, rows: Any) -> Any:
        """Scaled rows."""
        if isinstance(rows, np.ndarray):
            return (rows - self.mean) / self.deviation
        from scipy.sparse import diags

        return (rows @ diags(1 / self.deviation)).tocsr()

    def labels(self, labels: Any) -> Doubles:
        """Scaled labels."""
        found: Doubles = (labels.astype(np.float64) - self.label_mean) / self.label_deviation
        return found

    def unscaled(self, weights: Doubles, bias: Doubles) -> tuple[Doubles, Doubles]:
        """Weights [outputs, features] and biases [outputs] for features and labels as they are."""
        raw = weights / self.deviation * self.label_deviation
        return raw, bias * self.label_deviation + self.label_mean - raw @ self.mean


def _moments(rows: Any) -> tuple[Doubles, Doubles]:
    if isinstance(rows, np.ndarray):
        return rows.mean(axis=0, dtype=np.float64), rows.std(axis=0, dtype=np.float64)
    mean = np.asarray(rows.mean(axis=0, dtype=np.float64)).ravel()
    squares = np.asarray(rows.multiply(rows).mean(axis=0, dtype=np.float64)).ravel()
    return mean, np.sqrt(np.maximum(squares - mean**2, 0))
