"""BlazingText as a job and a replica."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ..contract import JSON, JSONLINES
from ..environment import UserError
from ..job import Job
from ..requests import Json, Request, instances
from . import fasttext
from .fasttext import END, Model

Floats = NDArray[np.float32]


def train(job: Job) -> None:
    """Classify texts, or learn word vectors."""
    if job.params["mode"] == "supervised":
        from . import supervised

        supervised.train(job)
    else:
        from . import word_vectors

        word_vectors.train(job)


def load(folder: Path) -> Classifier | Words:
    """A model of ours, or one that fastText or word2vec made."""
    for name in ("model.bin", "vectors.bin"):
        if (folder / name).is_file():
            model = fasttext.load(folder / name)
            return Classifier(model) if model.supervised else Words(model.vector)
    if (folder / "vectors.txt").is_file():
        return Words(_vectors(folder / "vectors.txt"))
    raise UserError("The model archive has neither model.bin nor vectors.bin nor vectors.txt.")


def _vectors(path: Path) -> Any:
    """word2vec's text format: a head of two numbers, then a word and its numbers a line."""
    with open(path, encoding="utf-8") as lines:
        width = int(next(lines).split()[1])
        found = {}
        for line in lines:
            word, _, values = line.rstrip("\n").partition(" ")
            found[word] = np.array(values.split(), dtype=np.float32)
    unknown = np.zeros(width, dtype=np.float32)
    return lambda word: found.get(word, unknown)


def _asked(request: Request) -> tuple[list[str], list[Json]]:
    """The texts of a request and what is wanted of each; the answer has the request's type, whatever Accept says."""
    rows, configuration = instances(request)
    if request.kind == JSONLINES:
        if not all(isinstance(row, dict) and isinstance(row.get("source"), str) for row in rows):
            raise UserError('A line has the form {"source": "a text"}')
        return [row["source"] for row in rows], rows
    if not all(isinstance(text, str) for text in rows):
        raise UserError('A request has the form {"instances": ["a text"]}')
    return rows, [configuration] * len(rows)


def _given(request: Request, rows: list[Json]) -> tuple[str, bytes]:
    if request.kind == JSONLINES:
        return JSONLINES, b"".join(orjson.dumps(row) + b"\n" for row in rows)
    return JSON, orjson.dumps(rows)


class Classifier:
    """Tells labels."""

    def __init__(self, model: Model):
        self._model = model

    def answer(self, request: Request) -> tuple[str, bytes]:
        """The foremost labels of each text, and their probabilities."""
        texts, wishes = _asked(request)
        return _given(request, [self._labels(t, w) for t, w in zip(texts, wishes, strict=True)])

    def _labels(self, text: str, wish: Json) -> Json:
        try:
            count = int(wish.get("k", 1))
        except (TypeError, ValueError, AttributeError):
            raise UserError("k is a number of labels") from None
        if count < 1:
            raise UserError("k is a number of labels, from 1 on")
        model = self._model
        rows = model.rows([*text.split(), END])
        if not rows:
            hidden = np.zeros(model.args["dim"], dtype=np.float32)
        else:
            hidden = np.asarray(model.inputs[rows]).mean(axis=0)
        scores = model.outputs @ hidden
        chances = np.exp(scores - scores.max())
        chances /= chances.sum()
        best = np.argsort(-chances, kind="stable")[:count]
        return {"label": [model.labels[i] for i in best], "prob": chances[best].tolist()}


class Words:
    """Tells vectors."""

    def __init__(self, vector: Any):
        self._vector = vector

    def answer(self, request: Request) -> tuple[str, bytes]:
        """The vector of each word; zeros for one that is not known."""
        words, _ = _asked(request)
        return _given(request, [{"word": word, "vector": self._vector(word).tolist()} for word in words])
