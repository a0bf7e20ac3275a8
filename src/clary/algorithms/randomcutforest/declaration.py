"""What the platform knows of Random Cut Forest. Source: "RCF hyperparameters" of the SageMaker developer guide."""

from __future__ import annotations

from ..contract import PROGRESS, Algorithm, quality
from ..hyperparameters import integer, names

ALGORITHM = Algorithm(
    name="randomcutforest",
    title="Random Cut Forest",
    repositories=("randomcutforest",),
    hyperparameters={
        "feature_dim": integer(1, 10000, required=True),
        "num_trees": integer(50, 1000, default=100),
        "num_samples_per_tree": integer(1, 2048, default=256),
        "eval_metrics": names("accuracy", "precision_recall_fscore", default=["accuracy", "precision_recall_fscore"]),
        "mini_batch_size": integer(1, default=1000),
    },
    metrics=(*PROGRESS, quality("test:f1", "test f1", "score")),
    dimension="RandomCutForest",
)
