"""Losses and their slopes, for all models at once: scores are [rows, models] (multiclass: [rows, models, classes])."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..hyperparameters import Params
from ..scores import sigmoid, softmax

Doubles = NDArray[np.float64]
Loss = Callable[[Doubles, Doubles], tuple[Doubles, Doubles]]
"""Scores and labels [rows] to losses [rows, models] and their slopes, which have the scores' shape."""


def logistic(scores: Doubles, labels: Doubles) -> tuple[Doubles, Doubles]:
    """Cross entropy of labels 0 and 1."""
    y = labels[:, None]
    return np.logaddexp(0, scores) - y * scores, sigmoid(scores) - y


def softmax_loss(scores: Doubles, labels: Doubles) -> tuple[Doubles, Doubles]:
    """Cross entropy of class numbers."""
    chances = softmax(scores)
    rows, chosen = np.arange(len(labels)), labels.astype(np.int64)
    losses = -np.log(np.maximum(chances[rows, :, chosen], 1e-30))
    slopes = chances
    slopes[rows, :, chosen] -= 1
    return losses, slopes


def loss_of(name: str, params: Params, scale: float) -> Loss:
    """The loss of a name. ``scale`` is what labels were divided by: widths given in labels' units shrink with it."""
    if name == "logistic":
        return logistic
    if name == "softmax_loss":
        return softmax_loss
    if name == "hinge_loss":
        return _hinge(params["margin"])
    if name == "squared_loss":
        return lambda scores, labels: _squared(scores - labels[:, None])
    if name == "absolute_loss":
        return lambda scores, labels: _absolute(scores - labels[:, None])
    if name == "quantile_loss":
        return _quantile(params["quantile"])
    if name == "huber_loss":
        return _huber(params["huber_delta"] / scale)
    width = params["loss_insensitivity"] / scale
    outer = _squared if name == "eps_insensitive_squared_loss" else _absolute
    return lambda scores, labels: outer(_beyond(scores - labels[:, None], width))


def _squared(error: Doubles) -> tuple[Doubles, Doubles]:
    return error**2, 2 * error


def _absolute(error: Doubles) -> tuple[Doubles, Doubles]:
    return np.abs(error), np.sign(error)


def _beyond(error: Doubles, width: float) -> Doubles:
    found: Doubles = np.sign(error) * np.maximum(np.abs(error) - width, 0)
    return found


def _hinge(margin: float) -> Loss:
    def loss(scores: Doubles, labels: Doubles) -> tuple[Doubles, Doubles]:
        sign = 2 * labels[:, None] - 1
        missing = margin - sign * scores
        return np.maximum(missing, 0), np.where(missing > 0, -sign, 0.0)

    return loss


def _quantile(quantile: float) -> Loss:
    def loss(scores: Doubles, labels: Doubles) -> tuple[Doubles, Doubles]:
        short = labels[:, None] - scores
        return np.maximum(quantile * short, (quantile - 1) * short), np.where(short > 0, -quantile, 1 - quantile)

    return loss


def _huber(delta: float) -> Loss:
    def loss(scores: Doubles, labels: Doubles) -> tuple[Doubles, Doubles]:
        error = scores - labels[:, None]
        size = np.abs(error)
        small = size <= delta
        return np.where(small, error**2 / 2, delta * (size - delta / 2)), np.where(small, error, delta * np.sign(error))

    return loss
