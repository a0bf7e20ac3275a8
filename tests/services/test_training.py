"""Training jobs through boto3: inputs, outputs, logs, metrics, failures that explain themselves."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import tarfile
import time
import zipfile
from typing import Any

import numpy as np
import pytest
import xgboost
from botocore.exceptions import ClientError

from tests.jobs import IMAGE, ROLE, bucket, channel, csv, job, messages, table, train
from tests.platform import Platform, until

GROUP = "/aws/sagemaker/TrainingJobs"


def archive(platform: Platform, uri: str) -> dict[str, bytes]:
    """The files of a tar.gz in S3."""
    where, _, key = uri.removeprefix("s3://").partition("/")
    body = platform.client("s3").get_object(Bucket=where, Key=key)["Body"].read()
    with tarfile.open(fileobj=io.BytesIO(body)) as packed:
        return {m.name: packed.extractfile(m).read() for m in packed if m.isfile()}  # type: ignore[union-attr]


def script(platform: Platform, where: str, text: str, **files: str | bytes) -> dict[str, str]:
    """Hyperparameters that run a script."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as packed:
        for name, content in {"main.py": text, **files}.items():
            entry = tarfile.TarInfo(name)
            data = content if isinstance(content, bytes) else content.encode()
            entry.size = len(data)
            packed.addfile(entry, io.BytesIO(data))
    platform.client("s3").put_object(Bucket=where, Key="code/sourcedir.tar.gz", Body=out.getvalue())
    return {"sagemaker_program": '"main.py"', "sagemaker_submit_directory": f'"s3://{where}/code/sourcedir.tar.gz"'}


def wheel(name: str, text: str) -> bytes:
    """A package of one module."""
    out = io.BytesIO()
    about = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(out, "w") as packed:
        packed.writestr(f"{name}.py", text)
        packed.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        packed.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        packed.writestr(f"{about}/RECORD", f"{name}.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/RECORD,,\n")
    return out.getvalue()


def test_a_job_trains_and_tells_everything(platform: Platform, name: str) -> None:
    where = bucket(platform, name)
    found = train(platform, job(name, where))
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Completed", "Completed")
    assert found["ModelArtifacts"]["S3ModelArtifacts"] == f"s3://{where}/output/{name}/output/model.tar.gz"
    path = [t["Status"] for t in found["SecondaryStatusTransitions"]]
    assert path == ["Starting", "Downloading", "Training", "Uploading", "Completed"]
    assert all(t["StatusMessage"] and "EndTime" in t for t in found["SecondaryStatusTransitions"])
    metrics = {m["MetricName"]: m["Value"] for m in found["FinalMetricDataList"]}
    assert metrics["validation:auc"] > 0.95
    printed = messages(platform, GROUP, f"{name}/")
    assert any("Train matrix has 400 rows and 30 columns" in m for m in printed)
    last = next(m for m in reversed(printed) if m.startswith("[9]"))
    assert f"#011validation-logloss:{metrics['validation:logloss']:.5f}" in last
    files = archive(platform, found["ModelArtifacts"]["S3ModelArtifacts"])
    assert list(files) == ["xgboost-model"]
    booster = xgboost.Booster()
    booster.load_model(bytearray(files["xgboost-model"]))
    assert booster.num_boosted_rounds() == 10
    listed = platform.client("sagemaker").list_training_jobs(NameContains=name, StatusEquals="Completed")
    assert [s["TrainingJobName"] for s in listed["TrainingJobSummaries"]] == [name]


def test_old_tags_write_pickles(platform: Platform, name: str) -> None:
    where = bucket(platform, name)
    algorithm = {"TrainingImage": IMAGE.replace("1.7-1", "1.2-1"), "TrainingInputMode": "File"}
    found = train(platform, job(name, where, AlgorithmSpecification=algorithm))
    booster = pickle.loads(archive(platform, found["ModelArtifacts"]["S3ModelArtifacts"])["xgboost-model"])
    assert booster.num_boosted_rounds() == 10


