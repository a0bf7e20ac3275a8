"""``clary env``."""

from __future__ import annotations

import json
import shlex

import click

from .platform import client_environment, running


@click.command("env")
@click.option(
    "--proxy", is_flag=True, help="For programs that hard-code *.amazonaws.com: an HTTPS proxy and its CA bundle."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(proxy: bool, as_json: bool) -> None:
    """Print the environment that points AWS clients at the platform.

    \b
    Examples:
      eval "$(clary env)"           for boto3, the AWS CLI, the SageMaker SDKs
      eval "$(clary env --proxy)"   for programs with hard-coded AWS hosts
    """
    values = client_environment(running(), proxy)
    if as_json:
        click.echo(json.dumps(values, indent=2))
        return
    for name, value in values.items():
        click.echo(f"export {name}={shlex.quote(value)}")
    if proxy:
        click.echo("unset AWS_ENDPOINT_URL")
