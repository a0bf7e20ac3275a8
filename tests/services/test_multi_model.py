"""Multi-model endpoints: a request names its model, which is fetched and loaded when it is first asked for."""

from __future__ import annotations

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from tests.jobs import IMAGE, ROLE, csv, serve_model, table
from tests.platform import Platform, started, until

from .test_endpoints import pack, refused

SCRIPT = b"""
import json, os
def model_fn(folder):
    text = open(folder + "/weights").read()
    if text == "bad": raise RuntimeError("these weights are bad")
    return text
def transform_fn(model, body, content_type, accept): return json.dumps([model, body]), "application/json"
"""


def serve(
    platform: Platform,
    name: str,
    prefix: str,
    image: str = IMAGE,
    count: int = 1,
    cache: str = "Enabled",
    **environment: str,
) -> Any:
    """An endpoint of every model under a prefix; the runtime client."""
    sagemaker = platform.client("sagemaker")
    container = {
        "Image": image, "Mode": "MultiModel", "ModelDataUrl": prefix, "Environment": environment,
        "MultiModelConfig": {"ModelCacheSetting": cache},
    }  # fmt: skip
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    assert sagemaker.describe_model(ModelName=name)["PrimaryContainer"]["Mode"] == "MultiModel"
    serve_model(platform, name, count)
    return platform.client("sagemaker-runtime")


def scripted(platform: Platform, name: str, **models: bytes) -> str:
    platform.client("s3").create_bucket(Bucket=name)
    for key, weights in models.items():
        pack(platform, name, f"m/{key}.tar.gz", weights=weights, code__inference_DOT_py=SCRIPT)
    return f"s3://{name}/m/"


def test_built_in_models(platform: Platform, name: str, model_data: str) -> None:
    s3 = platform.client("s3")
    s3.create_bucket(Bucket=name)
    bucket, _, key = model_data.removeprefix("s3://").partition("/")
    for target in ("a.tar.gz", "deep/b.tar.gz"):
        s3.copy_object(Bucket=name, Key=f"m/{target}", CopySource={"Bucket": bucket, "Key": key})
    runtime, body = serve(platform, name, f"s3://{name}/m/"), csv(table()[:1, 1:])

    def ask(**more: Any) -> float:
        answer = runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=body, **more)
        return float(answer["Body"].read())

    first = ask(TargetModel="a.tar.gz")
    assert ask(TargetModel="deep/b.tar.gz") == ask(TargetModel="a.tar.gz") == first
    found = refused(ask)
    assert (found["Error"]["Code"], "is required" in found["Error"]["Message"]) == ("ValidationError", True)
    found = refused(ask, TargetModel="c.tar.gz")
    assert found["Error"]["Code"] == "ValidationError"
    assert f"Failed to download model data(bucket: {name}, key: m/c.tar.gz)" in found["Error"]["Message"]
    s3.copy_object(Bucket=name, Key="m/c.tar.gz", CopySource={"Bucket": bucket, "Key": key})
    assert ask(TargetModel="c.tar.gz") == first
    for target in ("../m/a.tar.gz", "/etc/passwd", "."):
        assert refused(ask, TargetModel=target)["Error"]["Code"] == "ValidationError"
    cloudwatch = platform.client("cloudwatch")

    def metrics() -> set[str]:
        dimension = [{"Name": "EndpointName", "Value": name}]
        return {m["MetricName"] for m in cloudwatch.list_metrics(Dimensions=dimension)["Metrics"]}

    wanted = {"ModelCacheHit", "ModelLoadingTime", "ModelDownloadingTime", "ModelLoadingWaitTime", "LoadedModelCount"}
    until(lambda: wanted <= metrics(), what="the models' metrics")
    platform.client("sagemaker").delete_endpoint(EndpointName=name)


def test_a_plain_endpoint_takes_no_target_model(platform: Platform, name: str) -> None:
    found = refused(
        platform.client("sagemaker").create_model, ModelName=name, ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": IMAGE, "Mode": "MultiModel"},
    )  # fmt: skip
    assert "needs a ModelDataUrl" in found["Error"]["Message"]


