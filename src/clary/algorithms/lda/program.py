"""Topics of documents by latent Dirichlet allocation.

AWS's container decomposes a tensor of moments; on the reference corpus that solution is measurably worse than the
variational one that is learnt here.
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
from ..readers.table import Table
from .variational import Corpus, learn

Doubles = NDArray[np.float64]
_ROUNDS = 100
_STARTS = 3
_TOLERANCE = 1e-3  # the part of all word counts that may still move between topics
_STEPS = 100  # of inference


def train(job: Job) -> None:
    """Learn the topics."""
    params, report = job.params, job.report
    documents = job.source("train").table()
    _check(documents, "train")
    job.dimension(documents.columns)
    began = time.perf_counter()
    topics = params["num_topics"]
    alpha = params["alpha0"] / topics
    corpus = Corpus(documents.features)
    prior = np.full(topics, alpha)
    rounds = min(params["max_iterations"], _ROUNDS)
    beta, done = learn(
        corpus, topics, prior, rounds, max(params["tol"], _TOLERANCE), min(params["max_restarts"], _STARTS), job.random
    )
    report.say(f"The topics settled after {done} rounds over {documents.rows} documents")
    report.throughput(documents.rows, time.perf_counter() - began)
    report.progress(1, 1)
    stored = [np.full(topics, alpha, dtype=np.float32), beta.astype(np.float32)]
    job.artifact.write_bytes(ndarray.dumps(stored))
    if job.has("test"):
        _test(job, Topics(*stored))


def _check(documents: Table, channel: str) -> None:
    values = documents.features if documents.dense else documents.features.data
    if values.size and values.min() < 0:
        raise UserError(f"The {channel} channel has negative word counts.")


def _test(job: Job, model: Topics) -> None:
    total = words = 0.0
    for block in job.source("test").blocks():
        _check(block, "test")
        corpus = Corpus(block.features)
        total += corpus.likelihood(model.mixtures(block.features), model.beta)
        words += float(corpus.counts.sum())
    pwll = total / max(words, 1.0)
    job.report.test_score("pwll", pwll)
    job.report.score("test pwll", pwll)


class Topics:
    """A model. ``beta`` has a row of word chances for each topic."""

    outer = "predictions"

    def __init__(self, alpha: Any, beta: Any):
        self._alpha = alpha.astype(np.float64)
        self.beta = beta.astype(np.float64)
        self.columns = beta.shape[1]

    def predict(self, features: Any, options: Mapping[str, str]) -> Columns:
        """Each document's topics; they sum to 1."""
        return {"topic_mixture": self.mixtures(features).astype(np.float32)}

    def mixtures(self, features: Any) -> Doubles:
        """[documents, topics]."""
        corpus = Corpus(features)
        start = np.ones((corpus.documents, len(self._alpha)))
        gamma, _ = corpus.infer(self.beta, self._alpha, start, _STEPS)
        found: Doubles = gamma / gamma.sum(axis=1, keepdims=True)
        return found


def load(folder: Path) -> Topics:
    """The topics of a model archive."""
    arrays, _ = ndarray.loads(artifact(folder).read_bytes())
    return Topics(arrays[0], arrays[1])