def _libsvm(rows: np.ndarray) -> bytes:
    return "\n".join(
        f"{int(r[0])} " + " ".join(f"{i}:{v}" for i, v in enumerate(r[1:].tolist())) for r in rows
    ).encode()


def _parquet(rows: np.ndarray) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(pa.table({f"c{i}": rows[:, i] for i in range(rows.shape[1])}), out)
    return out.getvalue()


def _recordio(rows: np.ndarray) -> bytes:
    from clary.algorithms.readers import recordio

    def entry(number: int, values: np.ndarray) -> bytes:
        tensor = recordio._message(2, recordio._message(1, values.astype("<f4").tobytes()))
        return recordio._message(number, recordio._message(1, b"values") + recordio._message(2, tensor))

    return b"".join(recordio.frame(entry(1, r[1:]) + entry(2, r[:1])) for r in rows)


@pytest.mark.parametrize(
    ("content_type", "write"),
    [
        ("text/libsvm", _libsvm),
        ("application/x-parquet", _parquet),
        ("application/x-recordio-protobuf", _recordio),
        ("text/csv;label_size=1", csv),
    ],
)
def test_formats_give_the_same_model(sqlite_platform: Platform, name: str, content_type: str, write: Any) -> None:
    s3 = sqlite_platform.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="train/part", Body=write(table()[:300]))
    request = job(name, name, InputDataConfig=[channel("train", f"s3://{name}/train", content_type)])
    found = train(sqlite_platform, request)
    metrics = {m["MetricName"]: m["Value"] for m in found["FinalMetricDataList"]}
    assert metrics["train:logloss"] == pytest.approx(0.05, abs=0.03)


@pytest.mark.parametrize("mode", ["File", "FastFile", "Pipe"])
def test_input_modes(sqlite_platform: Platform, name: str, mode: str) -> None:
    where = bucket(sqlite_platform, name)
    sqlite_platform.client("s3").put_object(Bucket=where, Key="train/part-1.csv", Body=csv(table()[:50]))
    algorithm = {"TrainingImage": IMAGE, "TrainingInputMode": mode}
    inputs = [channel("train", f"s3://{where}/train/")]
    found = train(sqlite_platform, job(name, where, AlgorithmSpecification=algorithm, InputDataConfig=inputs))
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert any("Train matrix has 450 rows" in m for m in messages(sqlite_platform, GROUP, f"{name}/"))


def test_several_hosts_train_one_model(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    sqlite_platform.client("s3").put_object(Bucket=where, Key="train/part-1.csv", Body=csv(table()[:100]))
    sharded = {"S3DataDistributionType": "ShardedByS3Key"}
    request = job(
        name, where,
        InputDataConfig=[channel("train", f"s3://{where}/train/", source=sharded), channel("validation", f"s3://{where}/validation")],
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 2, "VolumeSizeInGB": 5},
    )  # fmt: skip
    found = train(sqlite_platform, request)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    printed = messages(sqlite_platform, GROUP, f"{name}/")
    assert any("Train matrix has 400 rows" in m for m in printed)
    assert any("Train matrix has 100 rows" in m for m in printed)
    assert sum(m.startswith("[9]") for m in printed) == 1


@pytest.mark.parametrize(
    ("hyperparameters", "words"),
    [
        ({"objective": "binary:logistic"}, "ClientError: Missing required hyperparameter: num_round"),
        ({"num_round": "1", "foo": "1"}, "ClientError: Extraneous hyperparameter found: foo"),
        ({"num_round": "1", "eta": "2"}, "ClientError: Hyperparameter eta: value 2 not in range [0, 1]"),
        ({"num_round": "1", "objective": "multi:softmax"}, "ClientError: Require input for parameter 'num_class'"),
        ({"num_round": "1", "objective": "reg:gamma", "eval_metric": "auc"}, "ClientError: Metric 'auc' can only"),
    ],
)
def test_bad_hyperparameters_fail_with_the_reason(
    sqlite_platform: Platform, name: str, hyperparameters: dict[str, str], words: str
) -> None:
    found = train(sqlite_platform, job(name, bucket(sqlite_platform, name), hyperparameters=hyperparameters))
    assert found["TrainingJobStatus"] == "Failed"
    assert words in found["FailureReason"]
    assert f"{GROUP}/{name}/algo-1" in found["FailureReason"]


