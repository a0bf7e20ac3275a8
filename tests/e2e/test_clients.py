"""Unmodified clients, each from an environment of its own, against a platform that runs as a user starts it."""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from pathlib import Path

import pytest

from tests import images
from tests.platform import CLARY, ROOT, Platform, run

PROGRAMS = Path(__file__).parent / "programs"


def environment(name: str) -> Path:
    """A client environment's folder of programs; skipped where ``make test`` has not made it."""
    folder = ROOT / ".envs" / name / "bin"
    if not (folder / "python").exists():
        pytest.skip(f"the client environment {name} is not set up: run `make test`")
    return folder


def program(platform: Platform, client: str, name: str, folder: Path, *arguments: str, **variables: str) -> str:
    """Run a program under ``clary run``; what it printed."""
    command = [CLARY, "run", "--", str(environment(client) / "python"), str(PROGRAMS / name), *arguments]
    found = run(command, {**platform.environment, **variables}, cwd=folder)
    return found.stdout + found.stderr


def test_boto3_and_its_sixty_second_loops(sqlite_platform: Platform, tmp_path: Path) -> None:
    printed = program(sqlite_platform, "cli", "boto3_flow.py", tmp_path)
    assert float(printed.rpartition("after ")[2].split()[0]) < 30


def test_sdk_v2(sqlite_platform: Platform, tmp_path: Path) -> None:
    printed = program(sqlite_platform, "sdk-v2", "sdk_v2_batch_demo.py", tmp_path)
    assert "Training job completed" in printed
    assert "[99]#011train-logloss" in printed
    assert "JOINED" in printed
    assert "telemetry" not in printed.lower()


def test_sdk_v2_script_mode(sqlite_platform: Platform, tmp_path: Path) -> None:
    printed = program(sqlite_platform, "sdk-v2", "sdk_v2_script.py", tmp_path)
    assert "trained by 3." in printed


def test_sdk_v2_hosting(sqlite_platform: Platform, tmp_path: Path) -> None:
    """Pipelines, many models, serverless, asynchronous endpoints, components: each predicts as the others do."""
    printed = program(sqlite_platform, "sdk-v2", "sdk_v2_hosting.py", tmp_path, str(PROGRAMS / "prepare.py"))
    assert "MODELS ['first.tar.gz', 'second.tar.gz']" in printed
    found = re.findall(r"(?:PIPELINE|MANY|SERVERLESS|ASYNC|COMPONENTS) ([\d.]+)", printed)
    assert len(found) == 5
    assert len(set(found)) == 1


def test_sdk_v2_algorithms(sqlite_platform: Platform, tmp_path: Path) -> None:
    """The SDK's own classes of built-in algorithms; one of them on two instances."""
    printed = program(sqlite_platform, "sdk-v2", "sdk_v2_algorithms.py", tmp_path)
    named = ("KMEANS", "PCA", "LINEARLEARNER", "KNN", "FACTORIZATIONMACHINES", "RANDOMCUTFOREST", "LDA", "BATCH")
    for name in named:
        assert f"{name} " in printed
    assert "'train:msd'" in printed and "'train:objective_loss:final'" in printed


def test_sdk_v2_networks(sqlite_platform: Platform, tmp_path: Path) -> None:
    """NTM, Object2Vec, IP Insights, DeepAR and BlazingText, the last one also from an augmented manifest."""
    printed = program(sqlite_platform, "sdk-v2", "sdk_v2_networks.py", tmp_path)
    for name in ("NTM", "OBJECT2VEC", "IPINSIGHTS", "DEEPAR", "WORD2VEC", "BLAZINGTEXT"):
        assert f"{name} " in printed


def test_sdk_v2_packaged_models(sqlite_platform: Platform, tmp_path: Path) -> None:
    """LightGBM, CatBoost and TabTransformer by their JumpStart ids."""
    printed = program(sqlite_platform, "sdk-v2", "sdk_v2_jumpstart.py", tmp_path)
    assert printed.count("-MODEL ") == 5 and "LIGHTGBM 0.9" in printed


def test_sdk_v2_tables_without_choosing(sqlite_platform: Platform, tmp_path: Path) -> None:
    """AutoGluon by its JumpStart ids, installed when it is first needed."""
    printed = program(sqlite_platform, "sdk-v2", "sdk_v2_automl.py", tmp_path)
    assert printed.count("-ENSEMBLE ") == 2 and "WeightedEnsemble" in printed


