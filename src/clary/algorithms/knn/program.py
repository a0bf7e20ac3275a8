"""Nearest neighbours: a sample of the rows in a FAISS index, perhaps in fewer dimensions.

Source: the SageMaker developer guide, "How the k-NN algorithm works".
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import Columns
from ..environment import UserError
from ..hosting import artifact
from ..job import Job
from ..readers.table import Floats, dense
from ..sampling import sample
from ..scores import multiclass
from . import projection

_PROBES = 5
_COUNTED = 1 << 22  # votes that are counted at a time
_POINTS_PER_LIST = 39  # fewer rows a list than this, and FAISS cannot place the lists well


def preload() -> None:
    """Import what takes longest."""
    import faiss  # noqa: F401


def train(job: Job) -> None:
    """Sample, project, index."""
    params, report = job.params, job.report
    began = time.perf_counter()
    rows, labels = sample(job.source("train").batches(params["mini_batch_size"]), params["sample_size"], job.random)
    if labels is None:
        raise UserError("The rows of the train channel have no labels.")
    if params["predictor_type"] == "classifier" and ((labels < 0) | (labels != np.floor(labels))).any():
        raise UserError("The train channel has labels that are no class numbers; a classifier takes 0, 1, 2, …")
    job.dimension(rows.shape[1])
    if len(rows) < params["k"]:
        raise UserError(f"The index has {len(rows)} rows, fewer than k ({params['k']}).")
    matrix = None
    if params["dimension_reduction_type"]:
        target = params["dimension_reduction_target"]
        matrix = projection.made(params["dimension_reduction_type"], rows.shape[1], target, job.random)
    model = Neighbours(None, labels, params, matrix)
    model.index = _index(params, model.placed(rows))
    report.throughput(len(rows), time.perf_counter() - began)
    report.progress(1, 1)
    _save(job.model, model)
    if job.has("test"):
        _test(job, model)


def _index(params: Mapping[str, Any], rows: Floats) -> Any:
    import faiss

    width = rows.shape[1]
    metric = faiss.METRIC_L2 if params["index_metric"] == "L2" else faiss.METRIC_INNER_PRODUCT
    if params["index_type"] == "faiss.Flat":
        index: Any = faiss.IndexFlat(width, metric)
    else:
        lists = params["faiss_index_ivf_nlists"] or int(np.sqrt(len(rows)))
        lists = max(1, min(lists, len(rows) // _POINTS_PER_LIST or 1))
        coarse = faiss.IndexFlat(width, metric)
        if params["index_type"] == "faiss.IVFFlat":
            index = faiss.IndexIVFFlat(coarse, width, lists, metric)
        else:
            bits = min(8, max(1, int(np.log2(max(2, len(rows))))))
            index = faiss.IndexIVFPQ(coarse, width, lists, params["faiss_index_pq_m"] or 1, bits)
        index.train(rows)
        index.nprobe = _PROBES
    index.add(rows)
    return index


class Neighbours:
    """A model."""

    outer = "predictions"

    def __init__(self, index: Any, labels: Floats, params: Mapping[str, Any], matrix: Floats | None):
        self.index = index
        self.labels = labels
        self._classes, self._codes = np.unique(labels, return_inverse=True)
        self.matrix = matrix
        self.params = {k: params[k] for k in ("k", "predictor_type", "index_metric", "index_type", "faiss_index_pq_m")}
        self.columns = int(params["feature_dim"])

    def placed(self, features: Any) -> Floats:
        """Rows where the index has them: projected, of length one for cosines, padded for product quantisation."""
        rows = np.asarray(dense(features), dtype=np.float32)
        if self.matrix is not None:
            rows = rows @ self.matrix
        if self.params["index_metric"] == "COSINE":
            rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        if self.params["index_type"] == "faiss.IVFPQ":
            parts = self.params["faiss_index_pq_m"] or 1
            rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % parts)))
        return np.ascontiguousarray(rows, dtype=np.float32)

    def predict(self, features: Any, options: Mapping[str, str]) -> Columns:
        """The commonest label among the neighbours, or their mean; with ``verbose=true`` also the neighbours."""
        distances, found = self.index.search(self.placed(features), int(self.params["k"]))
        labels = np.where(found >= 0, self.labels[found], np.nan)
        told = self._told(labels, found)
        if options.get("verbose") != "true":
            return {"predicted_label": told}
        if self.params["index_metric"] != "L2":
            distances = 1 - distances if self.params["index_metric"] == "COSINE" else -distances
        return {"predicted_label": told, "distances": distances, "labels": labels.astype(np.float32)}

    def _told(self, labels: NDArray[np.float32], found: NDArray[np.int64]) -> NDArray[np.float32]:
        """The neighbours' mean, or the label that most of them have; of several the smallest."""
        if self.params["predictor_type"] == "regressor":
            means: NDArray[np.float32] = np.nanmean(labels, axis=1).astype(np.float32)
            return means
        told = np.empty(len(found), dtype=np.float32)
        step = max(1, _COUNTED // len(self._classes))
        for at in range(0, len(found), step):
            part = found[at : at + step]
            counts = np.zeros((len(part), len(self._classes)), dtype=np.int32)
            rows, places = np.nonzero(part >= 0)
            np.add.at(counts, (rows, self._codes[part[rows, places]]), 1)
            told[at : at + step] = self._classes[counts.argmax(axis=1)]
        return told


def _test(job: Job, model: Neighbours) -> None:
    told, labels = [], []
    for block in job.source("test").blocks():
        if block.labels is None:
            raise UserError("The rows of the test channel have no labels.")
        told.append(model.predict(block.features, {})["predicted_label"])
        labels.append(block.labels)
    predicted, known = np.concatenate(told), np.concatenate(labels).astype(np.float64)
    report = job.report
    if model.params["predictor_type"] == "regressor":
        mse = float(((predicted.astype(np.float64) - known) ** 2).mean())
        report.test_score("mse", mse)
        report.loss("test mse", mse)
        return
    classes = int(max(predicted.max(), known.max())) + 1
    chances = np.eye(classes)[predicted.astype(np.int64)]
    f = multiclass(chances, known, 1, 1.0)["macro_f_1.000"]
    accuracy = float((predicted == known).mean())
    report.test_score("accuracy", accuracy)
    report.test_score("macro_f_1.000", f)
    report.score("test accuracy", accuracy)
    report.score("test macro_f_1.000", f)


def _save(folder: Path, model: Neighbours) -> None:
    import faiss

    path = folder / "model_algo-1"
    path.write_bytes(faiss.serialize_index(model.index).tobytes())
    path.with_suffix(".labels").write_bytes(model.labels.astype("<f4").tobytes())
    held = io.BytesIO()
    if model.matrix is not None:
        np.save(held, model.matrix, allow_pickle=False)
    config = {**model.params, "feature_dim": model.columns, "projection": held.getvalue().hex()}
    path.with_suffix(".json").write_text(json.dumps(config))


def load(folder: Path) -> Neighbours:
    """The index of a model archive."""
    import faiss

    path = artifact(folder)
    config = json.loads(path.with_suffix(".json").read_text())
    matrix = np.load(io.BytesIO(bytes.fromhex(config["projection"]))) if config["projection"] else None
    labels = np.frombuffer(path.with_suffix(".labels").read_bytes(), dtype="<f4")
    index = faiss.deserialize_index(np.frombuffer(path.read_bytes(), dtype=np.uint8))
    if hasattr(index, "nprobe"):
        index.nprobe = _PROBES
    return Neighbours(index, labels, config, matrix)
