"""``clary endpoint``."""

from __future__ import annotations

from typing import Any

import click

from . import probe
from .platform import running

Json = dict[str, Any]


@click.group("endpoint")
def command() -> None:
    """Work with endpoints."""


@command.command("test")
@click.argument("name")
@click.option("--body", metavar="TEXT|@FILE", help="What to predict from. Without it, only the state is shown.")
@click.option("--content-type", default="text/csv", show_default=True, help="The body's type.")
@click.option("--accept", default="*/*", help="The type to ask for.")
@click.option("--model", help="The target model, of a multi-model endpoint.")
@click.option("--container", help="The target container, of a pipeline in Direct mode.")
def test(name: str, body: str | None, content_type: str, accept: str, model: str | None, container: str | None) -> None:
    """Show how an endpoint is, and call each of its variants.

    \b
    Examples:
      clary endpoint test my-endpoint
      clary endpoint test my-endpoint --body 5.1,3.5,1.4,0.2
      clary endpoint test my-endpoint --body @row.json --content-type application/json
    """
    from botocore.exceptions import ClientError

    data, platform = probe.body(body), running()
    try:
        found: Json = platform.client("sagemaker").describe_endpoint(EndpointName=name)
    except ClientError as error:
        raise click.ClickException(f"{error.response['Error']['Message']} See: clary status") from None
    good = _show(found)
    if data is not None and found.get("AsyncInferenceConfig"):
        raise click.ClickException(f"{name} is asynchronous: call invoke_endpoint_async, its results lie in S3.")
    for variant in found.get("ProductionVariants", ()) if data is not None else ():
        request: Json = {
            "EndpointName": name, "Body": data, "ContentType": content_type, "Accept": accept,
            "TargetVariant": variant["VariantName"],
        }  # fmt: skip
        request |= {"TargetModel": model} if model else {}
        request |= {"TargetContainerHostname": container} if container else {}
        good &= probe.invoke(platform.client("sagemaker-runtime"), variant["VariantName"], **request)
    if not good:
        click.echo(f"      its log:       clary logs {name}")
        raise SystemExit(1)


def _show(found: Json) -> bool:
    """The endpoint's state and its variants'; whether it serves as it should."""
    good: bool = found["EndpointStatus"] in ("InService", "Updating") and "ProductionVariants" in found
    mark = probe.GOOD if good else probe.BAD
    config = found.get("EndpointConfigName", "")
    click.echo(f"{mark}  {'endpoint':<14} {found['EndpointName']}: {found['EndpointStatus']}, configuration {config}")
    if reason := found.get("FailureReason"):
        click.echo(f"      {'reason':<14} {reason}")
    for variant in found.get("ProductionVariants", ()):
        if (config := variant.get("CurrentServerlessConfig")) is not None:
            text, well = f"serverless, {config['MaxConcurrency']} at once", True
        else:
            current, wanted = variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]
            text, well = (
                f"{current} of {wanted} instance(s) ready, weight {variant['CurrentWeight']:g}",
                current == wanted,
            )
        click.echo(f"{probe.GOOD if well else probe.BAD}  {variant['VariantName']:<14} {text}")
        good &= well
    return good
