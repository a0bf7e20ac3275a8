"""Hyperparameters as a table: name, type, range. Validation and its messages follow from it.

Source: the SageMaker developer guide, "XGBoost hyperparameters", and the messages of the open-source container.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..environment import UserError

Params = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Hyperparameter:
    """One hyperparameter: how its text is read, which values it takes."""

    read: Callable[[str], Any]
    valid: Callable[[Any], bool]
    range: str  # as messages show it
    required: bool = False
    library: bool = True  # passed on to the library


def _whole(text: str) -> int:
    value = float(text)
    if value != int(value):
        raise ValueError(text)
    return int(value)


def _flag(text: str) -> bool:
    low = text.lower()
    if low not in ("true", "false", "1", "0"):
        raise ValueError(text)
    return low in ("true", "1")


def _integer(low: int | None = None, high: int | None = None, **options: bool) -> Hyperparameter:
    def valid(value: int) -> bool:
        return (low is None or value >= low) and (high is None or value <= high)

    return Hyperparameter(_whole, valid, f"[{_edge(low, '-')}, {_edge(high, '+')}]", **options)


def _edge(value: float | None, sign: str) -> str:
    return f"{sign}inf" if value is None else str(value)


def _number(low: float | None, high: float | None, low_open: bool = False, high_open: bool = False) -> Hyperparameter:
    def valid(value: float) -> bool:
        above = low is None or (value > low if low_open else value >= low)
        below = high is None or (value < high if high_open else value <= high)
        return above and below and not math.isnan(value)

    left, right = "(" if low_open or low is None else "[", ")" if high_open or high is None else "]"
    return Hyperparameter(float, valid, f"{left}{_edge(low, '-')}, {_edge(high, '+')}{right}")


def _choice(*values: str, library: bool = True) -> Hyperparameter:
    return Hyperparameter(str, lambda value: value in values, f"[{', '.join(values)}]", library=library)


def _text(library: bool = True) -> Hyperparameter:
    return Hyperparameter(str, lambda value: True, "any text", library=library)


def _switch(library: bool = True) -> Hyperparameter:
    return Hyperparameter(_flag, lambda value: True, "[true, false]", library=library)


_UPDATERS = frozenset(
    (
        "grow_colmaker", "distcol", "grow_histmaker", "grow_skmaker", "grow_quantile_histmaker", "sync", "refresh",
        "prune", "shotgun", "coord_descent",
    )
)  # fmt: skip
_OBJECTIVES = (
    "reg:squarederror", "reg:linear", "reg:logistic", "reg:squaredlogerror", "reg:absoluteerror",
    "reg:pseudohubererror", "reg:gamma", "reg:tweedie", "count:poisson", "binary:logistic",
    "binary:logitraw", "binary:hinge", "multi:softmax", "multi:softprob", "rank:pairwise", "rank:ndcg", "rank:map",
    "survival:cox", "survival:aft",
)  # fmt: skip

HYPERPARAMETERS: dict[str, Hyperparameter] = {
    "num_round": _integer(1, required=True, library=False),
    "num_class": _integer(2),
    "objective": _choice(*_OBJECTIVES),
    "eval_metric": _text(),
    "booster": _choice("gbtree", "gblinear", "dart"),
    "eta": _number(0, 1),
    "gamma": _number(0, None),
    "max_depth": _integer(0),
    "min_child_weight": _number(0, None),
    "max_delta_step": _number(0, None),
    "subsample": _number(0, 1, low_open=True),
    "colsample_bytree": _number(0, 1, low_open=True),
    "colsample_bylevel": _number(0, 1, low_open=True),
    "colsample_bynode": _number(0, 1, low_open=True),
    "lambda": _number(0, None),
    "alpha": _number(0, None),
    "lambda_bias": _number(0, 1),
    "tree_method": _choice("auto", "exact", "approx", "hist", "gpu_hist"),
    "sketch_eps": _number(0, 1, True, True),
    "scale_pos_weight": _number(0, None, low_open=True),
    "updater": Hyperparameter(
        str, lambda v: all(p.strip() in _UPDATERS for p in v.split(",")), f"[{', '.join(sorted(_UPDATERS))}]"
    ),
    "dsplit": _choice("row", "col"),
    "refresh_leaf": _integer(0, 1),
    "process_type": _choice("default", "update"),
    "grow_policy": _choice("depthwise", "lossguide"),
    "max_leaves": _integer(0),
    "max_bin": _integer(0),
    "predictor": _choice("auto", "cpu_predictor", "gpu_predictor"),
    "monotone_constraints": _text(),
    "interaction_constraints": _text(),
    "sample_type": _choice("uniform", "weighted"),
    "normalize_type": _choice("tree", "forest"),
    "rate_drop": _number(0, 1),
    "one_drop": _integer(0, 1),
    "skip_drop": _number(0, 1),
    "tweedie_variance_power": _number(1, 2, True, True),
    "huber_slope": _number(0, None, low_open=True),
    "base_score": _number(0, None),
    "seed": _integer(-(2**31) + 1, 2**31 - 2),
    "num_parallel_tree": _integer(1),
    "nthread": _integer(1),
    "verbosity": _integer(0, 3),
    "early_stopping_rounds": _integer(1, library=False),
    "csv_weights": _integer(0, 1, library=False),
    "save_model_on_termination": _switch(library=False),
    "aft_loss_distribution": _choice("normal", "logistic", "extreme"),
    "aft_loss_distribution_scale": _number(0, None),
    "deterministic_histogram": _switch(library=False),
    "single_precision_histogram": _switch(library=False),
    "sampling_method": _choice("uniform", "gradient_based"),
    "prob_buffer_row": _number(1, None, low_open=True),
    "use_dask_gpu_training": _switch(library=False),
    "_kfold": _integer(2, library=False),
    "_num_cv_round": _integer(1, library=False),
    "_tuning_objective_metric": _text(library=False),
}
ALIASES = {"learning_rate": "eta", "min_split_loss": "gamma", "reg_lambda": "lambda", "reg_alpha": "alpha"}
_DROPPED = frozenset(("sketch_eps", "predictor", "dsplit", "prob_buffer_row", "lambda_bias"))


def validate(raw: Mapping[str, str]) -> Params:
    """Typed hyperparameters; UserError in the container's words."""
    named = {ALIASES.get(k, k): str(v) for k, v in raw.items() if not k.startswith("sagemaker_")}
    for name, table in HYPERPARAMETERS.items():
        if table.required and name not in named:
            raise UserError(f"Missing required hyperparameter: {name}")
    params: Params = {}
    for name, text in named.items():
        if (spec := HYPERPARAMETERS.get(name)) is None:
            raise UserError(f"Extraneous hyperparameter found: {name}")
        text = text.strip().strip('"')
        try:
            value = spec.read(text)
        except (ValueError, OverflowError):
            raise UserError(f"Hyperparameter {name}: could not parse value {text} as {_kind(spec)}") from None
        if not spec.valid(value):
            raise UserError(f"Hyperparameter {name}: value {text} not in range {spec.range}")
        params[name] = value
    _dependencies(params)
    return params


