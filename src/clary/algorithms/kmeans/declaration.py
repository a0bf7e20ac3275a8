"""What the platform knows of K-Means. Source: "K-Means hyperparameters" of the SageMaker developer guide."""

from __future__ import annotations

from ..contract import PROGRESS, Algorithm, quality
from ..hyperparameters import auto, choice, integer, names, number, text

_INIT = ("random", "kmeans++")

ALGORITHM = Algorithm(
    name="kmeans",
    title="K-Means",
    repositories=("kmeans",),
    hyperparameters={
        "k": integer(1, required=True),
        "feature_dim": integer(1, required=True),
        "mini_batch_size": integer(1, default=5000),
        "epochs": integer(1, default=1),
        "init_method": choice(*_INIT, default="random"),
        "extra_center_factor": auto(integer(1)),
        "half_life_time_size": integer(0, default=0),
        "eval_metrics": names("msd", "ssd", default=["msd"]),
        "local_lloyd_init_method": choice(*_INIT, default="kmeans++"),
        "local_lloyd_max_iter": integer(1, default=300),
        "local_lloyd_num_trials": auto(integer(1)),
        "local_lloyd_tol": number(0, 1, default=0.0001),
        "force_dense": text(),  # the SDK sends it; rows may be of either kind
    },
    metrics=(
        *PROGRESS, quality("train:msd", "train msd", "loss"), quality("test:msd", "test msd", "loss"),
        quality("test:ssd", "test ssd", "loss"),
    ),
    dimension="AWS/KMeansWebscale",
)  # fmt: skip
