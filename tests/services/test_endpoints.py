"""Models, configurations, endpoints and predictions through boto3."""

from __future__ import annotations

import base64
import datetime as dt
import io
import json
import re
import socket
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
import xgboost
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError, EventStreamError

from clary.algorithms.readers import recordio
from tests.jobs import IMAGE, ROLE, bucket, configure, csv, deploy, job, messages, predict, settled, table, train
from tests.platform import Platform, until


def pack(platform: Platform, where: str, key: str, **files: bytes) -> str:
    """A model archive in S3."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for name, content in files.items():
            entry = tarfile.TarInfo(name.replace("__", "/").replace("_DOT_", "."))
            entry.size = len(content)
            packed.addfile(entry, io.BytesIO(content))
    platform.client("s3").put_object(Bucket=where, Key=key, Body=out.getvalue())
    return f"s3://{where}/{key}"


def refused(call: Any, **params: Any) -> dict[str, Any]:
    with pytest.raises(ClientError) as error:
        call(**params)
    return {**error.value.response, "status": error.value.response["ResponseMetadata"]["HTTPStatusCode"]}


def test_the_whole_way(platform: Platform, name: str, model_data: str) -> None:
    sagemaker, runtime = platform.client("sagemaker"), platform.client("sagemaker-runtime")
    found = deploy(platform, name, model_data)
    assert found["EndpointStatus"] == "InService"
    variant = found["ProductionVariants"][0]
    assert (variant["VariantName"], variant["CurrentWeight"], variant["CurrentInstanceCount"]) == ("AllTraffic", 1.0, 1)
    rows = table()[:20]
    answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=csv(rows[:, 1:]))
    assert answer["ContentType"] == "text/csv; charset=utf-8"
    assert answer["InvokedProductionVariant"] == "AllTraffic"
    values = [float(v) for v in answer["Body"].read().decode().split()]
    assert np.mean((np.array(values) > 0.5) == (rows[:, 0] > 0.5)) > 0.9
    assert predict(platform, name, rows[:1, 1:]) == values[:1]
    group = f"/aws/sagemaker/Endpoints/{name}"
    until(lambda: any("Model loaded" in m for m in messages(platform, group, "AllTraffic/")), what="the replica's log")
    assert [e["EndpointName"] for e in sagemaker.list_endpoints(NameContains=name)["Endpoints"]] == [name]
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1})
    assert refused(runtime.invoke_endpoint, EndpointName=name, Body=b"1")["Error"]["Code"] == "ValidationError"
    sagemaker.delete_endpoint_config(EndpointConfigName=name)
    sagemaker.delete_model(ModelName=name)


def test_the_longest_names_serve(platform: Platform, model_data: str) -> None:
    """A Unix socket's path is short; names are not part of it."""
    name = "n" * 63
    configure(platform, name, model_data)
    sagemaker = platform.client("sagemaker")
    variant = {"VariantName": "v" * 63, "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=f"{name[1:]}c", ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name[1:]}c")
    assert settled(platform, name)["EndpointStatus"] == "InService"
    assert predict(platform, name, table()[:1, 1:])


def test_predictions_are_those_of_plain_xgboost(sqlite_platform: Platform, name: str) -> None:
    rows = table()
    for objective, classes in (
        ("binary:logistic", {}),
        ("multi:softprob", {"num_class": "2"}),
        ("reg:squarederror", {}),
        ("binary:hinge", {}),
        ("multi:softmax", {"num_class": "2"}),
    ):
        each = f"{name}-{objective.replace(':', '-')}"
        where = bucket(sqlite_platform, each)
        found = train(
            sqlite_platform, job(each, where, hyperparameters={"num_round": "5", "objective": objective, **classes})
        )
        deploy(sqlite_platform, each, found["ModelArtifacts"]["S3ModelArtifacts"])
        runtime = sqlite_platform.client("sagemaker-runtime")
        body = runtime.invoke_endpoint(EndpointName=each, ContentType="text/csv", Body=csv(rows[:9, 1:]))["Body"].read()
        got = np.array([[float(c) for c in line.split(",")] for line in body.decode().split()])
        key = found["ModelArtifacts"]["S3ModelArtifacts"].removeprefix(f"s3://{where}/")
        packed = sqlite_platform.client("s3").get_object(Bucket=where, Key=key)["Body"].read()
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            booster = xgboost.Booster(model_file=bytearray(archive.extractfile("xgboost-model").read()))  # type: ignore[union-attr]
        expected = booster.predict(xgboost.DMatrix(rows[:9, 1:])).reshape(9, -1)
        assert got == pytest.approx(expected, abs=1e-6), objective


