"""Random Cut Forest: anomalies are the points that random cuts part from the others early.

Source: the SageMaker developer guide, "How RCF works".
"""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import Columns
from ..environment import UserError
from ..hosting import artifact
from ..job import Job
from ..readers.table import Floats, dense
from ..sampling import sample
from ..scores import binary
from .forest import Forest, grown, scorer

_DEVIATIONS = 3.0  # above the mean score, that make an anomaly


def train(job: Job) -> None:
    """Sample the rows and grow a tree of each sample."""
    params, report = job.params, job.report
    source = job.source("train")
    began = time.perf_counter()
    trees, size = params["num_trees"], params["num_samples_per_tree"]
    rows, labels = sample(source.batches(params["mini_batch_size"]), trees * size, job.random)
    if labels is not None and rows.shape[1] == params["feature_dim"] - 1:
        raise UserError(
            "The first column of the train channel was taken for a label, which training data has not: give it the "
            "content type text/csv;label_size=0."
        )
    job.dimension(rows.shape[1])
    forest = grown(_samples(rows, trees, size, job.random), job.random)
    report.throughput(len(rows), time.perf_counter() - began)
    report.say(f"#progress_metric: host={report.host}, completed 100 % epochs")
    _save(job.artifact, forest)
    if job.has("test"):
        _test(job, forest)


def _samples(rows: Floats, trees: int, size: int, random: np.random.Generator) -> list[Floats]:
    """Samples without a common row where there are enough, else each drawn from all rows."""
    if len(rows) >= trees * size:
        order = random.permutation(len(rows))
        return [rows[order[i * size : (i + 1) * size]] for i in range(trees)]
    count = min(size, len(rows))
    return [rows[random.choice(len(rows), count, replace=False)] for _ in range(trees)]


def _test(job: Job, forest: Forest) -> None:
    score_of = scorer(forest)
    scores, labels = [], []
    for block in job.source("test").batches(1000):
        if block.labels is None:
            raise UserError(
                "The rows of the test channel have no labels; it needs text/csv;label_size=1, 1 for anomalies."
            )
        scores.append(score_of(dense(block.features)))
        labels.append(block.labels)
    score, known = np.concatenate(scores).astype(np.float64), np.concatenate(labels).astype(np.float64)
    cutoff = float(score.mean() + _DEVIATIONS * score.std())
    found = binary(score, known, cutoff, 1.0)
    report = job.report
    report.say(f"Records whose score is above {cutoff} count as anomalies")
    if "accuracy" in job.params["eval_metrics"]:
        report.test_score("accuracy", found["binary_classification_accuracy"])
        report.score("test accuracy", found["binary_classification_accuracy"])
    if "precision_recall_fscore" in job.params["eval_metrics"]:
        for name, value in (
            ("precision", found["precision"]),
            ("recall", found["recall"]),
            ("f1", found["binary_f_1.000"]),
        ):
            report.test_score(name, value)
            report.score(f"test {name}", value)


class Scorer:
    """A model."""

    outer = "scores"

    def __init__(self, forest: Forest):
        self._scores = scorer(forest)
        self.columns = forest.low.shape[1]

    def predict(self, features: Any, options: Mapping[str, str]) -> Columns:
        """Each row's score."""
        return {"score": self._scores(np.asarray(dense(features), dtype=np.float32))}


def _save(path: Path, forest: Forest) -> None:
    held = io.BytesIO()
    np.savez(held, allow_pickle=False, **{f.name: getattr(forest, f.name) for f in dataclasses.fields(forest)})
    path.write_bytes(held.getvalue())


def load(folder: Path) -> Scorer:
    """The forest of a model archive."""
    try:
        with np.load(artifact(folder), allow_pickle=False) as stored:
            return Scorer(Forest(**{f.name: stored[f.name] for f in dataclasses.fields(Forest)}))
    except (ValueError, KeyError) as error:
        raise UserError(f"model_algo-1 is no forest that Clary has grown: {error}") from None
