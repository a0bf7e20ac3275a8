"""Linear Learner: many linear models learn at once, the best on the validation data is kept, its threshold calibrated.

Source: the SageMaker developer guide, "How linear learner works".
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import Columns
from ..environment import UserError
from ..job import Job
from ..patience import Patience
from ..readers.source import Source
from ..readers.table import Table
from ..scores import Curve, binary, multiclass, regression, sigmoid, softmax
from . import artifact
from .declaration import LOSSES
from .losses import loss_of
from .models import Models, variants
from .scaling import Scaling

Doubles = NDArray[np.float64]
_CALIBRATION_ROWS = 10_000_000
_OBJECTIVES = {
    "logistic": "binary_classification_cross_entropy_objective", "hinge_loss": "hinge_objective",
    "softmax_loss": "multiclass_cross_entropy_objective", "squared_loss": "mse_objective",
    "absolute_loss": "absolute_loss_objective", "quantile_loss": "quantile_objective", "huber_loss": "huber_objective",
    "eps_insensitive_squared_loss": "eps_insensitive_squared_objective",
    "eps_insensitive_absolute_loss": "eps_insensitive_absolute_objective",
}  # fmt: skip


def train(job: Job) -> None:
    """Learn, select, calibrate, save."""
    learner = Learner(job)
    learner.learn()
    best = learner.select()
    learner.finish(best)


class Learner:
    """A job's work."""

    def __init__(self, job: Job):
        self._job = job
        self._params = job.params
        self._kind = self._params["predictor_type"]
        self._name = self._params["loss"] or LOSSES[self._kind][0]
        self._objective = _OBJECTIVES[self._name]
        self._source = job.source("train")
        self._held_out = job.source("validation") if job.has("validation") else None
        sample = self._sample()
        self._columns = job.dimension(sample.columns)
        self._scaling = Scaling.of(sample, self._params)
        self._loss = loss_of(self._name, self._params, self._scaling.label_deviation)
        self._class_weights: Doubles | None = None
        chosen = variants(self._params, self._positive_weights())
        outputs = self._params["num_classes"] if self._kind == "multiclass_classifier" else 1
        if self._params["balance_multiclass_weights"] and outputs > 1:
            counts = self._label_counts(outputs)
            self._class_weights = counts.sum() / (outputs * np.maximum(counts, 1))
        self._models = Models(self._params, chosen, self._columns, outputs, job.random)
        self._positive = np.array([v.positive_weight for v in chosen])

    # ---- data ------------------------------------------------------------------------------------------------------

    def _sample(self) -> Table:
        for block in self._source.batches(self._params["num_point_for_scaler"]):
            self._check(block, "train")
            return block
        raise UserError("The train channel has no rows.")

    def _check(self, table: Table, channel: str) -> None:
        labels = table.labels
        if labels is None:
            raise UserError(f"The rows of the {channel} channel have no labels.")
        if self._kind == "binary_classifier" and not np.isin(labels, (0, 1)).all():
            odd = labels[~np.isin(labels, (0, 1))][0]
            raise UserError(
                f"The {channel} channel has the label {odd:g}; a binary_classifier takes the labels 0 and 1 only."
            )
        if self._kind == "multiclass_classifier":
            classes = self._params["num_classes"]
            wrong = (labels < 0) | (labels >= classes) | (labels != np.floor(labels))
            if wrong.any():
                raise UserError(
                    f"The {channel} channel has the label {labels[wrong][0]:g}; with num_classes {classes} labels are "
                    f"the whole numbers from 0 to {classes - 1}."
                )

    def _label_counts(self, classes: int) -> Doubles:
        counts = np.zeros(classes)
        for block in self._source.blocks():
            self._check(block, "train")
            assert block.labels is not None
            counts += np.bincount(block.labels.astype(np.int64), minlength=classes)
        return counts

    def _positive_weights(self) -> tuple[float, ...]:
        wanted = self._params["positive_example_weight_mult"]
        if self._kind != "binary_classifier":
            return (1.0,)
        if isinstance(wanted, float):
            return (wanted,)
        negatives, positives = self._label_counts(2)
        balanced = float(negatives / max(positives, 1)) or 1.0
        return (balanced,) if wanted == "balanced" else (1.0, balanced**0.5, balanced)

    def _weights(self, labels: Doubles) -> Doubles | None:
        """[rows, models]; none when every row counts one."""
        if self._class_weights is not None:
            return np.repeat(self._class_weights[labels.astype(np.int64)][:, None], len(self._positive), axis=1)
        if self._kind == "binary_classifier" and (self._positive != 1).any():
            return np.where(labels[:, None] > 0.5, self._positive, 1.0)
        return None

    def _scaled(self, table: Table) -> tuple[Any, Doubles]:
        features = table.features
        if not table.dense and table.columns != self._columns:
            if table.columns > self._columns:
                raise UserError(f"A row has {table.columns} features, the first ones have {self._columns}.")
            features.resize((table.rows, self._columns))
        elif table.columns != self._columns:
            raise UserError(f"A row has {table.columns} features, the train channel has {self._columns}.")
        assert table.labels is not None
        return self._scaling.features(features), self._scaling.labels(table.labels)

    # ---- learning --------------------------------------------------------------------------------------------------

    def learn(self) -> None:
        """All epochs, or fewer when nothing gets better."""
        report = self._job.report
        patience = Patience(self._params["early_stopping_patience"], self._params["early_stopping_tolerance"])
        for epoch in self._job.epochs(self._params["epochs"], self._models, patience):
            began = time.perf_counter()
            self._models.begin_epoch()
            losses, rows = np.zeros(len(self._positive)), 0
            for batch in self._source.batches(self._params["mini_batch_size"], self._job.random):
                self._check(batch, "train")
                features, labels = self._scaled(batch)
                losses += self._models.learn(features, labels, self._loss, self._weights(labels))
                rows += batch.rows
            report.throughput(rows, time.perf_counter() - began)
            mean = losses / rows
            if not np.isfinite(mean).any():
                raise UserError("The loss of every model is no number any more; choose a smaller learning_rate.")
            report.loss(f"train {self._objective}", float(np.nanmin(mean)), epoch=epoch)
            watched = float(np.nanmin(mean))
            if self._held_out is not None:
                watched = float(np.nanmin(self._mean_losses(self._held_out, "validation")))
                report.loss(f"validation {self._objective}", watched, epoch=epoch)
            report.say(
                f"#early_stopping_criteria_metric: host={report.host}, epoch={epoch}, criteria={self._objective}, "
                f"value={watched}"
            )
            if not patience.better(watched) and patience.over:
                looks = self._params["early_stopping_patience"]
                report.say(f"Early stop after epoch {epoch}: no improvement in {looks} epochs.")
                return

    def _mean_losses(self, source: Source, channel: str) -> Doubles:
        """Each model's loss on some data, weighted as in training."""
        total, rows = np.zeros(len(self._positive)), 0
        for block in source.batches(1 << 16):
            self._check(block, channel)
            features, labels = self._scaled(block)
            losses, _ = self._loss(self._models.settled.scores(features), labels)
            weights = self._weights(labels)
            total += (losses if weights is None else losses * weights).sum(axis=0)
            rows += block.rows
        return total / rows

    # ---- selection -------------------------------------------------------------------------------------------------

    def _judges(self) -> tuple[Source, str]:
        """What models are compared on."""
        return (self._held_out, "validation") if self._held_out is not None else (self._source, "train")

    def select(self) -> int:
        """The number of the best model."""
        source, channel = self._judges()
        criterion = self._params["binary_classifier_model_selection_criteria"]
        losses = np.nan_to_num(self._mean_losses(source, channel), nan=np.inf)
        if self._kind != "binary_classifier" or criterion in ("cross_entropy_loss", "loss_function"):
            return int(losses.argmin())
        scores, labels = self._all_scores(source)
        reached = [
            Curve.of(scores[:, i], labels).best(criterion, self._params)[1] if np.isfinite(losses[i]) else -2.0
            for i in range(scores.shape[1])
        ]
        return min(range(len(reached)), key=lambda i: (-reached[i], losses[i]))

    def _all_scores(self, source: Source) -> tuple[Doubles, Doubles]:
        limit = self._params["num_calibration_samples"] or _CALIBRATION_ROWS
        scores, labels, rows = [], [], 0
        for block in source.batches(1 << 16):
            features, known = self._scaled(block)
            scores.append(self._models.settled.scores(features))
            labels.append(known)
            rows += block.rows
            if rows >= limit:
                break
        return np.concatenate(scores)[:limit], np.concatenate(labels)[:limit]

    def finish(self, best: int) -> None:
        """Calibrate and save the best model, and say how good it is."""
        weights, bias = self._scaling.unscaled(*self._models.settled.of(best))
        model = Linear(weights, bias, self._kind, self._name, self._threshold(best))
        chosen = self._models.variants[best]
        found = {
            "optimizer": self._params["optimizer"] or "adam", "learning_rate": chosen.learning_rate, "wd": chosen.wd,
            "l1": chosen.l1, **self._models.schedule,
        }  # fmt: skip
        report = self._job.report
        report.say(f"Best model found for hyperparameters: {json.dumps(found)}")
        artifact.save(self._job.artifact, weights, bias, model.more())
        self._tell(model, "train", self._source)
        if self._held_out is not None:
            self._tell(model, "validation", self._held_out)
        if self._job.has("test"):
            self._tell(model, "test", self._job.source("test"))

    def _threshold(self, best: int) -> float:
        """In the units of the score that is answered."""
        criterion = self._params["binary_classifier_model_selection_criteria"]
        neutral = 0.5 if self._name == "logistic" else 0.0
        if self._kind != "binary_classifier" or criterion in ("cross_entropy_loss", "loss_function"):
            return neutral
        scores, labels = self._all_scores(self._judges()[0])
        threshold, _ = Curve.of(scores[:, best], labels).best(criterion, self._params)
        return float(sigmoid(np.array(threshold))) if self._name == "logistic" else threshold

    def _tell(self, model: Linear, channel: str, source: Source) -> None:
        report = self._job.report
        margins, labels = [], []
        for block in source.batches(1 << 16):
            self._check(block, channel)
            assert block.labels is not None
            margins.append(model.margins(block.features))
            labels.append(block.labels.astype(np.float64))
        margin, known = np.concatenate(margins), np.concatenate(labels)
        loss = loss_of(self._name, self._params, 1.0)
        shaped = margin[:, None, :] if self._kind == "multiclass_classifier" else margin
        losses, _ = loss(shaped, known)
        values = self._qualities(model, margin, known)
        report.loss(f"{channel} {self._objective}", float(losses.mean()))
        for name, value in values.items():
            said = f"#{channel}_score ({report.host}) : ('{name}', {value})"
            report.say(said)
            lower = self._kind == "regressor" and name != "r2"
            (report.loss if lower else report.score)(f"{channel} {name}", value)

    def _qualities(self, model: Linear, margin: Doubles, labels: Doubles) -> dict[str, float]:
        beta = self._params["f_beta"]
        if self._kind == "multiclass_classifier":
            return multiclass(softmax(margin), labels, self._params["accuracy_top_k"], beta)
        if self._kind == "binary_classifier":
            return binary(model.score(margin), labels, model.threshold, beta)
        return regression(margin[:, 0], labels)


