"""What the platform knows of Linear Learner. Source: "Linear learner hyperparameters" of the SageMaker developer guide."""

from __future__ import annotations

from ..contract import PROGRESS, Algorithm, Input, Metric, quality
from ..environment import UserError
from ..hyperparameters import Hyperparameter, Params, auto, choice, integer, number, switch

LOSSES = {
    "binary_classifier": ("logistic", "hinge_loss"),
    "multiclass_classifier": ("softmax_loss",),
    "regressor": (
        "squared_loss", "absolute_loss", "eps_insensitive_squared_loss", "eps_insensitive_absolute_loss",
        "quantile_loss", "huber_loss",
    ),
}  # fmt: skip
"""The losses of each kind of predictor; the first is meant by ``auto``."""


def _weight(text: str) -> float | str:
    return text if text in ("balanced", "auto") else float(text)


def _rules(params: Params) -> None:
    kind, loss = params["predictor_type"], params["loss"]
    if kind == "multiclass_classifier" and params["num_classes"] is None:
        raise UserError("'num_classes' is a required property when predictor_type is multiclass_classifier.")
    if loss is not None and loss not in LOSSES[kind]:
        raise UserError(
            f"The loss {loss} does not go with predictor_type {kind}, which takes {', '.join(LOSSES[kind])}."
        )


_SCORES = (
    ("binary_classification_accuracy", "binary_classification_accuracy"), ("binary_f_beta", r"binary_f_\S+"),
    ("precision", "precision"), ("recall", "recall"), ("multiclass_accuracy", "multiclass_accuracy"),
    ("multiclass_top_k_accuracy", r"multiclass_top_k_accuracy_\S+"), ("dcg", "dcg"),
    ("macro_precision", "macro_precision"), ("macro_recall", "macro_recall"), ("macro_f_beta", r"macro_f_\S+"),
)  # fmt: skip


def _metrics() -> tuple[Metric, ...]:
    found = list(PROGRESS)
    for split in ("train", "validation"):
        found.append(quality(f"{split}:objective_loss", rf"epoch=\S+, {split} \S+_objective", "loss"))
        found.append(quality(f"{split}:objective_loss:final", rf"{split} \S+_objective", "loss"))
    found.append(quality("test:objective_loss", r"test \S+_objective", "loss"))
    for split in ("train", "validation", "test"):
        found += (quality(f"{split}:{name}", f"{split} {words}", "score") for name, words in _SCORES)
        found += (quality(f"{split}:{name}", f"{split} {name}", "loss") for name in ("mse", "absolute_loss"))
    found += (quality(f"{split}:roc_auc_score", f"{split} roc_auc_score", "score") for split in ("validation", "test"))
    found.append(quality("validation:rmse", "validation rmse", "loss"))
    return tuple(found)


ALGORITHM = Algorithm(
    name="linear-learner",
    title="Linear Learner",
    repositories=("linear-learner",),
    channels=(Input("train", True), Input("validation"), Input("test")),
    hyperparameters={
        "predictor_type": choice(*LOSSES, required=True),
        "num_classes": integer(3, 1_000_000),
        "feature_dim": auto(integer(1)),
        "mini_batch_size": integer(1, default=1000),
        "epochs": integer(1, default=15),
        "loss": auto(choice(*(loss for losses in LOSSES.values() for loss in losses))),
        "num_models": auto(integer(1)),
        "optimizer": auto(choice("sgd", "adam", "rmsprop")),
        "learning_rate": auto(number(0, low_open=True)),
        "wd": auto(number(0)),
        "l1": auto(number(0)),
        "momentum": auto(number(0, 1, high_open=True)),
        "beta_1": auto(number(0, 1, high_open=True)),
        "beta_2": auto(number(0, 1, high_open=True)),
        "bias_lr_mult": auto(number(0, low_open=True)),
        "bias_wd_mult": auto(number(0)),
        "use_lr_scheduler": switch(default=True),
        "lr_scheduler_step": auto(integer(1)),
        "lr_scheduler_factor": auto(number(0, 1, True, True)),
        "lr_scheduler_minimum_lr": auto(number(0, low_open=True)),
        "init_method": choice("uniform", "normal", default="uniform"),
        "init_scale": number(0, low_open=True, default=0.07),
        "init_sigma": number(0, low_open=True, default=0.01),
        "init_bias": number(default=0.0),
        "use_bias": switch(default=True),
        "normalize_data": auto(switch()),
        "normalize_label": auto(switch()),
        "unbias_data": auto(switch()),
        "unbias_label": auto(switch()),
        "num_point_for_scaler": integer(1, default=10000),
        "num_calibration_samples": auto(integer(1)),
        "positive_example_weight_mult": Hyperparameter(
            _weight, lambda v: isinstance(v, str) or v > 0, "balanced, auto or (0, +inf)", "a number", default=1.0
        ),
        "balance_multiclass_weights": switch(default=False),
        "binary_classifier_model_selection_criteria": choice(
            "accuracy", "f1", "f_beta", "precision_at_target_recall", "recall_at_target_precision",
            "cross_entropy_loss", "loss_function", default="accuracy",
        ),
        "target_recall": number(0, 1, True, True, default=0.8),
        "target_precision": number(0, 1, True, True, default=0.8),
        "f_beta": number(0, low_open=True, default=1.0),
        "accuracy_top_k": integer(1, default=3),
        "early_stopping_patience": integer(1, default=3),
        "early_stopping_tolerance": number(0, default=0.001),
        "huber_delta": number(0, low_open=True, default=1.0),
        "quantile": number(0, 1, True, True, default=0.5),
        "loss_insensitivity": number(0, low_open=True, default=0.01),
        "margin": number(0, low_open=True, default=1.0),
    },
    rules=_rules,
    metrics=_metrics(),
    dimension="Linear Learner",
)  # fmt: skip
