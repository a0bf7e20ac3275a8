"""What the platform knows of Object2Vec. Source: "Object2Vec hyperparameters" of the SageMaker developer guide."""

from __future__ import annotations

from ..contract import JSON, JSONLINES, PROGRESS, Algorithm, Input, Metric, quality
from ..environment import UserError
from ..hyperparameters import Hyperparameter, Params, auto, choice, integer, names, number, switch, text

COMPARATORS = ("hadamard", "concat", "abs_diff")
NETWORKS = ("hcnn", "bilstm", "pooled_embedding")


def _encoder(side: str) -> dict[str, Hyperparameter]:
    first = side == "enc0"
    network = choice(*NETWORKS, default="hcnn") if first else choice("enc0", *NETWORKS, default="enc0")
    return {
        f"{side}_max_seq_len": integer(1, 5000, required=first),
        f"{side}_vocab_size": integer(2, 3_000_000, required=first),
        f"{side}_network": network,
        f"{side}_token_embedding_dim": integer(2, 1000, default=300),
        f"{side}_layers": auto(integer(1, 4)),
        f"{side}_cnn_filter_width": integer(1, 9, default=3),
        f"{side}_pretrained_embedding_file": text(default=""),
        f"{side}_vocab_file": text(default=""),
        f"{side}_freeze_pretrained_embedding": switch(default=True),
    }


def _rules(params: Params) -> None:
    if params["enc1_network"] != "enc0":
        for name in ("enc1_max_seq_len", "enc1_vocab_size"):
            if params[name] is None:
                raise UserError(f"'{name}' is a required property when enc1_network is {params['enc1_network']}.")
    for side in ("enc0", "enc1"):
        if params[f"{side}_pretrained_embedding_file"] and not params[f"{side}_vocab_file"]:
            raise UserError(
                f"{side}_pretrained_embedding_file needs {side}_vocab_file, which says which word is which number."
            )


def _metrics() -> tuple[Metric, ...]:
    found = list(PROGRESS)
    for name, way in (("accuracy", "score"), ("cross_entropy", "loss"), ("mean_squared_error", "loss")):
        found += (quality(f"{s}:{name}", rf"epoch=\S+, {s} {name}", way) for s in ("train", "validation"))
        found.append(quality(f"test:{name}", f"test {name}", way))
    return tuple(found)


ALGORITHM = Algorithm(
    name="object2vec",
    title="Object2Vec",
    repositories=("object2vec",),
    channels=(Input("train", True), Input("validation"), Input("test"), Input("auxiliary")),
    hyperparameters={
        **_encoder("enc0"),
        **_encoder("enc1"),
        "enc_dim": integer(4, 10000, default=4096),
        "comparator_list": names(*COMPARATORS, default=list(COMPARATORS)),
        "mlp_layers": integer(0, 10, default=2),
        "mlp_dim": integer(2, 10000, default=512),
        "mlp_activation": choice("tanh", "relu", "linear", default="linear"),
        "output_layer": choice("softmax", "mean_squared_error", default="softmax"),
        "num_classes": integer(2, 30, default=2),
        "negative_sampling_rate": integer(0, default=0),
        "tied_token_embedding_weight": switch(default=False),
        "token_embedding_storage_type": choice("dense", "row_sparse", default="dense"),
        "bucket_width": integer(0, 100, default=0),
        "dropout": number(0, 1, default=0.0),
        "epochs": integer(1, 100, default=30),
        "feature_dim": integer(1),  # the SDK's class sends it; nothing follows from it
        "mini_batch_size": integer(1, 10000, default=32),
        "learning_rate": number(1e-6, 1, default=0.0004),
        "weight_decay": number(0, 10000, default=0.0),
        "optimizer": choice("adadelta", "adagrad", "adam", "sgd", "rmsprop", default="adam"),
        "early_stopping_patience": integer(1, 5, default=3),
        "early_stopping_tolerance": number(1e-6, 0.1, default=0.01),
    },
    rules=_rules,
    files=(JSONLINES, JSON),
    requests=(JSON, JSONLINES),
    answers=(JSON, JSONLINES),
    metrics=_metrics(),
    dimension="AWS/Object2Vec",
    needs=("torch",),
    extra="deep",
    several_hosts=False,
)  # fmt: skip
