"""Principal component analysis: of the covariance (regular), or of a random sketch of it (randomized).

Source: the SageMaker developer guide, "How PCA works"; N. Halko, P. Martinsson and J. Tropp, "Finding structure with
randomness" (2011) for the sketch.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import ndarray
from ..contract import Columns
from ..environment import UserError
from ..hosting import artifact
from ..job import Job
from ..readers.source import Source

Doubles = NDArray[np.float64]
_POWER_PASSES = 5  # passes over the data; each makes the sketch more exact


def train(job: Job) -> None:
    """Find mean, components and singular values; components in ascending order, as AWS stores them."""
    params = job.params
    source = job.source("train")
    began = time.perf_counter()
    rows, mean = _mean(job, source)
    if not params["subtract_mean"]:
        mean = np.zeros_like(mean)
    wanted = params["num_components"]
    if params["algorithm_mode"] == "regular":
        values, vectors = np.linalg.eigh(_gram(source, mean))
    else:
        values, vectors = _sketched(job, source, mean, rows)
    order = np.argsort(values)[-wanted:]
    singular = np.sqrt(np.maximum(values[order], 0))
    report = job.report
    report.throughput(rows, time.perf_counter() - began)
    report.progress(1, 1)
    named = {
        "mean": mean[None, :].astype(np.float32), "v": vectors[:, order].astype(np.float32),
        "s": singular.astype(np.float32),
    }  # fmt: skip
    job.artifact.write_bytes(ndarray.dumps(named))
    if job.has("test"):
        _test(job, Projection(named))


def _mean(job: Job, source: Source) -> tuple[int, Doubles]:
    rows, total = 0, None
    for block in source.blocks():
        added = np.asarray(block.features.sum(axis=0, dtype=np.float64)).ravel()
        total = added if total is None else _wide(total, len(added)) + _wide(added, len(total))
        rows += block.rows
    assert total is not None
    job.dimension(len(total))
    if rows < 2:
        raise UserError("The train channel has one row; components need two or more.")
    return rows, total / rows


def _wide(vector: Doubles, width: int) -> Doubles:
    return np.pad(vector, (0, max(0, width - len(vector))))


def _gram(source: Source, mean: Doubles) -> Doubles:
    """The centred rows' inner products, features by features."""
    found = np.zeros((len(mean), len(mean)))
    for block in source.blocks():
        if block.dense:
            centred = block.features - mean
            found += centred.T @ centred
        else:  # rows without their mean would no longer be sparse: the mean is taken out of the product
            rows = block.features.astype(np.float64)
            total = _wide(np.asarray(rows.sum(axis=0)).ravel(), len(mean))
            crossed = np.outer(total, mean)
            found += _fit((rows.T @ rows).toarray(), len(mean)) - crossed - crossed.T
            found += block.rows * np.outer(mean, mean)
    return found


def _fit(matrix: Doubles, width: int) -> Doubles:
    return np.pad(matrix, ((0, width - len(matrix)), (0, width - len(matrix))))


def _sketched(job: Job, source: Source, mean: Doubles, rows: int) -> tuple[Doubles, Doubles]:
    extra = job.params["extra_components"]
    wanted = job.params["num_components"]
    size = min(len(mean), wanted + (max(10, wanted) if extra == -1 else extra))
    basis = job.random.standard_normal((len(mean), size))
    for _ in range(_POWER_PASSES):
        basis, _ = np.linalg.qr(_product(source, mean, rows, basis))
    values, inner = np.linalg.eigh(basis.T @ _product(source, mean, rows, basis))
    return values, basis @ inner


def _product(source: Source, mean: Doubles, rows: int, basis: Doubles) -> Doubles:
    """The covariance (times rows) with a few vectors, in one pass and without ever being made."""
    found = np.zeros_like(basis)
    for block in source.blocks():
        width = block.columns
        found[:width] += block.features.T @ (block.features @ basis[:width])
    return found - rows * np.outer(mean, mean @ basis)


def _test(job: Job, model: Projection) -> None:
    lost = total = 0.0
    for block in job.source("test").blocks():
        lost += model.lost(block.features)
        total += block.rows
    job.report.test_score("reconstruction_mse", lost / total)


class Projection:
    """A model."""

    outer = "projections"

    def __init__(self, named: Mapping[str, Any]):
        self._mean = named["mean"].ravel()
        self._components = named["v"]
        self._offset = self._mean @ self._components
        self.columns = len(self._components)

    def predict(self, features: Any, options: Mapping[str, str]) -> Columns:
        """Each row in the components' coordinates, the first principal component last."""
        return {"projection": np.asarray(features @ self._components) - self._offset}

    def lost(self, features: Any) -> float:
        """The sum over rows of the squared distance to what the components keep of them."""
        rows = (features if isinstance(features, np.ndarray) else features.toarray()) - self._mean
        kept = rows @ self._components
        return float((rows**2).sum() - (kept**2).sum())


def load(folder: Path) -> Projection:
    """The components of a model archive."""
    return Projection(ndarray.load(artifact(folder).read_bytes()))
