"""Hosting a user's inference script: ``model_fn``, ``input_fn``, ``predict_fn``, ``output_fn``, ``transform_fn``."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from ..algorithms import multi_model, serving
from ..algorithms.environment import base
from ..serving.frames import EXECUTION_PARAMETERS, PING, Item
from .context import Context, takes_context
from .script_mode import check_requirements

_JSON, _CSV, NPY = "application/json", "text/csv", "application/x-npy"


class Unsupported(Exception):
    """A content type that no handler reads or writes; the status to answer with."""

    def __init__(self, status: int, text: str):
        super().__init__(text)
        self.status = status


def serve() -> int:
    """Load the script and its model, then answer."""
    if multi_model.wanted():
        return serving.serve(multi_model.MultiModel(_predictor).batch)
    model_folder = base() / "model"
    module = _load_script(model_folder)
    handlers = Handlers(module)
    model = handlers.model_fn(str(model_folder))
    print(f"Model loaded by {getattr(module, '__file__', 'the default handlers')}", flush=True)
    return serving.serve(
        lambda items: [_answer(handlers, model, *item) for item in items],
        lambda head, body: _answer_in_pieces(handlers, model, head, body),
    )


def _predictor(model_folder: Path) -> serving.Predict:
    """One of many models, each with its script or all with one."""
    handlers = Handlers(_load_script(model_folder))
    model = handlers.model_fn(str(model_folder))
    return lambda items: [_answer(handlers, model, *item) for item in items]


def folders(model_folder: Path | None = None) -> list[Path]:
    """Where a model's script may lie."""
    own = model_folder or base() / "model"
    directory = os.environ.get("SAGEMAKER_SUBMIT_DIRECTORY", "")
    named = [Path(directory)] if directory.startswith("/") else []
    return [*named, own / "code", own, base() / "model" / "code"]


def _load_script(model_folder: Path) -> ModuleType | None:
    program = os.environ.get("SAGEMAKER_PROGRAM", "inference.py")
    for folder in folders(model_folder):
        path = folder / program
        if path.is_file():
            check_requirements(folder / "requirements.txt")
            sys.path.insert(0, str(folder))
            spec = importlib.util.spec_from_file_location(path.stem, path)
            assert spec and spec.loader
            module = importlib.util.module_from_spec(spec)
            sys.modules[path.stem] = module
            spec.loader.exec_module(module)
            return module
    if os.environ.get("SAGEMAKER_PROGRAM"):
        raise FileNotFoundError(
            f"the inference script {program} is in none of {[str(f) for f in folders(model_folder)]}"
        )
    return None


class Handlers:
    """The script's functions, with defaults for those it lacks."""

    def __init__(self, module: ModuleType | None):
        self.context = Context()  # of the present request; one is answered at a time

        def own(name: str, default: Callable[..., Any]) -> Callable[..., Any]:
            found: Callable[..., Any] = getattr(module, name, default)
            if takes_context(found):
                return lambda *given: found(*given, context=self.context)
            return found

        model, reading, predict, writing = _defaults()
        self.model_fn = own("model_fn", model)
        self.input_fn = own("input_fn", reading)
        self.predict_fn = own("predict_fn", predict)
        self.output_fn = own("output_fn", writing)
        self.transform_fn: Callable[..., Any] | None = None
        if hasattr(module, "transform_fn"):
            self.transform_fn = own("transform_fn", write)
        if os.environ.get("CLARY_ALGORITHM") == "tensorflow":
            from . import tensorflow

            self.model_fn, self.transform_fn = tensorflow.model, tensorflow.Transform(module, lambda: self.context)
        self.execution_parameters_fn: Callable[[], Any] | None = getattr(module, "execution_parameters_fn", None)


def _defaults() -> tuple[Callable[..., Any], ...]:
    """What the image's framework does where the script says nothing."""
    if os.environ.get("CLARY_ALGORITHM") == "pytorch":
        from . import pytorch

        return pytorch.model, pytorch.read, pytorch.predict, pytorch.write
    if os.environ.get("CLARY_ALGORITHM") == "huggingface":
        from . import huggingface

        return huggingface.model, huggingface.read, huggingface.predict, huggingface.write
    return _default_model, read, lambda data, model: model.predict(data), write


def _default_model(folder: str) -> Any:
    """Without a ``model_fn``: a single XGBoost model or joblib file."""
    files = [p for p in sorted(Path(folder).iterdir()) if p.is_file() and not p.name.startswith(".")]
    for path in files:
        if path.suffix in (".joblib", ".pkl"):
            import joblib

            return joblib.load(path)
    from ..algorithms.xgboost.model import load

    if not files:
        raise FileNotFoundError("the model archive is empty, and the script has no model_fn")
    booster = load(files[0])
    return _Booster(booster)


