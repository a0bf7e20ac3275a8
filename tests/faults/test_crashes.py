"""Any process may be killed at any moment: nothing acknowledged is lost, nothing runs twice, endpoints come back."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.faults import BOTH_STORES
from tests.jobs import IMAGE, ROLE, bucket, configure, csv, deploy, job, messages, predict, table, train
from tests.platform import Platform, until
from tests.services.test_endpoints import pack
from tests.services.test_training import GROUP, script, unfed

COUNTED = """
import os, sys, time, pathlib
print("started", flush=True)
while not os.path.exists("/opt/ml/checkpoints/go"): time.sleep(0.05)
pathlib.Path("/opt/ml/model/done").write_text("done")
print("finished", flush=True)
"""


def _answers(platform: Platform, name: str) -> bool:
    try:
        return bool(predict(platform, name, table()[:1, 1:]))
    except (ClientError, BotoCoreError):
        return False


@pytest.fixture
def serving(own_platform: Platform, name: str) -> str:
    """An endpoint in service."""
    where = bucket(own_platform, name)
    data = train(own_platform, job(name, where))["ModelArtifacts"]["S3ModelArtifacts"]
    assert deploy(own_platform, name, data)["EndpointStatus"] == "InService"
    return name


def test_serving_goes_on_while_control_is_dead(own_platform: Platform, serving: str) -> None:
    runtime = own_platform.client("sagemaker-runtime")
    body = csv(table()[:1, 1:])
    own_platform.kill("clary.server")
    for _ in range(50):
        assert runtime.invoke_endpoint(EndpointName=serving, ContentType="text/csv", Body=body)["Body"].read()
    sagemaker = own_platform.client("sagemaker")
    assert sagemaker.describe_endpoint(EndpointName=serving)["EndpointStatus"] == "InService"
    assert _answers(own_platform, serving)


def test_a_killed_replica_is_replaced(own_platform: Platform, serving: str) -> None:
    folder = f"{own_platform.home}/runs/"
    shims = [p for p in own_platform.pids("clary.executors.zygote") if _cwd_log(p).startswith(folder)]
    assert shims
    for pid in shims:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    until(lambda: _answers(own_platform, serving), what="the endpoint answers again")


def test_the_other_replica_takes_over_at_once(own_platform: Platform, name: str) -> None:
    where = bucket(own_platform, name)
    data = train(own_platform, job(name, where))["ModelArtifacts"]["S3ModelArtifacts"]
    deploy(own_platform, name, data, count=2)
    folder = f"{own_platform.home}/runs/"
    first = next(
        p
        for p in own_platform.pids("clary.executors.zygote")
        if "/v0-0." in _cwd_log(p) and _cwd_log(p).startswith(folder)
    )
    os.kill(first, signal.SIGKILL)
    failures = sum(not _answers(own_platform, name) for _ in range(50))
    assert failures <= 1  # the one that the dead replica may have held
    sagemaker = own_platform.client("sagemaker")
    counts = lambda: sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"][0]["CurrentInstanceCount"]  # noqa: E731
    until(lambda: counts() == 2, what="the replica is replaced")


def _cwd_log(pid: int) -> str:
    """Where a process's output goes."""
    try:
        return os.readlink(f"/proc/{pid}/fd/1")
    except OSError:
        return ""


def test_a_killed_front_comes_back(own_platform: Platform, serving: str) -> None:
    own_platform.kill("clary.serving")
    until(lambda: _answers(own_platform, serving), what="the front answers again")


def test_a_killed_zygote_comes_back_and_jobs_still_start(own_platform: Platform, name: str) -> None:
    where = bucket(own_platform, name)
    for pid in own_platform.pids("clary.executors.zygote"):
        os.kill(pid, signal.SIGKILL)
    assert train(own_platform, job(name, where))["TrainingJobStatus"] == "Completed"


