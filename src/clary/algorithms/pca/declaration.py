"""What the platform knows of PCA. Source: "PCA hyperparameters" of the SageMaker developer guide."""

from __future__ import annotations

from ..contract import PROGRESS, Algorithm
from ..environment import UserError
from ..hyperparameters import Params, choice, integer, switch


def _rules(params: Params) -> None:
    if params["num_components"] > params["feature_dim"]:
        raise UserError(
            f"num_components ({params['num_components']}) cannot be more than feature_dim ({params['feature_dim']})."
        )


ALGORITHM = Algorithm(
    name="pca",
    title="PCA",
    repositories=("pca",),
    hyperparameters={
        "feature_dim": integer(1, required=True),
        "num_components": integer(1, required=True),
        "mini_batch_size": integer(1, default=500),
        "algorithm_mode": choice("regular", "randomized", default="regular"),
        "extra_components": integer(-1, default=-1),
        "subtract_mean": switch(default=True),
    },
    rules=_rules,
    metrics=PROGRESS,
    dimension="PCA",
)