def test_sdk_v2_instance_groups(sqlite_platform: Platform, tmp_path: Path) -> None:
    """A heterogeneous cluster: what each host is told of the groups, and which channels it gets."""
    printed = program(sqlite_platform, "sdk-v2", "sdk_v2_groups.py", tmp_path)
    assert "GROUPS [('prepare', 2), ('learn', 1)]" in printed
    told = [json.loads(line.removeprefix("TOLD ")) for line in printed.splitlines() if line.startswith("TOLD ")]
    by_host = {each["host"]: each for each in told}
    assert set(by_host) == {"algo-1", "algo-2", "algo-3"}
    first, last = by_host["algo-1"], by_host["algo-3"]
    assert first["types"] == {"prepare": "ml.c5.xlarge", "learn": "ml.m5.large"} and first["mixed"].lower() == "true"
    assert (first["group"], first["type"], first["with"]) == ("prepare", "ml.c5.xlarge", ["algo-1", "algo-2"])
    assert (last["group"], last["type"], last["with"]) == ("learn", "ml.m5.large", ["algo-3"])
    assert first["channels"] == {"raw": ["raw.csv"], "seen": ["seen.csv"]} and last["channels"] == {
        "seen": ["seen.csv"]
    }
    assert "REFUSED" in printed and "the instance groups neither, which are not in ResourceConfig" in printed


def test_sdk_v2_hugging_face(sqlite_platform: Platform, tmp_path: Path) -> None:
    """Code from a Git repository, transformers installed for it, a pipeline that serves what it made."""
    printed = program(sqlite_platform, "sdk-v2", "sdk_v2_huggingface.py", tmp_path)
    assert "HUGGINGFACE [{'label': 'good'" in printed


def test_sdk_v2_tensorflow(sqlite_platform: Platform, tmp_path: Path) -> None:
    """TensorFlow installed when it is first needed; SavedModels with and without handlers."""
    printed = program(sqlite_platform, "sdk-v2", "sdk_v2_tensorflow.py", tmp_path)
    assert "TENSORFLOW {'predictions'" in printed


def test_sdk_v2_hugging_face_on_tensorflow(sqlite_platform: Platform, tmp_path: Path) -> None:
    """The last transformers that know TensorFlow are installed; a pipeline serves what was saved with it."""
    printed = program(sqlite_platform, "sdk-v2", "sdk_v2_huggingface_tensorflow.py", tmp_path)
    assert "HUGGINGFACE [{'label': 'good'" in printed


@pytest.mark.skipif(sys.platform != "linux", reason="images run on Linux only")
def test_sdk_v2_an_image_of_ones_own(sqlite_platform: Platform, tmp_path: Path) -> None:
    """The example's program in an image that was pushed, trained and deployed by the SDK."""
    source = ROOT / "examples" / "container"
    files = {"opt/program": None, "opt/program/program.py": (source / "program.py").read_bytes()}
    layers = [images.python(), images.layer(files)]
    entry = ["python", "/opt/program/program.py"]
    made = images.layout(tmp_path / "image", layers, Entrypoint=entry, Env=["PATH=/usr/bin", "PYTHONHOME=/usr"])
    image = images.push(sqlite_platform, "line", made)
    printed = program(sqlite_platform, "sdk-v2", str(source / "run.py"), tmp_path, image)
    assert "LINE [['1.000'], ['3.000'], ['21.000']]" in printed


def test_sdk_v3(sqlite_platform: Platform, tmp_path: Path) -> None:
    printed = program(sqlite_platform, "sdk-v3", "sdk_v3.py", tmp_path)
    assert "SCRIPT algo-1 ['d.csv']" in printed and "PACKAGE from a wheel" in printed


def test_the_hook_can_be_switched_off_and_does_nothing_elsewhere(sqlite_platform: Platform, tmp_path: Path) -> None:
    python = str(environment("cli") / "python")
    code = "import botocore.waiter as w, sys; print(w.Waiter.wait.__module__)"
    on = run([CLARY, "run", "--", python, "-c", code], sqlite_platform.environment)
    off = run([CLARY, "run", "--", python, "-c", code], {**sqlite_platform.environment, "CLARY_FAST_POLLING": "0"})
    assert (on.stdout.strip(), off.stdout.strip()) == ("clary_client_hook", "botocore.waiter")


def test_an_installed_hook_is_silent_without_clary(sqlite_platform: Platform, tmp_path: Path) -> None:
    python = str(environment("cli") / "python")
    run([CLARY, "hook", "install", "--python", python], sqlite_platform.environment)
    try:
        code = "import botocore.waiter as w; print(w.Waiter.wait.__module__)"
        plain = run([python, "-c", code], {"PATH": "/usr/bin:/bin"})
        assert plain.stdout.strip() == "botocore.waiter"
        clary = run([python, "-c", code], {"PATH": "/usr/bin:/bin", "CLARY_ENDPOINT": "http://127.0.0.1:1"})
        assert clary.stdout.strip() == "clary_client_hook"
    finally:
        run([CLARY, "hook", "remove", "--python", python], sqlite_platform.environment)


