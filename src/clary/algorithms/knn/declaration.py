"""What the platform knows of KNN. Source: "k-NN hyperparameters" of the SageMaker developer guide."""

from __future__ import annotations

from ..contract import PROGRESS, Algorithm, quality
from ..environment import UserError
from ..hyperparameters import Hyperparameter, Params, auto, choice, integer, whole

PQ_SIZES = (1, 2, 3, 4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 96)


def _rules(params: Params) -> None:
    kind, target = params["dimension_reduction_type"], params["dimension_reduction_target"]
    if kind is not None and target is None:
        raise UserError("'dimension_reduction_target' is a required property when dimension_reduction_type is given.")
    if target is not None and target >= params["feature_dim"]:
        raise UserError(
            f"dimension_reduction_target ({target}) must be less than feature_dim ({params['feature_dim']})."
        )
    if params["index_type"] == "faiss.IVFPQ" and params["index_metric"] != "L2":
        raise UserError(f"The index_metric {params['index_metric']} does not go with the index_type faiss.IVFPQ.")


ALGORITHM = Algorithm(
    name="knn",
    title="K-Nearest Neighbors",
    repositories=("knn",),
    hyperparameters={
        "feature_dim": integer(1, required=True),
        "k": integer(1, required=True),
        "predictor_type": choice("classifier", "regressor", required=True),
        "sample_size": integer(1, required=True),
        "dimension_reduction_type": choice("sign", "fjlt"),
        "dimension_reduction_target": integer(1),
        "index_type": choice("faiss.Flat", "faiss.IVFFlat", "faiss.IVFPQ", default="faiss.Flat"),
        "index_metric": choice("L2", "INNER_PRODUCT", "COSINE", default="L2"),
        "faiss_index_ivf_nlists": auto(integer(1)),
        "faiss_index_pq_m": Hyperparameter(
            whole, lambda v: v in PQ_SIZES, f"[{', '.join(map(str, PQ_SIZES))}]", "an integer"
        ),
        "mini_batch_size": integer(1, default=5000),
    },
    rules=_rules,
    metrics=(
        *PROGRESS, quality("test:accuracy", "test accuracy", "score"), quality("test:mse", "test mse", "loss"),
    ),
    dimension="AWS/KNN",
    needs=("faiss",),
    extra="algorithms",
)  # fmt: skip