def test_scripts_of_their_own_and_a_model_that_does_not_load(sqlite_platform: Platform, name: str) -> None:
    prefix = scripted(sqlite_platform, name, one=b"1", two=b"2", broken=b"bad")
    runtime = serve(sqlite_platform, name, prefix, count=2, SAGEMAKER_PROGRAM="inference.py")

    def ask(model: str) -> Any:
        return json.loads(
            runtime.invoke_endpoint(
                EndpointName=name, ContentType="text/plain", Body=b"x", TargetModel=f"{model}.tar.gz"
            )["Body"].read()
        )

    assert [ask("one"), ask("two"), ask("one")] == [["1", "x"], ["2", "x"], ["1", "x"]]
    found = refused(ask, model="broken")
    assert (found["Error"]["Code"], found["OriginalStatusCode"]) == ("ModelError", 500)
    assert "these weights are bad" in found["OriginalMessage"]
    assert ask("one") == ["1", "x"]
    sqlite_platform.client("s3").put_object(Bucket=name, Key="m/junk.tar.gz", Body=b"junk")
    found = refused(ask, model="junk")
    assert (found["Error"]["Code"], "cannot be unpacked" in found["Error"]["Message"]) == ("ValidationError", True)
    sqlite_platform.client("sagemaker").delete_endpoint(EndpointName=name)


@pytest.mark.parametrize("cache", ["Enabled", "Disabled"])
def test_many_models_behind_one_endpoint(sqlite_platform: Platform, name: str, cache: str) -> None:
    """As many models as there are requests, from several clients at once; each is fetched once."""
    s3 = sqlite_platform.client("s3")
    s3.create_bucket(Bucket=name)
    where = f"s3://{name}/m/"
    models = 60
    for number in range(models):
        pack(sqlite_platform, name, f"m/{number}.tar.gz", weights=str(number).encode(), code__inference_DOT_py=SCRIPT)
    runtime = serve(sqlite_platform, name, where, cache=cache, SAGEMAKER_PROGRAM="inference.py")
    wrong: list[Any] = []

    def client(start: int) -> None:
        for number in (*range(start, models), *range(start)):
            answer = runtime.invoke_endpoint(
                EndpointName=name, ContentType="text/plain", Body=b"", TargetModel=f"{number}.tar.gz"
            )
            if (found := json.loads(answer["Body"].read())[0]) != str(number):
                wrong.append((number, found))

    clients = [threading.Thread(target=client, args=(n * 7,)) for n in range(3)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    assert wrong == []
    folders = list(sqlite_platform.home.glob("runs/ep-*/library/AllTraffic/*"))
    assert sum((f / "model" / "weights").exists() for f in folders) >= models
    for folder in folders:  # as where room was short
        shutil.rmtree(folder)
    client(0)
    assert wrong == []
    if cache == "Disabled":
        metrics = sqlite_platform.client("cloudwatch").list_metrics
        asked = {"Dimensions": [{"Name": "EndpointName", "Value": name}], "MetricName": "ModelUnloadingTime"}
        until(lambda: metrics(**asked)["Metrics"], what="the time that unloading takes")
    sqlite_platform.client("sagemaker").delete_endpoint(EndpointName=name)


def test_models_that_were_not_asked_for_the_longest_make_room_on_disk(home: Path) -> None:
    with started(home / "h", CLARY_MODELS_GB="0.0001") as platform:
        prefix = scripted(platform, "many", **{str(n): str(n).encode() for n in range(20)})
        runtime = serve(platform, "e", prefix, cache="Disabled", SAGEMAKER_PROGRAM="inference.py")

        def ask(number: int) -> str:
            answer = runtime.invoke_endpoint(
                EndpointName="e", ContentType="text/plain", Body=b"x", TargetModel=f"{number}.tar.gz"
            )
            return str(json.loads(answer["Body"].read())[0])

        def there() -> set[str]:
            return {f.read_text() for f in platform.home.glob("runs/ep-*/library/AllTraffic/*/model/weights")}

        for number in range(20):
            assert ask(number) == str(number)
            assert ask(0) == "0"
        assert 2 <= len(there()) < 20 and {"0", "19"} <= there()
        platform.kill("clary.server")  # what was fetched is counted anew
        with ThreadPoolExecutor(4) as threads:
            asked = [n * 7 % 20 for n in range(60)]
            assert list(threads.map(ask, asked)) == list(map(str, asked))
        assert len(there()) < 20
        assert not list(platform.home.glob("runs/ep-*/library/AllTraffic/.*"))