class Linear:
    """A model."""

    outer = "predictions"

    def __init__(self, weights: Any, bias: Any, kind: str, loss: str, threshold: float):
        self._weights = weights.astype(np.float64)
        self._bias = bias.astype(np.float64)
        self._kind = kind
        self._loss = loss
        self.threshold = threshold
        self.columns = weights.shape[1]

    def more(self) -> dict[str, Any]:
        """What the weights do not say."""
        return {"predictor_type": self._kind, "loss": self._loss, "threshold": self.threshold}

    def margins(self, features: Any) -> Doubles:
        """[rows, outputs]."""
        if features.shape[1] != self.columns and hasattr(features, "tocsr"):
            features = features.copy()
            features.resize((features.shape[0], self.columns))
        found: Doubles = np.asarray(features @ self._weights.T) + self._bias
        return found

    def score(self, margins: Doubles) -> Doubles:
        """Of a binary classifier, [rows]: a probability, or the distance to the plane for the hinge loss."""
        return sigmoid(margins[:, 0]) if self._loss == "logistic" else margins[:, 0]

    def predict(self, features: Any, options: Mapping[str, str]) -> Columns:
        """Scores, and the label that a classifier tells from them."""
        margins = self.margins(features)
        if self._kind == "regressor":
            return {"score": margins[:, 0].astype(np.float32)}
        if self._kind == "multiclass_classifier":
            chances = softmax(margins)
            return {"score": chances.astype(np.float32), "predicted_label": chances.argmax(axis=1)}
        score = self.score(margins)
        return {"score": score.astype(np.float32), "predicted_label": (score >= self.threshold).astype(np.int64)}


def load(folder: Path) -> Linear:
    """The model of an archive."""
    weights, bias, more = artifact.load(folder)
    return Linear(weights, bias, more["predictor_type"], more["loss"], float(more["threshold"]))