def _kind(spec: Hyperparameter) -> str:
    return {_whole: "an integer", float: "a number", _flag: "a boolean"}.get(spec.read, "a text")


def _dependencies(params: Params) -> None:
    objective = params.get("objective", "reg:squarederror")
    if objective.startswith("multi:") and "num_class" not in params:
        raise UserError("Require input for parameter 'num_class' for multi-classification")
    if not objective.startswith("multi:") and params.get("num_class", 0) > 1 and "objective" in params:
        raise UserError("Do not need to setup parameter 'num_class' for learning task other than multi-classification.")
    metrics = metric_names(params)
    if "auc" in metrics and not objective.startswith(("binary:", "rank:", "multi:")):
        raise UserError("Metric 'auc' can only be applied for classification and ranking problems.")
    if "aft-nloglik" in metrics and objective != "survival:aft":
        raise UserError("Metric 'aft-nloglik' can only be applied for 'survival:aft' objective.")
    if params.get("booster") == "gblinear" and "updater" in params:
        updaters = [u.strip() for u in params["updater"].split(",")]
        if len(updaters) != 1 or updaters[0] not in ("shotgun", "coord_descent"):
            raise UserError("Linear updater should be one of these options: 'shotgun', 'coord_descent'")
    if params.get("process_type") == "update":
        updaters = [u.strip() for u in params.get("updater", "").split(",") if u.strip()]
        if any(u not in ("refresh", "prune") for u in updaters):
            raise UserError("process_type 'update' can only be used with updater 'refresh' and 'prune'")
    if "monotone_constraints" in params and params.get("tree_method", "auto") not in ("auto", "exact", "hist"):
        raise UserError(
            "monotone_constraints can be used only when the tree_method parameter is set to either 'exact' or 'hist'."
        )
    if "interaction_constraints" in params:
        if params.get("tree_method", "auto") not in ("auto", "exact", "hist", "approx"):
            raise UserError(
                "interaction_constraints can be used only when the tree_method parameter is set to either 'exact', 'hist' or 'approx'."
            )
        try:
            json.loads(params["interaction_constraints"])
        except ValueError:
            raise UserError(
                f"Hyperparameter interaction_constraints: value {params['interaction_constraints']} is not a nested list of integers"
            ) from None


def metric_names(params: Params) -> list[str]:
    """The names in ``eval_metric``, in order."""
    return [m.strip().strip("[]'\" ") for m in str(params.get("eval_metric", "")).split(",") if m.strip("[]'\" ")]


def for_library(params: Params) -> Params:
    """What is passed to the library: removed parameters left out, old spellings mapped, metrics apart."""
    kept = {k: v for k, v in params.items() if HYPERPARAMETERS[k].library and k not in _DROPPED and k != "eval_metric"}
    if kept.get("objective") == "reg:linear":
        kept["objective"] = "reg:squarederror"
    if kept.get("tree_method") == "gpu_hist":
        kept["tree_method"] = "hist"
    updaters = [u.strip() for u in str(kept.get("updater", "")).split(",") if u.strip()]
    if kept.get("booster") != "gblinear" and kept.get("process_type") != "update":
        kept.pop("updater", None)  # tree updaters of old releases; tree_method chooses them now
    elif updaters:
        kept["updater"] = ",".join(updaters)
    return kept