class _Booster:
    """An XGBoost model behind the ``predict(data)`` that the default handler calls."""

    def __init__(self, booster: Any):
        self._booster = booster

    def predict(self, data: Any) -> Any:
        return self._booster.inplace_predict(np.atleast_2d(np.asarray(data, dtype=np.float32)), validate_features=False)


def read(body: Any, content_type: str) -> Any:
    """The default ``input_fn``: npy, CSV and JSON to arrays."""
    kind = content_type.partition(";")[0].strip().lower()
    data = body if isinstance(body, bytes) else str(body).encode()
    if kind == NPY:
        return np.load(io.BytesIO(data), allow_pickle=False)
    if kind == _CSV:
        return np.genfromtxt(io.BytesIO(data), delimiter=",", dtype=np.float32, ndmin=2)
    if kind == _JSON:
        return np.array(json.loads(data))
    raise Unsupported(415, f"content type {content_type} is not supported; use {NPY}, {_CSV} or {_JSON}")


def write(prediction: Any, accept: str) -> Any:
    """The default ``output_fn``."""
    kind = accept.partition(";")[0].strip().lower()
    if kind in ("", "*/*"):
        kind = _JSON
    values = np.asarray(prediction)
    if kind == NPY:
        out = io.BytesIO()
        np.save(out, values, allow_pickle=False)
        return out.getvalue(), NPY
    if kind == _CSV:
        rows = np.atleast_1d(values)
        text = "\n".join(",".join(map(str, np.atleast_1d(r).tolist())) for r in rows)
        return text, _CSV
    if kind == _JSON:
        return json.dumps(values.tolist()), _JSON
    raise Unsupported(406, f"accept type {accept} is not supported; use {NPY}, {_CSV} or {_JSON}")


def _answer(handlers: Handlers, model: Any, head: bytes, body: bytes) -> Item:
    """The whole answer, also of a script that makes it piece by piece."""
    if head == PING:
        return serving.item(200, "", b"")
    if head == EXECUTION_PARAMETERS:
        return _execution_parameters(handlers)
    (head, first), later = _answer_in_pieces(handlers, model, head, body)
    try:
        return head, b"".join((first, *later))
    except Exception as error:  # noqa: BLE001  # as below: the script's fault
        traceback.print_exc()
        return serving.item(500, "text/plain", f"{type(error).__name__}: {error}".encode())


def _execution_parameters(handlers: Handlers) -> Item:
    """What the script wants of batch transform: a JSON text, a dictionary, or a response that holds one."""
    if handlers.execution_parameters_fn is None:
        return serving.item(404, "text/plain", b"the script has no execution_parameters_fn")
    try:
        found = handlers.execution_parameters_fn()
        found = getattr(found, "response", found)
        return serving.item(200, _JSON, _bytes(json.dumps(found) if isinstance(found, dict) else found))
    except Exception as error:  # noqa: BLE001  # the script's fault: its traceback goes to the log
        traceback.print_exc()
        return serving.item(500, "text/plain", f"{type(error).__name__}: {error}".encode())


def _answer_in_pieces(handlers: Handlers, model: Any, head: bytes, body: bytes) -> tuple[Item, Iterable[bytes]]:
    """The first piece with its head, and the rest; a script streams by returning an iterator as its output."""
    content_type, accept, *_ = head.decode("utf-8", "replace").split("\0")
    handlers.context = context = Context(head)
    accept = accept or os.environ.get("SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT", "")
    text: Any = body
    if content_type.startswith(("text/", _JSON)):
        text = body.decode("utf-8", "replace")
    try:
        if handlers.transform_fn is not None:
            result = handlers.transform_fn(model, text, content_type, accept)
        else:
            data = handlers.input_fn(text, content_type)
            result = handlers.output_fn(handlers.predict_fn(data, model), accept)
        payload, kind = result if isinstance(result, tuple) else (result, accept or _JSON)
        pieces: Iterator[bytes] = map(_bytes, payload if isinstance(payload, Iterator) else (payload,))
        (said, first) = serving.item(200, kind, next(pieces, b""))
        return (b"%b%b%b" % (said, *context.notes()), first), pieces
    except Unsupported as error:
        return serving.item(error.status, "text/plain", str(error).encode()), ()
    except Exception as error:  # noqa: BLE001  # the script's fault: its traceback goes to the log, its text to the caller
        traceback.print_exc()
        return serving.item(500, "text/plain", f"{type(error).__name__}: {error}".encode()), ()


def _bytes(piece: Any) -> bytes:
    return piece if isinstance(piece, bytes) else str(piece).encode()