def test_scripts_are_forked_where_their_libraries_are(own_platform: Platform, name: str) -> None:
    """The second script finds them imported; when all zygotes are killed, scripts still start, and it comes back."""
    own_platform.client("s3").create_bucket(Bucket=name)
    text = "import sys\nprint('READY', 'sklearn.svm' in sys.modules)\n"
    given = script(own_platform, name, text)
    image = {"TrainingImage": IMAGE.replace("sagemaker-xgboost:1.7-1", "sagemaker-scikit-learn:1.2-1"), "TrainingInputMode": "File"}  # fmt: skip

    def run(number: int) -> str:
        request = unfed(job(f"{name}-{number}", name, hyperparameters=given), AlgorithmSpecification=image)
        assert train(own_platform, request)["TrainingJobStatus"] == "Completed"
        return next(m for m in messages(own_platform, GROUP, f"{name}-{number}/") if m.startswith("READY"))

    assert run(0) == "READY False"
    until(lambda: _listens(own_platform, "zygote-sklearn.sock"), what="the libraries are imported")
    assert run(1) == "READY True"
    for pid in own_platform.pids("clary.executors.zygote"):
        os.kill(pid, signal.SIGKILL)
    until(lambda: not _listens(own_platform, "zygote-sklearn.sock"), what="it is gone")
    assert run(2) == "READY False"
    until(lambda: _listens(own_platform, "zygote.sock"), what="the zygote is back")
    run(3)
    until(lambda: _listens(own_platform, "zygote-sklearn.sock"), what="and so are the libraries")


def _listens(platform: Platform, name: str) -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(platform.home / "run" / name))
        return True
    return False


@BOTH_STORES
def test_a_running_job_is_followed_by_the_next_control(own_platform: Platform, name: str) -> None:
    where = bucket(own_platform, name)
    sagemaker = own_platform.client("sagemaker")
    request = job(
        name, where, hyperparameters=script(own_platform, where, COUNTED), CheckpointConfig={"S3Uri": f"s3://{where}/c"}
    )
    sagemaker.create_training_job(**request)
    until(lambda: "started" in messages(own_platform, GROUP, f"{name}/"), what="the job runs")
    own_platform.kill("clary.server")
    folder = next(own_platform.home.glob("runs/job-*/algo-1/ml/checkpoints"))
    (folder / "go").touch()
    found = until(lambda: _over(own_platform, name), what="the job ends")
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    printed = messages(own_platform, GROUP, f"{name}/")
    assert (printed.count("started"), printed.count("finished")) == (1, 1)


def _over(platform: Platform, name: str) -> Any:
    try:
        found = platform.client("sagemaker").describe_training_job(TrainingJobName=name)
    except (ClientError, BotoCoreError):
        return None
    return found if found["TrainingJobStatus"] not in ("InProgress", "Stopping") else None


def test_a_killed_training_process_fails_with_the_signal(own_platform: Platform, name: str) -> None:
    where = bucket(own_platform, name)
    text = "import os, signal, time\nprint('up', flush=True)\nwhile True: time.sleep(1)\n"
    sagemaker = own_platform.client("sagemaker")
    sagemaker.create_training_job(**job(name, where, hyperparameters=script(own_platform, where, text)))
    until(lambda: "up" in messages(own_platform, GROUP, f"{name}/"), what="the script runs")
    pid = int(next(own_platform.home.glob("runs/job-*/algo-1/pid")).read_text().split()[1])
    while below := Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        pid = int(below[0])
    os.kill(pid, signal.SIGKILL)  # the script itself, below all that stands around it
    found = until(lambda: _over(own_platform, name), what="the job ends")
    assert found["TrainingJobStatus"] == "Failed"
    assert "137 (SIGKILL" in found["FailureReason"] or "ExitCode 137" in found["FailureReason"]