def test_content_types(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    data = train(sqlite_platform, job(name, where))["ModelArtifacts"]["S3ModelArtifacts"]
    deploy(sqlite_platform, name, data)
    runtime = sqlite_platform.client("sagemaker-runtime")
    row = table()[:1, 1:]
    plain = predict(sqlite_platform, name, row)[0]

    def ask(**params: Any) -> str:
        return str(runtime.invoke_endpoint(EndpointName=name, **params)["Body"].read().decode())

    libsvm = " ".join(f"{i}:{v}" for i, v in enumerate(row[0].tolist()))
    assert float(ask(ContentType="text/libsvm", Body=libsvm)) == plain
    assert float(ask(ContentType="text/x-libsvm", Body="1 " + libsvm)) == plain
    assert json.loads(ask(ContentType="text/csv", Accept="application/json", Body=csv(row))) == {
        "predictions": [{"score": plain}]
    }
    assert float(ask(ContentType="text/csv", Body=csv(row).replace(b",", b";"))) == plain
    record = recordio.frame(
        recordio._message(
            1,
            recordio._message(1, b"values")
            + recordio._message(2, recordio._message(2, recordio._message(1, row[0].astype("<f4").tobytes()))),
        )
    )
    assert [float(v) for v in ask(ContentType="application/x-recordio-protobuf", Body=record * 3).split()] == [
        plain
    ] * 3
    with_gap = csv(row).decode().split(",")
    with_gap[3] = ""
    assert 0 < float(ask(ContentType="text/csv", Body=",".join(with_gap))) < 1
    for params, status in (
        ({"ContentType": "application/json", "Body": b"[1]"}, 415),
        ({"ContentType": "text/csv", "Accept": "image/png", "Body": csv(row)}, 406),
        ({"ContentType": "text/csv", "Body": b"1,2,3"}, 400),
        ({"ContentType": "text/csv", "Body": b"1],[2"}, 400),
        ({"ContentType": "text/csv", "Body": b"a,b"}, 400),
    ):
        found = refused(runtime.invoke_endpoint, EndpointName=name, **params)
        assert (found["Error"]["Code"], found["status"], found["OriginalStatusCode"]) == ("ModelError", 424, status)
        assert found["Error"]["Message"].startswith(f'Received client error ({status}) from primary with message "')
        assert found["LogStreamArn"].endswith(f":log-group:/aws/sagemaker/Endpoints/{name}")


def test_selectable_inference(sqlite_platform: Platform, name: str) -> None:
    data = train(sqlite_platform, job(name, bucket(sqlite_platform, name)))["ModelArtifacts"]["S3ModelArtifacts"]
    deploy(sqlite_platform, name, data, SAGEMAKER_INFERENCE_OUTPUT="predicted_label, probabilities,probability")
    runtime = sqlite_platform.client("sagemaker-runtime")
    row = csv(table()[:2, 1:])
    got = json.loads(
        runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Accept="application/json", Body=row)[
            "Body"
        ].read()
    )
    first = got["predictions"][0]
    assert first["predicted_label"] == int(first["probability"] > 0.5)
    assert sum(first["probabilities"]) == pytest.approx(1)
    text = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=row)["Body"].read().decode()
    assert text.splitlines()[0].startswith('0,"[')


