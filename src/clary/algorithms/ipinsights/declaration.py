"""What the platform knows of IP Insights. Source: "IP Insights hyperparameters" of the SageMaker developer guide."""

from __future__ import annotations

from ..contract import CSV, JSON, JSONLINES, PROGRESS, Algorithm, Input, quality
from ..environment import UserError
from ..hyperparameters import Params, integer, number


def _rules(params: Params) -> None:
    total = params["random_negative_sampling_rate"] + params["shuffled_negative_sampling_rate"]
    if not 1 <= total <= 500:
        raise UserError(
            "The sum of random_negative_sampling_rate and shuffled_negative_sampling_rate must lie between 1 and 500; "
            f"it is {total}."
        )


_ENTROPY, _ACCURACY = "binary_classification_cross_entropy", "binary_classification_accuracy"

ALGORITHM = Algorithm(
    name="ipinsights",
    title="IP Insights",
    repositories=("ipinsights",),
    channels=(Input("train", True), Input("validation")),
    hyperparameters={
        "num_entity_vectors": integer(1, 250_000_000, required=True),
        "vector_dim": integer(4, 4096, required=True),
        "epochs": integer(1, default=10),
        "learning_rate": number(1e-6, 10, default=0.001),
        "feature_dim": integer(1),  # the SDK's class sends it; nothing follows from it
        "mini_batch_size": integer(1, 500_000, default=10000),
        "num_ip_encoder_layers": integer(0, 100, default=1),
        "random_negative_sampling_rate": integer(0, 500, default=1),
        "shuffled_negative_sampling_rate": integer(0, 500, default=1),
        "weight_decay": number(0, 10, default=0.00001),
        "batch_metrics_publish_interval": integer(1, default=1000),
    },
    rules=_rules,
    files=(CSV,),
    requests=(CSV, JSON, JSONLINES),
    answers=(JSON, JSONLINES),
    metrics=(
        *PROGRESS,
        quality("validation:discriminator_auc", r"epoch=\S+, validation discriminator_auc", "score"),
        quality(f"train:{_ENTROPY}", f"train {_ENTROPY}", "loss"),
        quality(f"train:{_ENTROPY}:epoch", rf"epoch=\S+, train {_ENTROPY}", "loss"),
        quality(f"train:{_ACCURACY}", f"train {_ACCURACY}", "score"),
        quality(f"train:{_ACCURACY}:epoch", rf"epoch=\S+, train {_ACCURACY}", "score"),
    ),
    dimension="AWS/IPInsights",
    needs=("torch",),
    extra="deep",
)  # fmt: skip
