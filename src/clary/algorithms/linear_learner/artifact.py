"""The model's file: a ZIP of an MXNet module (one fully connected layer) and what the layer does not say."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from .. import ndarray
from ..environment import UserError
from ..hosting import artifact

_PARAMS, _SYMBOL, _MORE, _MANIFEST = (
    "mx-mod-0000.params",
    "mx-mod-symbol.json",
    "additional-params.json",
    "manifest.json",
)


def save(path: Path, weights: Any, bias: Any, more: dict[str, Any]) -> None:
    """Write weights [outputs, features] and biases [outputs]."""
    layer = {"arg:fc0_weight": weights.astype(np.float32), "arg:fc0_bias": bias.astype(np.float32)}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(_MORE, json.dumps(more))
        packed.writestr(_MANIFEST, json.dumps({"files": [_MORE, _SYMBOL, _PARAMS], "version": 1}))
        packed.writestr(_SYMBOL, json.dumps(_symbol(*weights.shape)))
        packed.writestr(_PARAMS, ndarray.dumps(layer))


def _symbol(outputs: int, features: int) -> dict[str, Any]:
    """data → FullyConnected, in MXNet's symbol format."""
    variables: list[dict[str, Any]] = [
        {"op": "null", "name": n, "inputs": []} for n in ("data", "fc0_weight", "fc0_bias")
    ]
    layer = {
        "op": "FullyConnected", "name": "fc0", "attrs": {"num_hidden": str(outputs)},
        "inputs": [[0, 0, 0], [1, 0, 0], [2, 0, 0]],
    }  # fmt: skip
    return {
        "nodes": [*variables, layer], "arg_nodes": [0, 1, 2], "node_row_ptr": [0, 1, 2, 3, 4], "heads": [[3, 0, 0]],
        "attrs": {"mxnet_version": ["int", 10901], "feature_dim": ["int", features]},
    }  # fmt: skip


def load(folder: Path) -> tuple[Any, Any, dict[str, Any]]:
    """Weights, biases, and what belongs to them; UserError for archives of another kind."""
    try:
        with zipfile.ZipFile(io.BytesIO(artifact(folder).read_bytes())) as packed:
            layer = ndarray.load(packed.read(_PARAMS))
            more = json.loads(packed.read(_MORE))
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UserError(f"model_algo-1 is no model of Linear Learner: {error}") from None
    return layer["arg:fc0_weight"], layer["arg:fc0_bias"], more