def test_weights_and_target_variants(platform: Platform, name: str, model_data: str) -> None:
    sagemaker, runtime = platform.client("sagemaker"), platform.client("sagemaker-runtime")
    configure(platform, name, model_data)
    variants = [
        {
            "VariantName": n,
            "ModelName": name,
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
            "InitialVariantWeight": w,
        }
        for n, w in (("A", 3.0), ("B", 1.0), ("C", 0.0))
    ]
    sagemaker.create_endpoint_config(EndpointConfigName=f"{name}-ab", ProductionVariants=variants)
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-ab")
    assert settled(platform, name)["EndpointStatus"] == "InService"
    body = csv(table()[:1, 1:])
    chosen = [
        runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=body)["InvokedProductionVariant"]
        for _ in range(200)
    ]
    assert 0.6 < chosen.count("A") / 200 < 0.9
    assert chosen.count("C") == 0
    target = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=body, TargetVariant="C")
    assert target["InvokedProductionVariant"] == "C"
    assert (
        refused(runtime.invoke_endpoint, EndpointName=name, Body=body, TargetVariant="D")["Error"]["Code"]
        == "ValidationError"
    )


def test_an_update_never_drops_a_request(platform: Platform, name: str, model_data: str) -> None:
    sagemaker = platform.client("sagemaker")
    deploy(platform, name, model_data, count=2)
    configure(platform, f"{name}-new", model_data, SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="application/json")
    body, stop, answers, failures = csv(table()[:1, 1:]), threading.Event(), [], []

    def load() -> None:
        runtime = platform.client("sagemaker-runtime")
        while not stop.is_set():
            try:
                answers.append(
                    runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=body)["Body"].read()[:1]
                )
            except ClientError as error:
                failures.append(error)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-new")
    assert refused(sagemaker.update_endpoint, EndpointName=name, EndpointConfigName=name)["Error"][
        "Message"
    ].startswith("Cannot update in-progress endpoint")
    found = settled(platform, name)
    until(lambda: answers[-20:] == [b"{"] * 20, what="the new fleet answers")
    stop.set()
    for thread in threads:
        thread.join()
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", f"{name}-new")
    assert failures == []
    assert b"0" in answers and b"{" in answers


def test_a_failed_update_goes_back_and_says_why(platform: Platform, name: str, model_data: str) -> None:
    deploy(platform, name, model_data)
    configure(platform, f"{name}-bad", model_data.replace("model.tar.gz", "missing.tar.gz"))
    platform.client("sagemaker").update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-bad")
    found = settled(platform, name)
    assert (found["EndpointStatus"], found["EndpointConfigName"]) == ("InService", name)
    assert "Could not find model data at" in found["FailureReason"]
    assert predict(platform, name, table()[:1, 1:])


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"xgboost-model": b"garbage"}, "Unable to load model from xgboost-model"),
        ({}, "No valid model file exists"),
        ({"xgboost-model": b"\x80\x04cos\nsystem\n(S'touch /tmp/owned'\ntR."}, "only an xgboost Booster is loaded"),
    ],
)
def test_a_model_that_does_not_load_fails_with_its_own_words(
    sqlite_platform: Platform, name: str, files: dict[str, bytes], words: str
) -> None:
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    found = deploy(sqlite_platform, name, pack(sqlite_platform, name, "m.tar.gz", **files))
    assert found["EndpointStatus"] == "Failed"
    assert found["FailureReason"].startswith(
        "The primary container for production variant AllTraffic did not pass the ping health check."
    )
    assert words in found["FailureReason"]


def test_scripts_serve(sqlite_platform: Platform, name: str) -> None:
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    code = b"""
import json
def model_fn(folder): return open(folder + "/weights").read()
def input_fn(body, content_type): return json.loads(body)
def predict_fn(data, model): return [model, sum(data)]
def output_fn(prediction, accept): return json.dumps(prediction), accept
"""
    data = pack(sqlite_platform, name, "m.tar.gz", weights=b"w", code__inference_DOT_py=code)
    assert deploy(sqlite_platform, name, data, SAGEMAKER_PROGRAM="inference.py")["EndpointStatus"] == "InService"
    runtime = sqlite_platform.client("sagemaker-runtime")
    answer = runtime.invoke_endpoint(
        EndpointName=name, ContentType="application/json", Accept="application/json", Body=b"[1, 2]"
    )
    assert json.loads(answer["Body"].read()) == ["w", 3]
    found = refused(runtime.invoke_endpoint, EndpointName=name, ContentType="application/json", Body=b"{")
    assert (found["OriginalStatusCode"], "JSONDecodeError" in found["Error"]["Message"]) == (500, True)


