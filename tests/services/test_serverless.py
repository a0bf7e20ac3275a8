"""Serverless endpoints: no process while nobody asks, a cold request is held and answered, too many are throttled."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.jobs import IMAGE, ROLE, bucket, csv, job, settled, table, train
from tests.platform import Gate, Platform, started, until

from .test_endpoints import pack, refused

SCRIPTS = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"


@pytest.fixture(scope="module")
def quick() -> Iterator[Platform]:
    """A platform whose serverless endpoints go to sleep soon; its data plane is not compiled, which must serve too."""
    home, variables = Path(tempfile.mkdtemp(prefix="clary-test-")), {"CLARY_SERVERLESS_IDLE_SECONDS": "1.5"}
    with started(home, **variables, CLARY_COMPILED="0") as platform:
        yield platform


@pytest.fixture(scope="module")
def trained(quick: Platform) -> str:
    where = bucket(quick, "models")
    return str(train(quick, job("model", where))["ModelArtifacts"]["S3ModelArtifacts"])


def deploy(platform: Platform, name: str, data: str, image: str = IMAGE, **config: int) -> dict[str, Any]:
    sagemaker = platform.client("sagemaker")
    environment = {"SAGEMAKER_PROGRAM": "inference.py"} if image != IMAGE else {}
    container = {"Image": image, "ModelDataUrl": data, "Environment": environment}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    serverless = {"MemorySizeInMB": 2048, "MaxConcurrency": 4, **config}
    sagemaker.create_endpoint_config(
        EndpointConfigName=name,
        ProductionVariants=[{"VariantName": "AllTraffic", "ModelName": name, "ServerlessConfig": serverless}],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    return settled(platform, name)


def processes(platform: Platform) -> int:
    """How many instances there are of the one endpoint that there is."""
    return len(list(platform.home.glob("runs/ep-*/v0-*")))


def test_it_sleeps_and_wakes(quick: Platform, trained: str, name: str) -> None:
    found = deploy(quick, name, trained)
    assert found["EndpointStatus"] == "InService", found.get("FailureReason")
    variant = found["ProductionVariants"][0]
    assert variant["CurrentServerlessConfig"] == {"MemorySizeInMB": 2048, "MaxConcurrency": 4}
    assert "CurrentInstanceCount" not in variant
    runtime, body = quick.client("sagemaker-runtime"), csv(table()[:1, 1:])

    def ask() -> float:
        answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=body)
        return float(answer["Body"].read())

    first = ask()
    for _ in range(2):
        until(lambda: processes(quick) == 0, what="it sleeps")
        assert quick.client("sagemaker").describe_endpoint(EndpointName=name)["EndpointStatus"] == "InService"
        began = time.perf_counter()
        assert ask() == first
        print(f"cold: {time.perf_counter() - began:.3f} s")
    until(lambda: processes(quick) == 0, what="it sleeps")
    quick.kill("clary.server")  # asked while control is away: it wakes when control is back
    assert ask() == first
    metrics = quick.client("cloudwatch").list_metrics(MetricName="ModelSetupTime")["Metrics"]
    assert any({"Name": "EndpointName", "Value": name} in m["Dimensions"] for m in metrics)
    quick.client("sagemaker").delete_endpoint(EndpointName=name)


def test_more_than_its_concurrency_is_throttled(quick: Platform, name: str) -> None:
    quick.client("s3").create_bucket(Bucket=name)
    runtime = quick.client("sagemaker-runtime")

    def ask(text: str) -> str:
        answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/plain", Body=text.encode())
        return str(answer["Body"].read().decode())

    with Gate() as gate, ThreadPoolExecutor(2) as threads:
        code = f"""
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    if body == "held": {gate.code}
    return body, "text/plain"
