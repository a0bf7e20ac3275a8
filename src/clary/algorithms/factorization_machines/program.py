"""Factorization machines: a linear model and, for every pair of features, the product of two learnt vectors.

Source: S. Rendle, "Factorization machines" (2010); the SageMaker developer guide, "How factorization machines work".
"""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ndarray
from ..checkpoints import Learnt
from ..contract import Columns
from ..environment import UserError
from ..hosting import artifact
from ..hyperparameters import Params
from ..job import Job
from ..readers.source import Source
from ..scores import binary, regression, sigmoid

Doubles = NDArray[np.float64]
_PUBLISHED = 500  # batches between two lines of the log
_FIRST, _SECOND = 0.9, 0.999  # decays of Adam
_EPSILON = 1e-8


def train(job: Job) -> None:
    """Learn batch by batch."""
    params, report = job.params, job.report
    source = job.source("train")
    machine = Machine.fresh(params, job.random)
    learner = _Learner(machine, params)
    for epoch in job.epochs(params["epochs"], learner):
        began, rows, tally = time.perf_counter(), 0, Tally(params["predictor_type"])
        for number, batch in enumerate(source.batches(params["mini_batch_size"], job.random)):
            labels = _labels(batch.labels, params, "train")
            scores = learner.learn(_compressed(batch.features, params["feature_dim"]), labels)
            part = Tally(params["predictor_type"])
            part.take(scores, labels)
            tally.take(scores, labels)
            rows += batch.rows
            if number % _PUBLISHED == 0:
                part.tell(report, "train", epoch, number)
        if not np.isfinite(machine.factors).all():
            raise UserError("The factors are no numbers any more; choose smaller learning rates or a clip_gradient.")
        report.throughput(rows, time.perf_counter() - began)
        tally.tell(report, "train", epoch)
    tally.tell(report, "train")
    _save(job.artifact, machine, params)
    if job.has("test"):
        tested = Tally(params["predictor_type"])
        _score(machine, job.source("test"), params, tested)
        for name, value in tested.values().items():
            report.test_score(name, value)
        tested.tell(report, "test")


def _labels(labels: Any, params: Params, channel: str) -> Doubles:
    if labels is None:
        raise UserError(f"The records of the {channel} channel have no labels.")
    if params["predictor_type"] == "binary_classifier" and not np.isin(labels, (0, 1)).all():
        odd = labels[~np.isin(labels, (0, 1))][0]
        raise UserError(f"The {channel} channel has the label {odd:g}; a binary_classifier takes 0 and 1 only.")
    found: Doubles = labels.astype(np.float64)
    return found


def _compressed(features: Any, columns: int) -> Any:
    from scipy.sparse import csr_matrix

    if features.shape[1] > columns or (isinstance(features, np.ndarray) and features.shape[1] != columns):
        raise UserError(f"The hyperparameter feature_dim is {columns}, but records have {features.shape[1]} features.")
    found = csr_matrix(features, dtype=np.float64)
    found.resize((found.shape[0], columns))
    return found


def _score(machine: Machine, source: Source, params: Params, tally: Tally) -> None:
    for block in source.batches(1 << 14):
        labels = _labels(block.labels, params, "test")
        tally.take(machine.scores(_compressed(block.features, params["feature_dim"])), labels)


class Machine(Learnt):
    """The weights: one bias, one for each feature, and a vector for each feature."""

    LEARNT = ("bias", "linear", "factors")

    def __init__(self, bias: float, linear: Doubles, factors: Doubles):
        self.bias = bias
        self.linear = linear  # [features]
        self.factors = factors  # [features, factors]

    @classmethod
    def fresh(cls, params: Params, random: np.random.Generator) -> Machine:
        """As the hyperparameters want it to begin."""
        columns = params["feature_dim"]
        return cls(
            float(_begin("bias", params, random, (1,))[0]),
            _begin("linear", params, random, (columns,)),
            _begin("factors", params, random, (columns, params["num_factors"])),
        )

    def scores(self, rows: Any) -> Doubles:
        """[rows], of rows in compressed form."""
        crossed = rows @ self.factors
        squares = rows.multiply(rows) @ (self.factors**2)
        found: Doubles = self.bias + rows @ self.linear + 0.5 * (crossed**2 - squares).sum(axis=1)
        return found


def _begin(name: str, params: Params, random: np.random.Generator, shape: tuple[int, ...]) -> Doubles:
    method = params[f"{name}_init_method"]
    if method == "constant":
        return np.full(shape, params[f"{name}_init_value"] or 0.0)
    if method == "uniform":
        scale = params[f"{name}_init_scale"] or 0.001
        return random.uniform(-scale, scale, shape)
    return random.normal(0, params[f"{name}_init_sigma"], shape)


