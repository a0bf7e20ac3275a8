"""TensorFlow's inference image: SavedModels behind TensorFlow Serving's REST API, and scripts that stand around it.

Contract: the public documentation of sagemaker-tensorflow-serving-container (Apache-2.0) and of TensorFlow Serving's
REST API. There is no model server beside the script's process: the predictions are made in it.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import threading
from collections import namedtuple
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .context import Context
from .script_serving import Unsupported

_JSON = "application/json"
_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
_Data = Callable[..., Any]
Request = namedtuple(
    "Request", "model_name model_version method rest_uri grpc_port custom_attributes request_content_type accept_header"
    " content_length",
)  # fmt: skip
"""What handlers get as ``context``, by the container's names."""


def model(folder: str) -> dict[str, Any]:
    """The newest version of every SavedModel below a folder, by its name; ``<name>/<version>/saved_model.pb``."""
    import tensorflow as tf

    found: dict[str, tuple[int, Path]] = {}
    for graph in Path(folder).rglob("saved_model.pb"):
        version = graph.parent
        if not version.name.isdigit():
            continue
        name = version.parent.name if version.parent != Path(folder) else "model"
        found[name] = max(found.get(name, (-1, version)), (int(version.name), version))
    if not found:
        raise FileNotFoundError(
            "no SavedModel is in the model archive: it holds <name>/<version>/saved_model.pb, with a number as version "
            f"(there are {sorted(str(p.relative_to(folder)) for p in Path(folder).rglob('*') if p.is_file())[:10]})"
        )
    return {name: tf.saved_model.load(str(path)) for name, (_, path) in sorted(found.items())}


class Transform:
    """A request's way: the script's handlers, or the container's own, around a prediction."""

    def __init__(self, module: ModuleType | None, context: Callable[[], Context]):
        self._context = context
        self._whole: _Data | None = getattr(module, "handler", None)
        self._before: _Data = getattr(module, "input_handler", read)
        self._after: _Data = getattr(module, "output_handler", write)
        self._models: dict[str, Any] = {}
        self._port = _serve(lambda name, body: predict(self._models[name], body)) if self._whole else 0

    def __call__(self, models: dict[str, Any], body: Any, content_type: str, accept: str) -> Any:
        """``(payload, content type)``; Unsupported with the status that TensorFlow Serving answers."""
        self._models = models
        data = body if isinstance(body, bytes) else str(body).encode()
        request = self._request(content_type, accept or _JSON, len(data))
        if self._whole is not None:
            return self._whole(io.BytesIO(data), request)
        asked = self._before(io.BytesIO(data), request)
        if request.model_name not in models:
            raise Unsupported(404, _error(f"Servable not found for request: Latest({request.model_name})"))
        status, answer = predict(models[request.model_name], asked)
        return self._after(_Response(status, answer), request)

    def _request(self, content_type: str, accept: str, size: int) -> Request:
        text = self._context().get_request_header(0, _ATTRIBUTES) or ""
        said = dict(part.strip().partition("=")[::2] for part in text.split(",") if "=" in part)
        first = os.environ.get("SAGEMAKER_TFS_DEFAULT_MODEL_NAME") or next(iter(self._models), "model")
        name, method = said.get("tfs-model-name", first), said.get("tfs-method", "predict")
        if method != "predict":
            raise Unsupported(400, _error(f"tfs-method={method} is not supported; use predict"))
        if "tfs-model-version" in said:
            raise Unsupported(400, _error("tfs-model-version is not supported; the newest version answers"))
        uri = f"http://localhost:{self._port}/v1/models/{name}:{method}"
        return Request(name, None, method, uri, None, text, content_type, accept, size)


class _Response:
    """What an ``output_handler`` gets: as much of a response of ``requests`` as handlers use."""

    def __init__(self, status: int, content: bytes):
        self.status_code = status
        self.content = content
        self.headers = {"content-type": _JSON}

    @property
    def text(self) -> str:
        return self.content.decode()

    def json(self) -> Any:
        return json.loads(self.content)


def read(data: Any, request: Request) -> bytes:
    """The container's own ``input_handler``: JSON as it is, JSON lines and CSV as instances."""
    text = data.read()
    kind = request.request_content_type.partition(";")[0].strip().lower()
    if kind == _JSON:
        return bytes(text)
    if kind in ("application/jsonlines", "application/jsons"):
        return json.dumps({"instances": [json.loads(line) for line in text.splitlines() if line.strip()]}).encode()
    if kind == "text/csv":
        return json.dumps({"instances": [_row(line) for line in text.decode().splitlines() if line.strip()]}).encode()
    raise Unsupported(
        415, f"Unsupported content type {kind or 'unknown'}; use {_JSON}, application/jsonlines or text/csv"
    )


