"""Inference: request bodies to rows, rows to predictions, one call of the library for a whole batch of requests."""

from __future__ import annotations

import os
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ...native import load
from ...serving.frames import EXECUTION_PARAMETERS, PING, SEPARATOR, Item
from .. import multi_model, serving
from ..contract import CSV, LIBSVM, RECORDIO
from ..environment import UserError, base
from ..readers.source import parameters
from ..requests import Refused
from . import data, forest, model, output
from .runtime import library

Floats = NDArray[np.float32]

_TYPES = (CSV, LIBSVM, RECORDIO)
_ACCEPTED = ("text/csv", "application/json")
_ACCEPTED_SELECTED = (*_ACCEPTED, "application/jsonlines", "application/x-recordio-protobuf")
_ANY_CSV = (b"", b"*/*", b"text/csv")
_NUMERIC = b"0123456789.,-+eE \r\n"
_MAX_BODY = 6 << 20


def main() -> int:
    """Load the models and serve; the exit code when that fails."""
    tag = os.environ.get("CLARY_IMAGE_TAG", "")
    if multi_model.wanted():
        library()
        return serving.serve(multi_model.MultiModel(lambda folder: Predictor(folder, tag).batch).batch)
    try:
        server = Predictor(base() / "model", tag)
    except UserError as error:
        print(error, file=sys.stderr, flush=True)
        return 1
    print(f"Model loaded: {server.describe()}", flush=True)
    return serving.serve(server.batch, whole=server.whole)


