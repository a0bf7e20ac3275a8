"""Asynchronous inference: requests are queued, their results lie in S3."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError

from clary.services.sagemaker.asynchronous import notification
from tests.jobs import IMAGE, ROLE, csv, messages, serve_model, settled, table
from tests.platform import Platform, until

from .test_endpoints import pack, refused

SKLEARN = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"


def deploy(platform: Platform, name: str, data: str, image: str = IMAGE, count: int = 1, **more: Any) -> Any:
    """An asynchronous endpoint that writes to a bucket of its name; the runtime client."""
    sagemaker = platform.client("sagemaker")
    environment = {"SAGEMAKER_PROGRAM": "inference.py"} if image != IMAGE else {}
    container = {"Image": image, "ModelDataUrl": data, "Environment": environment}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    output = {"S3OutputPath": f"s3://{name}/out", "S3FailurePath": f"s3://{name}/failed"}
    config = {"OutputConfig": output, "ClientConfig": {"MaxConcurrentInvocationsPerInstance": 2}, **more}
    found = serve_model(platform, name, count, AsyncInferenceConfig=config)
    assert found["AsyncInferenceConfig"] == config
    return platform.client("sagemaker-runtime")


def result(platform: Platform, uri: str) -> bytes | None:
    """An object's bytes, or None while it is not there."""
    s3 = platform.client("s3")
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    try:
        return bytes(s3.get_object(Bucket=bucket, Key=key)["Body"].read())
    except (s3.exceptions.NoSuchKey, BotoCoreError):  # not there yet, or the platform is being restarted
        return None


def test_results_lie_in_s3(platform: Platform, name: str, model_data: str) -> None:
    s3 = platform.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="in/rows.csv", Body=csv(table()[:3, 1:]))
    runtime = deploy(platform, name, model_data)
    place = {"EndpointName": name, "InputLocation": f"s3://{name}/in/rows.csv", "ContentType": "text/csv"}
    answer = runtime.invoke_endpoint_async(**place, InferenceId="mine")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (answer["InferenceId"], answer["OutputLocation"]) == ("mine", f"s3://{name}/out/mine.out")
    assert answer["FailureLocation"] == f"s3://{name}/failed/mine-error.out"
    text = until(lambda: result(platform, answer["OutputLocation"]), what="the result")
    assert len(text.split()) == 3
    inline = runtime.invoke_endpoint_async(EndpointName=name, Body=csv(table()[:1, 1:]), ContentType="text/csv")
    assert 0 < float(until(lambda: result(platform, inline["OutputLocation"]), what="the result")) < 1
    missing = runtime.invoke_endpoint_async(**{**place, "InputLocation": f"s3://{name}/no"})
    words = until(lambda: result(platform, missing["FailureLocation"]), what="the failure")
    assert b"there is no such object" in words
    garbage = runtime.invoke_endpoint_async(**{**place, "ContentType": "image/png"})
    words = until(lambda: result(platform, garbage["FailureLocation"]), what="the failure")
    assert b"Content-type image/png is not supported" in words
    assert result(platform, garbage["OutputLocation"]) is None
    until(
        lambda: any("mine" in m for m in messages(platform, f"/aws/sagemaker/Endpoints/{name}", "AllTraffic/")),
        what="a log",
    )
    found = refused(runtime.invoke_endpoint, EndpointName=name, Body=b"1", ContentType="text/csv")
    assert (found["Error"]["Code"], "InvokeEndpointAsync" in found["Error"]["Message"]) == ("ValidationError", True)
    for more, words in (
        ({}, "Exactly one of"), ({"InputLocation": "x"}, "nputLocation"), ({"InputLocation": f"s3://{name}"}, "nputLocation"),
    ):  # fmt: skip
        found = refused(runtime.invoke_endpoint_async, EndpointName=name, **more)
        assert (found["Error"]["Code"], words in found["Error"]["Message"]) == ("ValidationError", True)
    cloudwatch = platform.client("cloudwatch")

    def metrics() -> set[str]:
        dimension = [{"Name": "EndpointName", "Value": name}]
        return {m["MetricName"] for m in cloudwatch.list_metrics(Dimensions=dimension)["Metrics"]}

    wanted = {
        "ApproximateBacklogSize", "HasBacklogWithoutCapacity", "TimeInBacklog", "TotalProcessingTime", "ModelLatency",
        "InvocationsProcesssed", "InvocationFailures", "RequestDownloadFailures", "ResponseUploadLatency",
    }  # fmt: skip
    until(lambda: wanted <= metrics(), what="the queue's metrics")
    assert "Invocations" not in metrics()
    platform.client("sagemaker").delete_endpoint(EndpointName=name)


