"""Batch transform through boto3."""

from __future__ import annotations

import csv as csv_module
import gzip
import io
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from clary.algorithms.readers import recordio
from tests.jobs import IMAGE, ROLE, bucket, csv, job, messages, table, train
from tests.platform import Platform, until
from tests.services.test_endpoints import pack


@pytest.fixture(scope="module")
def model_data(platform: Platform) -> str:
    where = bucket(platform, f"transform-models-{platform.port}")
    return str(train(platform, job(f"tmodel-{platform.port}", where))["ModelArtifacts"]["S3ModelArtifacts"])


@pytest.fixture(scope="module")
def script_data(sqlite_platform: Platform) -> str:
    """A model whose answers show what it was asked: JSON in, JSON out; CSV rows in, their sums out."""
    code = b"""
import json, os, time
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    if content_type == "application/jsonlines":
        return "".join(json.dumps({"sum": sum(json.loads(l))}) + "\\n" for l in body.splitlines()), accept
    if content_type == "application/json":
        return json.dumps({"got": json.loads(body), "batch": os.environ["SAGEMAKER_BATCH"]}), accept
    if "boom" in body:
        raise ValueError("boom on purpose")
    if body.startswith("9,"):
        time.sleep(max(0, float(body.split(",")[1]) - time.time()))
    return "\\n".join(str(sum(map(float, l.split(",")))) for l in body.splitlines()), accept
"""
    sqlite_platform.client("s3").create_bucket(Bucket="transform-scripts")
    return pack(sqlite_platform, "transform-scripts", "m.tar.gz", code__inference_DOT_py=code)


def transform(platform: Platform, name: str, data: str, source: str, **changes: Any) -> dict[str, Any]:
    """Run a job to its end; its description."""
    sagemaker = platform.client("sagemaker")
    script = {"SAGEMAKER_PROGRAM": "inference.py"} if "scripts" in data else {}
    container = {"Image": IMAGE, "ModelDataUrl": data, "Environment": script}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    given = {"ContentType": "text/csv", "SplitType": "Line", **changes.pop("given", {})}
    kind = given.pop("S3DataType", "S3Prefix")
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": kind, "S3Uri": source}}, **given},
        TransformOutput={"S3OutputPath": f"s3://{name}/out", **changes.pop("made", {})},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": changes.pop("count", 1)},
        **changes,
    )
    while True:
        found: dict[str, Any] = sagemaker.describe_transform_job(TransformJobName=name)
        if found["TransformJobStatus"] not in ("InProgress", "Stopping"):
            return found


def read(platform: Platform, where: str, key: str) -> bytes:
    body: bytes = platform.client("s3").get_object(Bucket=where, Key=key)["Body"].read()
    return body


def put(platform: Platform, where: str, **objects: bytes) -> None:
    s3 = platform.client("s3")
    s3.create_bucket(Bucket=where)
    for name, body in objects.items():
        s3.put_object(Bucket=where, Key=f"in/{name.replace('__', '/')}", Body=body)


def outputs(platform: Platform, where: str) -> list[str]:
    listed = platform.client("s3").list_objects_v2(Bucket=where, Prefix="out/")
    return [o["Key"] for o in listed.get("Contents", [])]


def test_a_table_becomes_predictions(platform: Platform, name: str, model_data: str) -> None:
    rows = table()[:50]
    put(platform, name, a=csv(rows[:30, 1:]), sub__b=csv(rows[30:, 1:]))
    found = transform(platform, name, model_data, f"s3://{name}/in/", count=2)
    assert found["TransformJobStatus"] == "Completed", found.get("FailureReason")
    assert found["TransformStartTime"] <= found["TransformEndTime"]
    assert "MaxPayloadInMB" not in found and "BatchStrategy" not in found
    assert outputs(platform, name) == ["out/a.out", "out/sub/b.out"]
    values = [float(v) for v in read(platform, name, "out/a.out").split()]
    assert len(values) == 30
    assert sum((v > 0.5) == (y > 0.5) for v, y in zip(values, rows[:30, 0], strict=True)) > 25
    group = "/aws/sagemaker/TransformJobs"
    until(lambda: any("Model loaded" in m for m in messages(platform, group, f"{name}/")), what="the replica's log")
    text = "\n".join(messages(platform, group, f"{name}/"))
    assert f"MaxConcurrentTransforms={os.cpu_count()}, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD" in text
    assert f"{name}/in/a: 30 records in 1 requests" in text
    sagemaker = platform.client("sagemaker")
    listed = sagemaker.list_transform_jobs(NameContains=name)["TransformJobSummaries"]
    assert [(j["TransformJobName"], j["TransformJobStatus"]) for j in listed] == [(name, "Completed")]
    sagemaker.add_tags(ResourceArn=found["TransformJobArn"], Tags=[{"Key": "a", "Value": "b"}])
    assert sagemaker.list_tags(ResourceArn=found["TransformJobArn"])["Tags"] == [{"Key": "a", "Value": "b"}]


