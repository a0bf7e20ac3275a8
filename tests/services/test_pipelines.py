"""Inference pipelines: a request goes through several containers, or to the one that it names."""

from __future__ import annotations

import json
from typing import Any

from tests.jobs import IMAGE, ROLE, csv, serve_model, table
from tests.platform import Platform, until

from .test_endpoints import pack, refused

SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"
STEP = b"""
import json, os
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    if body.startswith("fail " + os.environ["STEP"]): raise ValueError("asked to")
    if os.environ["STEP"] == "last": return json.dumps([body, content_type, accept]), "application/json"
    return f"{body}>{os.environ['STEP']}", "text/x-" + os.environ["STEP"]
"""


def containers(platform: Platform, where: str, *steps: str, names: tuple[str, ...] = ()) -> list[dict[str, Any]]:
    platform.client("s3").create_bucket(Bucket=where)
    data = pack(platform, where, "step.tar.gz", code__inference_DOT_py=STEP)
    made: list[dict[str, Any]] = [
        {"Image": SKLEARN, "ModelDataUrl": data, "Environment": {"STEP": s, "SAGEMAKER_PROGRAM": "inference.py"}}
        for s in steps
    ]
    for container, hostname in zip(made, names, strict=False):
        container["ContainerHostname"] = hostname
    return made


def serve(platform: Platform, name: str, parts: list[dict[str, Any]], count: int = 1, mode: str = "Serial") -> Any:
    sagemaker = platform.client("sagemaker")
    sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, Containers=parts, InferenceExecutionConfig={"Mode": mode}
    )
    found = serve_model(platform, name, count)
    assert len(found["ProductionVariants"][0]["DeployedImages"]) == len(parts)
    assert found["ProductionVariants"][0]["CurrentInstanceCount"] == count
    return platform.client("sagemaker-runtime")


def test_a_request_goes_through_every_container(platform: Platform, name: str) -> None:
    runtime = serve(platform, name, containers(platform, name, "one", "two", "last"), count=2)
    for _ in range(4):
        answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/plain", Accept="x/y", Body=b"a")
        assert (answer["ContentType"], json.loads(answer["Body"].read())) == (
            "application/json", ["a>one>two", "text/x-two", "x/y"],
        )  # fmt: skip
    large = b"x" * (1 << 20)
    answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/plain", Body=large)
    assert json.loads(answer["Body"].read())[0] == f"{large.decode()}>one>two"
    found = refused(runtime.invoke_endpoint, EndpointName=name, ContentType="text/plain", Body=b"fail one")
    assert (found["Error"]["Code"], found["OriginalStatusCode"]) == ("ModelError", 500)
    assert "Received server error (500) from container-1 with message" in found["Error"]["Message"]
    found = refused(
        runtime.invoke_endpoint, EndpointName=name, ContentType="text/plain", Body=b"a", TargetContainerHostname="x"
    )
    assert (found["Error"]["Code"], "Direct mode" in found["Error"]["Message"]) == ("ValidationError", True)
    pieces = runtime.invoke_endpoint_with_response_stream(EndpointName=name, ContentType="text/plain", Body=b"b")
    whole = b"".join(e["PayloadPart"]["Bytes"] for e in pieces["Body"])
    assert json.loads(whole)[0] == "b>one>two"
    streams = platform.client("logs").describe_log_streams(logGroupName=f"/aws/sagemaker/Endpoints/{name}")
    found_names = {s["logStreamName"].split("/")[2] for s in streams["logStreams"]}
    assert found_names == {"container-1", "container-2", "container-3"}
    platform.client("sagemaker").delete_endpoint(EndpointName=name)


def test_features_before_a_model(platform: Platform, name: str, model_data: str) -> None:
    """The common use: a script prepares what the built-in algorithm predicts from."""
    platform.client("s3").create_bucket(Bucket=name)
    code = b"""
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    return ",".join(body.split(",")[1:]), "text/csv"
"""
    data = pack(platform, name, "m.tar.gz", code__inference_DOT_py=code)
    prepare = {"Image": SKLEARN, "ModelDataUrl": data, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}}
    runtime = serve(platform, name, [prepare, {"Image": IMAGE, "ModelDataUrl": model_data}])
    answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=csv(table()[:1]))
    assert 0 < float(answer["Body"].read()) < 1
    s3, sagemaker = platform.client("s3"), platform.client("sagemaker")
    s3.put_object(Bucket=name, Key="in/rows.csv", Body=csv(table()[:1]))
    sagemaker.create_transform_job(
        TransformJobName=name, ModelName=name,
        TransformInput={
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{name}/in/"}},
            "ContentType": "text/csv", "SplitType": "Line",
        },
        TransformOutput={"S3OutputPath": f"s3://{name}/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )  # fmt: skip
    over = until(
        lambda: (f := sagemaker.describe_transform_job(TransformJobName=name))["TransformJobStatus"] != "InProgress" and f,
        what="the job ends",
    )  # fmt: skip
    assert over["TransformJobStatus"] == "Completed", over.get("FailureReason")
    assert 0 < float(s3.get_object(Bucket=name, Key="out/rows.csv.out")["Body"].read()) < 1
    sagemaker.delete_endpoint(EndpointName=name)


def test_a_request_to_one_container(platform: Platform, name: str) -> None:
    parts = containers(platform, name, "one", "last", names=("first", "second"))
    runtime = serve(platform, name, parts, mode="Direct")

    def ask(**more: Any) -> Any:
        return runtime.invoke_endpoint(EndpointName=name, ContentType="text/plain", Body=b"a", **more)

    assert ask(TargetContainerHostname="first")["Body"].read() == b"a>one"
    assert json.loads(ask(TargetContainerHostname="second")["Body"].read())[0] == "a"
    for more, words in (
        ({}, "TargetContainerHostname is required"),
        ({"TargetContainerHostname": "third"}, "first, second"),
    ):
        found = refused(ask, **more)
        assert (found["Error"]["Code"], words in found["Error"]["Message"]) == ("ValidationError", True)
    platform.client("sagemaker").delete_endpoint(EndpointName=name)


def test_containers_that_cannot_be_told_apart_are_refused(platform: Platform, name: str) -> None:
    sagemaker = platform.client("sagemaker")
    for names, mode, words in (
        (("a",), "Serial", "must be given for every container when one has it"),
        ((), "Direct", "must be given for every container in Direct mode"),
        (("a", "a"), "Serial", "must be unique"),
    ):
        found = refused(
            sagemaker.create_model, ModelName=name, ExecutionRoleArn=ROLE,
            Containers=containers(platform, name, "one", "two", names=names), InferenceExecutionConfig={"Mode": mode},
        )  # fmt: skip
        assert words in found["Error"]["Message"]