class Predictor:
    """The models of one folder, ready to answer."""

    def __init__(self, folder: Path, tag: str):
        self._boosters = model.load_all(folder)
        self._rounds: list[tuple[int, int]] = []
        for booster in self._boosters:
            booster.set_param({"nthread": 1})
            best = booster.attr("best_iteration")
            self._rounds.append((0, int(best) + 1) if best is not None else (0, 0))
        self._tag = model.version(tag)
        first = self._boosters[0]
        self._objective = model.objective(first)
        self._columns = int(first.num_features())
        config = orjson.loads(first.save_config())
        self._classes = max(2, int(config["learner"]["learner_model_param"].get("num_class", 0)))
        self._keys = output.chosen(os.environ.get("SAGEMAKER_INFERENCE_OUTPUT", ""))
        if unknown := [k for k in self._keys if k not in output.SELECTABLE]:
            raise UserError(f"SAGEMAKER_INFERENCE_OUTPUT names {unknown}; it takes {', '.join(output.SELECTABLE)}")
        self._default_accept = os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "text/csv")
        self._limit = int(os.environ.get("MAX_CONTENT_LENGTH", _MAX_BODY))
        self._batch = os.environ.get("SAGEMAKER_BATCH", "").lower() == "true"
        self._fast = not self._batch and not self._keys and len(self._boosters) == 1 and self._tag > (1, 2, 1)
        self._forest = forest.build(first, self._rounds[0][1]) if self._fast else None
        self._plain = b""  # the head of the last request for CSV with CSV
        self._row = np.empty((64, max(1, self._columns)), dtype=np.float32)

    def describe(self) -> str:
        """One line for the log."""
        rounds = sum(b.num_boosted_rounds() for b in self._boosters)
        return f"{len(self._boosters)} model(s), objective {self._objective}, {self._columns} features, {rounds} rounds"

    # ---- batches ---------------------------------------------------------------------------------------------------

    def batch(self, items: list[Item]) -> list[Item]:
        """Answers for a batch: single CSV rows go to the library together, everything else one by one."""
        answers: list[Item | None] = [None] * len(items)
        rows: list[int] = []
        filled = 0
        for i, (head, body) in enumerate(items):
            if head == PING:
                answers[i] = serving.item(200, "", b"")
            elif head == EXECUTION_PARAMETERS:
                answers[i] = serving.execution_parameters(self._limit)
            elif self._fast and (head == self._plain or self._is_plain(head)) and _read_row(body, self._row, filled):
                rows.append(i)
                filled += 1
                if filled == len(self._row):
                    self._flush(rows, answers)
                    rows, filled = [], 0
        if rows:
            self._flush(rows, answers)
        return [self._single(*items[i]) if a is None else a for i, a in enumerate(answers)]

    def whole(self, message: bytearray, at: int, size: int) -> bytes | None:
        """The answer to a message of rows that look as the last ones did; None leaves it to ``batch``."""
        if self._forest is None or not self._plain:
            return None
        return self._forest.answers(message, at, size, self._plain, _CSV_HEAD, self._row)

    def _is_plain(self, head: bytes) -> bool:
        """Whether CSV is asked for CSV; the next request with the same head needs no look."""
        content_type, accept, _ = head.split(SEPARATOR, 2)
        if content_type != b"text/csv" or accept not in _ANY_CSV or self._default_accept != "text/csv":
            return False
        self._plain = head
        return True

    def _flush(self, rows: list[int], answers: list[Item | None]) -> None:
        predictions = self._predict_dense(self._row[: len(rows)])
        for i, line in zip(rows, _write(predictions, len(rows)), strict=True):
            answers[i] = (_CSV_HEAD, line)

    def _predict_dense(self, matrix: Floats) -> Floats:
        if self._forest is not None and self._forest.takes(len(matrix)):
            return self._forest.predict(matrix)
        found: Floats = self._boosters[0].inplace_predict(
            matrix, iteration_range=self._rounds[0], validate_features=False
        )
        return found

    # ---- one request -----------------------------------------------------------------------------------------------

    def _single(self, head: bytes, body: bytes) -> Item:
        content_type, accept, *_ = head.decode("utf-8", "replace").split("\0")
        try:
            return self._evaluate(content_type, accept, body)
        except Refused as error:
            return serving.item(error.status, "text/html; charset=utf-8", str(error).encode())
        except (UserError, library().core.XGBoostError, ValueError, MemoryError) as error:
            line = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
            return serving.item(
                400, "text/html; charset=utf-8", f"Unable to evaluate payload provided: {line}".encode()
            )

    def _evaluate(self, content_type: str, accept: str, body: bytes) -> Item:
        if not body:
            return serving.item(204, "text/csv; charset=utf-8", b"")
        if len(body) > self._limit:
            raise Refused(413, f"the payload has {len(body)} bytes, MAX_CONTENT_LENGTH allows {self._limit}")
        kind = parameters(content_type)[0] or CSV
        if kind not in _TYPES:
            raise Refused(415, f"Content-type {content_type} is not supported. Supported: {', '.join(_TYPES)}")
        wanted = self._accepted(accept)
        features = data.payload(body, kind)
        self._check_width(features, kind)
        predictions = self._combine([self._predict(i, features) for i in range(len(self._boosters))])
        if not self._keys:
            text = output.plain(predictions, wanted, self._tag, self._batch)
        else:
            margins = self._predict(0, features, margin=True)
            text = output.encode(
                output.select(predictions, margins, self._objective, self._classes, self._keys), wanted
            )
        suffix = "; charset=utf-8" if wanted == "text/csv" else ""
        return serving.item(200, wanted + suffix, text)

    def _accepted(self, accept: str) -> str:
        name = accept.partition(";")[0].strip().lower()
        if name in ("", "*/*"):
            name = self._default_accept
        allowed = _ACCEPTED_SELECTED if self._keys else _ACCEPTED
        if name not in allowed:
            raise Refused(
                406, f"Accept type {name} is not supported. Please use supported accept types: {list(allowed)}"
            )
        return name

    def _check_width(self, features: Any, kind: str) -> None:
        width = features.shape[1]
        if kind == LIBSVM:
            if width < self._columns:
                features.resize((features.shape[0], self._columns))
            wrong = width > self._columns + 1
        else:
            wrong = width not in (self._columns, self._columns + 1)
        if wrong:
            text = f"Feature size of {kind.rpartition('/')[2]} inference data {width} is not consistent with feature size of trained model {self._columns}."
            raise Refused(400, f"Unable to evaluate payload provided: {text}")

    def _predict(self, number: int, features: Any, margin: bool = False) -> Floats:
        if features.shape[1] > self._columns:
            features = features[:, : self._columns] if self._columns else features
        found: Floats = self._boosters[number].inplace_predict(
            features,
            iteration_range=self._rounds[number],
            predict_type="margin" if margin else "value",
            validate_features=False,
        )
        return found

    def _combine(self, predictions: list[Floats]) -> Floats:
        """One model's answer, the mean of several, or the majority for models that answer with classes."""
        if len(predictions) == 1:
            return predictions[0]
        if self._objective in ("multi:softmax", "binary:hinge"):
            stacked = np.stack(predictions, axis=1)
            return np.array([Counter(row.tolist()).most_common(1)[0][0] for row in stacked], dtype=np.float32)
        return np.asarray(np.mean(predictions, axis=0), dtype=np.float32)


def _parse_row(body: bytes, rows: Floats, at: int) -> bool:
    """One line of plain numbers, straight into ``rows[at]``; False leaves the body to the careful way."""
    body = body.rstrip(b"\r\n")
    if b"\n" in body or body.translate(None, _NUMERIC):
        return False
    try:
        values = orjson.loads(b"[" + body + b"]")
        if len(values) != rows.shape[1]:
            return False
        rows[at] = values
    except (ValueError, TypeError):
        return False
    return True


def _lines(predictions: Floats) -> list[bytes]:
    """A line for each row's prediction, or predictions."""
    return [
        (",".join(map(str, value)) if isinstance(value, list) else str(value)).encode() + b"\n"
        for value in predictions.tolist()
    ]


def _write(predictions: Floats, count: int) -> list[bytes]:
    native = _trees is not None and predictions.ndim == 1
    return _trees.write(predictions, count) if native else _lines(predictions)


_trees = load("trees")
_read_row = _trees.read_row if _trees is not None else _parse_row
_CSV_HEAD = serving.item(200, "text/csv; charset=utf-8", b"")[0]