def test_a_header_row_is_named(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    sqlite_platform.client("s3").put_object(Bucket=where, Key="train/part-0.csv", Body=b"label,a,b\n1,2,3\n0,4,5\n")
    found = train(sqlite_platform, job(name, where))
    assert "line 1 of part-0.csv" in found["FailureReason"]
    assert "Remove the header row." in found["FailureReason"]


def test_missing_inputs_fail_before_anything_starts(platform: Platform, name: str) -> None:
    where = bucket(platform, name)
    found = train(platform, job(name, where, InputDataConfig=[channel("train", f"s3://{where}/nothing")]))
    assert found["TrainingJobStatus"] == "Failed"
    assert "No S3 objects found under S3 URL" in found["FailureReason"]


def test_a_script_gets_the_contract(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    text = """
import argparse, json, os, pathlib, socket
p = argparse.ArgumentParser(); p.add_argument("--depth", type=int); p.add_argument("-l"); a = p.parse_args()
print("metric=%0.2f;" % 0.25, a.depth, a.l, os.getcwd(), sorted(os.listdir(os.environ["SM_CHANNEL_TRAIN"])))
pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text(json.dumps(json.loads(os.environ["SM_HPS"])))
pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "extra.txt").write_text(socket.gethostbyname("algo-1") + os.environ["SM_CURRENT_HOST"])
assert os.environ["GREETING"] == "hello" and os.environ["TRAINING_JOB_NAME"]
"""
    values = {**script(sqlite_platform, where, text), "depth": "3", "l": '"x"'}
    algorithm = {
        "TrainingImage": IMAGE,
        "TrainingInputMode": "File",
        "MetricDefinitions": [{"Name": "m", "Regex": "metric=(.*?);"}],
    }
    found = train(
        sqlite_platform,
        job(name, where, hyperparameters=values, AlgorithmSpecification=algorithm, Environment={"GREETING": "hello"}),
    )
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert [(m["MetricName"], m["Value"]) for m in found["FinalMetricDataList"]] == [("m", 0.25)]
    assert any(
        "metric=0.25; 3 x /opt/ml/code ['part-0.csv']" in m for m in messages(sqlite_platform, GROUP, f"{name}/")
    )
    files = archive(sqlite_platform, found["ModelArtifacts"]["S3ModelArtifacts"])
    assert json.loads(files["model.txt"]) == {"depth": 3, "l": "x"}
    extra = archive(sqlite_platform, f"s3://{where}/output/{name}/output/output.tar.gz")["extra.txt"].decode()
    assert extra.startswith("127.") and extra.endswith("algo-1")


def test_a_scripts_exception_is_the_reason(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    values = script(sqlite_platform, where, "def f():\n    raise KeyError('the column age')\nf()\n")
    found = train(sqlite_platform, job(name, where, hyperparameters=values))
    assert found["FailureReason"].startswith("AlgorithmError: ExecuteUserScriptError:\nExitCode 1")
    assert "KeyError: 'the column age'" in found["FailureReason"]


def test_a_sandbox_hides_the_platform_and_the_machine(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    text = f"""
import os, pathlib
print("home visible:", os.path.exists({str(sqlite_platform.home)!r}))
print("processes:", len([p for p in os.listdir("/proc") if p.isdigit()]))
print("shadow:", os.path.exists("/etc/shadow"), "uid:", os.getuid() != 0 or os.environ.get("X"))
for path in ("/usr/x", "/etc/x", "/proc/sys/kernel/core_pattern"):
    try:
        open(path, "w"); print("WROTE", path)
    except OSError:
        pass
print("caps:", [l.split()[1] for l in open("/proc/self/status") if l.startswith(("CapEff", "NoNewPrivs"))])
"""
    found = train(sqlite_platform, job(name, where, hyperparameters=script(sqlite_platform, where, text)))
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    printed = "\n".join(messages(sqlite_platform, GROUP, f"{name}/"))
    if "without a sandbox" in printed:
        pytest.skip("this machine lets us make no sandbox")
    assert "home visible: False" in printed
    assert "shadow: False" in printed
    assert "WROTE" not in printed
    assert "caps: ['0000000000000000', '1']" in printed


def test_memory_is_bounded(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    values = script(sqlite_platform, where, "x = []\nwhile True: x.append(bytearray(64 << 20))\n")
    resources = {"InstanceType": "ml.t3.medium", "InstanceCount": 1, "VolumeSizeInGB": 5}
    found = train(sqlite_platform, job(name, where, hyperparameters=values, ResourceConfig=resources))
    assert found["TrainingJobStatus"] == "Failed"
    assert "memory" in found["FailureReason"].lower()


def test_a_full_volume_ends_the_job_and_nothing_else(sqlite_platform: Platform, name: str) -> None:
    text = "import time\nwith open('/opt/ml/model/big', 'wb') as f:\n    for _ in range(1200): f.write(bytes(1 << 20))\ntime.sleep(600)\n"
    request = scripted(sqlite_platform, name, text)
    request["ResourceConfig"] = {**request["ResourceConfig"], "VolumeSizeInGB": 1}
    found = train(sqlite_platform, request)
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith("ClientError: No space left on device: algo-1 held 1.")
    assert not list(sqlite_platform.home.glob(f"runs/job-*{name}*"))


def test_stopping_ends_a_job_with_what_it_has(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    text = """
import signal, sys, time, pathlib
def stop(*_):
    pathlib.Path("/opt/ml/model/partial").write_text("so far"); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("working", flush=True)
while True: signal.pause()
"""
    sagemaker = sqlite_platform.client("sagemaker")
    sagemaker.create_training_job(**job(name, where, hyperparameters=script(sqlite_platform, where, text)))
    until(lambda: _printed(sqlite_platform, name, "working"), what="the script prints")
    sagemaker.stop_training_job(TrainingJobName=name)
    found = until(lambda: _over(sagemaker, name), what="the job stops")
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Stopped", "Stopped")
    assert "Stopping" in [t["Status"] for t in found["SecondaryStatusTransitions"]]
    assert archive(sqlite_platform, found["ModelArtifacts"]["S3ModelArtifacts"]) == {"partial": b"so far"}


def test_a_job_over_its_time_is_stopped(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    values = script(sqlite_platform, where, "import time\nwhile True: time.sleep(0.1)\n")
    found = train(
        sqlite_platform, job(name, where, hyperparameters=values, StoppingCondition={"MaxRuntimeInSeconds": 1})
    )
    assert (found["TrainingJobStatus"], found["SecondaryStatus"]) == ("Stopped", "MaxRuntimeExceeded")


def _printed(platform: Platform, name: str, text: str) -> bool:
    try:
        return any(text in m for m in messages(platform, GROUP, f"{name}/"))
    except ClientError:
        return False


def _over(sagemaker: Any, name: str) -> Any:
    found = sagemaker.describe_training_job(TrainingJobName=name)
    return found if found["TrainingJobStatus"] not in ("InProgress", "Stopping") else None


def test_checkpoints_are_mirrored_and_resumed(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    checkpoints = {"S3Uri": f"s3://{where}/checkpoints"}
    first = train(sqlite_platform, job(name, where, CheckpointConfig=checkpoints))
    assert first["TrainingJobStatus"] == "Completed"
    keys = [
        o["Key"] for o in sqlite_platform.client("s3").list_objects_v2(Bucket=where, Prefix="checkpoints/")["Contents"]
    ]
    assert keys == [f"checkpoints/xgboost-checkpoint.{i}" for i in range(5, 10)]
    values = {"num_round": "12", "objective": "binary:logistic"}
    second = train(sqlite_platform, job(f"{name}-2", where, CheckpointConfig=checkpoints, hyperparameters=values))
    assert second["TrainingJobStatus"] == "Completed"
    printed = messages(sqlite_platform, GROUP, f"{name}-2/")
    assert any("Resuming from iteration 10" in m for m in printed)
    assert [m[:4] for m in printed if m.startswith("[1") and "train-" in m] == ["[10]", "[11]"]


def test_pipes_carry_manifests_and_records(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    s3 = sqlite_platform.client("s3")
    lines = [{"source-ref": f"s3://{where}/data/{i}", "label": i} for i in range(3)]
    for i in range(3):
        s3.put_object(Bucket=where, Key=f"data/{i}", Body=f"object {i}".encode())
    s3.put_object(Bucket=where, Key="all.manifest", Body="\n".join(map(json.dumps, lines)).encode())
    s3.put_object(Bucket=where, Key="zipped/a.gz", Body=gzip.compress(b"unzipped"))
    text = """
import struct
def records(path):
    data = open(path, "rb").read()
    while data:
        magic, size = struct.unpack("<II", data[:8]); assert magic == 0xced7230a
        yield data[8:8 + size].decode(); data = data[8 + (size + 3) // 4 * 4:]
print(list(records("/opt/ml/input/data/augmented_0")), list(records("/opt/ml/input/data/augmented_1"))[:1])
print(open("/opt/ml/input/data/zipped_0").read())
"""
    augmented = {"S3DataType": "AugmentedManifestFile", "AttributeNames": ["source-ref", "label"]}
    inputs = [
        channel("augmented", f"s3://{where}/all.manifest", "application/x-recordio", source=augmented, InputMode="Pipe", RecordWrapperType="RecordIO"),
        channel("zipped", f"s3://{where}/zipped/", InputMode="Pipe", CompressionType="Gzip"),
    ]  # fmt: skip
    found = train(
        sqlite_platform, job(name, where, hyperparameters=script(sqlite_platform, where, text), InputDataConfig=inputs)
    )
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    printed = messages(sqlite_platform, GROUP, f"{name}/")
    assert "['object 0', '0', 'object 1', '1', 'object 2', '2'] ['object 0']" in printed
    assert "unzipped" in printed


def test_manifests_name_files(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    manifest = json.dumps([{"prefix": f"s3://{where}/"}, "train/part-0.csv"])
    sqlite_platform.client("s3").put_object(Bucket=where, Key="m", Body=manifest.encode())
    inputs = [channel("train", f"s3://{where}/m", source={"S3DataType": "ManifestFile"})]
    assert train(sqlite_platform, job(name, where, InputDataConfig=inputs))["TrainingJobStatus"] == "Completed"


def test_requests_that_aws_refuses(platform: Platform, name: str) -> None:
    where = bucket(platform, name)
    sagemaker = platform.client("sagemaker")
    train(platform, job(name, where))
    cases = [
        (job(name, where), "ResourceInUse", "Training job names must be unique within an AWS account and region"),
        (job(f"{name}-x", where, AlgorithmSpecification={"TrainingImage": "1.dkr.ecr.x.amazonaws.com/nope:1", "TrainingInputMode": "File"}), "ValidationException", "Clary has no runtime for the image"),
        (job(f"{name}-x", where, OutputDataConfig={"S3OutputPath": "/tmp"}), "ValidationException", "at 'outputDataConfig.s3OutputPath'"),
    ]  # fmt: skip
    for request, code, words in cases:
        with pytest.raises(ClientError) as error:
            sagemaker.create_training_job(**request)
        assert error.value.response["Error"]["Code"] == code
        assert words in error.value.response["Error"]["Message"]
    with pytest.raises(ClientError) as error:
        sagemaker.describe_training_job(TrainingJobName="none")
    assert error.value.response["Error"] == {"Message": "Requested resource not found.", "Code": "ValidationException"}
    with pytest.raises(ClientError) as error:
        sagemaker.stop_training_job(TrainingJobName=name)
    assert "Completed" in error.value.response["Error"]["Message"]


def test_lists_page_sort_and_filter(platform: Platform, name: str) -> None:
    where = bucket(platform, name)
    sagemaker = platform.client("sagemaker")
    names = [f"{name}-{i}" for i in range(3)]
    for each in names:
        train(platform, job(each, where, Tags=[{"Key": "team", "Value": each}]))
    pages = sagemaker.get_paginator("list_training_jobs").paginate(
        NameContains=f"{name}-", SortBy="Name", SortOrder="Descending", PaginationConfig={"PageSize": 2}
    )
    assert [s["TrainingJobName"] for p in pages for s in p["TrainingJobSummaries"]] == names[::-1]
    assert (
        sagemaker.list_training_jobs(NameContains=f"{name}-", CreationTimeAfter=time.time() + 60)[
            "TrainingJobSummaries"
        ]
        == []
    )
    arn = sagemaker.describe_training_job(TrainingJobName=names[0])["TrainingJobArn"]
    sagemaker.add_tags(ResourceArn=arn, Tags=[{"Key": "x", "Value": "y"}])
    sagemaker.delete_tags(ResourceArn=arn, TagKeys=["team"])
    assert sagemaker.list_tags(ResourceArn=arn)["Tags"] == [{"Key": "x", "Value": "y"}]
    expression = {
        "Filters": [
            {"Name": "Tags.team", "Operator": "Equals", "Value": names[1]},
            {"Name": "HyperParameters.num_round", "Operator": "GreaterThan", "Value": "1"},
        ]
    }
    found = sagemaker.search(Resource="TrainingJob", SearchExpression=expression)["Results"]
    assert [r["TrainingJob"]["TrainingJobName"] for r in found] == [names[1]]
    sagemaker.delete_training_job(TrainingJobName=names[0])
    with pytest.raises(ClientError):
        sagemaker.describe_training_job(TrainingJobName=names[0])


def test_an_entrypoint_replaces_train(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    algorithm = {
        "TrainingImage": IMAGE, "TrainingInputMode": "File", "ContainerEntrypoint": ["/bin/bash"],
        "ContainerArguments": ["-c", "echo from bash; ls /opt/ml/input/data; exit 3"],
    }  # fmt: skip
    found = train(sqlite_platform, job(name, where, AlgorithmSpecification=algorithm, RoleArn=ROLE))
    assert "exit code: 3" in found["FailureReason"]
    assert "from bash" in messages(sqlite_platform, GROUP, f"{name}/")


def _objectives() -> list[str]:
    from clary.algorithms.xgboost.hyperparameters import _OBJECTIVES

    return list(_OBJECTIVES)


@pytest.mark.parametrize("objective", _objectives())
def test_every_objective_trains_and_predicts(
    sqlite_platform: Platform, name: str, objective: str, tmp_path: Any
) -> None:
    from clary.algorithms.xgboost.serve import Predictor

    rows = table()[:200].copy()
    if objective.startswith(("count", "reg:gamma", "reg:tweedie", "survival")):
        rows[:, 0] += 1.0
    values = {"num_round": "3", "objective": objective}
    if objective.startswith("multi:"):
        values["num_class"] = "2"
    s3 = sqlite_platform.client("s3")
    s3.create_bucket(Bucket=name)
    body, kind = csv(rows), "text/csv"
    if objective.startswith("rank:"):
        lines = _libsvm(rows).decode().splitlines()
        body, kind = (
            "\n".join(x.replace(" ", f" qid:{i // 20} ", 1) for i, x in enumerate(lines)).encode(),
            "text/libsvm",
        )
    s3.put_object(Bucket=name, Key="train/part", Body=body)
    inputs = [channel("train", f"s3://{name}/train", kind)]
    found = train(sqlite_platform, job(name, name, hyperparameters=values, InputDataConfig=inputs))
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert found["FinalMetricDataList"], "the objective's own metric is reported"
    (tmp_path / "xgboost-model").write_bytes(
        archive(sqlite_platform, found["ModelArtifacts"]["S3ModelArtifacts"])["xgboost-model"]
    )
    head = b"text/csv\0\0\0\0"
    (answer,) = Predictor(tmp_path, "1.7-1").batch([(head, csv(rows[:4, 1:]))])
    lines = answer[1].decode().split()
    assert len(lines) == 4
    assert all(len(line.split(",")) == (2 if objective == "multi:softprob" else 1) for line in lines)


PACKAGE = "tinypackage-1.0-py3-none-any.whl"
REQUIRES = """import sys, tinypackage, numpy
print("LOADED", tinypackage.VALUE, tinypackage.__file__)
try:
    open(tinypackage.__file__, "a")
except OSError as error:
    print("WRITING", type(error).__name__)
"""


def scripted(platform: Platform, name: str, text: str, **files: str | bytes) -> dict[str, Any]:
    """A job that runs a script."""
    platform.client("s3").create_bucket(Bucket=name)
    given = script(platform, name, text, **files)
    return unfed(job(name, name, hyperparameters=given))


def unfed(request: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The job without channels."""
    return {k: v for k, v in {**request, **changes}.items() if k != "InputDataConfig"}


def test_requirements_are_installed_once(sqlite_platform: Platform, name: str) -> None:
    files = {"requirements.txt": f"numpy\n./{PACKAGE}\n", PACKAGE: wheel("tinypackage", f"VALUE = '{name}'\n")}
    found = train(sqlite_platform, scripted(sqlite_platform, name, REQUIRES, **files))
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    printed = messages(sqlite_platform, GROUP, f"{name}/")
    assert printed[0] == "Installing dependencies from requirements.txt"
    assert f"LOADED {name} /opt/packages/tinypackage.py" in printed
    assert any(line.startswith("WRITING ") for line in printed)
    assert not any("numpy==" in line for line in printed)  # it is there already
    again = unfed(job(f"{name}-2", name, hyperparameters=found["HyperParameters"]), EnableNetworkIsolation=True)
    found = train(sqlite_platform, again)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    assert messages(sqlite_platform, GROUP, f"{name}-2/")[0].startswith("Dependencies of requirements.txt are installed already")  # fmt: skip


def test_requirements_that_cannot_be_met(sqlite_platform: Platform, name: str) -> None:
    files = {"requirements.txt": "./missing-1.0-py3-none-any.whl\n"}
    found = train(sqlite_platform, scripted(sqlite_platform, name, "print('never')", **files))
    assert found["TrainingJobStatus"] == "Failed"
    reason = found["FailureReason"]
    assert reason.startswith("AlgorithmError: InstallRequirementsError:\nExitCode 1\nErrorMessage ")
    assert "missing-1.0" in reason and 'Command "uv pip install -r requirements.txt"' in reason
    printed = messages(sqlite_platform, GROUP, f"{name}/")
    assert printed[0] == "Installing dependencies from requirements.txt" and "never" not in printed


def test_hyperparameters_reach_scripts_as_the_toolkit_spells_them(sqlite_platform: Platform, name: str) -> None:
    text = "import sys, os\nprint('ARGUMENTS', *sys.argv[1:], sep='|')\nprint(os.environ['SM_HP_FLAG'])"
    asked = scripted(sqlite_platform, name, text)
    more = {"flag": "true", "sizes": "[1, 2]", "n": "5", "none": "null", "pairs": '{"b": 1, "a": "x"}', "word": '"adam"', "plain": "a b"}  # fmt: skip
    asked["HyperParameters"] |= more
    assert train(sqlite_platform, asked)["TrainingJobStatus"] == "Completed"
    printed = messages(sqlite_platform, GROUP, f"{name}/")
    assert "ARGUMENTS|--flag|True|-n|5|--none||--pairs|a=x,b=1|--plain|a b|--sizes|[1, 2]|--word|adam" in printed
