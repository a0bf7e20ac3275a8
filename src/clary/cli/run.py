"""``clary run``."""

from __future__ import annotations

import os
import shutil

import click

from .platform import client_environment, running


@click.command("run", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--proxy", is_flag=True, help="Reach the platform through its HTTPS proxy instead of AWS_ENDPOINT_URL.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, required=True, metavar="-- COMMAND [ARGS]...")
def command(proxy: bool, arguments: tuple[str, ...]) -> None:
    """Run a program against the platform, as the execution role; its exit code is this command's.

    \b
    Examples:
      clary run -- python train.py
      clary run -- aws sagemaker list-training-jobs
      clary run -- bash
    """
    platform = running()
    name = arguments[0]
    path = shutil.which(name)
    if path is None:
        raise click.ClickException(f"{name}: command not found")
    environment = {k: v for k, v in os.environ.items() if k not in ("AWS_PROFILE", "AWS_ENDPOINT_URL")}
    os.execve(path, list(arguments), {**environment, **client_environment(platform, proxy)})
