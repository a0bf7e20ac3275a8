"""Answers in the shapes of AWS's container: plain predictions, or the keys that selectable inference asks for."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..readers import recordio

Floats = NDArray[np.float32]
Row = dict[str, Any]

SELECTABLE = ("predicted_score", "predicted_label", "labels", "probability", "probabilities", "raw_score", "raw_scores")
_REGRESSION = ("reg:squarederror", "reg:logistic", "reg:gamma", "reg:absoluteerror", "reg:tweedie")


def plain(predictions: Floats, accept: str, tag: tuple[int, ...], batch: bool = False) -> bytes:
    """Predictions without selection; ``batch`` is batch transform, where every container answers a line a row."""
    values = predictions.tolist()
    if accept == "application/json":
        return json.dumps({"predictions": [{"score": v} for v in values]}).encode()
    if batch:
        return "".join(f"{v}\n" for v in values).encode()
    if tag <= (1, 2, 1):
        flat = np.ravel(predictions).tolist()
        return ",".join(map(str, flat)).encode()
    if predictions.ndim == 2:
        return "".join(",".join(map(str, row)) + "\n" for row in values).encode()
    return "".join(f"{v}\n" for v in values).encode()


def chosen(text: str) -> list[str]:
    """The keys of SAGEMAKER_INFERENCE_OUTPUT."""
    return [k.strip().lower() for k in text.split(",") if k.strip()]


def select(predictions: Floats, margins: Floats, objective: str, classes: int, keys: list[str]) -> list[Row]:
    """Rows of selected values; keys that an objective does not have are NaN."""
    maker = _maker(objective, classes)
    return [
        {k: v for k, v in zip(keys, _pick(maker(p, m), keys), strict=True)}
        for p, m in zip(predictions, margins, strict=True)
    ]


def _pick(found: Row, keys: list[str]) -> list[Any]:
    return [found.get(k, math.nan) for k in keys]


def _maker(objective: str, classes: int) -> Callable[[Any, Any], Row]:
    if objective in _REGRESSION:
        return lambda p, m: {"predicted_score": float(p)}
    if objective == "binary:logistic":
        return lambda p, m: {
            "predicted_label": int(p > 0.5), "labels": [0, 1], "probability": float(p),
            "probabilities": [float(1.0 - p), float(p)], "raw_score": float(m), "raw_scores": [float(1.0 - m), float(m)],
        }  # fmt: skip
    if objective in ("binary:logitraw", "binary:hinge"):
        edge = 0.0 if objective == "binary:logitraw" else 0.5
        return lambda p, m: {
            "predicted_label": int(p > edge), "labels": [0, 1], "raw_score": float(p),
            "raw_scores": [float(1.0 - p), float(p)],
        }  # fmt: skip
    if objective == "multi:softmax":
        labels = list(range(classes))
        return lambda p, m: {
            "predicted_label": int(p), "labels": labels, "raw_score": float(np.max(m)), "raw_scores": _list(m),
        }  # fmt: skip
    if objective == "multi:softprob":
        labels = list(range(classes))
        return lambda p, m: {
            "predicted_label": int(np.argmax(p)), "labels": labels, "probability": float(np.max(p)),
            "probabilities": _list(p), "raw_score": float(np.max(m)), "raw_scores": _list(m),
        }  # fmt: skip
    return lambda p, m: {}


def _list(values: Any) -> list[float]:
    return [float(v) for v in np.ravel(values)]


def encode(rows: list[Row], accept: str) -> bytes:
    """Selected rows in an accepted content type."""
    if accept == "application/json":
        return json.dumps({"predictions": rows}).encode()
    if accept == "application/jsonlines":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    if accept == "application/x-recordio-protobuf":
        return b"".join(recordio.write({k: _list(v) for k, v in row.items()}) for row in rows)
    return "".join(",".join(_cell(v) for v in row.values()) + "\n" for row in rows).encode()


def _cell(value: Any) -> str:
    return f'"{value}"' if isinstance(value, list) else str(value)