@BOTH_STORES
def test_after_a_power_cut_everything_acknowledged_is_there(own_platform: Platform, serving: str, name: str) -> None:
    where = f"{name}-acknowledged"
    s3 = own_platform.client("s3")
    s3.create_bucket(Bucket=where)
    acknowledged: list[int] = []
    stop = threading.Event()

    def put() -> None:
        client = own_platform.client("s3")
        number = 0
        with contextlib.suppress(ClientError, BotoCoreError):
            while not stop.is_set():
                client.put_object(Bucket=where, Key=f"k{number:05d}", Body=f"body {number}".encode() * 100)
                acknowledged.append(number)
                number += 1

    writer = threading.Thread(target=put)
    writer.start()
    until(lambda: len(acknowledged) > 50, what="some objects are stored")
    sagemaker = own_platform.client("sagemaker")
    sagemaker.create_training_job(**job(f"{name}-cut", where, hyperparameters=script(own_platform, where, COUNTED)))
    own_platform.kill()
    stop.set()
    writer.join()
    own_platform.up()
    s3 = own_platform.client("s3")
    for number in acknowledged:
        assert s3.get_object(Bucket=where, Key=f"k{number:05d}")["Body"].read() == f"body {number}".encode() * 100
    assert own_platform.client("sagemaker").describe_endpoint(EndpointName=serving)["EndpointStatus"] == "InService"
    until(lambda: _answers(own_platform, serving), what="the endpoint serves again")
    found = until(lambda: _over(own_platform, f"{name}-cut"), what="the cut-off job has an end")
    assert found["TrainingJobStatus"] == "Failed"
    assert found["FailureReason"].startswith(("InternalServerError", "AlgorithmError", "ClientError"))


def test_stopping_and_starting_again_is_no_different(own_platform: Platform, serving: str, name: str) -> None:
    where = f"{name}-job"
    bucket(own_platform, where)
    own_platform.client("sagemaker").create_training_job(
        **job(where, where, hyperparameters=script(own_platform, where, COUNTED))
    )
    until(lambda: "started" in messages(own_platform, GROUP, f"{where}/"), what="the job runs")
    own_platform.down()
    assert own_platform.pids() == []
    own_platform.up()
    until(lambda: _answers(own_platform, serving), what="the endpoint serves again")
    found = until(lambda: _over(own_platform, where), what="the job has an end")
    assert "The platform was stopped while the job ran" in found["FailureReason"]


@BOTH_STORES
def test_kills_in_the_middle_of_many_jobs_lose_and_repeat_none(own_platform: Platform, name: str) -> None:
    where = bucket(own_platform, name)
    names = [f"{name}-{i}" for i in range(8)]
    sagemaker = own_platform.client("sagemaker")
    for each in names:
        sagemaker.create_training_job(**job(each, where))
    for _ in range(4):
        time.sleep(0.15)  # somewhere in the middle of things: the point of this test
        with contextlib.suppress(AssertionError):
            own_platform.kill("clary.server")
    for each in names:
        found = until(lambda each=each: _over(own_platform, each), 60, what=f"{each} ends")
        assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
        printed = messages(own_platform, GROUP, f"{each}/")
        assert sum(m.startswith("[9]") for m in printed) == 1
        assert sum("Train matrix has" in m for m in printed) == 1


def test_a_transform_job_outlives_control(own_platform: Platform, name: str) -> None:
    code = b"""
import time
def model_fn(folder): return None
def transform_fn(model, body, content_type, accept):
    time.sleep(0.4)
    return body, accept
"""
    s3, sagemaker = own_platform.client("s3"), own_platform.client("sagemaker")
    s3.create_bucket(Bucket=name)
    data = pack(own_platform, name, "m.tar.gz", code__inference_DOT_py=code)
    for i in range(6):
        s3.put_object(Bucket=name, Key=f"in/{i}", Body=b"1\n")
    container = {"Image": IMAGE, "ModelDataUrl": data, "Environment": {"SAGEMAKER_PROGRAM": "inference.py"}}
    sagemaker.create_model(ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer=container)
    sagemaker.create_transform_job(
        TransformJobName=name,
        ModelName=name,
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": f"s3://{name}/in/"}}},
        TransformOutput={"S3OutputPath": f"s3://{name}/out"},
        TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )
    until(lambda: s3.list_objects_v2(Bucket=name, Prefix="out/")["KeyCount"], what="the first output")
    own_platform.kill("clary.server")

    def status() -> str:
        with contextlib.suppress(ClientError, BotoCoreError):
            return str(sagemaker.describe_transform_job(TransformJobName=name)["TransformJobStatus"])
        return ""

    until(lambda: status() == "Completed", what="the job goes on")
    assert s3.list_objects_v2(Bucket=name, Prefix="out/")["KeyCount"] == 6
    until(lambda: not list((own_platform.home / "runs").glob("ep-*")), what="its folder is swept")