def test_one_object_manifests_and_gzip(sqlite_platform: Platform, name: str, script_data: str) -> None:
    s3 = sqlite_platform.client("s3")
    put(sqlite_platform, name, **{"x.csv": b"1,2\n3,4\n", "y.csv": b"5,6", "z.gz": gzip.compress(b"7,8\n9,9\n")})
    assert transform(sqlite_platform, name, script_data, f"s3://{name}/in/x.csv")["TransformJobStatus"] == "Completed"
    assert read(sqlite_platform, name, "out/x.csv.out") == b"3.0\n7.0"
    manifest = [{"prefix": f"s3://{name}/in/"}, "x.csv", "y.csv"]
    s3.put_object(Bucket=name, Key="manifest", Body=json.dumps(manifest))
    s3.create_bucket(Bucket=f"{name}-m")
    transform(
        sqlite_platform, f"{name}-m", script_data, f"s3://{name}/manifest",
        given={"S3DataType": "ManifestFile"}, made={"AssembleWith": "Line"}, BatchStrategy="SingleRecord",
    )  # fmt: skip
    assert outputs(sqlite_platform, f"{name}-m") == ["out/x.csv.out", "out/y.csv.out"]
    assert read(sqlite_platform, f"{name}-m", "out/x.csv.out") == b"3.0\n7.0\n"
    s3.create_bucket(Bucket=f"{name}-z")
    packed = transform(
        sqlite_platform, f"{name}-z", script_data, f"s3://{name}/in/z", given={"CompressionType": "Gzip"}
    )
    assert packed["TransformJobStatus"] == "Completed", packed
    assert read(sqlite_platform, f"{name}-z", "out/z.gz.out") == b"15.0\n18.0"


def test_answers_stay_in_order_however_many_are_under_way(
    sqlite_platform: Platform, name: str, script_data: str
) -> None:
    put(sqlite_platform, name, numbers="".join(f"{i},0\n" for i in range(400)).encode())
    transform(
        sqlite_platform, name, script_data, f"s3://{name}/in/", made={"AssembleWith": "Line"},
        BatchStrategy="SingleRecord", MaxConcurrentTransforms=8, MaxPayloadInMB=1,
    )  # fmt: skip
    assert [float(v) for v in read(sqlite_platform, name, "out/numbers.out").split()] == list(range(400))


def test_containers_say_how_they_are_asked(platform: Platform, name: str, model_data: str) -> None:
    """``/execution-parameters``: of the built-in algorithm, of a script that has them, and overruled by the job."""
    code = b"""
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept): return str(body.count("\\n")), accept
def execution_parameters_fn(): return {"MaxConcurrentTransforms": 3, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 2}
"""
    where = "transform-scripts-told"
    platform.client("s3").create_bucket(Bucket=where)
    script = pack(platform, where, "m.tar.gz", code__inference_DOT_py=code)
    put(platform, name, lines=b"1\n2\n3\n")
    rows = csv(table()[:3, 1:])
    put(platform, f"{name}-b", lines=rows)

    def told(job: str, data: str, source: str, **changes: Any) -> str:
        transform(platform, job, data, f"s3://{source}/in/", **changes)
        found: list[str] = []

        def logged() -> bool:
            found.extend(m for m in messages(platform, "/aws/sagemaker/TransformJobs", f"{job}/") if "MaxConc" in m)
            return bool(found)

        until(logged, 10, "the job's log")
        return found[0]

    assert "MaxConcurrentTransforms=3, MaxPayloadInMB=2, BatchStrategy=SINGLE_RECORD" in told(name, script, name)
    assert read(platform, name, "out/lines.out") == b"111"
    made = {"S3OutputPath": f"s3://{name}/one"}
    one = told(f"{name}-one", script, name, made=made, MaxConcurrentTransforms=1, BatchStrategy="MultiRecord")
    assert "MaxConcurrentTransforms=1, MaxPayloadInMB=2, BatchStrategy=MULTI_RECORD" in one
    line = told(f"{name}-b", model_data, f"{name}-b")
    assert f"MaxConcurrentTransforms={os.cpu_count()}, MaxPayloadInMB=6, BatchStrategy=MULTI_RECORD" in line