def test_capacities_change_without_a_dropped_request(platform: Platform, name: str, model_data: str) -> None:
    sagemaker, runtime = platform.client("sagemaker"), platform.client("sagemaker-runtime")
    runs = platform.home / "runs"
    before = set(runs.glob("ep-*"))
    assert deploy(platform, name, model_data)["EndpointStatus"] == "InService"
    (run,) = set(runs.glob("ep-*")) - before
    body, failures, answers, over = csv(table()[:1, 1:]), [], [0], threading.Event()

    def call() -> None:
        while not over.is_set():
            try:
                runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=body)
                answers[0] += 1
            except ClientError as error:
                failures.append(error)

    caller = threading.Thread(target=call)
    caller.start()
    try:
        for count, weight in ((3, 0.5), (1, 2.0), (2, 1.0)):
            change = {"VariantName": "AllTraffic", "DesiredInstanceCount": count, "DesiredWeight": weight}
            sagemaker.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=[change])
            found = settled(platform, name)
            variant = found["ProductionVariants"][0]
            assert (found["EndpointStatus"], variant["CurrentWeight"]) == ("InService", weight)
            assert (variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]) == (count, count)
            until(lambda count=count: len(list(run.glob("v0-*"))) == count, what="as many processes as instances")
    finally:
        over.set()
        caller.join()
    assert not failures
    assert answers[0] > 10
    for change, words in (
        ({"VariantName": "none", "DesiredWeight": 1.0}, "Could not find production variant"),
        ({"VariantName": "AllTraffic", "DesiredInstanceCount": 0}, "must be at least 1"),
    ):
        call_it = sagemaker.update_endpoint_weights_and_capacities
        assert words in refused(call_it, EndpointName=name, DesiredWeightsAndCapacities=[change])["Error"]["Message"]
    sagemaker.delete_endpoint(EndpointName=name)
    sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=name, WaiterConfig={"Delay": 1})
    assert not run.exists()


def test_a_shadow_sees_requests_and_answers_nobody(platform: Platform, name: str, model_data: str) -> None:
    sagemaker, runtime = platform.client("sagemaker"), platform.client("sagemaker-runtime")
    code = b"""
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    print("SHADOW SAW", body, flush=True)
    raise ValueError("nobody hears this")
"""
    platform.client("s3").create_bucket(Bucket=name)
    shadow = pack(platform, name, "m.tar.gz", code__inference_DOT_py=code)
    configure(platform, name, model_data)
    configure(platform, f"{name}-s", shadow, SAGEMAKER_PROGRAM="inference.py")
    variant = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(
        EndpointConfigName=f"{name}-both",
        ProductionVariants=[{**variant, "VariantName": "A", "ModelName": name}],
        ShadowProductionVariants=[{**variant, "VariantName": "S", "ModelName": f"{name}-s"}],
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-both")
    found = settled(platform, name)
    assert [v["VariantName"] for v in found["ProductionVariants"]] == ["A"]
    assert [v["VariantName"] for v in found["ShadowProductionVariants"]] == ["S"]
    answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=csv(table()[:1, 1:]))
    assert answer["InvokedProductionVariant"] == "A"
    group = f"/aws/sagemaker/Endpoints/{name}"
    until(lambda: any("SHADOW SAW 1" in m for m in messages(platform, group, "S/")), what="the shadow's log")
    twice = {
        "EndpointConfigName": f"{name}-two",
        "ProductionVariants": [{**variant, "VariantName": n, "ModelName": name} for n in "AB"],
    }
    twice["ShadowProductionVariants"] = [{**variant, "VariantName": "S", "ModelName": name}]
    assert "exactly one" in refused(sagemaker.create_endpoint_config, **twice)["Error"]["Message"]


