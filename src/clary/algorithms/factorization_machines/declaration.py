"""What the platform knows of Factorization Machines. Source: their hyperparameters in the SageMaker developer guide."""

from __future__ import annotations

from ..contract import JSON, JSONLINES, PROGRESS, RECORDIO, Algorithm, Metric, quality
from ..hyperparameters import Hyperparameter, choice, integer, number


def _initial(name: str, sigma: float) -> dict[str, Hyperparameter]:
    return {
        f"{name}_init_method": choice("uniform", "normal", "constant", default="normal"),
        f"{name}_init_sigma": number(0, default=sigma),
        f"{name}_init_scale": number(0),
        f"{name}_init_value": number(),
    }


_QUALITIES = (
    ("rmse", "loss"), ("mse", "loss"), ("absolute_loss", "loss"), ("binary_classification_cross_entropy", "loss"),
    ("binary_classification_accuracy", "score"), ("binary_f_1.000", "score"),
)  # fmt: skip


def _metrics() -> tuple[Metric, ...]:
    found = list(PROGRESS)
    for name, way in _QUALITIES:
        shown = "binary_f_beta" if name.startswith("binary_f_") else name
        found.append(quality(f"test:{shown}", f"test {name}", way))
        found.append(quality(f"train:{shown}", f"train {name}", way))
        found.append(quality(f"train:{shown}:epoch", rf"epoch=\S+, train {name}", way))
        found.append(quality(f"train:{shown}:batch", rf"epoch=\S+, batch=\S+ train {name}", way))
    return tuple(found)


ALGORITHM = Algorithm(
    name="factorization-machines",
    title="Factorization Machines",
    repositories=("factorization-machines",),
    hyperparameters={
        "feature_dim": integer(1, required=True),
        "num_factors": integer(1, required=True),
        "predictor_type": choice("binary_classifier", "regressor", required=True),
        "epochs": integer(1, default=1),
        "mini_batch_size": integer(1, default=1000),
        "clip_gradient": number(0, low_open=True),
        "eps": number(0, low_open=True),
        "rescale_grad": number(0, low_open=True),
        "bias_lr": number(0, default=0.1),
        "linear_lr": number(0, default=0.001),
        "factors_lr": number(0, default=0.0001),
        "bias_wd": number(0, default=0.01),
        "linear_wd": number(0, default=0.001),
        "factors_wd": number(0, default=0.00001),
        **_initial("bias", 0.01),
        **_initial("linear", 0.01),
        **_initial("factors", 0.001),
    },
    files=(RECORDIO,),
    requests=(JSON, JSONLINES, RECORDIO),
    metrics=_metrics(),
    dimension="factorization-machines",
)
