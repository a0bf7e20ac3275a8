"""Training data, jobs and endpoints that several tests use."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from sklearn.datasets import load_breast_cancer

from tests.platform import Platform

IMAGE = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
ROLE = "arn:aws:iam::000000000000:role/service-role/AmazonSageMaker-ExecutionRole"


@lru_cache
def table() -> np.ndarray:
    """The breast-cancer table, label first."""
    found = load_breast_cancer()
    return np.column_stack([found.target, found.data]).astype(np.float32)


def csv(rows: np.ndarray) -> bytes:
    """Rows as CSV."""
    return "\n".join(",".join(map(str, row)) for row in rows.tolist()).encode() + b"\n"


def channel(name: str, uri: str, content_type: str = "text/csv", **more: Any) -> dict[str, Any]:
    """An input channel."""
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, **more.pop("source", {})}
    return {"ChannelName": name, "ContentType": content_type, "DataSource": {"S3DataSource": source}, **more}


def bucket(platform: Platform, name: str) -> str:
    """A bucket with the table in it: ``train/`` and ``validation/``."""
    s3 = platform.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="train/part-0.csv", Body=csv(table()[:400]))
    s3.put_object(Bucket=name, Key="validation/part-0.csv", Body=csv(table()[400:]))
    return name


def job(name: str, where: str, **changes: Any) -> dict[str, Any]:
    """A CreateTrainingJob request on a bucket made by ``bucket``."""
    request: dict[str, Any] = {
        "TrainingJobName": name,
        "RoleArn": ROLE,
        "AlgorithmSpecification": {"TrainingImage": IMAGE, "TrainingInputMode": "File"},
        "HyperParameters": {"num_round": "10", "objective": "binary:logistic", "eval_metric": "auc,logloss"},
        "InputDataConfig": [channel("train", f"s3://{where}/train"), channel("validation", f"s3://{where}/validation")],
        "OutputDataConfig": {"S3OutputPath": f"s3://{where}/output"},
        "ResourceConfig": {"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 5},
        "StoppingCondition": {"MaxRuntimeInSeconds": 600},
    }
    hyperparameters = changes.pop("hyperparameters", None)
    if hyperparameters is not None:
        request["HyperParameters"] = hyperparameters
    return {**request, **changes}


def train(platform: Platform, request: dict[str, Any]) -> dict[str, Any]:
    """Run a job to its end; its description."""
    sagemaker = platform.client("sagemaker")
    sagemaker.create_training_job(**request)
    while True:
        found: dict[str, Any] = sagemaker.describe_training_job(TrainingJobName=request["TrainingJobName"])
        if found["TrainingJobStatus"] not in ("InProgress", "Stopping"):
            return found


def messages(platform: Platform, group: str, prefix: str) -> list[str]:
    """What a group's streams hold."""
    logs = platform.client("logs")
    found: list[str] = []
    if not logs.describe_log_groups(logGroupNamePrefix=group)["logGroups"]:
        return found
    named = {"logStreamNamePrefix": prefix} if prefix else {}
    for stream in logs.describe_log_streams(logGroupName=group, **named)["logStreams"]:
        events = logs.get_log_events(logGroupName=group, logStreamName=stream["logStreamName"], startFromHead=True)
        found += (e["message"] for e in events["events"])
    return found


def deploy(
    platform: Platform, name: str, model_data: str, count: int = 1, image: str = IMAGE, **environment: str
) -> dict[str, Any]:
    """A model, a configuration and an endpoint of one name; the endpoint's description when it has settled."""
    sagemaker = platform.client("sagemaker")
    configure(platform, name, model_data, count, image, **environment)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    return settled(platform, name)


def configure(
    platform: Platform, name: str, model_data: str, count: int = 1, image: str = IMAGE, **environment: str
) -> None:
    """A model and a configuration of one name."""
    sagemaker = platform.client("sagemaker")
    container: dict[str, Any] = {"Image": image, "ModelDataUrl": model_data, "Environment": environment}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    configure_model(platform, name, count)


def configure_model(platform: Platform, name: str, count: int = 1, **more: Any) -> None:
    """A configuration of the model of the same name."""
    variant = {
        "VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": count,
    }  # fmt: skip
    platform.client("sagemaker").create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant], **more)


def serve_model(platform: Platform, name: str, count: int = 1, **more: Any) -> dict[str, Any]:
    """A configuration and an endpoint of the model of the same name; the endpoint's description, in service."""
    configure_model(platform, name, count, **more)
    platform.client("sagemaker").create_endpoint(EndpointName=name, EndpointConfigName=name)
    found = settled(platform, name)
    assert found["EndpointStatus"] == "InService", found.get("FailureReason")
    return found


def settled(platform: Platform, name: str) -> dict[str, Any]:
    """An endpoint's description when no transition is under way."""
    sagemaker = platform.client("sagemaker")
    while True:
        found: dict[str, Any] = sagemaker.describe_endpoint(EndpointName=name)
        if found["EndpointStatus"] not in ("Creating", "Updating"):
            return found


def predict(platform: Platform, name: str, rows: np.ndarray, **options: Any) -> list[float]:
    """Predictions of feature rows."""
    runtime = platform.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=csv(rows), **options)
    return [float(line) for line in answer["Body"].read().decode().split()]
