"""Metric definitions that the service attaches to jobs of first-party algorithms."""

from __future__ import annotations

from typing import Any

from ....algorithms.xgboost.metrics import CUSTOM
from ..images import resolve

Json = dict[str, Any]
_NATIVE = (
    "aft-nloglik", "auc", "aucpr", "cox-nloglik", "error", "gamma-deviance", "gamma-nloglik",
    "interval-regression-accuracy", "logloss", "mae", "map", "mape", "merror", "mlogloss", "mphe", "ndcg",
    "poisson-nloglik", "rmse", "rmsle", "tweedie-nloglik",
)  # fmt: skip
_VALUE = r"([-+]?[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)"


_SUFFIXED = ("map", "ndcg", "tweedie-nloglik")


def _suffix(name: str) -> str:
    """The library prints some metrics with their parameter: ``ndcg@32``, ``tweedie-nloglik@1.5``."""
    return r"(?:@[0-9.]+-?)?" if name in _SUFFIXED else ""


def implicit(spec: Json) -> Json:
    """The algorithm specification with the definitions of its algorithm, unless the request brings its own."""
    algorithm: Json = dict(spec["AlgorithmSpecification"])
    algorithm.setdefault("TrainingInputMode", "File")
    algorithm.setdefault("EnableSageMakerMetricsTimeSeries", False)
    if algorithm.get("MetricDefinitions") or resolve(algorithm["TrainingImage"]).name != "xgboost":
        return algorithm
    if algorithm.get("ContainerEntrypoint") or "sagemaker_program" in (spec.get("HyperParameters") or {}):
        return algorithm
    algorithm["MetricDefinitions"] = [
        {"Name": f"{data}:{name}", "Regex": rf".*\[[0-9]+\].*#011{data}-{name}{_suffix(name)}:{_VALUE}.*"}
        for data in ("train", "validation")
        for name in sorted((*_NATIVE, *CUSTOM))
    ]
    return algorithm
