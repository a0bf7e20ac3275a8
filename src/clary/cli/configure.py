"""``clary configure``."""

from __future__ import annotations

import configparser
import os
import shutil
import sys
from pathlib import Path

import click

from .platform import running


@click.command("configure")
@click.option("--profile", default="clary", show_default=True, help="Name of the profile.")
def command(profile: str) -> None:
    """Write an AWS profile for the platform to ~/.aws/config.

    The profile holds no secret: it asks this command line for credentials each time.

    \b
    Examples:
      clary configure
      aws --profile clary sagemaker list-endpoints
    """
    platform = running()
    path = Path(os.environ.get("AWS_CONFIG_FILE", "~/.aws/config")).expanduser()
    parser = configparser.RawConfigParser()
    if path.exists():
        parser.read(path)
    section = f"profile {profile}"
    executable = shutil.which("clary") or f"{sys.executable} -m clary"
    values = {
        "region": platform.settings.region, "endpoint_url": platform.endpoint, "output": "json",
        "credential_process": f"env CLARY_HOME={platform.settings.folder} {executable} credentials",
    }  # fmt: skip
    if not parser.has_section(section):
        parser.add_section(section)
    for name, value in values.items():
        parser.set(section, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(path.name + ".new")
    with open(aside, "w") as file:
        parser.write(file)
    os.rename(aside, path)
    click.echo(
        f"Profile {profile!r} in {path} points at {platform.endpoint}. Try: aws --profile {profile} sts get-caller-identity"
    )