def test_csv_filters_and_joins(sqlite_platform: Platform, name: str, script_data: str) -> None:
    put(sqlite_platform, name, rows=b'7,1.5,2.5\n"8,8",1,1\n')
    found = transform(
        sqlite_platform, name, script_data, f"s3://{name}/in/", made={"AssembleWith": "Line", "Accept": "text/csv"},
        DataProcessing={"InputFilter": "$[1:]", "JoinSource": "Input", "OutputFilter": "$[0,-1]"},
        DataCaptureConfig={"DestinationS3Uri": f"s3://{name}/capture", "GenerateInferenceId": True},
    )  # fmt: skip
    assert found["TransformJobStatus"] == "Completed", found
    lines = list(csv_module.reader(io.StringIO(read(sqlite_platform, name, "out/rows.out").decode())))
    assert [line[:2] for line in lines] == [["7", "4.0"], ["8,8", "2.0"]]
    assert all(len(line[2]) == 36 and line[3].endswith("Z") for line in lines)
    listed = sqlite_platform.client("s3").list_objects_v2(Bucket=name, Prefix="capture/")["Contents"]
    texts = [json.loads(read(sqlite_platform, name, o["Key"])) for o in listed]
    assert texts == [[{"prefix": f"s3://{name}/in/"}, "rows"], [{"prefix": f"s3://{name}/out/"}, "rows.out"]]


def test_json_filters_and_joins(sqlite_platform: Platform, name: str, script_data: str) -> None:
    put(sqlite_platform, name, lines=b'{"id":7,"features":[1,2]}\n{"id":8,"features":[3]}\n')
    found = transform(
        sqlite_platform, name, script_data, f"s3://{name}/in/",
        given={"ContentType": "application/jsonlines"},
        made={"AssembleWith": "Line", "Accept": "application/jsonlines"},
        DataProcessing={
            "InputFilter": "$.features", "JoinSource": "Input", "OutputFilter": "$['id','SageMakerOutput']",
        },
    )  # fmt: skip
    assert found["TransformJobStatus"] == "Completed", found
    lines = [json.loads(line) for line in read(sqlite_platform, name, "out/lines.out").splitlines()]
    assert lines == [{"id": 7, "SageMakerOutput": {"sum": 3}}, {"id": 8, "SageMakerOutput": {"sum": 3}}]
    put(sqlite_platform, f"{name}-d", document=b'{"a": [1, {"b": 2}]}')
    transform(
        sqlite_platform, f"{name}-d", script_data, f"s3://{name}-d/in/",
        given={"ContentType": "application/json", "SplitType": "None"}, made={"Accept": "application/json"},
        DataProcessing={"InputFilter": "$.a[1]", "OutputFilter": "$.got"},
    )  # fmt: skip
    assert json.loads(read(sqlite_platform, f"{name}-d", "out/document.out")) == {"b": 2}


def test_recordio_is_split(platform: Platform, name: str, model_data: str) -> None:
    rows = table()[:5, 1:]
    values = b"".join(recordio.write({"values": row.tolist()}) for row in rows)
    put(platform, name, packed=values)
    kind = {"ContentType": "application/x-recordio-protobuf", "SplitType": "RecordIO"}
    found = transform(platform, name, model_data, f"s3://{name}/in/", given=kind)
    assert found["TransformJobStatus"] == "Failed"  # the built-in reads features, the label tensor holds these
    assert "Bad HTTP status received from algorithm: 400" in found["FailureReason"]


def test_a_bad_object_fails_alone_and_the_job_says_why(sqlite_platform: Platform, name: str, script_data: str) -> None:
    put(sqlite_platform, name, bad=b"boom\n", good=b"1,2\n")
    found = transform(
        sqlite_platform, name, script_data, f"s3://{name}/in/", ModelClientConfig={"InvocationsMaxRetries": 1}
    )
    assert found["TransformJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("AlgorithmError: See job logs for more information. 1 of 2 objects failed")
    assert "Bad HTTP status received from algorithm: 500 ValueError: boom on purpose" in found["FailureReason"]
    assert outputs(sqlite_platform, name) == ["out/good.out"]


def test_a_replica_that_dies_is_replaced_and_asked_again(
    sqlite_platform: Platform, name: str, script_data: str
) -> None:
    busy_until = int(time.time()) + 6
    put(sqlite_platform, name, a=b"9,%d\n" % busy_until, b=b"3,4\n")
    runs = sqlite_platform.home / "runs"
    before = set(runs.glob("ep-*"))
    with ThreadPoolExecutor(1) as thread:
        job = thread.submit(transform, sqlite_platform, name, script_data, f"s3://{name}/in/")
        group = "/aws/sagemaker/TransformJobs"
        until(lambda: any("MaxConcurrent" in m for m in messages(sqlite_platform, group, f"{name}/")), what="it works")
        (pid_file,) = {p for run in set(runs.glob("ep-*")) - before for p in run.glob("v0-0.0/pid")}
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGKILL)
        found = job.result(60)
    assert f"replica {name}-0 of TransformJob {name} ended" in sqlite_platform.log()
    assert found["TransformJobStatus"] == "Completed", found
    assert read(sqlite_platform, name, "out/a.out") == b"%d.0" % (9 + busy_until)
    assert read(sqlite_platform, name, "out/b.out") == b"7.0"