def test_requests_are_captured(platform: Platform, name: str, model_data: str) -> None:
    s3, sagemaker, runtime = (platform.client(s) for s in ("s3", "sagemaker", "sagemaker-runtime"))
    s3.create_bucket(Bucket=name)
    configure(platform, name, model_data)
    variant = {"VariantName": "A", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    rule = {
        "EnableCapture": True, "InitialSamplingPercentage": 100, "DestinationS3Uri": f"s3://{name}/captured",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
        "CaptureContentTypeHeader": {"CsvContentTypes": ["text/csv"]},
    }  # fmt: skip
    for suffix, changes in (("on", {}), ("lost", {"DestinationS3Uri": "s3://no-such-bucket-anywhere/x"})):
        sagemaker.create_endpoint_config(
            EndpointConfigName=f"{name}-{suffix}", ProductionVariants=[variant], DataCaptureConfig={**rule, **changes}
        )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-on")
    assert settled(platform, name)["DataCaptureConfig"] == {
        "EnableCapture": True, "CaptureStatus": "Started", "CurrentSamplingPercentage": 100,
        "DestinationS3Uri": f"s3://{name}/captured", "KmsKeyId": "",
    }  # fmt: skip
    body = csv(table()[:1, 1:])
    answer = runtime.invoke_endpoint(
        EndpointName=name, ContentType="text/csv; charset=utf-8", Body=body, InferenceId="mine", CustomAttributes="a=b"
    )["Body"].read()  # fmt: skip
    runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Accept="application/json", Body=body)
    refused(runtime.invoke_endpoint, EndpointName=name, ContentType="text/csv", Body=b"a,b")

    def captured() -> list[dict[str, Any]]:
        keys = [o["Key"] for o in s3.list_objects_v2(Bucket=name, Prefix="captured/").get("Contents", [])]
        assert all(
            re.fullmatch(rf"captured/{name}/A/\d{{4}}/\d\d/\d\d/\d\d/\d\d-\d\d-\d{{3}}-[0-9a-f-]{{36}}\.jsonl", k)
            for k in keys
        )
        texts = [s3.get_object(Bucket=name, Key=k)["Body"].read() for k in keys]
        return [json.loads(line) for text in texts for line in text.splitlines()]

    until(lambda: len(captured()) == 2, what="both successes are captured")
    exact = platform.client("s3").list_objects_v2(Bucket=name, Prefix=f"captured.clary/{name}/A/")["Contents"]
    assert exact
    first, second = sorted(captured(), key=lambda c: "inferenceId" not in c["eventMetadata"])
    assert first["captureData"] == {
        "endpointInput": {
            "observedContentType": "text/csv; charset=utf-8", "mode": "INPUT", "data": body.decode(), "encoding": "CSV",
        },
        "endpointOutput": {
            "observedContentType": "text/csv; charset=utf-8", "mode": "OUTPUT", "data": answer.decode(), "encoding": "CSV",
        },
    }  # fmt: skip
    assert (first["eventMetadata"]["inferenceId"], first["eventMetadata"]["customAttributes"]) == ("mine", ["a=b"])
    assert first["eventVersion"] == "0"
    output = second["captureData"]["endpointOutput"]
    assert output["encoding"] == "BASE64"
    assert json.loads(base64.b64decode(output["data"]))["predictions"][0]["score"] == float(answer)
    sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=f"{name}-lost")
    assert settled(platform, name)["DataCaptureConfig"]["DestinationS3Uri"] == "s3://no-such-bucket-anywhere/x"
    assert runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=body)["Body"].read() == answer
    until(lambda: "no-such-bucket-anywhere" in platform.log(), what="the loss is logged")


