"""``clary down``."""

from __future__ import annotations

import click

from .platform import settings
from .supervisor import stop_running


@click.command("down")
def command() -> None:
    """Stop the platform of the home folder; what it stored stays.

    \b
    Example:
      clary down
    """
    found = settings()
    try:
        stopped = stop_running(found)
    except TimeoutError as error:
        raise click.ClickException(str(error)) from None
    click.echo("Stopped." if stopped else f"No platform runs on {found.folder}.")