def test_what_cannot_start_says_why(sqlite_platform: Platform, name: str, script_data: str) -> None:
    put(sqlite_platform, name, a=b"1\n")
    nothing = transform(sqlite_platform, name, script_data, f"s3://{name}/elsewhere/")
    assert nothing["TransformJobStatus"] == "Failed"
    assert f'No S3 objects found under S3 URL "s3://{name}/elsewhere/"' in nothing["FailureReason"]
    missing = transform(sqlite_platform, f"{name}-x", f"s3://{name}/none.tar.gz", f"s3://{name}/in/")
    assert "Could not find model data at" in missing["FailureReason"]
    broken = pack(sqlite_platform, name, "broken-scripts.tar.gz", code__inference_DOT_py=b"1/0")
    unhealthy = transform(sqlite_platform, f"{name}-y", broken, f"s3://{name}/in/")
    assert unhealthy["FailureReason"].startswith("AlgorithmError: The container did not pass the ping health check")
    assert "ZeroDivisionError" in unhealthy["FailureReason"]


def test_a_stopped_job_leaves_nothing(sqlite_platform: Platform, name: str) -> None:
    sqlite_platform.client("s3").create_bucket(Bucket=f"{name}-s")
    code = b"import time\ndef model_fn(f): return 1\ndef transform_fn(m, b, c, a):\n    time.sleep(60)\n"
    data = pack(sqlite_platform, f"{name}-s", "scripts.tar.gz", code__inference_DOT_py=code)
    put(sqlite_platform, name, a=b"1\n")
    sagemaker = sqlite_platform.client("sagemaker")
    stop_when_running = {"TransformJobName": name}
    sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": IMAGE, "ModelDataUrl": data, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}},
    )  # fmt: skip
    sagemaker.create_transform_job(
        **stop_when_running, ModelName=name,
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{name}/in/"}}},
        TransformOutput={"S3OutputPath": f"s3://{name}/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )  # fmt: skip
    group = "/aws/sagemaker/TransformJobs"
    until(lambda: any("MaxConcurrent" in m for m in messages(sqlite_platform, group, f"{name}/")), what="it runs")
    sagemaker.stop_transform_job(**stop_when_running)
    sagemaker.get_waiter("transform_job_completed_or_stopped").wait(**stop_when_running, WaiterConfig={"Delay": 1})
    assert sagemaker.describe_transform_job(**stop_when_running)["TransformJobStatus"] == "Stopped"
    assert outputs(sqlite_platform, name) == []
    with pytest.raises(ClientError, match="is in status Stopped"):
        sagemaker.stop_transform_job(**stop_when_running)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"MaxPayloadInMB": 50, "MaxConcurrentTransforms": 3}, "must not exceed 100 MB, it is 150"),
        ({"DataProcessing": {"JoinSource": "Input"}}, "of the same format"),
        ({"made": {"Accept": "text/csv"}, "DataProcessing": {"InputFilter": "$[1:]"}}, "an AssembleWith that equals"),
        (
            {"made": {"Accept": "text/csv", "AssembleWith": "Line"}, "DataProcessing": {"InputFilter": "$.a"}},
            "have only positions",
        ),
        (
            {"made": {"Accept": "text/csv", "AssembleWith": "Line"}, "DataProcessing": {"OutputFilter": "$[?(@.a)]"}},
            "is not a JSONPath that batch transform takes",
        ),
        ({"given": {"SplitType": "None"}, "BatchStrategy": "SingleRecord"}, "needs a SplitType"),
    ],
    ids=["memory", "formats", "assembly", "names", "path", "strategy"],
)
def test_what_contradicts_itself_is_refused(
    sqlite_platform: Platform, name: str, script_data: str, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match="ValidationException") as refused:
        transform(sqlite_platform, name, script_data, f"s3://{name}/in/", **changes)
    assert words in str(refused.value)
    with pytest.raises(ClientError, match="Could not find requested job with name: none"):
        sqlite_platform.client("sagemaker").describe_transform_job(TransformJobName="none")
