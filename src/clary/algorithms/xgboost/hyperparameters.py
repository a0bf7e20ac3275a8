"""Hyperparameters as a table: name, type, range. Validation and its messages follow from it.

Source: the SageMaker developer guide, "XGBoost hyperparameters", and the messages of the open-source container.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from ..environment import UserError, gpus
from ..hyperparameters import Hyperparameter, Params, choice, integer, number, switch, text

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
    "num_round": integer(1, required=True, library=False),
    "num_class": integer(2),
    "objective": choice(*_OBJECTIVES),
    "eval_metric": text(),
    "booster": choice("gbtree", "gblinear", "dart"),
    "eta": number(0, 1),
    "gamma": number(0, None),
    "max_depth": integer(0),
    "min_child_weight": number(0, None),
    "max_delta_step": number(0, None),
    "subsample": number(0, 1, low_open=True),
    "colsample_bytree": number(0, 1, low_open=True),
    "colsample_bylevel": number(0, 1, low_open=True),
    "colsample_bynode": number(0, 1, low_open=True),
    "lambda": number(0, None),
    "alpha": number(0, None),
    "lambda_bias": number(0, 1),
    "tree_method": choice("auto", "exact", "approx", "hist", "gpu_hist"),
    "sketch_eps": number(0, 1, True, True),
    "scale_pos_weight": number(0, None, low_open=True),
    "updater": Hyperparameter(
        str, lambda v: all(p.strip() in _UPDATERS for p in v.split(",")), f"[{', '.join(sorted(_UPDATERS))}]", "a text"
    ),
    "dsplit": choice("row", "col"),
    "refresh_leaf": integer(0, 1),
    "process_type": choice("default", "update"),
    "grow_policy": choice("depthwise", "lossguide"),
    "max_leaves": integer(0),
    "max_bin": integer(0),
    "predictor": choice("auto", "cpu_predictor", "gpu_predictor"),
    "monotone_constraints": text(),
    "interaction_constraints": text(),
    "sample_type": choice("uniform", "weighted"),
    "normalize_type": choice("tree", "forest"),
    "rate_drop": number(0, 1),
    "one_drop": integer(0, 1),
    "skip_drop": number(0, 1),
    "tweedie_variance_power": number(1, 2, True, True),
    "huber_slope": number(0, None, low_open=True),
    "base_score": number(0, None),
    "seed": integer(-(2**31) + 1, 2**31 - 2),
    "num_parallel_tree": integer(1),
    "nthread": integer(1),
    "verbosity": integer(0, 3),
    "early_stopping_rounds": integer(1, library=False),
    "csv_weights": integer(0, 1, library=False),
    "save_model_on_termination": switch(library=False),
    "aft_loss_distribution": choice("normal", "logistic", "extreme"),
    "aft_loss_distribution_scale": number(0, None),
    "deterministic_histogram": switch(library=False),
    "single_precision_histogram": switch(library=False),
    "sampling_method": choice("uniform", "gradient_based"),
    "prob_buffer_row": number(1, None, low_open=True),
    "use_dask_gpu_training": switch(library=False),
    "_kfold": integer(2, library=False),
    "_num_cv_round": integer(1, library=False),
    "_tuning_objective_metric": text(library=False),
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
    for name, given in named.items():
        if (spec := HYPERPARAMETERS.get(name)) is None:
            raise UserError(f"Extraneous hyperparameter found: {name}")
        given = given.strip().strip('"')
        try:
            value = spec.read(given)
        except (ValueError, OverflowError):
            raise UserError(f"Hyperparameter {name}: could not parse value {given} as {spec.kind}") from None
        if not spec.valid(value):
            raise UserError(f"Hyperparameter {name}: value {given} not in range {spec.range}")
        params[name] = value
    _dependencies(params)
    return params


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
        kept |= {"tree_method": "hist", "device": "cuda" if gpus() else "cpu"}
    updaters = [u.strip() for u in str(kept.get("updater", "")).split(",") if u.strip()]
    if kept.get("booster") != "gblinear" and kept.get("process_type") != "update":
        kept.pop("updater", None)  # tree updaters of old releases; tree_method chooses them now
    elif updaters:
        kept["updater"] = ",".join(updaters)
    return kept
