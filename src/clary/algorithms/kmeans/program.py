"""K-Means at web scale: many centres follow a stream of batches, at the end they are clustered into the wanted number.

Source: the SageMaker developer guide, "How K-Means clustering works".
"""

from __future__ import annotations

import time
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
from ..job import Job
from ..readers.table import Table, dense
from .lloyd import lloyd, nearest, spread, sums

Doubles = NDArray[np.float64]
_FACTOR = 10  # extra centres when the job does not say
_TRIALS = 10
_MAX_CENTERS = 5000  # that the automatic factor goes up to
_POLISHED = 1 << 27  # numbers of a data set up to which a last pass over all of it is made


def train(job: Job) -> None:
    """Learn the centres."""
    params, report = job.params, job.report
    source = job.source("train")
    stream = Stream(job)
    for epoch in job.epochs(params["epochs"], stream):
        began, seen = time.perf_counter(), 0
        for batch in source.batches(params["mini_batch_size"]):
            stream.take(batch)
            seen += batch.rows
        report.throughput(seen, time.perf_counter() - began)
        report.loss("train msd", stream.msd(), epoch=epoch)
        stream.forget_losses()
    centers = _shrink(job, stream)
    table = source.table() if not job.environment.channels["train"].pipe else None
    if table is not None and table.rows * table.columns <= _POLISHED:
        weights = np.ones(table.rows)
        centers, loss = lloyd(
            table.features, weights, centers, params["local_lloyd_max_iter"], params["local_lloyd_tol"]
        )
        report.say(
            f"All {table.rows} rows, which fit into memory, moved the centers to a mean square distance of {loss}"
        )
        report.loss("train msd", loss)
    else:
        report.loss("train msd", stream.last_msd)
    job.artifact.write_bytes(ndarray.dumps([centers.astype(np.float32)]))
    if job.has("test"):
        _test(job, centers)


def _begin(job: Job, batch: Table) -> Doubles:
    params = job.params
    k = params["k"]
    if batch.rows < k:
        raise UserError(
            f"The first batch has {batch.rows} rows, which cannot be {k} clusters. Give more data, or a smaller k."
        )
    factor = params["extra_center_factor"] or max(1, min(_FACTOR, _MAX_CENTERS // k))
    count = min(k * factor, batch.rows)
    rows = dense(batch.features).astype(np.float64)
    if params["init_method"] == "random":
        chosen: Doubles = rows[job.random.choice(len(rows), count, replace=False)]
        return chosen
    return spread(rows, np.ones(len(rows)), count, job.random)


class Stream(Learnt):
    """Centres that follow a stream: each is the mean of the rows it was nearest to, older ones counting less."""

    LEARNT = ("centers", "weights", "last_msd")

    def __init__(self, job: Job):
        self._job = job
        self.centers: Doubles = np.empty((0, 0))  # until the first batch says where they begin
        self.weights: Doubles = np.empty(0)
        self.last_msd = 0.0
        self._half_life = job.params["half_life_time_size"]
        self._loss = 0.0
        self._rows = 0

    def take(self, batch: Table) -> None:
        """A batch."""
        self._job.dimension(batch.columns)
        if not len(self.centers):
            self.centers = _begin(self._job, batch)
            self.weights = np.zeros(len(self.centers))
        if batch.columns != self.centers.shape[1]:
            raise UserError(f"A row has {batch.columns} features, the ones before have {self.centers.shape[1]}.")
        rows, count = batch.features, batch.rows
        chosen, squared = nearest(rows, self.centers)
        self._loss += float(squared.sum())
        self._rows += count
        added, counts = sums(rows, np.ones(count), chosen, len(self.centers))
        if self._half_life:
            self.weights *= 0.5 ** (count / self._half_life)
        total = self.weights + counts
        moved = (self.centers * self.weights[:, None] + added) / np.maximum(total, 1e-12)[:, None]
        self.centers = np.where(counts[:, None] > 0, moved, self.centers)
        self.weights = total

    def msd(self) -> float:
        """The mean squared distance of the rows to the centres, as they came by."""
        self.last_msd = self._loss / max(1, self._rows)
        return self.last_msd

    def forget_losses(self) -> None:
        """Begin to measure anew."""
        self._loss, self._rows = 0.0, 0


def _shrink(job: Job, stream: Stream) -> Doubles:
    """The wanted number of centres from the many: weighted k-means of several beginnings, the best one is kept."""
    params, report = job.params, job.report
    k = params["k"]
    used = stream.weights > 0
    rows, weights = stream.centers[used], stream.weights[used]
    if len(rows) <= k:
        rest = stream.centers[~used][: k - len(rows)]
        return np.concatenate([rows, rest])
    report.say(f"Shrinking {len(rows)} centers into {k}")
    best, lowest = rows[:k], np.inf
    for attempt in range(params["local_lloyd_num_trials"] or _TRIALS):
        if params["local_lloyd_init_method"] == "random":
            beginning = rows[job.random.choice(len(rows), k, replace=False)]
        else:
            beginning = spread(rows, weights, k, job.random)
        centers, loss = lloyd(rows, weights, beginning, params["local_lloyd_max_iter"], params["local_lloyd_tol"])
        report.say(f"local kmeans attempt #{attempt}. Current mean square distance {loss}")
        if loss < lowest:
            best, lowest = centers, loss
    return best


def _test(job: Job, centers: Doubles) -> None:
    total, rows = 0.0, 0
    for block in job.source("test").blocks():
        total += float(nearest(block.features, centers)[1].sum())
        rows += block.rows
    found = {"msd": total / rows, "ssd": total}
    for name in job.params["eval_metrics"]:
        job.report.test_score(name, found[name])
        job.report.loss(f"test {name}", found[name])


class Centers:
    """A model."""

    outer = "predictions"

    def __init__(self, centers: NDArray[np.float32]):
        self._centers = centers.astype(np.float64)
        self.columns = centers.shape[1]

    def predict(self, features: Any, options: Mapping[str, str]) -> Columns:
        """The nearest centre's number, and the distance to it."""
        chosen, squared = nearest(features, self._centers)
        return {
            "closest_cluster": chosen.astype(np.float32),
            "distance_to_cluster": np.sqrt(squared).astype(np.float32),
        }


def load(folder: Path) -> Centers:
    """The centres of a model archive."""
    arrays, _ = ndarray.loads(artifact(folder).read_bytes())
    return Centers(arrays[0])