def test_the_aws_cli(sqlite_platform: Platform, tmp_path: Path, name: str) -> None:
    aws = [CLARY, "run", "--", str(environment("cli") / "aws")]
    big = tmp_path / "big"
    big.write_bytes(b"0123456789abcdef" * (1 << 20))
    run([*aws, "s3", "mb", f"s3://{name}"], sqlite_platform.environment)
    run([*aws, "s3", "cp", str(big), f"s3://{name}/a/big"], sqlite_platform.environment)
    run([*aws, "s3", "sync", f"s3://{name}/a", str(tmp_path / "back")], sqlite_platform.environment)
    assert (tmp_path / "back" / "big").read_bytes() == big.read_bytes()
    listed = run([*aws, "s3", "ls", f"s3://{name}/a/"], sqlite_platform.environment).stdout
    assert listed.split()[-2:] == [str(16 << 20), "big"]
    run([*aws, "s3", "rb", "--force", f"s3://{name}"], sqlite_platform.environment)
    jobs = json.loads(run([*aws, "sagemaker", "list-training-jobs"], sqlite_platform.environment).stdout)
    assert "TrainingJobSummaries" in jobs
    missing = run(
        [*aws, "sagemaker", "describe-endpoint", "--endpoint-name", "none"], sqlite_platform.environment, check=False
    )
    assert missing.returncode in (254, 255)  # version 2, version 1
    assert (
        "(ValidationException) when calling the DescribeEndpoint operation: Could not find endpoint" in missing.stderr
    )


def test_the_aws_cli_with_a_profile(sqlite_platform: Platform, tmp_path: Path) -> None:
    variables = {**sqlite_platform.environment, "AWS_CONFIG_FILE": str(tmp_path / "config")}
    run([CLARY, "configure"], variables)
    assert "aws_secret" not in (tmp_path / "config").read_text()
    found = run([str(environment("cli") / "aws"), "--profile", "clary", "sts", "get-caller-identity"], variables)
    assert "AmazonSageMaker-ExecutionRole" in json.loads(found.stdout)["Arn"]


def _shell(platform: Platform, proxy: bool, command: str) -> str:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    option = "--proxy" if proxy else ""
    return run(["bash", "-c", f'eval "$({CLARY} env {option})"; {command}'], platform.environment).stdout


SIGNED = 'curl -sS --aws-sigv4 aws:amz:us-east-1:{} --user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" -H "x-amz-security-token: $AWS_SESSION_TOKEN" '


def test_curl(sqlite_platform: Platform, name: str) -> None:
    s3 = SIGNED.format("s3")
    _shell(
        sqlite_platform, False, f'{s3} -H "x-amz-content-sha256: UNSIGNED-PAYLOAD" -X PUT "$AWS_ENDPOINT_URL/{name}"'
    )
    sts = _shell(
        sqlite_platform,
        False,
        SIGNED.format("sts") + '-d "Action=GetCallerIdentity&Version=2011-06-15" $AWS_ENDPOINT_URL',
    )
    assert "assumed-role/AmazonSageMaker-ExecutionRole" in sts
    target = '-H "X-Amz-Target: SageMaker.ListEndpoints" -H "Content-Type: application/x-amz-json-1.1" -d "{}" $AWS_ENDPOINT_URL'
    assert '"Endpoints":[' in _shell(sqlite_platform, False, SIGNED.format("sagemaker") + target)


def test_programs_with_hard_coded_hosts_come_through_the_proxy(sqlite_platform: Platform, name: str) -> None:
    sts = _shell(
        sqlite_platform,
        True,
        SIGNED.format("sts") + '-d "Action=GetCallerIdentity&Version=2011-06-15" https://sts.us-east-1.amazonaws.com',
    )
    assert "assumed-role/AmazonSageMaker-ExecutionRole" in sts
    aws = environment("cli") / "aws"
    _shell(
        sqlite_platform,
        True,
        f"{aws} s3 mb s3://{name}-p && head -c 20000000 /dev/zero | {aws} s3 cp - s3://{name}-p/z",
    )
    assert "20000000" in _shell(sqlite_platform, True, f"{aws} s3 ls s3://{name}-p/")
    elsewhere = run(
        ["bash", "-c", f'eval "$({CLARY} env --proxy)"; curl -sS https://example.com'],
        sqlite_platform.environment,
        check=False,
    )
    assert elsewhere.returncode != 0
    assert "403" in elsewhere.stderr
    stranger = run(
        ["curl", "-sS", "-k", "-x", sqlite_platform.endpoint, "https://sts.us-east-1.amazonaws.com"],
        sqlite_platform.environment,
        check=False,
    )
    assert stranger.returncode != 0
    assert "407" in stranger.stderr


def test_the_quickstart_as_the_readme_says(tmp_path: Path, sqlite_platform: Platform) -> None:
    sdk = environment("sdk-v2") / "python"
    script = [str(ROOT / "examples" / "quickstart.py")]
    python = str(Path(CLARY).with_name("python"))
    variables = {k: v for k, v in sqlite_platform.environment.items() if not k.startswith("CLARY_")}
    began = time.monotonic()
    found = run([python, str(ROOT / "examples" / "on_empty_platform.py"), str(sdk), *script], variables, cwd=tmp_path)
    assert time.monotonic() - began < 60
    assert "accuracy  0.9" in found.stdout
    assert "Stopped." in found.stdout
    assert "clary" not in (ROOT / "examples" / "quickstart.py").read_text().lower()