def test_answers_in_pieces(sqlite_platform: Platform, name: str) -> None:
    """A script streams by returning an iterator; each piece arrives before the next is asked for."""
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    code = b"""
import os, time
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    def pieces():
        yield "first,"
        while body == "wait" and not os.path.exists("/tmp/go"):
            time.sleep(0.01)
            yield ""
        if body == "break":
            raise RuntimeError("on purpose")
        if body == "many":
            for i in range(2000):
                yield b"x" * 1000
        yield "last"
    if body == "go":
        open("/tmp/go", "w").close()
    if body == "refuse":
        raise ValueError("refused on purpose")
    return pieces(), "text/plain"
"""
    data = pack(sqlite_platform, name, "m.tar.gz", code__inference_DOT_py=code)
    deploy(sqlite_platform, name, data, SAGEMAKER_PROGRAM="inference.py")
    runtime = sqlite_platform.client("sagemaker-runtime")

    def stream(body: bytes) -> Any:
        ask = runtime.invoke_endpoint_with_response_stream
        return ask(EndpointName=name, ContentType="text/plain", Accept="text/plain", Body=body)

    answer = stream(b"wait")
    assert (answer["ContentType"], answer["InvokedProductionVariant"]) == ("text/plain", "AllTraffic")
    events = iter(answer["Body"])
    assert next(events)["PayloadPart"]["Bytes"] == b"first,"
    whole = runtime.invoke_endpoint(EndpointName=name, ContentType="text/plain", Body=b"go")
    assert whole["Body"].read() == b"first,last"
    assert [e["PayloadPart"]["Bytes"] for e in events] == [b"last"]
    assert sum(len(e["PayloadPart"]["Bytes"]) for e in stream(b"many")["Body"]) == 2000 * 1000 + 10
    events = iter(stream(b"break")["Body"])
    assert next(events)["PayloadPart"]["Bytes"] == b"first,"
    with pytest.raises(EventStreamError, match="ModelStreamError"):
        next(events)
    found = refused(stream, body=b"refuse")
    assert (found["Error"]["Code"], found["OriginalStatusCode"]) == ("ModelError", 500)
    assert "refused on purpose" in found["OriginalMessage"]
    for _ in range(3):  # readers that go away leave nothing behind
        events = iter(stream(b"many")["Body"])
        next(events)
        events.close()
    assert b"".join(e["PayloadPart"]["Bytes"] for e in stream(b"x")["Body"]) == b"first,last"


def test_a_built_in_model_answers_a_stream_in_one_piece(sqlite_platform: Platform, name: str) -> None:
    data = train(sqlite_platform, job(name, bucket(sqlite_platform, name)))["ModelArtifacts"]["S3ModelArtifacts"]
    deploy(sqlite_platform, name, data)
    rows = table()[:2, 1:]
    password = (sqlite_platform.home / "tokens" / "proxy").read_text().strip()
    through_proxy = sqlite_platform.client(
        "sagemaker-runtime",
        endpoint_url="https://runtime.sagemaker.us-east-1.amazonaws.com",
        verify=str(sqlite_platform.home / "tls" / "ca.pem"),
        config=Config(proxies={"https": sqlite_platform.endpoint.replace("://", f"://clary:{password}@")}),
    )
    for runtime in (sqlite_platform.client("sagemaker-runtime"), through_proxy):
        answer = runtime.invoke_endpoint_with_response_stream(EndpointName=name, ContentType="text/csv", Body=csv(rows))
        text = b"".join(e["PayloadPart"]["Bytes"] for e in answer["Body"]).decode()
        assert [float(line) for line in text.split()] == predict(sqlite_platform, name, rows)
        whole = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=csv(rows))
        assert whole["Body"].read().decode() == text


def test_large_bodies_do_not_hold_up_small_ones(sqlite_platform: Platform, name: str) -> None:
    data = train(sqlite_platform, job(name, bucket(sqlite_platform, name)))["ModelArtifacts"]["S3ModelArtifacts"]
    deploy(sqlite_platform, name, data)
    rows = table()[:, 1:]
    many = np.tile(rows, (12, 1))
    assert 1 << 20 < len(csv(many)) < 6 << 20
    expected = predict(sqlite_platform, name, rows)
    assert predict(sqlite_platform, name, many) == expected * 12


