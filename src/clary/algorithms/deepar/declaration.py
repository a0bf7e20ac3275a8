"""What the platform knows of DeepAR. Source: "DeepAR hyperparameters" of the SageMaker developer guide."""

from __future__ import annotations

import json

from ..contract import JSON, JSONLINES, PARQUET, PROGRESS, Algorithm, quality
from ..hyperparameters import Hyperparameter, folded, integer, number, numbers, whole

FREQUENCY = r"(\d*)\s*(M|W|D|d|H|h|min|T)"
"""A number and a unit; without a number it is one."""


def _cardinality(given: str) -> str | list[int]:
    if given in ("auto", "ignore", ""):
        return given or "ignore"
    return [whole(str(v)) for v in json.loads(given)]


def _features(given: str) -> str | int:
    return given or "ignore" if given in ("auto", "ignore", "") else whole(given)


def _frequency(value: str) -> bool:
    import re

    return bool(re.fullmatch(FREQUENCY, value))


ALGORITHM = Algorithm(
    name="deepar",
    title="DeepAR",
    repositories=("forecasting-deepar",),
    hyperparameters={
        "time_freq": Hyperparameter(str, _frequency, "a number and M, W, D, H or min, like 5min", "a text", required=True),
        "prediction_length": integer(1, required=True),
        "context_length": integer(1, required=True),
        "epochs": integer(1, required=True),
        "cardinality": Hyperparameter(
            _cardinality, lambda v: isinstance(v, str) or all(c > 0 for c in v), "auto, ignore or a list of sizes",
            "a text", default="auto",
        ),
        "num_dynamic_feat": Hyperparameter(
            _features, lambda v: isinstance(v, str) or v >= 0, "auto, ignore or a number", "a text", default="auto"
        ),
        "likelihood": folded(
            "gaussian", "beta", "negative-binomial", "student-T", "deterministic-L1", default="student-T"
        ),
        "num_layers": integer(1, 8, default=2),
        "num_cells": integer(1, 2000, default=40),
        "embedding_dimension": integer(1, 1000, default=10),
        "dropout_rate": number(0, 1, high_open=True, default=0.1),
        "mini_batch_size": integer(1, default=128),
        "learning_rate": number(1e-7, 1, default=1e-3),
        "early_stopping_patience": integer(1),
        "num_eval_samples": integer(1, default=100),
        "test_quantiles": numbers(0, 1, default=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]),
    },
    files=(JSONLINES, JSON, PARQUET, "json", "json.gz", "auto"),
    requests=(JSON, JSONLINES),
    answers=(JSON, JSONLINES),
    metrics=(
        *PROGRESS, quality("test:RMSE", "test RMSE", "loss"),
        quality("test:mean_wQuantileLoss", "test mean_wQuantileLoss", "loss"),
        quality("train:final_loss", "train final_loss", "loss"),
        quality("train:loss", r"epoch=\S+, train loss", "loss"),
        quality("train:loss:batch", r"epoch=\S+, batch=\S+ train loss", "loss"),
    ),
    dimension="AWS/DeepAR",
    needs=("torch",),
    extra="deep",
)  # fmt: skip
