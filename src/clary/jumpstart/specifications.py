"""The documents that SDKs read: a manifest of all models, and a specification of each."""

from __future__ import annotations

from typing import Any

from .models import VERSION, Model

Json = dict[str, Any]
MANIFEST = "models_manifest.json"
_TRAINING, _INFERENCE = (
    "source-directory-tarballs/{}/transfer_learning/v1/sourcedir.tar.gz",
    "source-directory-tarballs/{}/inference/v1/sourcedir.tar.gz",
)
_INSTANCES = [
    "ml.m5.large",
    "ml.m5.xlarge",
    "ml.m5.2xlarge",
    "ml.m5.4xlarge",
    "ml.c5.xlarge",
    "ml.c5.2xlarge",
    "ml.g4dn.xlarge",
]
_FAMILIES = (
    "t2",
    "t3",
    "m4",
    "m5",
    "m5d",
    "m6i",
    "m7i",
    "c4",
    "c5",
    "c5n",
    "c6i",
    "c7i",
    "r5",
    "r6i",
    "g4dn",
    "g5",
    "p3",
)
_ENVIRONMENT = {
    "SAGEMAKER_PROGRAM": "inference.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code",
    "SAGEMAKER_CONTAINER_LOG_LEVEL": "20", "SAGEMAKER_MODEL_SERVER_TIMEOUT": "3600", "MODEL_CACHE_ROOT": "/opt/ml/model",
    "SAGEMAKER_ENV": "1", "SAGEMAKER_MODEL_SERVER_WORKERS": "1", "ENDPOINT_SERVER_TIMEOUT": "3600",
}  # fmt: skip


def spec_key(model: Model) -> str:
    """Where a model's specification lies."""
    return f"community_models/{model.id}/specs_v{VERSION}.json"


def training_key(model: Model) -> str:
    """Where the scripts that train a model lie."""
    return _TRAINING.format(model.id)


def inference_key(model: Model) -> str:
    """Where the scripts that serve a model lie."""
    return _INFERENCE.format(model.id)


def artifact_key(model: Model, scope: str) -> str:
    """Where what training or serving begins with lies; there is nothing pretrained in it."""
    return f"{scope}/{model.id}.tar.gz"


def manifest(models: tuple[Model, ...]) -> list[Json]:
    """All models."""
    return [
        {
            "model_id": m.id, "version": VERSION, "min_version": "2.49.0", "spec_key": spec_key(m),
            "search_keywords": [m.title, m.script],
        }
        for m in models
    ]  # fmt: skip


def _image(model: Model, region: str, scope: str) -> str:
    """The image that runs a model's scripts."""
    framework, version, python = model.framework
    if framework == "sklearn":
        return f"683313688378.dkr.ecr.{region}.amazonaws.com/sagemaker-scikit-learn:{version}-cpu-{python}"
    return f"763104351884.dkr.ecr.{region}.amazonaws.com/pytorch-{scope}:{version}-cpu-{python}"


def _variants(uri: str, region: str) -> Json:
    """The image for every family of instances, as newer SDKs look for it."""
    return {
        "regional_aliases": {region: {"image": uri}},
        "variants": {family: {"regional_properties": {"image_uri": "$image"}} for family in _FAMILIES},
    }


def specification(model: Model, region: str) -> Json:
    """One model."""
    framework, version, python = model.framework
    image = {"framework": framework, "framework_version": version, "py_version": python}
    container = (
        ("sagemaker_submit_directory", "/opt/ml/input/data/code/sourcedir.tar.gz"),
        ("sagemaker_program", "transfer_learning.py"), ("sagemaker_container_log_level", "20"),
    )  # fmt: skip
    return {
        "model_id": model.id, "url": "", "version": VERSION, "min_sdk_version": "2.49.0", "training_supported": True,
        "incremental_training_supported": False, "hosting_ecr_specs": image, "training_ecr_specs": image,
        "hosting_instance_type_variants": _variants(_image(model, region, "inference"), region),
        "training_instance_type_variants": _variants(_image(model, region, "training"), region),
        "hosting_artifact_key": artifact_key(model, "infer"), "hosting_script_key": inference_key(model),
        "training_artifact_key": artifact_key(model, "train"), "training_script_key": training_key(model),
        "hyperparameters": [
            *model.hyperparameters,
            *({"name": n, "type": "text", "default": d, "scope": "container"} for n, d in container),
        ],
        "inference_environment_variables": [
            {"name": n, "type": "text", "default": d, "scope": "container", "required_for_model_class": True}
            for n, d in _ENVIRONMENT.items()
        ],
        "inference_vulnerable": False, "training_vulnerable": False, "deprecated": False,
        "inference_dependencies": [], "inference_vulnerabilities": [], "training_dependencies": [],
        "training_vulnerabilities": [], "metrics": list(model.metrics),
        "default_training_instance_type": "ml.m5.xlarge", "supported_training_instance_types": _INSTANCES,
        "default_inference_instance_type": "ml.m5.large", "supported_inference_instance_types": _INSTANCES,
        "predictor_specs": {
            "supported_content_types": ["text/csv"], "default_content_type": "text/csv",
            "supported_accept_types": ["application/json;verbose", "application/json"],
            "default_accept_type": "application/json",
        },
        "inference_volume_size": 30, "training_volume_size": 30, "training_enable_network_isolation": False,
        "inference_enable_network_isolation": False,
    }  # fmt: skip
