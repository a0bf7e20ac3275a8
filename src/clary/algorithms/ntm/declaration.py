"""What the platform knows of NTM. Source: "NTM hyperparameters" of the SageMaker developer guide."""

from __future__ import annotations

from ..contract import PROGRESS, Algorithm, Input, quality
from ..hyperparameters import auto, choice, integer, number, numbers, switch

ALGORITHM = Algorithm(
    name="ntm",
    title="Neural Topic Model",
    repositories=("ntm",),
    channels=(Input("train", True), Input("validation"), Input("test"), Input("auxiliary")),
    hyperparameters={
        "feature_dim": integer(1, 1_000_000, required=True),
        "num_topics": integer(2, 1000, required=True),
        "epochs": integer(1, default=50),
        "mini_batch_size": integer(1, 10000, default=256),
        "learning_rate": number(1e-6, 1, default=0.001),
        "optimizer": choice("sgd", "adam", "adagrad", "adadelta", "rmsprop", default="adadelta"),
        "encoder_layers": auto(numbers(1, 1_000_000)),
        "encoder_layers_activation": choice("sigmoid", "tanh", "relu", default="sigmoid"),
        "batch_norm": switch(default=False),
        "clip_gradient": number(1e-3),
        "num_patience_epochs": integer(1, default=3),
        "tolerance": number(1e-6, 0.1, default=0.001),
        "rescale_gradient": number(1e-3, 1, default=1.0),
        "sub_sample": number(0, 1, low_open=True, default=1.0),
        "weight_decay": number(0, 1, default=0.0),
    },
    metrics=(
        *PROGRESS,
        *(quality(f"{s}:total_loss", rf"epoch=\S+, {s} total_loss", "loss") for s in ("train", "validation")),
        quality("test:total_loss", "test total_loss", "loss"),
    ),
    dimension="AWS/NTM",
    needs=("torch",),
    extra="deep",
)  # fmt: skip