"""
        data = pack(quick, name, "m.tar.gz", code__inference_DOT_py=code.encode())
        assert deploy(quick, name, data, SCRIPTS, MaxConcurrency=2)["EndpointStatus"] == "InService"
        held = [threads.submit(ask, "held") for _ in range(2)]
        gate.wait(2)
        for _ in range(3):
            found = refused(runtime.invoke_endpoint, EndpointName=name, ContentType="text/plain", Body=b"more")
            assert found["Error"]["Code"] == "ThrottlingException"
        gate.open()
        assert [one.result() for one in held] == ["held", "held"]
    assert ask("again") == "again"
    until(lambda: processes(quick) == 0, what="it sleeps")
    sagemaker = quick.client("sagemaker")
    sagemaker.update_endpoint_weights_and_capacities(
        EndpointName=name,
        DesiredWeightsAndCapacities=[
            {"VariantName": "AllTraffic", "ServerlessUpdateConfig": {"MaxConcurrency": 3, "ProvisionedConcurrency": 1}}
        ],
    )
    found = settled(quick, name)["ProductionVariants"][0]["CurrentServerlessConfig"]
    assert (found["MaxConcurrency"], found["ProvisionedConcurrency"]) == (3, 1)
    until(lambda: processes(quick) == 1, what="the provisioned one runs")
    sagemaker.delete_endpoint(EndpointName=name)


def test_no_request_is_lost_by_sleep(quick: Platform, trained: str, name: str) -> None:
    """One that takes longer than instances may be idle."""
    runtime, other = quick.client("sagemaker-runtime"), f"{name}-other"
    quick.client("s3").create_bucket(Bucket=name)
    with Gate() as gate, ThreadPoolExecutor(1) as threads:
        code = f"""
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    {gate.code}
    return body, "text/plain"
"""
        data = pack(quick, name, "m.tar.gz", code__inference_DOT_py=code.encode())
        assert deploy(quick, name, data, SCRIPTS)["EndpointStatus"] == "InService"
        asked = threads.submit(runtime.invoke_endpoint, EndpointName=name, ContentType="text/plain", Body=b"slow")
        gate.wait(1)
        assert deploy(quick, other, trained)["EndpointStatus"] == "InService"
        for _ in range(2):
            runtime.invoke_endpoint(EndpointName=other, ContentType="text/csv", Body=csv(table()[:1, 1:]))
            until(lambda: processes(quick) == 1, what="the idle one sleeps")
        gate.open()
        assert asked.result()["Body"].read() == b"slow"
    for each in (name, other):
        quick.client("sagemaker").delete_endpoint(EndpointName=each)


def test_a_model_that_does_not_load_fails_at_once(quick: Platform, name: str) -> None:
    quick.client("s3").create_bucket(Bucket=name)
    found = deploy(quick, name, pack(quick, name, "m.tar.gz", **{"xgboost-model": b"garbage"}))
    assert (found["EndpointStatus"], "Unable to load model" in found["FailureReason"]) == ("Failed", True)


def test_what_serverless_is_not(sqlite_platform: Platform, name: str) -> None:
    sagemaker = sqlite_platform.client("sagemaker")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://some/model.tar.gz"}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    plain = {"VariantName": "A", "ModelName": name, "ServerlessConfig": {"MemorySizeInMB": 2048, "MaxConcurrency": 1}}
    capture = {
        "EnableCapture": True, "InitialSamplingPercentage": 1, "DestinationS3Uri": "s3://b/p",
        "CaptureOptions": [{"CaptureMode": "Input"}],
    }  # fmt: skip
    for changes, more, words in (
        ({"ServerlessConfig": {"MemorySizeInMB": 1500, "MaxConcurrency": 1}}, {}, "must be 1024, 2048"),
        (
            {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 1, "ProvisionedConcurrency": 2}},
            {},
            "greater",
        ),
        ({"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}, {}, "takes neither InstanceType"),
        ({}, {"DataCaptureConfig": capture}, "Data capture is not available"),
    ):
        found = refused(
            sagemaker.create_endpoint_config, EndpointConfigName=name, ProductionVariants=[{**plain, **changes}], **more
        )
        assert words in found["Error"]["Message"]