def test_large_inputs_and_those_that_are_too_large(sqlite_platform: Platform, name: str, tmp_path: Path) -> None:
    """They are read while they are sent: nothing of this size is held by the platform."""
    s3 = sqlite_platform.client("s3")
    s3.create_bucket(Bucket=name)
    code = b"""
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept): return f"{len(body)} {sum(body[-3:])}", "text/plain"
"""
    runtime = deploy(
        sqlite_platform, name, pack(sqlite_platform, name, "m.tar.gz", code__inference_DOT_py=code), SKLEARN
    )
    size = 258 << 20
    with (tmp_path / "large").open("wb") as file:
        file.truncate(size - 3)
        file.seek(0, 2)
        file.write(b"\1\2\3")
    s3.upload_file(str(tmp_path / "large"), name, "large")
    asked = {"EndpointName": name, "ContentType": "application/octet-stream"}
    answer = runtime.invoke_endpoint_async(InputLocation=f"s3://{name}/large", **asked)
    assert until(lambda: result(sqlite_platform, answer["OutputLocation"]), what="the result") == f"{size} 6".encode()
    part = {"Bucket": name, "Key": "larger"}
    upload = s3.create_multipart_upload(**part)["UploadId"]
    done = []
    for number in range(1, 5):
        made = s3.upload_part_copy(
            UploadId=upload, PartNumber=number, CopySource={"Bucket": name, "Key": "large"}, **part
        )
        done.append({"PartNumber": number, "ETag": made["CopyPartResult"]["ETag"]})
    s3.complete_multipart_upload(UploadId=upload, MultipartUpload={"Parts": done}, **part)
    answer = runtime.invoke_endpoint_async(InputLocation=f"s3://{name}/larger", **asked)
    words = until(lambda: result(sqlite_platform, answer["FailureLocation"]), what="the failure")
    assert f"has {4 * size} bytes; at most {1 << 30} are taken" in words.decode()
    sqlite_platform.client("sagemaker").delete_endpoint(EndpointName=name)


def test_a_queue_outlives_the_platform_and_waits_for_an_instance(own_platform: Platform, name: str) -> None:
    own_platform.client("s3").create_bucket(Bucket=name)
    code = b"""
import time
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    time.sleep(0.3)
    return body + "!", "text/plain"
"""
    data = pack(own_platform, name, "m.tar.gz", code__inference_DOT_py=code)
    runtime = deploy(own_platform, name, data, SKLEARN)

    def send(text: str) -> str:
        answer = runtime.invoke_endpoint_async(EndpointName=name, Body=text.encode(), ContentType="text/plain")
        return str(answer["OutputLocation"])

    sent = [send(str(n)) for n in range(8)]
    until(lambda: result(own_platform, sent[0]), what="the first result")
    own_platform.kill("clary.server")
    for number, place in enumerate(sent):
        assert until(lambda place=place: result(own_platform, place), what="every result") == f"{number}!".encode()
    sagemaker = own_platform.client("sagemaker")
    change = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 0}]
    sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=change)
    found = settled(own_platform, name)
    assert found["ProductionVariants"][0]["CurrentInstanceCount"] == 0
    waits = send("later")
    change[0]["DesiredInstanceCount"] = 2
    assert result(own_platform, waits) is None
    sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=change)
    assert until(lambda: result(own_platform, waits), what="a result once there is an instance") == b"later!"


def test_notifications() -> None:
    config: dict[str, Any] = {
        "OutputConfig": {
            "NotificationConfig": {
                "SuccessTopic": "arn:good", "ErrorTopic": "arn:bad",
                "IncludeInferenceResponseIn": ["SUCCESS_NOTIFICATION_TOPIC"],
            }
        }
    }  # fmt: skip
    assert (notification.topic(config, True), notification.topic(config, False)) == ("arn:good", "arn:bad")
    assert notification.topic({"OutputConfig": {}}, True) is None
    request = {"id": "i", "content_type": "text/csv", "input": "s3://b/k", "output": "s3://b/o"}
    good = notification.message("r", "e", config, request, (1.0, 2.0), "text/csv", answer=b"1")
    assert json.loads(json.dumps(good)) == {
        "awsRegion": "r", "eventTime": "1970-01-01T00:00:02Z", "receivedTime": "1970-01-01T00:00:01Z",
        "invocationStatus": "Completed", "inferenceId": "i", "eventVersion": "1.0", "eventSource": "aws:sagemaker",
        "eventName": "InferenceResult",
        "requestParameters": {"contentType": "text/csv", "endpointName": "e", "inputLocation": "s3://b/k"},
        "responseParameters": {"contentType": "text/csv", "outputLocation": "s3://b/o"},
        "responseBody": {"content": "MQ==", "contentType": "text/csv", "encoding": "BASE64"},
    }  # fmt: skip
    bad = notification.message("r", "e", config, request, (1.0, 2.0), "text/csv", answer=b"1", reason="because")
    assert (bad["invocationStatus"], bad["failureReason"]) == ("Failed", "because")
    assert not {"responseParameters", "responseBody"} & bad.keys()