@BOTH_STORES
def test_a_deployment_outlives_control_and_front(own_platform: Platform, serving: str) -> None:
    """Killed while the canary bakes: traffic stays split, and the deployment goes on to its end."""
    sagemaker = own_platform.client("sagemaker")
    model = sagemaker.describe_model(ModelName=serving)["PrimaryContainer"]["ModelDataUrl"]
    configure(own_platform, f"{serving}-new", model, SAGEMAKER_DEFAULT_INVOCATIONS_ACCEPT="application/json")
    size = {"Type": "CAPACITY_PERCENT", "Value": 50}
    routing = {"Type": "CANARY", "WaitIntervalInSeconds": 8, "CanarySize": size}
    sagemaker.update_endpoint(
        EndpointName=serving, EndpointConfigName=f"{serving}-new",
        DeploymentConfig={"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing}},
    )  # fmt: skip
    runtime, body = own_platform.client("sagemaker-runtime"), csv(table()[:1, 1:])

    def ask() -> bytes:
        answer = runtime.invoke_endpoint(EndpointName=serving, ContentType="text/csv", Body=body)
        return bytes(answer["Body"].read()[:1])

    until(lambda: ask() == b"{", what="the canary answers")
    own_platform.kill("clary.server")
    assert {ask() for _ in range(50)} == {b"{", b"0"}
    own_platform.kill("clary.serving")
    until(lambda: _tried(ask), what="the front is back")
    assert {ask() for _ in range(50)} == {b"{", b"0"}
    until(lambda: sagemaker.describe_endpoint(EndpointName=serving)["EndpointStatus"] == "InService", what="the end")
    assert sagemaker.describe_endpoint(EndpointName=serving)["EndpointConfigName"] == f"{serving}-new"
    assert {ask() for _ in range(20)} == {b"{"}


def _tried(call: Any) -> Any:
    try:
        return call()
    except (ClientError, BotoCoreError):
        return None


def test_a_minute_of_killed_replicas_fails_only_what_they_worked_on(own_platform: Platform, name: str) -> None:
    data = train(own_platform, job(name, bucket(own_platform, name)))["ModelArtifacts"]["S3ModelArtifacts"]
    deploy(own_platform, name, data, count=4)
    body, over, random_kill = csv(table()[:1, 1:]), time.monotonic() + 60, random.Random(7)
    clients, kills, answered = 6, 0, [0]
    failures: list[str] = []

    def load() -> None:
        runtime = own_platform.client("sagemaker-runtime")
        while time.monotonic() < over:
            try:
                runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=body)
                answered[0] += 1
            except ClientError as error:
                failures.append(str(error))

    threads = [threading.Thread(target=load) for _ in range(clients)]
    for thread in threads:
        thread.start()
    folder = f"{own_platform.home}/runs/ep-"
    while time.monotonic() < over:
        alive = [p for p in own_platform.pids("clary.executors.zygote") if _cwd_log(p).startswith(folder)]
        if len(alive) >= 4:  # two processes a replica: its supervisor and itself
            with contextlib.suppress(ProcessLookupError):
                os.kill(random_kill.choice(alive), signal.SIGKILL)
            kills += 1
        threading.Event().wait(random_kill.uniform(0.2, 1.0))
    for thread in threads:
        thread.join()
    assert kills > 20
    assert answered[0] > 1000
    assert len(failures) <= kills * clients
    unexpected = [f for f in failures if "ended while it worked on the request" not in f]
    assert unexpected == []
