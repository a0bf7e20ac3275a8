"""A replica of a built-in algorithm: requests to rows, one prediction for a whole batch of requests, rows to answers."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any, cast

from ..serving.frames import EXECUTION_PARAMETERS, PING, Item
from . import catalogue, multi_model, serving
from .contract import Algorithm, Predictor, Responder
from .environment import UserError, base
from .job import ALGORITHM
from .readers.table import stack
from .requests import Refused, Request, encode, features, read

_MAX_BODY = 6 << 20


def main() -> int:
    """Load the model and serve; the exit code when that fails."""
    algorithm = catalogue.algorithms()[os.environ[ALGORITHM]]
    program = catalogue.program(algorithm)
    if multi_model.wanted():
        return serving.serve(multi_model.MultiModel(lambda f: Replica(algorithm, program.load(f)).batch).batch)
    try:
        replica = Replica(algorithm, program.load(base() / "model"))
    except (UserError, OSError, ValueError, KeyError) as error:
        print(f"The model could not be loaded: {error}", file=sys.stderr, flush=True)
        return 1
    print(f"Model loaded: {algorithm.title}", flush=True)
    return serving.serve(replica.batch)


class Replica:
    """A model behind the formats of its algorithm."""

    def __init__(self, algorithm: Algorithm, model: Predictor | Responder):
        self._algorithm = algorithm
        self._model = model
        self._limit = int(os.environ.get("MAX_CONTENT_LENGTH", _MAX_BODY))

    def batch(self, items: list[Item]) -> list[Item]:
        """Answers for a batch: the rows of all requests that ask alike are predicted together."""
        answers: list[Item | None] = [None] * len(items)
        rows: dict[tuple[bool, tuple[tuple[str, str], ...]], list[tuple[int, Request, Any]]] = {}
        for i, (head, body) in enumerate(items):
            if head == PING:
                answers[i] = serving.item(200, "", b"")
            elif head == EXECUTION_PARAMETERS:
                answers[i] = serving.execution_parameters(self._limit)
            else:
                try:
                    request = self._request(head, body)
                    if hasattr(self._model, "answer"):
                        answers[i] = serving.item(200, *cast(Responder, self._model).answer(request))
                        continue
                    found = features(request, self._model.columns)
                    alike = (hasattr(found, "tocsr"), tuple(sorted(request.wishes.items())))
                    rows.setdefault(alike, []).append((i, request, found))
                except Exception as error:  # noqa: BLE001  # whatever a body does, it is answered
                    answers[i] = _refusal(error)
        for group in rows.values():
            self._predict(group, answers)
        return [a if a is not None else serving.item(500, "text/plain", b"no answer") for a in answers]

    def _request(self, head: bytes, body: bytes) -> Request:
        content_type, accept, *_ = head.decode("utf-8", "replace").split("\0")
        if len(body) > self._limit:
            raise Refused(413, f"the payload has {len(body)} bytes, MAX_CONTENT_LENGTH allows {self._limit}")
        accept = accept or os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "")
        return read(content_type, accept, body, self._algorithm.requests, self._algorithm.answers)

    def _predict(self, group: list[tuple[int, Request, Any]], answers: list[Item | None]) -> None:
        model = cast(Predictor, self._model)
        try:
            columns = model.predict(stack([found for _, _, found in group]), group[0][1].wishes)
        except Exception as error:  # noqa: BLE001  # as above
            for i, _, _ in group:
                answers[i] = _refusal(error)
            return
        at = 0
        for i, request, found in group:
            stop = at + found.shape[0]
            part = {name: values[at:stop] for name, values in columns.items()}
            answers[i] = serving.item(200, request.accept, encode(part, request.accept, model.outer))
            at = stop


def _refusal(error: Exception) -> Item:
    if isinstance(error, Refused):
        return serving.item(error.status, "text/plain", str(error).encode())
    if isinstance(error, (UserError, MemoryError)):
        return serving.item(400, "text/plain", f"Unable to evaluate payload provided: {error}".encode())
    traceback.print_exc()
    return serving.item(500, "text/plain", f"{type(error).__name__}: {error}".encode())


def artifact(folder: Path) -> Path:
    """The model's file in an archive of AWS's or ours; UserError when there is none."""
    found = sorted(p for p in folder.glob("model_algo-*") if p.is_file() and p.suffix not in (".json", ".labels"))
    if not found:
        raise UserError(f"The model archive has no file model_algo-1; it holds {sorted(os.listdir(folder))}")
    return found[0]