@pytest.mark.parametrize(
    ("behind", "status"), [(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 421), (b"\0", 400)], ids=["not the front's", "stray"]
)
def test_a_client_that_asks_on_without_reading_gets_every_answer(
    sqlite_platform: Platform, name: str, behind: bytes, status: int
) -> None:
    """Requests behind each other on one connection; what is not read yet holds up those that follow, and nothing else."""
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    code = b"""
import time
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    time.sleep("a" in body)  # while the other instance could answer what follows
    return body * (1 << 20), "text/plain"
"""
    data = pack(sqlite_platform, name, "m.tar.gz", code__inference_DOT_py=code)
    found = deploy(sqlite_platform, name, data, count=2, SAGEMAKER_PROGRAM="inference.py")
    assert found["EndpointStatus"] == "InService"
    parts = urlsplit(sqlite_platform.endpoint)
    asked = b""
    for letter in (b"a", b"b", b"c"):
        body = letter * 8
        request = AWSRequest(
            "POST", f"{sqlite_platform.endpoint}/endpoints/{name}/invocations", {"Content-Type": "text/plain"}, body
        )
        SigV4Auth(Credentials(*sqlite_platform.root_key), "sagemaker", "us-east-1").add_auth(request)
        lines = "".join(f"{k}: {v}\r\n" for k, v in request.headers.items())
        head = f"POST /endpoints/{name}/invocations HTTP/1.1\r\nHost: {parts.netloc}\r\n{lines}"
        asked += f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    asked += behind  # refused in its turn
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.sendall(asked)
        runtime = sqlite_platform.client("sagemaker-runtime")
        for _ in range(3):  # others are answered meanwhile
            other = runtime.invoke_endpoint(EndpointName=name, ContentType="text/plain", Body=b"x")
            assert len(other["Body"].read()) == 1 << 20
        answers = connection.makefile("rb")
        for letter in (b"a", b"b", b"c"):
            head = b"".join(iter(answers.readline, b"\r\n"))
            assert head.startswith(b"HTTP/1.1 200 ") and f"Content-Length: {8 << 20}".encode() in head
            assert answers.read(8 << 20) == letter * (8 << 20)
        assert answers.read().startswith(b"HTTP/1.1 %d " % status)
    sqlite_platform.client("sagemaker").delete_endpoint(EndpointName=name)