def _row(line: str) -> list[Any]:
    values: list[Any] = []
    for text in line.split(","):
        try:
            values.append(float(text))
        except ValueError:
            values.append(text.strip().strip('"'))
    return values


def write(response: _Response, request: Request) -> tuple[bytes, str]:
    """The container's own ``output_handler``."""
    if response.status_code != 200:
        raise Unsupported(response.status_code, response.text)
    return response.content, _JSON


def predict(loaded: Any, body: Any) -> tuple[int, bytes]:
    """TensorFlow Serving's ``:predict``: a status and a JSON text; a bare list stands for ``instances``."""
    try:
        asked = json.loads(body)
        asked = {"instances": asked} if isinstance(asked, list) else asked
        name = asked.get("signature_name", "serving_default")
        if name not in loaded.signatures:
            raise ValueError(f'Serving signature name: "{name}" not found in signature def')
        signature = loaded.signatures[name]
        wanted = signature.structured_input_signature[1]
        by_row = "instances" in asked
        if not by_row and "inputs" not in asked:
            raise ValueError("Missing 'inputs' or 'instances' key")
        given = _columns(asked["instances"], wanted) if by_row else _named(asked["inputs"], wanted)
        outputs = {k: v.numpy() for k, v in signature(**given).items()}
    except Exception as error:  # noqa: BLE001  # whatever a model makes of its input is the request's fault
        return 400, _error(str(error) or type(error).__name__).encode()
    plain = {k: _plain(k, v) for k, v in outputs.items()}
    whole: Any = next(iter(plain.values())) if len(plain) == 1 else plain
    if not by_row:
        return 200, json.dumps({"outputs": whole}).encode()
    rows = (
        whole if len(plain) == 1 else [dict(zip(plain, row, strict=True)) for row in zip(*plain.values(), strict=True)]
    )
    return 200, json.dumps({"predictions": rows}).encode()


def _columns(instances: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    """Instances, each a value or an object of named values, as one tensor per input."""
    if not isinstance(instances, list) or not instances:
        raise ValueError("'instances' has to be a list with at least one instance")
    if all(isinstance(row, dict) and "b64" not in row for row in instances):
        named = {name: [row[name] for row in instances if name in row] for name in instances[0]}
        if any(len(values) != len(instances) for values in named.values()) or any(
            row.keys() != named.keys() for row in instances
        ):
            raise ValueError("every instance has to name the same inputs")
        return _named(named, wanted)
    return _named(instances, wanted)


def _named(inputs: Any, wanted: dict[str, Any]) -> dict[str, Any]:
    import tensorflow as tf

    if not isinstance(inputs, dict) or "b64" in inputs:
        if len(wanted) != 1:
            raise ValueError(f"the model has the inputs {sorted(wanted)}: name them")
        inputs = {next(iter(wanted)): inputs}
    if inputs.keys() != wanted.keys():
        raise ValueError(f"the model has the inputs {sorted(wanted)}, the request names {sorted(inputs)}")
    return {name: tf.constant(_bytes(value), dtype=wanted[name].dtype) for name, value in inputs.items()}


def _bytes(value: Any) -> Any:
    """``{"b64": …}`` as bytes, however deep."""
    if isinstance(value, list):
        return [_bytes(v) for v in value]
    if isinstance(value, dict) and value.keys() == {"b64"}:
        return base64.b64decode(value["b64"])
    return value


def _plain(name: str, values: Any) -> Any:
    """Numbers and texts; outputs whose name ends in ``_bytes`` as base64."""
    found = np.asarray(values).tolist()

    def text(value: Any) -> Any:
        if isinstance(value, list):
            return [text(v) for v in value]
        if isinstance(value, bytes):
            return (
                {"b64": base64.b64encode(value).decode()}
                if name.endswith("_bytes")
                else value.decode("utf-8", "replace")
            )
        return value

    return text(found)


def _error(text: str) -> str:
    return json.dumps({"error": text})


def _serve(answer: Callable[[str, Any], tuple[int, bytes]]) -> int:
    """TensorFlow Serving's address, for a ``handler`` that asks it; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            name = self.path.rpartition("/")[2].partition(":")[0]
            try:
                status, content = answer(name, body)
            except KeyError:
                status, content = 404, _error(f"Servable not found for request: Latest({name})").encode()
            self.send_response(status)
            self.send_header("Content-Type", _JSON)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # the library's name
            """Nothing: the request has its own line."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return int(server.server_port)
