"""Many linear models that learn side by side: one product of matrices serves all of them."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..checkpoints import Learnt
from ..hyperparameters import Params
from .losses import Loss

Doubles = NDArray[np.float64]
_COUNT = 32
_RATES = (0.1, 0.03, 0.01, 0.003)
_DECAYS = (0.0, 1e-4, 1e-2, 1.0)
_LASSOS = (0.0, 1e-4)
_EPSILON = 1e-8


@dataclass(frozen=True, slots=True)
class Variant:
    """What is particular to one of the models."""

    learning_rate: float
    wd: float
    l1: float
    positive_weight: float = 1.0


def variants(params: Params, positive_weights: tuple[float, ...]) -> list[Variant]:
    """The models to learn: every combination of what the job leaves open, as many as it wants."""
    rates = _RATES if params["learning_rate"] is None else (params["learning_rate"],)
    decays = _DECAYS if params["wd"] is None else (params["wd"],)
    lassos = _LASSOS if params["l1"] is None else (params["l1"],)
    found = [Variant(*each) for each in product(rates, decays, lassos, positive_weights)]
    wanted = params["num_models"] or _COUNT
    while len(found) < wanted and params["num_models"]:
        found += found[: wanted - len(found)]  # nothing is open: they differ in where they begin
    return found[:wanted]


class Models(Learnt):
    """The models' weights, and how they change."""

    LEARNT = (
        "weights", "bias", "_steps", "_summed", "_mean_weights", "_mean_bias", "_weight_rule", "_bias_rule",
    )  # fmt: skip

    def __init__(self, params: Params, chosen: list[Variant], columns: int, outputs: int, random: np.random.Generator):
        self.variants = chosen
        self.outputs = outputs  # of each model
        self._params = params
        shape = (len(chosen) * outputs, columns)
        if params["init_method"] == "uniform":
            self.weights = random.uniform(-params["init_scale"], params["init_scale"], shape)
        else:
            self.weights = random.normal(0, params["init_sigma"], shape)
        self.bias = np.full(shape[0], params["init_bias"] if params["use_bias"] else 0.0)
        self._rates = self._spread("learning_rate")
        self._decay = self._spread("wd")
        self._lasso = self._spread("l1")
        self._steps = self._summed = 0
        self._mean_weights, self._mean_bias = self.weights.copy(), self.bias.copy()
        name = params["optimizer"] or "adam"
        self._weight_rule = _Rule(name, params, shape)
        self._bias_rule = _Rule(name, params, shape[:1])

    def _spread(self, name: str) -> Doubles:
        return np.repeat([getattr(v, name) for v in self.variants], self.outputs)

    def scores(self, rows: Any) -> Doubles:
        """[rows, models], or [rows, models, outputs] when a model has several."""
        found: Doubles = np.asarray(rows @ self.weights.T) + self.bias
        if self.outputs == 1:
            return found
        shaped: Doubles = found.reshape(len(found), len(self.variants), self.outputs)
        return shaped

    def learn(self, rows: Any, labels: Doubles, loss: Loss, weights: Doubles | None) -> Doubles:
        """A step on a batch; the losses' sum, for each model. ``weights`` are [rows, models]."""
        losses, slopes = loss(self.scores(rows), labels)
        if weights is not None:
            losses = losses * weights
            slopes = slopes * (weights[:, :, None] if slopes.ndim == 3 else weights)
        flat = slopes.reshape(len(labels), -1) / len(labels)
        gradient = np.asarray((rows.T @ flat).T) if not isinstance(rows, np.ndarray) else flat.T @ rows
        gradient = gradient + self._decay[:, None] * self.weights
        rate = self._rate()
        self.weights -= rate[:, None] * self._weight_rule.step(gradient)
        if self._lasso.any():
            shrunk = np.abs(self.weights) - (rate * self._lasso)[:, None]
            self.weights = np.sign(self.weights) * np.maximum(shrunk, 0)
        if self._params["use_bias"]:
            own = flat.sum(axis=0) + self._decay * (self._params["bias_wd_mult"] or 0.0) * self.bias
            self.bias -= rate * (self._params["bias_lr_mult"] or 1.0) * self._bias_rule.step(own)
        self._steps += 1
        self._summed += 1
        self._mean_weights += (self.weights - self._mean_weights) / self._summed
        self._mean_bias += (self.bias - self._mean_bias) / self._summed
        found: Doubles = losses.sum(axis=0)
        return found

    def begin_epoch(self) -> None:
        """Begin a new mean of the weights."""
        self._summed = 0

    @property
    def settled(self) -> Models:
        """The models with the mean of their weights over the epoch: the noise of single batches is gone from it."""
        found = copy(self)
        found.weights, found.bias = self._mean_weights, self._mean_bias
        return found

    def _rate(self) -> Doubles:
        """The learning rates now: they shrink by a factor every so many steps, down to a minimum."""
        if not self._params["use_lr_scheduler"]:
            return self._rates
        times = self._steps // self.schedule["lr_scheduler_step"]
        lowest = np.minimum(self.schedule["lr_scheduler_minimum_lr"], self._rates)
        found: Doubles = np.maximum(self._rates * self.schedule["lr_scheduler_factor"] ** times, lowest)
        return found

    @property
    def schedule(self) -> Params:
        """The learning rates' schedule."""
        return {
            "lr_scheduler_step": self._params["lr_scheduler_step"] or 100,
            "lr_scheduler_factor": self._params["lr_scheduler_factor"] or 0.99,
            "lr_scheduler_minimum_lr": self._params["lr_scheduler_minimum_lr"] or 1e-5,
        }

    def of(self, number: int) -> tuple[Doubles, Doubles]:
        """A model's weights [outputs, features] and biases [outputs]."""
        part = slice(number * self.outputs, (number + 1) * self.outputs)
        return self.weights[part].copy(), self.bias[part].copy()


class _Rule(Learnt):
    """From gradients to steps of length about one (adam, rmsprop) or as they are (sgd)."""

    LEARNT = ("_first", "_second", "_steps")

    def __init__(self, name: str, params: Params, shape: tuple[int, ...]):
        self._name = name
        self._momentum = params["momentum"] if params["momentum"] is not None else 0.9 if name == "rmsprop" else 0.0
        self._first_decay = params["beta_1"] if params["beta_1"] is not None else 0.9
        self._second_decay = params["beta_2"] if params["beta_2"] is not None else 0.999
        self._first = np.zeros(shape)
        self._second = np.zeros(shape)
        self._steps = 0

    def step(self, gradient: Doubles) -> Doubles:
        self._steps += 1
        if self._name == "sgd":
            self._first = self._momentum * self._first + gradient
            return self._first
        if self._name == "rmsprop":
            self._second = self._momentum * self._second + (1 - self._momentum) * gradient**2
            found: Doubles = gradient / (np.sqrt(self._second) + _EPSILON)
            return found
        self._first = self._first_decay * self._first + (1 - self._first_decay) * gradient
        self._second = self._second_decay * self._second + (1 - self._second_decay) * gradient**2
        first = self._first / (1 - self._first_decay**self._steps)
        second = self._second / (1 - self._second_decay**self._steps)
        found = first / (np.sqrt(second) + _EPSILON)
        return found
