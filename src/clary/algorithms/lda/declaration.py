"""What the platform knows of LDA. Source: "LDA hyperparameters" of the SageMaker developer guide."""

from __future__ import annotations

from ..contract import PROGRESS, Algorithm, quality
from ..hyperparameters import integer, number

ALGORITHM = Algorithm(
    name="lda",
    title="LDA",
    repositories=("lda",),
    hyperparameters={
        "num_topics": integer(1, required=True),
        "feature_dim": integer(1, required=True),
        "mini_batch_size": integer(1, required=True),
        "alpha0": number(0, low_open=True, default=1.0),
        "max_restarts": integer(1, default=10),
        "max_iterations": integer(1, default=1000),
        "tol": number(0, low_open=True, default=1e-8),
    },
    metrics=(*PROGRESS, quality("test:pwll", "test pwll", "score")),
    dimension="AWS/LDA",
    several_hosts=False,
)
