"""What the platform knows of XGBoost."""

from __future__ import annotations

from ..contract import CSV, LIBSVM, PARQUET, RECORDIO, Algorithm, Input, Metric
from .hyperparameters import HYPERPARAMETERS
from .metrics import CUSTOM

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


ALGORITHM = Algorithm(
    name="xgboost",
    title="XGBoost",
    repositories=("sagemaker-xgboost", "xgboost"),
    hyperparameters=HYPERPARAMETERS,
    channels=(Input("train", True), Input("validation"), Input("code")),
    metrics=tuple(
        Metric(f"{data}:{name}", rf".*\[[0-9]+\].*#011{data}-{name}{_suffix(name)}:{_VALUE}.*")
        for data in ("train", "validation")
        for name in sorted((*_NATIVE, *CUSTOM))
    ),
    files=(LIBSVM, CSV, PARQUET, RECORDIO),
    requests=(CSV, LIBSVM, RECORDIO),
    answers=(CSV, "application/json"),
    train="clary.algorithms.xgboost.train:main",
    serve="clary.algorithms.xgboost.serve:main",
)
