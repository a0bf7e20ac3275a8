"""Which packaged models there are, with the hyperparameters of their specifications.

Source: the SageMaker developer guide on LightGBM, CatBoost, TabTransformer and AutoGluon-Tabular; defaults are those that JumpStart's own
specifications give.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]
VERSION = "2.1.3"
"""Of all of them."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model id. ``script`` is its folder below ``scripts``."""

    id: str
    title: str
    script: str
    framework: tuple[str, str, str]  # name, version, Python version of the image that runs the script
    hyperparameters: tuple[Json, ...]
    metrics: tuple[Json, ...]


def _number(name: str, kind: str, default: float, low: float | None = None, high: float | None = None) -> Json:
    found: Json = {"name": name, "type": kind, "default": default, "scope": "algorithm"}
    return found | ({"min": low} if low is not None else {}) | ({"max": high} if high is not None else {})


def _whole(name: str, default: int, low: int | None = None, high: int | None = None) -> Json:
    return _number(name, "int", default, low, high)


def _real(name: str, default: float, low: float | None = None, high: float | None = None) -> Json:
    return _number(name, "float", default, low, high)


def _word(name: str, default: str, *options: str) -> Json:
    found: Json = {"name": name, "type": "text", "default": default, "scope": "algorithm"}
    return found | ({"options": list(options)} if options else {})


_LIGHTGBM = (
    _whole("num_boost_round", 5000, 1), _whole("early_stopping_rounds", 30, 1), _word("metric", "auto"),
    _real("learning_rate", 0.009, 0, 1), _whole("num_leaves", 67, 2, 131072), _real("feature_fraction", 0.74, 0, 1),
    _real("bagging_fraction", 0.53, 0, 1), _whole("bagging_freq", 5, 0), _whole("max_depth", 11),
    _whole("min_data_in_leaf", 26, 0), _real("max_delta_step", 0.0), _real("lambda_l1", 0.0, 0),
    _real("lambda_l2", 0.0, 0), _word("boosting", "gbdt", "gbdt", "rf", "dart", "goss"),
    _real("min_gain_to_split", 0.0, 0), _real("scale_pos_weight", 1.0, 0),
    _word("tree_learner", "serial", "serial", "feature", "data", "voting"), _real("feature_fraction_bynode", 1.0, 0, 1),
    _word("is_unbalance", "False", "True", "False"), _whole("max_bin", 255, 2), _real("tweedie_variance_power", 1.5, 1, 2),
    _whole("num_threads", 0, 0), _whole("verbosity", 1), _word("use_dask", "False", "True", "False"),
)  # fmt: skip
_CATBOOST = (
    _whole("iterations", 500, 1), _whole("early_stopping_rounds", 5, 1), _word("eval_metric", "Auto"),
    _real("learning_rate", 0.03, 0, 1), _whole("depth", 6, 1, 16), _real("l2_leaf_reg", 3.0, 0),
    _real("random_strength", 1.0, 0), _whole("max_leaves", 31, 2, 64), _real("rsm", 1.0, 0, 1),
    _word("sampling_frequency", "PerTreeLevel", "PerTreeLevel", "PerTree"), _whole("min_data_in_leaf", 1, 1),
    _real("bagging_temperature", 1.0, 0), _word("boosting_type", "Auto", "Auto", "Ordered", "Plain"),
    _real("scale_pos_weight", 1.0, 0), _word("max_bin", "Auto"),
    _word("grow_policy", "SymmetricTree", "SymmetricTree", "Depthwise", "Lossguide"), _whole("random_seed", 0, 0),
    _whole("thread_count", -1), _whole("verbose", 1),
)  # fmt: skip
_TABTRANSFORMER = (
    _whole("n_epochs", 5, 1), _whole("patience", 10, 1, 60), _real("learning_rate", 0.001, 0, 1),
    _whole("batch_size", 256, 1, 2048), _word("input_dim", "32", "16", "32", "64", "128", "256", "512"),
    _whole("n_blocks", 4, 1, 12), _real("attn_dropout", 0.2, 0, 1), _real("mlp_dropout", 0.1, 0, 1),
    _real("frac_shared_embed", 0.25, 0, 1),
)  # fmt: skip
_PRESETS = (
    "best_quality", "high_quality", "good_quality", "medium_quality", "optimize_for_deployment", "interpretable",
)  # fmt: skip
_AUTOGLUON = (
    _word("eval_metric", "auto"), _word("presets", "medium_quality", *_PRESETS),
    _word("auto_stack", "False", "True", "False"), _word("num_bag_folds", "0", *map(str, range(11))),
    _whole("num_bag_sets", 1, 1, 20), _whole("num_stack_levels", 0, 0, 3), _word("refit_full", "False", "True", "False"),
    _word("set_best_to_refit_full", "False", "True", "False"), _word("save_space", "False", "True", "False"),
    _whole("verbosity", 2, 0, 4),
)  # fmt: skip
_NUMBER = r"([0-9\.]+)"


def _metrics(*names: str) -> tuple[Json, ...]:
    return tuple({"Name": name, "Regex": rf"{name}: {_NUMBER}"} for name in names)


def _braced(*names: str) -> tuple[Json, ...]:
    return tuple({"Name": name, "Regex": rf"metrics={{'{name}': (\S+)}}"} for name in names)


_SKLEARN, _PYTORCH = ("sklearn", "1.2-1", "py3"), ("pytorch", "2.5.1", "py311")
MODELS = (
    Model("lightgbm-classification-model", "LightGBM Classification", "lightgbm", _SKLEARN, _LIGHTGBM, _metrics("binary_logloss", "multi_logloss", "auc")),
    Model("lightgbm-regression-model", "LightGBM Regression", "lightgbm", _SKLEARN, _LIGHTGBM, _metrics("rmse")),
    Model("catboost-classification-model", "CatBoost Classification", "catboost", _SKLEARN, _CATBOOST, ({"Name": "bestTest", "Regex": rf"bestTest = {_NUMBER}"},)),
    Model("catboost-regression-model", "CatBoost Regression", "catboost", _SKLEARN, _CATBOOST, ({"Name": "bestTest", "Regex": rf"bestTest = {_NUMBER}"},)),
    Model("pytorch-tabtransformerclassification-model", "TabTransformer Classification", "tabtransformer", _PYTORCH, _TABTRANSFORMER, _braced("f1", "accuracy")),
    Model("pytorch-tabtransformerregression-model", "TabTransformer Regression", "tabtransformer", _PYTORCH, _TABTRANSFORMER, _braced("r2")),
    Model("autogluon-classification-ensemble", "AutoGluon Classification", "autogluon", _SKLEARN, _AUTOGLUON, ()),
    Model("autogluon-regression-ensemble", "AutoGluon Regression", "autogluon", _SKLEARN, _AUTOGLUON, ()),
)  # fmt: skip
