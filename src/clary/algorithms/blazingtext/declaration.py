"""What the platform knows of BlazingText. Source: "BlazingText hyperparameters" of the SageMaker developer guide."""

from __future__ import annotations

from ..contract import JSON, JSONLINES, TEXT, Algorithm, Input, Metric
from ..hyperparameters import choice, integer, number, switch

ALGORITHM = Algorithm(
    name="blazingtext",
    title="BlazingText",
    repositories=("blazingtext",),
    channels=(Input("train", True), Input("validation")),
    hyperparameters={
        "mode": choice("batch_skipgram", "skipgram", "cbow", "supervised", required=True),
        "epochs": integer(1, default=5),
        "learning_rate": number(0, low_open=True, default=0.05),
        "min_count": integer(0, default=5),
        "vector_dim": integer(1, 10000, default=100),
        "buckets": integer(1, 100_000_000, default=2_000_000),
        "window_size": integer(1, default=5),
        "negative_samples": integer(1, default=5),
        "sampling_threshold": number(0, default=0.0001),
        "batch_size": integer(1, default=11),
        "subwords": switch(default=False),
        "min_char": integer(1, default=3),
        "max_char": integer(1, default=6),
        "evaluation": switch(default=True),
        "word_ngrams": integer(1, 10, default=2),
        "early_stopping": switch(default=False),
        "patience": integer(1, default=4),
        "min_epochs": integer(1, default=5),
    },
    files=(TEXT, JSONLINES),
    requests=(JSON, JSONLINES),
    answers=(JSON, JSONLINES),
    metrics=(
        Metric("train:mean_rho", r"#mean_rho: (\S+)"), Metric("train:accuracy", r"#train_accuracy: (\S+)"),
        Metric("validation:accuracy", r"#validation_accuracy: (\S+)"),
    ),
    dimension="AWS/BlazingText",
    needs=("gensim", "torch"),
    extra="deep",
)  # fmt: skip