def test_names_taken_and_missing(platform: Platform, name: str, model_data: str) -> None:
    sagemaker = platform.client("sagemaker")
    configure(platform, name, model_data)
    container = {"Image": IMAGE, "ModelDataUrl": model_data}
    found = refused(sagemaker.create_model, ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    assert (
        found["Error"]["Message"]
        == f'Cannot create already existing model "arn:aws:sagemaker:us-east-1:000000000000:model/{name}".'
    )
    for call, params, words in (
        (sagemaker.describe_model, {"ModelName": "none"}, "Could not find model"),
        (sagemaker.describe_endpoint_config, {"EndpointConfigName": "none"}, "Could not find endpoint configuration"),
        (sagemaker.describe_endpoint, {"EndpointName": "none"}, "Could not find endpoint"),
        (
            sagemaker.create_endpoint,
            {"EndpointName": name, "EndpointConfigName": "none"},
            "Could not find endpoint configuration",
        ),
    ):
        found = refused(call, **params)
        assert (found["Error"]["Code"], found["Error"]["Message"].startswith(words)) == ("ValidationException", True)
    described = sagemaker.describe_model(ModelName=name)
    assert described["PrimaryContainer"]["Mode"] == "SingleModel"
    assert described["PrimaryContainer"]["ModelDataSource"]["S3DataSource"]["S3Uri"] == model_data
    assert "VpcConfig" not in described


def test_features_that_are_not_served_are_refused_by_name(platform: Platform, name: str, model_data: str) -> None:
    sagemaker = platform.client("sagemaker")
    configure(platform, name, model_data)
    variant = {
        "VariantName": "A", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1,
        "RoutingConfig": {"RoutingStrategy": "KV_AWARE"},
    }  # fmt: skip
    found = refused(sagemaker.create_endpoint_config, EndpointConfigName=f"{name}-s", ProductionVariants=[variant])
    assert "Clary does not serve RoutingStrategy KV_AWARE yet" in found["Error"]["Message"]


def test_requests_that_begin_alike_go_to_one_instance(sqlite_platform: Platform, name: str) -> None:
    sagemaker, runtime = sqlite_platform.client("sagemaker"), sqlite_platform.client("sagemaker-runtime")
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    code = b"""
import os, time
me = os.urandom(8).hex()
def model_fn(folder): return me
def input_fn(body, content_type): return body
def predict_fn(body, model):
    time.sleep(1 if "slow" in str(body)[-10:] else 0)
    return model
def output_fn(prediction, accept): return prediction, "text/plain"
"""
    data = pack(sqlite_platform, name, "m.tar.gz", code__inference_DOT_py=code)
    configure(sqlite_platform, name, data, SAGEMAKER_PROGRAM="inference.py")

    def config(suffix: str, **routing: Any) -> dict[str, Any]:
        variant = {"VariantName": "A", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 3}
        return {
            "EndpointConfigName": f"{name}{suffix}", "ProductionVariants": [{**variant, "RoutingConfig": routing}],
        }  # fmt: skip

    prefixes = {"PrefixLength": 1024, "ConcurrencyThreshold": 1}
    for routing, words in (
        ({"RoutingStrategy": "PREFIX_AWARE"}, "needs PrefixAwareRoutingConfig"),
        ({"RoutingStrategy": "RANDOM", "PrefixAwareRoutingConfig": prefixes}, "PREFIX_AWARE only"),
    ):
        found = refused(sagemaker.create_endpoint_config, **config("-r", **routing))
        assert found["Error"]["Code"] == "ValidationException" and words in found["Error"]["Message"]
    wanted = config("-p", RoutingStrategy="PREFIX_AWARE", PrefixAwareRoutingConfig=prefixes)
    sagemaker.create_endpoint_config(**wanted)
    told = sagemaker.describe_endpoint_config(EndpointConfigName=f"{name}-p")["ProductionVariants"][0]
    assert told["RoutingConfig"] == wanted["ProductionVariants"][0]["RoutingConfig"]
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-p")
    assert settled(sqlite_platform, name)["EndpointStatus"] == "InService"

    def ask(prompt: str, end: str = "") -> str:
        body = prompt.ljust(1024).encode() + end.encode()
        return str(runtime.invoke_endpoint(EndpointName=name, Body=body, ContentType="text/plain")["Body"].read())

    homes = {n: ask(f"prompt {n}") for n in range(12)}
    assert len(set(homes.values())) == 3
    assert all(ask(f"prompt {n}", "another end") == home for n, home in homes.items())
    with ThreadPoolExecutor(2) as threads:  # one instance has as many under way as it may: another takes the second
        first, second = threads.map(lambda _: ask("prompt 0", "slow"), range(2))
    assert first != second and homes[0] in (first, second)
    sagemaker.delete_endpoint(EndpointName=name)


def test_what_instances_use_is_measured(sqlite_platform: Platform, name: str) -> None:
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    code = b"""
import threading
def model_fn(folder):
    def spin():
        while True: pass
    threading.Thread(target=spin, daemon=True).start()
    return bytearray(100 << 20)
def transform_fn(model, body, content_type, accept): return "", "text/plain"
"""
    data = pack(sqlite_platform, name, "m.tar.gz", code__inference_DOT_py=code)
    deploy(sqlite_platform, name, data, SAGEMAKER_PROGRAM="inference.py")
    cloudwatch, end = sqlite_platform.client("cloudwatch"), dt.datetime.now(dt.UTC) + dt.timedelta(minutes=5)

    def highest(metric: str) -> float:
        found = cloudwatch.get_metric_statistics(
            Namespace="/aws/sagemaker/Endpoints", MetricName=metric, Period=60, Statistics=["Maximum"],
            StartTime=end - dt.timedelta(minutes=10), EndTime=end,
            Dimensions=[{"Name": "EndpointName", "Value": name}, {"Name": "VariantName", "Value": "AllTraffic"}],
        )  # fmt: skip
        return max((p["Maximum"] for p in found["Datapoints"]), default=0.0)

    until(lambda: highest("CPUUtilization") > 20, what="its processor time")
    assert highest("CPUUtilization") < 250
    assert 100 / 8192 * 100 < highest("MemoryUtilization") < 20  # of an ml.m5.large
    assert 0 < highest("DiskUtilization") <= 100
    sqlite_platform.client("sagemaker").delete_endpoint(EndpointName=name)
