"""Templates as people have them, deployed by the AWS CLI, called by curl."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.jobs import bucket, csv, deploy, job, table, train
from tests.platform import CLARY, Platform, run, until
from tests.services.test_http_apis import ask

from .test_clients import environment

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "examples" / "endpoint-api.yaml"


def aws(platform: Platform, *words: str, fails: bool = False) -> str:
    """Run the AWS CLI as its users do."""
    key, secret = platform.root_key
    env = {
        **os.environ, "AWS_ENDPOINT_URL": platform.endpoint, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_PAGER": "",
    }  # fmt: skip
    found = subprocess.run(
        [str(environment("cli") / "aws"), *words], env=env, capture_output=True, text=True, timeout=180
    )
    assert (found.returncode != 0) == fails, found.stdout + found.stderr
    return found.stderr if fails else found.stdout


@pytest.fixture(scope="module")
def endpoint(sqlite_platform: Platform) -> str:
    """An endpoint that predicts."""
    where = bucket(sqlite_platform, "templates-data")
    data = train(sqlite_platform, job("templates-model", where))["ModelArtifacts"]["S3ModelArtifacts"]
    assert deploy(sqlite_platform, "templates-endpoint", data)["EndpointStatus"] == "InService"
    return "templates-endpoint"


def test_a_template_is_deployed(sqlite_platform: Platform, endpoint: str) -> None:
    given = ["--stack-name", "exposed", "--template-file", str(TEMPLATE)]
    named = ["--parameter-overrides", f"SageMakerEndpointName={endpoint}"]
    words = aws(sqlite_platform, "cloudformation", "deploy", *given, *named, fails=True)
    assert "Requires capabilities : [CAPABILITY_IAM]" in words
    capable = ["--capabilities", "CAPABILITY_IAM"]
    words = aws(sqlite_platform, "cloudformation", "deploy", *given, *capable, fails=True)
    assert "Parameters: [SageMakerEndpointName] must have values" in words
    assert "Successfully created/updated stack" in aws(
        sqlite_platform, "cloudformation", "deploy", *given, *named, *capable
    )
    stack = json.loads(
        aws(sqlite_platform, "cloudformation", "describe-stacks", "--stack-name", "exposed", "--output", "json")
    )
    url = next(o["OutputValue"] for o in stack["Stacks"][0]["Outputs"] if o["OutputKey"] == "Url")
    row = csv(table()[:1, 1:]).decode().strip()
    host = url.partition("//")[2].partition("/")[0]
    resolve = f"{host.partition(':')[0]}:{sqlite_platform.port}:127.0.0.1"
    asked = ["curl", "-sS", "--resolve", resolve, "-X", "POST", url, "-H", "Content-Type: text/csv", "-d", row]
    answer = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=True)
    assert 0 <= float(json.loads(answer.stdout)["prediction"]) <= 1
    aws(sqlite_platform, "cloudformation", "delete-stack", "--stack-name", "exposed")
    aws(sqlite_platform, "cloudformation", "wait", "stack-delete-complete", "--stack-name", "exposed")


def test_a_function_is_made_and_invoked(sqlite_platform: Platform, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "f.zip", "w") as packed:
        packed.writestr("index.py", "def handler(event, context): return {'hello': event['who']}")
    made = json.loads(aws(
        sqlite_platform, "lambda", "create-function", "--function-name", "cli-function", "--runtime", "python3.12",
        "--role", "arn:aws:iam::000000000000:role/service-role/AmazonSageMaker-ExecutionRole", "--handler", "index.handler",
        "--zip-file", f"fileb://{tmp_path / 'f.zip'}", "--output", "json",
    ))  # fmt: skip
    assert made["FunctionArn"].endswith(":function:cli-function")
    aws(sqlite_platform, "lambda", "wait", "function-active-v2", "--function-name", "cli-function")
    aws(
        sqlite_platform, "lambda", "invoke", "--function-name", "cli-function", "--payload", '{"who": "you"}',
        str(tmp_path / "out.json"),
    )  # fmt: skip
    assert json.loads((tmp_path / "out.json").read_text()) == {"hello": "you"}
    until(lambda: "REPORT RequestId" in logs(sqlite_platform, "cli-function"), what="the function's log")
    assert "\n\n" not in logs(sqlite_platform, "cli-function")
    assert "START RequestId" in logs(sqlite_platform, "/aws/lambda/cli-function")


def logs(platform: Platform, name: str) -> str:
    found = run([CLARY, "logs", name], platform.environment, check=False)
    return found.stdout


def test_a_program_in_javascript(sqlite_platform: Platform, endpoint: str) -> None:
    """AWS's SDK for JavaScript, and fetch, by a program of Node.js."""
    folder, node = ROOT / ".envs" / "node", shutil.which("node")
    if node is None or not (folder / "node_modules").exists():
        pytest.skip("there is no Node.js here, or `make test` has not set its environment up")
    given = ["--stack-name", "exposed-node", "--template-file", str(TEMPLATE), "--capabilities", "CAPABILITY_IAM"]
    aws(
        sqlite_platform,
        "cloudformation",
        "deploy",
        *given,
        "--parameter-overrides",
        f"SageMakerEndpointName={endpoint}",
    )
    stack = sqlite_platform.client("cloudformation").describe_stacks(StackName="exposed-node")["Stacks"][0]
    url = next(o["OutputValue"] for o in stack["Outputs"] if o["OutputKey"] == "Url")
    api, path = url.partition("//")[2].partition(".")[0], "/" + url.partition("//")[2].partition("/")[2]
    shutil.copy(Path(__file__).parent / "programs" / "node_client.mjs", folder)  # modules are found from where it lies
    key, secret = sqlite_platform.root_key
    env = {
        "PATH": os.environ["PATH"], "AWS_ENDPOINT_URL": sqlite_platform.endpoint, "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret,
    }  # fmt: skip
    rows = csv(table()[:2, 1:]).decode().strip()
    command = [node, str(folder / "node_client.mjs"), endpoint, api, path, rows]
    found = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stdout + found.stderr
    invoked = re.search(r"INVOKED (\S+)", found.stdout)
    assert invoked and len(invoked[1].split(",")) == 2
    assert "REFUSED ValidationError" in found.stdout and "FETCHED 200" in found.stdout


