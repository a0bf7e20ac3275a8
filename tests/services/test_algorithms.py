"""Built-in algorithms as jobs and endpoints: input modes, hosts, metrics, failures that say what to mend."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from botocore.exceptions import ClientError

from clary.algorithms import catalogue
from clary.provider.errors import ValidationException
from clary.services.sagemaker import images
from tests.jobs import ROLE, channel, csv, deploy, job, messages, table, train
from tests.platform import Platform, until

GROUP = "/aws/sagemaker/TrainingJobs"
REGISTRY = "382416733822.dkr.ecr.us-east-1.amazonaws.com"


def request(name: str, algorithm: str, hyperparameters: dict[str, str], **changes: Any) -> dict[str, Any]:
    """A job of an algorithm on the bucket of its name."""
    asked = {
        "hyperparameters": hyperparameters,
        "AlgorithmSpecification": {"TrainingImage": f"{REGISTRY}/{algorithm}:1", "TrainingInputMode": "File"},
        "InputDataConfig": [channel("train", f"s3://{name}/train", "text/csv")],
    }
    return job(name, name, **{**asked, **changes})


def parts(platform: Platform, name: str) -> None:
    """The breast-cancer table in four objects."""
    s3 = platform.client("s3")
    s3.create_bucket(Bucket=name)
    for i in range(4):
        s3.put_object(Bucket=name, Key=f"train/{i}.csv", Body=csv(table()[i::4]))


LINEAR = {"predictor_type": "binary_classifier", "mini_batch_size": "100", "epochs": "4"}


def test_a_job_from_request_to_endpoint(platform: Platform, name: str) -> None:
    parts(platform, name)
    found = train(platform, request(name, "linear-learner", LINEAR))
    assert found["TrainingJobStatus"] == "Completed", found
    defined = {d["Name"] for d in found["AlgorithmSpecification"]["MetricDefinitions"]}
    assert {"train:progress", "validation:roc_auc_score", "test:objective_loss"} <= defined
    metrics = {m["MetricName"]: m["Value"] for m in found["FinalMetricDataList"]}
    assert metrics["train:progress"] == 100 and metrics["train:binary_classification_accuracy"] > 0.95
    printed = messages(platform, GROUP, f"{name}/")
    assert printed[0] == "Docker entrypoint called with argument(s): train"
    assert printed[-1].startswith("#metrics ") and json.loads(printed[-1].removeprefix("#metrics "))
    deploy(platform, name, found["ModelArtifacts"]["S3ModelArtifacts"], image=f"{REGISTRY}/linear-learner:1")
    rows = table()[:20]
    answer = platform.client("sagemaker-runtime").invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=csv(rows[:, 1:]))  # fmt: skip
    assert answer["ContentType"] == "application/json"
    told = [p["predicted_label"] for p in json.loads(answer["Body"].read())["predictions"]]
    assert np.mean(np.array(told) == rows[:, 0]) > 0.85


@pytest.mark.parametrize("mode", ["Pipe", "FastFile"])
@pytest.mark.parametrize("hosts", [1, 3])
def test_input_modes_and_hosts_give_all_rows(sqlite_platform: Platform, name: str, mode: str, hosts: int) -> None:
    parts(sqlite_platform, name)
    source = {"S3DataDistributionType": "ShardedByS3Key"}
    asked = request(
        name, "pca", {"feature_dim": "30", "num_components": "2"},
        InputDataConfig=[channel("train", f"s3://{name}/train", "text/csv", InputMode=mode, source=source)],
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": hosts, "VolumeSizeInGB": 5},
    )  # fmt: skip
    found = train(sqlite_platform, asked)
    assert found["TrainingJobStatus"] == "Completed", found
    deploy(sqlite_platform, name, found["ModelArtifacts"]["S3ModelArtifacts"], image=f"{REGISTRY}/pca:1")
    runtime = sqlite_platform.client("sagemaker-runtime")
    body = csv(table()[:, 1:])
    answer = json.loads(runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=body)["Body"].read())
    projected = np.array([p["projection"] for p in answer["projections"]])
    assert projected.mean(axis=0) == pytest.approx(0, abs=0.05)  # the mean of every row was taken out
    expected = np.linalg.svd(table()[:, 1:] - table()[:, 1:].mean(axis=0), compute_uv=False)[1]
    assert np.linalg.norm(projected[:, 0]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("hyperparameters", "changes", "words"),
    [
        ({**LINEAR, "foo": "1"}, {}, "ClientError: Additional properties are not allowed ('foo' was unexpected)"),
        ({**LINEAR, "epochs": "many"}, {}, "ClientError: 'many' is not valid under any of the given schemas"),
        ({**LINEAR, "predictor_type": "regressor", "loss": "logistic"}, {}, "does not go with predictor_type regressor"),
        (LINEAR, {"InputDataConfig": [channel("training", "s3://BUCKET/train")]}, "'training' was unexpected"),
        (LINEAR, {"InputDataConfig": [channel("train", "s3://BUCKET/train", "application/x-image")]}, "Content type application/x-image of the channel train"),
        (LINEAR, {"InputDataConfig": [channel("train", "s3://BUCKET/train", "application/x-recordio-protobuf")]}, "Unable to read data channel 'train'. Requested content-type is 'application/x-recordio-protobuf'"),
    ],
)  # fmt: skip
def test_failures(
    sqlite_platform: Platform, name: str, hyperparameters: dict[str, str], changes: dict[str, Any], words: str
) -> None:
    parts(sqlite_platform, name)
    changes = json.loads(json.dumps(changes).replace("BUCKET", name))
    found = train(sqlite_platform, request(name, "linear-learner", hyperparameters, **changes))
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("ClientError: ") and words in found["FailureReason"]


def test_a_stopped_job_keeps_what_it_has_learnt(sqlite_platform: Platform, name: str) -> None:
    parts(sqlite_platform, name)
    sagemaker = sqlite_platform.client("sagemaker")
    forever = {**LINEAR, "epochs": "1000000", "early_stopping_patience": "1000000"}
    sagemaker.create_training_job(**request(name, "linear-learner", forever))
    until(lambda: any("#progress_metric" in m for m in messages(sqlite_platform, GROUP, f"{name}/")))
    sagemaker.stop_training_job(TrainingJobName=name)
    until(lambda: sagemaker.describe_training_job(TrainingJobName=name)["TrainingJobStatus"] == "Stopped")
    found = sagemaker.describe_training_job(TrainingJobName=name)
    deploy(sqlite_platform, name, found["ModelArtifacts"]["S3ModelArtifacts"], image=f"{REGISTRY}/linear-learner:1")


def test_an_algorithm_whose_library_is_missing_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    knn = catalogue.algorithms()["knn"]
    monkeypatch.setattr(catalogue, "missing", lambda algorithm: ["faiss"] if algorithm is knn else [])
    with pytest.raises(ValidationException, match=r"pip install 'clary\[algorithms\]'"):
        images.runtime_of(f"{REGISTRY}/knn:1")
    assert images.runtime_of(f"{REGISTRY}/kmeans").algorithm is catalogue.algorithms()["kmeans"]


def test_an_unknown_image_is_refused_with_what_there_is(sqlite_platform: Platform, name: str) -> None:
    with pytest.raises(ClientError, match=r"linear-learner.*sagemaker-scikit-learn"):
        sqlite_platform.client("sagemaker").create_model(
            ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={"Image": "x.example/my-image:1"}
        )