class _Learner(Learnt):
    """Adam on the features that a batch has; the others rest."""

    LEARNT = ("_machine", "_bias", "_linear", "_factors", "_steps")

    def __init__(self, machine: Machine, params: Params):
        self._machine = machine
        self._params = params
        self._classifies = params["predictor_type"] == "binary_classifier"
        self._bias = np.zeros(1), np.zeros(1)
        self._linear = np.zeros_like(machine.linear), np.zeros_like(machine.linear)
        self._factors = np.zeros_like(machine.factors), np.zeros_like(machine.factors)
        self._steps = 0

    def learn(self, rows: Any, labels: Doubles) -> Doubles:
        """A step; the scores before it."""
        machine, params = self._machine, self._params
        self._steps += 1
        used, small, squared = _used(rows)
        factors = machine.factors[used]
        crossed = small @ factors
        scores = (
            machine.bias + small @ machine.linear[used]
            + 0.5 * (crossed**2 - squared @ (factors**2)).sum(axis=1)
        )  # fmt: skip
        slopes = (sigmoid(scores) if self._classifies else scores) - labels
        scale = params["rescale_grad"] or 1 / len(labels)
        slopes = slopes * scale
        turned = small.T
        of_factors = turned @ (slopes[:, None] * crossed) - (squared.T @ slopes)[:, None] * factors
        bias = np.array([machine.bias])
        self._move(bias, slice(None), np.array([slopes.sum()]), self._bias, "bias")
        machine.bias = float(bias[0])
        self._move(machine.linear, used, turned @ slopes, self._linear, "linear")
        self._move(machine.factors, used, of_factors, self._factors, "factors")
        found: Doubles = scores
        return found

    def _move(
        self, weights: Doubles, used: Any, gradient: Doubles, moments: tuple[Doubles, Doubles], name: str
    ) -> None:
        params = self._params
        gradient = gradient + params[f"{name}_wd"] * weights[used]
        if params["clip_gradient"]:
            gradient = np.clip(gradient, -params["clip_gradient"], params["clip_gradient"])
        first, second = moments
        first[used] = _FIRST * first[used] + (1 - _FIRST) * gradient
        second[used] = _SECOND * second[used] + (1 - _SECOND) * gradient**2
        level = first[used] / (1 - _FIRST**self._steps)
        spread = np.sqrt(second[used] / (1 - _SECOND**self._steps)) + (params["eps"] or _EPSILON)
        weights[used] -= params[f"{name}_lr"] * level / spread


def _used(rows: Any) -> tuple[Any, Any, Any]:
    """The features that rows have, the rows with these alone, and their squares; full rows are plain arrays."""
    count, columns = rows.shape
    if not rows.has_canonical_format:
        rows.sum_duplicates()
    if rows.nnz == count * columns:  # arrays are several times as fast
        full = rows.toarray()
        return np.arange(columns), full, full**2
    from scipy.sparse import csr_matrix

    used, places = np.unique(rows.indices, return_inverse=True)
    shape = count, len(used)
    small = csr_matrix((rows.data, places, rows.indptr), shape=shape)
    return used, small, csr_matrix((rows.data**2, places, rows.indptr), shape=shape)


class Tally:
    """Scores and labels that went by, and how well they agree."""

    def __init__(self, kind: str):
        self._kind = kind
        self._scores: list[Doubles] = []
        self._labels: list[Doubles] = []

    def take(self, scores: Doubles, labels: Doubles) -> None:
        """A batch."""
        self._scores.append(scores)
        self._labels.append(labels)

    def values(self) -> dict[str, float]:
        """The qualities by their names in the log."""
        scores, labels = np.concatenate(self._scores), np.concatenate(self._labels)
        if self._kind == "regressor":
            found = regression(scores, labels)
            return {name: found[name] for name in ("rmse", "mse", "absolute_loss")}
        found = binary(sigmoid(scores), labels, 0.5, 1.0)
        entropy = float((np.logaddexp(0, scores) - labels * scores).mean())
        return {
            "binary_classification_accuracy": found["binary_classification_accuracy"],
            "binary_classification_cross_entropy": entropy, "binary_f_1.000": found["binary_f_1.000"],
        }  # fmt: skip

    def tell(self, report: Any, channel: str, epoch: int | None = None, batch: int | None = None) -> None:
        """Log them."""
        for name, value in self.values().items():
            is_loss = self._kind == "regressor" or name.endswith("entropy")
            (report.loss if is_loss else report.score)(f"{channel} {name}", value, epoch, batch)


class Factorized:
    """A model."""

    outer = "predictions"

    def __init__(self, machine: Machine, kind: str):
        self._machine = machine
        self._kind = kind
        self.columns = len(machine.linear)

    def predict(self, features: Any, options: Mapping[str, str]) -> Columns:
        """A value, or a probability with the label that it tells."""
        scores = self._machine.scores(_compressed(features, self.columns))
        if self._kind == "regressor":
            return {"score": scores.astype(np.float32)}
        chances = sigmoid(scores)
        return {"score": chances.astype(np.float32), "predicted_label": (chances >= 0.5).astype(np.float32)}


def _save(path: Path, machine: Machine, params: Params) -> None:
    named = {
        "v": machine.factors.astype(np.float32), "w1_weight": machine.linear[:, None].astype(np.float32),
        "w0_weight": np.array([[machine.bias]], dtype=np.float32),
    }  # fmt: skip
    nodes = [{"op": "null", "name": name, "inputs": []} for name in ("data", *named)]
    symbol = {"nodes": nodes, "arg_nodes": [0, 1, 2, 3], "heads": [[0, 0, 0]]}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("params", ndarray.dumps(named))
        packed.writestr("symbol.json", json.dumps(symbol))
        packed.writestr("meta.json", json.dumps({"predictor_type": params["predictor_type"]}))


def load(folder: Path) -> Factorized:
    """The machine of a model archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(artifact(folder).read_bytes())) as packed:
            named = ndarray.load(packed.read("params"))
            kind = json.loads(packed.read("meta.json"))["predictor_type"]
            linear = named["w1_weight"].ravel().astype(np.float64)
            machine = Machine(float(named["w0_weight"].ravel()[0]), linear, named["v"].astype(np.float64))
            return Factorized(machine, kind)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UserError(f"model_algo-1 is no factorization machine: {error}") from None