def sam(platform: Platform, folder: Path, *words: str) -> str:
    """Run the SAM CLI as its users do."""
    key, secret = platform.root_key
    env = {
        **os.environ, "AWS_ENDPOINT_URL": platform.endpoint, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_DEFAULT_REGION": "us-east-1", "SAM_CLI_TELEMETRY": "0", "HOME": str(folder),
        "SAM_CLI_POLL_DELAY": "0.2",
    }  # fmt: skip
    found = subprocess.run(
        [str(environment("sam") / "sam"), *words], env=env, cwd=folder, capture_output=True, text=True, timeout=180
    )
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout + found.stderr


def test_properties_are_those_that_aws_publishes() -> None:
    """The types' shapes are written out of cfn-lint's copy of AWS's schemas."""
    environment("sam")
    run([sys.executable, str(ROOT / "docs" / "schemas.py"), "--check"], dict(os.environ))


def test_a_serverless_project_is_deployed(sqlite_platform: Platform, endpoint: str, tmp_path: Path) -> None:
    """``sam deploy`` of the example: its code goes to a bucket that SAM makes, a change set to a stack."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples" / "serverless", project)
    given = ["--stack-name", "serverless", "--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"]
    named = ["--parameter-overrides", f"Endpoint={endpoint}"]
    told = sam(sqlite_platform, project, "deploy", *given, *named)
    assert "Successfully created/updated stack - serverless" in told
    stack = sqlite_platform.client("cloudformation").describe_stacks(StackName="serverless")["Stacks"][0]
    api = next(o["OutputValue"] for o in stack["Outputs"] if o["OutputKey"] == "Api")
    rows = csv(table()[:3, 1:]).decode()
    status, _, body = ask(sqlite_platform, api, "/predict", "POST", rows)
    assert status == 200 and len(json.loads(body)["predictions"]) == 3
    again = sam(sqlite_platform, project, "deploy", *given, *named, "--no-fail-on-empty-changeset")
    assert "No changes to deploy. Stack serverless is up to date" in again
    sam(sqlite_platform, project, "delete", "--stack-name", "serverless", "--no-prompts", "--region", "us-east-1")


def test_the_cdk_deploys_an_endpoint_with_its_api(sqlite_platform: Platform, endpoint: str) -> None:
    """``cdk bootstrap``, ``deploy``, ``diff`` and ``destroy``, as the execution role."""
    folder = ROOT / ".envs" / "cdk"
    if shutil.which("node") is None or not (folder / "node_modules").exists():
        pytest.skip("there is no Node.js here, or `make test` has not set its environment up")
    app = folder / "example"  # libraries are found from where the program lies
    shutil.rmtree(app, ignore_errors=True)
    shutil.copytree(ROOT / "examples" / "cdk", app)

    def cdk(*words: str) -> str:
        command = [CLARY, "run", "--", str(folder / "node_modules" / ".bin" / "cdk"), *words]
        found = run(command, {**sqlite_platform.environment, "CDK_DISABLE_CLI_TELEMETRY": "true"}, cwd=app)
        return found.stdout + found.stderr

    assert "bootstrapped." in cdk("bootstrap")
    assert "bootstrapped (no changes)." in cdk("bootstrap")
    model = sqlite_platform.client("sagemaker").describe_model(ModelName=endpoint)
    data = model["PrimaryContainer"]["ModelDataUrl"]
    given = ["--require-approval", "never", "--parameters", f"ModelData={data}"]
    printed = cdk("deploy", *given)
    url = re.search(r"Served\.Url = (\S+)", printed)
    assert url, printed
    row = csv(table()[:1, 1:]).decode().strip()
    called = subprocess.run(
        ["curl", "-s", "-X", "POST", url[1], "-H", "content-type: text/csv", "-d", row],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert 0 < float(json.loads(called.stdout)["prediction"]) < 1
    assert "Served (no changes)" in cdk("deploy", *given)
    printed = cdk("diff", *given[2:])
    assert "There were no differences" in printed and "Could not create a change set" not in printed
    assert "Served: destroyed" in cdk("destroy", "--force")
    assert not sqlite_platform.client("sagemaker").list_endpoints(NameContains="Served")["Endpoints"]


def test_terraform_deploys_what_stands_in_front(sqlite_platform: Platform, endpoint: str, tmp_path: Path) -> None:
    """Plan, apply, an empty second plan, a change in place, destroy: with the stock provider."""
    program, plugins = shutil.which("terraform"), os.environ.get("CLARY_TERRAFORM_PLUGINS", "")
    if program is None or not Path(plugins, "registry.terraform.io", "hashicorp", "aws").is_dir():
        pytest.skip("needs terraform, and its AWS provider in a folder that CLARY_TERRAFORM_PLUGINS names")
    folder = tmp_path / "terraform"
    shutil.copytree(ROOT / "examples" / "terraform", folder)
    with zipfile.ZipFile(folder / "function.zip", "w") as packed:
        packed.write(folder / "function" / "index.py", "index.py")
    key, secret = sqlite_platform.root_key
    env = {
        **os.environ, "AWS_ENDPOINT_URL": sqlite_platform.endpoint, "AWS_ACCESS_KEY_ID": key, "CHECKPOINT_DISABLE": "1",
        "AWS_SECRET_ACCESS_KEY": secret, "TF_IN_AUTOMATION": "1", "TF_VAR_sagemaker_endpoint_name": endpoint,
    }  # fmt: skip

    def terraform(*words: str) -> str:
        return run([program, *words], env, cwd=folder).stdout

    terraform("init", f"-plugin-dir={plugins}")
    terraform("apply", "-auto-approve", "-input=false")
    url = terraform("output", "-raw", "url")
    row = csv(table()[:1, 1:]).decode().strip()
    called = subprocess.run(["curl", "-s", "-X", "POST", url, "-d", row], capture_output=True, text=True, timeout=60)
    assert 0 < float(json.loads(called.stdout)["prediction"]) < 1
    assert "No changes" in terraform("plan", "-input=false", "-detailed-exitcode")
    main = folder / "main.tf"
    main.write_text(main.read_text().replace("= 30\n", "= 20\n"))
    assert "0 added, 1 changed, 0 destroyed" in terraform("apply", "-auto-approve", "-input=false")
    assert "Destroy complete" in terraform("destroy", "-auto-approve", "-input=false")
