"""The command line as a user meets it."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import tarfile
import tempfile
import urllib.request
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.jobs import bucket, configure, csv, deploy, job, settled, table, train
from tests.platform import CLARY, Platform, run, started, until

COMMANDS = ("up", "down", "status", "run", "env", "configure", "logs", "doctor", "hook")


def test_help_names_every_command(sqlite_platform: Platform) -> None:
    text = run([CLARY, "--help"], sqlite_platform.environment).stdout
    for name in COMMANDS:
        assert f"  {name} " in text
        assert "Example" in run([CLARY, name, "--help"], sqlite_platform.environment).stdout, name


def test_a_mistyped_command_gets_a_hint(sqlite_platform: Platform) -> None:
    found = run([CLARY, "statsu"], sqlite_platform.environment, check=False)
    assert (found.returncode, "Did you mean 'status'?" in found.stderr) == (2, True)


def test_without_a_platform_commands_say_what_to_do(home: Path) -> None:
    environment = {**os.environ, "CLARY_HOME": str(home)}
    for command in (["env"], ["logs", "x"], ["run", "--", "true"]):
        found = run([CLARY, *command], environment, check=False)
        assert (found.returncode, "clary up -d" in found.stderr) == (1, True)
    assert run([CLARY, "status"], environment, check=False).returncode == 3
    assert "No platform runs" in run([CLARY, "down"], environment).stdout


def test_up_refuses_what_cannot_be(sqlite_platform: Platform, home: Path) -> None:
    again = run([CLARY, "up", "-d"], sqlite_platform.environment, check=False)
    assert (again.returncode, "already runs" in again.stderr) == (1, True)
    other = {**sqlite_platform.environment, "CLARY_HOME": str(home)}
    taken = run([CLARY, "up", "-p", str(sqlite_platform.port)], other, check=False)
    assert (taken.returncode, "clary up -p 0" in taken.stderr) == (1, True)
    open_to_all = run([CLARY, "up", "--open", "--host", "0.0.0.0"], other, check=False)
    assert (open_to_all.returncode, "loopback only" in open_to_all.stderr) == (2, True)


def test_the_foreground_ends_with_ctrl_c_and_leaves_nothing(home: Path) -> None:
    environment = {**os.environ, "CLARY_HOME": str(home)}
    process = subprocess.Popen(
        [CLARY, "up", "-p", "0"], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    until(lambda: (home / "run" / "ready").exists(), what="the platform is ready")
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 0, printed
    assert "Clary is ready after" in printed
    assert Platform(home, environment).pids() == []


def test_status_logs_and_doctor(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    data = train(sqlite_platform, job(name, where))["ModelArtifacts"]["S3ModelArtifacts"]
    deploy(sqlite_platform, name, data)
    status = json.loads(run([CLARY, "status", "--json"], sqlite_platform.environment).stdout)
    assert (status["running"], status["endpoint"]) == (True, sqlite_platform.endpoint)
    assert name in [e["EndpointName"] for e in status["endpoints"]]
    printed = run([CLARY, "logs", name, "-f"], sqlite_platform.environment).stdout
    assert "[9]\ttrain-auc:" in printed
    log = [CLARY, "logs", name, "--endpoint"]
    until(lambda: "Model loaded" in run(log, sqlite_platform.environment).stdout, what="the replica's log")
    missing = run([CLARY, "logs", "nothing-of-that-name"], sqlite_platform.environment, check=False)
    assert "there is no training job, endpoint, inference component or function" in missing.stderr
    doctor = run([CLARY, "doctor"], sqlite_platform.environment).stdout
    assert "FAIL" not in doctor
    assert "a signed call was answered" in doctor


def test_pages(sqlite_platform: Platform) -> None:
    assert sqlite_platform.page("/livez") == "ok\n"
    assert json.loads(sqlite_platform.page("/readyz"))["ready"] is True
    assert json.loads(sqlite_platform.page("/version"))["name"] == "clary"
    sqlite_platform.client("sagemaker").list_models()
    with pytest.raises(urllib.error.HTTPError) as stranger:
        sqlite_platform.page("/metrics")
    assert stranger.value.code == 401
    stranger.value.close()
    password = (sqlite_platform.home / "tokens" / "metrics").read_text().strip()
    asked = urllib.request.Request(
        sqlite_platform.endpoint + "/metrics", headers={"Authorization": f"Bearer {password}"}
    )
    with urllib.request.urlopen(asked) as answer:
        assert b'clary_requests_total{service="sagemaker",operation="ListModels",status="200"}' in answer.read()
    assert "CreateTrainingJob" in json.loads(sqlite_platform.page("/_clary/coverage"))["sagemaker"]["served"]
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(urllib.request.Request(sqlite_platform.endpoint + "/_clary/reset", method="POST"))
    assert error.value.code == 403
    error.value.close()


def test_open_mode_takes_any_key_and_resets(name: str) -> None:
    with started(Path(tempfile.mkdtemp(prefix="clary-open-")), "--open") as platform:

        def client(service: str, key: str) -> object:
            return boto3.client(
                service,
                endpoint_url=platform.endpoint,
                region_name="us-east-1",
                aws_access_key_id=key,
                aws_secret_access_key="any",
            )

        assert client("sts", "123456789012").get_caller_identity()["Arn"] == "arn:aws:iam::123456789012:root"  # type: ignore[attr-defined]
        assert client("sts", "test").get_caller_identity()["Account"] == "000000000000"  # type: ignore[attr-defined]
        client("s3", "123456789012").create_bucket(Bucket=name)  # type: ignore[attr-defined]
        client("s3", "test").create_bucket(Bucket=f"{name}-default")  # type: ignore[attr-defined]
        with pytest.raises(ClientError):
            client("s3", "test").head_bucket(Bucket=name)  # type: ignore[attr-defined]
        train(platform, job(name, bucket(platform, f"{name}-jobs")))
        data = platform.client("sagemaker").describe_training_job(TrainingJobName=name)["ModelArtifacts"][
            "S3ModelArtifacts"
        ]
        deploy(platform, name, data)
        _reset(platform, "?account=000000000000")
        assert platform.client("sagemaker").list_endpoints()["Endpoints"] == []
        assert platform.client("sagemaker").list_training_jobs()["TrainingJobSummaries"] == []
        assert [b["Name"] for b in client("s3", "123456789012").list_buckets()["Buckets"]] == [name]  # type: ignore[attr-defined]
        _reset(platform, "")
        assert client("s3", "123456789012").list_buckets()["Buckets"] == []  # type: ignore[attr-defined]
        assert platform.client("iam").get_role(RoleName="AmazonSageMaker-ExecutionRole")


def _reset(platform: Platform, query: str) -> None:
    urllib.request.urlopen(
        urllib.request.Request(f"{platform.endpoint}/_clary/reset{query}", method="POST"), timeout=60
    ).close()


def test_a_model_is_tried_before_it_is_deployed(sqlite_platform: Platform, name: str, tmp_path: Path) -> None:
    where = bucket(sqlite_platform, name)
    uri = train(sqlite_platform, job(name, where))["ModelArtifacts"]["S3ModelArtifacts"]
    path = tmp_path / "model.tar.gz"
    sqlite_platform.client("s3").download_file(where, uri.removeprefix(f"s3://{where}/"), str(path))
    row, sagemaker = csv(table()[:1, 1:]).decode(), sqlite_platform.client("sagemaker")
    before = len(sagemaker.list_endpoints()["Endpoints"])

    def doctor(*arguments: str) -> tuple[int, str]:
        found = run([CLARY, "doctor", "model", *arguments], sqlite_platform.environment, check=False)
        return found.returncode, found.stdout + found.stderr

    code, told = doctor(str(path), "--body", row)
    assert (code, "sagemaker-xgboost" in told, "invocations    text/csv; charset=utf-8" in told) == (0, True, True)
    assert doctor(uri)[0] == 0
    code, told = doctor(uri, "--body", "a,b")
    assert (code, "ModelError 400: Unable to evaluate payload provided" in told) == (1, True)
    with tarfile.open(path, "w:gz") as archive:
        script = b"import nothing_here"
        entry = tarfile.TarInfo("code/inference.py")
        entry.size = len(script)
        archive.addfile(entry, io.BytesIO(script))
    code, told = doctor(str(path))
    assert (code, "| ModuleNotFoundError: No module named 'nothing_here'" in told) == (1, True)
    path.write_bytes(b"junk")
    code, told = doctor(str(path))
    assert (code, "not a gzip file" in told) == (1, True)
    assert "does not exist" in doctor(f"s3://{where}/none")[1]
    until(lambda: len(sagemaker.list_endpoints()["Endpoints"]) == before, what="nothing of it stays")


def test_an_endpoint_is_tested(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    deploy(sqlite_platform, name, train(sqlite_platform, job(name, where))["ModelArtifacts"]["S3ModelArtifacts"])

    def test(*arguments: str) -> tuple[int, str]:
        found = run([CLARY, "endpoint", "test", *arguments], sqlite_platform.environment, check=False)
        return found.returncode, found.stdout + found.stderr

    code, told = test(name)
    assert (code, "1 of 1 instance(s) ready" in told) == (0, True)
    code, told = test(name, "--body", csv(table()[:1, 1:]).decode())
    assert (code, "ok    AllTraffic     text/csv; charset=utf-8" in told) == (0, True)
    code, told = test(name, "--body", "x")
    assert (code, "FAIL  AllTraffic     ModelError 400" in told) == (1, True)
    code, told = test("none")
    assert (code, 'Could not find endpoint "arn:' in told) == (1, True)


def test_captured_requests_are_sent_again(sqlite_platform: Platform, name: str) -> None:
    where = bucket(sqlite_platform, name)
    data = train(sqlite_platform, job(name, where))["ModelArtifacts"]["S3ModelArtifacts"]
    other = train(
        sqlite_platform,
        job(f"{name}-2", where, hyperparameters={"objective": "binary:logistic", "num_round": "2"}),
    )["ModelArtifacts"]["S3ModelArtifacts"]
    sagemaker, runtime = (sqlite_platform.client(s) for s in ("sagemaker", "sagemaker-runtime"))
    capture = {
        "EnableCapture": True, "InitialSamplingPercentage": 100, "DestinationS3Uri": f"s3://{where}/captured",
        "CaptureOptions": [{"CaptureMode": "InputAndOutput"}],
    }  # fmt: skip
    configure(sqlite_platform, f"{name}-model", data)
    variant = {
        "VariantName": "A", "ModelName": f"{name}-model", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1,
    }  # fmt: skip
    sagemaker.create_endpoint_config(
        EndpointConfigName=f"{name}-c", ProductionVariants=[variant], DataCaptureConfig=capture
    )
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=f"{name}-c")
    assert settled(sqlite_platform, name)["EndpointStatus"] == "InService"
    deploy(sqlite_platform, f"{name}-other", other)
    for row in table()[:5, 1:]:
        runtime.invoke_endpoint(EndpointName=name, ContentType="text/csv", Body=csv(row[None]))
    stream = runtime.invoke_endpoint_with_response_stream(
        EndpointName=name, ContentType="text/csv", Accept="application/json", Body=csv(table()[:1, 1:])
    )
    assert b"".join(e["PayloadPart"]["Bytes"] for e in stream["Body"])

    def replay(*arguments: str) -> tuple[int, str]:
        found = run([CLARY, "replay", *arguments], sqlite_platform.environment, check=False)
        return found.returncode, found.stdout

    until(lambda: "6 alike" in replay(name, "--limit", "6")[1], what="all are captured")
    code, told = replay(name, "--limit", "3", "--to", f"{name}-other")
    assert (code, "0 alike, 3 different, 0 failed" in told, "became" in told) == (1, True, True)
    code, told = replay(name, "--limit", "3", "--to", f"{name}-other", "--tolerance", "1")
    assert (code, "3 alike, 0 different" in told) == (0, True)
    code, told = replay(name, "--limit", "2", "--to", "none")
    assert (code, "2 failed" in told) == (1, True)
    assert replay(f"{name}-other")[0] == 1


def test_a_home_whose_sockets_had_no_room_is_refused(tmp_path: Path) -> None:
    environment = {**os.environ, "CLARY_HOME": str(tmp_path / ("x" * 40))}
    found = run([CLARY, "up", "-d"], environment, check=False)
    assert found.returncode == 2 and "Set CLARY_HOME to a shorter one" in found.stderr
