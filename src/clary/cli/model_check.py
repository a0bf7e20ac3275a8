"""``clary doctor model``: tries a model as an endpoint would, before anybody deploys it."""

from __future__ import annotations

import tarfile
import time
import uuid
from pathlib import Path
from typing import Any

import click

from . import probe
from .platform import Running, running

Json = dict[str, Any]
_XGBOOST = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
_SCRIPT = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-scikit-learn:1.2-1-cpu-py3"


@click.command("model")
@click.argument("model", metavar="FILE|S3URI")
@click.option("--image", help="The image to run it in. Without it, the archive's files decide.")
@click.option("--env", "environment", multiple=True, metavar="NAME=VALUE", help="A variable of the container's.")
@click.option("--body", metavar="TEXT|@FILE", help="What to predict from.")
@click.option("--content-type", default="text/csv", show_default=True, help="The body's type.")
@click.option("--accept", default="*/*", help="The type to ask for.")
def command(
    model: str, image: str | None, environment: tuple[str, ...], body: str | None, content_type: str, accept: str
) -> None:
    """Try a model: unpack it, load it, ping it, call it. Nothing of it stays but its log.

    \b
    Examples:
      clary doctor model model.tar.gz --body 5.1,3.5,1.4,0.2
      clary doctor model s3://bucket/output/model.tar.gz
    """
    data, platform = probe.body(body), running()
    variables = dict(pair.split("=", 1) for pair in environment if "=" in pair)
    name = f"clary-doctor-{uuid.uuid4().hex[:12]}"
    s3 = platform.client("s3")
    bucket = f"sagemaker-{platform.settings.region}-{platform.settings.account}"
    uri, uploaded = model, not model.startswith("s3://")
    if uploaded:
        names = _names(Path(model))
        image, variables = _choose(image, variables, names)
        s3.create_bucket(Bucket=bucket)
        with open(model, "rb") as file:
            s3.put_object(Bucket=bucket, Key=f"{name}/model.tar.gz", Body=file)
        uri = f"s3://{bucket}/{name}/model.tar.gz"
    elif image is None:
        image, variables = _choose(image, variables, _remote_names(s3, uri))
    try:
        good = _try(
            platform, name, {"Image": image, "ModelDataUrl": uri, "Environment": variables}, data, content_type, accept
        )
    finally:
        if uploaded:
            s3.delete_object(Bucket=bucket, Key=f"{name}/model.tar.gz")
    if not good:
        raise SystemExit(1)


def _names(path: Path) -> list[str]:
    """What is in an archive."""
    try:
        with tarfile.open(path, "r:gz") as archive:
            names = [m.name.removeprefix("./") for m in archive.getmembers() if m.isfile()]
    except (OSError, tarfile.TarError, EOFError) as error:
        click.echo(f"{probe.BAD}  {'archive':<14} {path}: {error}. Make one with: tar -czf model.tar.gz -C FOLDER .")
        raise SystemExit(1) from None
    shown = ", ".join(names[:6]) + ("…" if len(names) > 6 else "")
    click.echo(f"{probe.GOOD}  {'archive':<14} {len(names)} file(s): {shown}")
    return names


def _remote_names(s3: Any, uri: str) -> list[str]:
    from tempfile import TemporaryDirectory

    from botocore.exceptions import ClientError

    bucket, _, key = uri.removeprefix("s3://").partition("/")
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.tar.gz"
        try:
            answer = s3.get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            click.echo(f"{probe.BAD}  {'archive':<14} {uri}: {error.response['Error']['Message']}")
            raise SystemExit(1) from None
        with open(path, "wb") as file:
            for block in answer["Body"].iter_chunks(1 << 20):
                file.write(block)
        return _names(path)


def _choose(image: str | None, variables: dict[str, str], names: list[str]) -> tuple[str, dict[str, str]]:
    """The image for an archive, by the files that its runtimes look for."""
    if image is None:
        scripts = [n for n in names if n.endswith(".py") and "/" not in n.removeprefix("code/")]
        if scripts:
            program = (
                "inference.py" if any(n.endswith("inference.py") for n in scripts) else scripts[0].rpartition("/")[2]
            )
            image, variables = _SCRIPT, {"SAGEMAKER_PROGRAM": program, **variables}
        else:
            image = _XGBOOST
        click.echo(f"{probe.GOOD}  {'image':<14} {image.rpartition('/')[2]} (name another with --image)")
    return image, variables


def _try(platform: Running, name: str, container: Json, data: bytes | None, content_type: str, accept: str) -> bool:
    from botocore.exceptions import ClientError

    sagemaker = platform.client("sagemaker")
    role = f"arn:aws:iam::{platform.settings.account}:role/clary-doctor"
    variant = {"VariantName": "AllTraffic", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    made: list[Any] = []
    try:
        sagemaker.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)
        made.append(lambda: sagemaker.delete_model(ModelName=name))
        sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
        made.append(lambda: sagemaker.delete_endpoint_config(EndpointConfigName=name))
        began = time.perf_counter()
        sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        made.append(lambda: sagemaker.delete_endpoint(EndpointName=name))
        while (found := sagemaker.describe_endpoint(EndpointName=name))["EndpointStatus"] == "Creating":
            time.sleep(0.05)
        seconds = time.perf_counter() - began
        if found["EndpointStatus"] != "InService":
            click.echo(f"{probe.BAD}  {'ping':<14} {found['FailureReason']}")
            _print_log(platform, name)
            return False
        click.echo(f"{probe.GOOD}  {'ping':<14} loaded and ready in {seconds:.2f} s")
        if data is None:
            return True
        request = {"EndpointName": name, "Body": data, "ContentType": content_type, "Accept": accept}
        if probe.invoke(platform.client("sagemaker-runtime"), "invocations", **request):
            return True
        _print_log(platform, name)
        return False
    except ClientError as error:
        click.echo(f"{probe.BAD}  {'model':<14} {error.response['Error']['Message']}")
        return False
    finally:
        for undo in reversed(made):
            undo()


def _print_log(platform: Running, name: str) -> None:
    """The last lines that the model printed."""
    from botocore.exceptions import ClientError

    try:
        events = platform.client("logs").filter_log_events(logGroupName=f"/aws/sagemaker/Endpoints/{name}")["events"]
    except ClientError:
        return
    for event in events[-20:]:
        click.echo(f"      | {event['message'].rstrip()}")
