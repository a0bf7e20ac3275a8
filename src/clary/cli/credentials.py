"""``clary credentials``: what an AWS profile's ``credential_process`` calls."""

from __future__ import annotations

import json
import time

import click

from .platform import running


@click.command("credentials", hidden=True)
def command() -> None:
    """Print credentials of the execution role in the format of credential_process."""
    found = running().session
    expires = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(found["Expiration"]))
    document = {"Version": 1, "Expiration": expires}
    click.echo(json.dumps({**document, **{k: found[k] for k in ("AccessKeyId", "SecretAccessKey", "SessionToken")}}))
