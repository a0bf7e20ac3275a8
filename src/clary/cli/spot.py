"""``clary spot``."""

from __future__ import annotations

import click

from .platform import running


@click.group("spot")
def command() -> None:
    """Managed spot training."""


@command.command("interrupt")
@click.argument("job")
def interrupt(job: str) -> None:
    """Take a spot job's instance away: it gets SIGTERM, saves, and goes on from its checkpoints.

    \b
    Example:
      clary spot interrupt my-training-job
    """
    platform = running()
    platform.post("/_clary/spot/interrupt", job=job, region=platform.settings.region)
    click.echo(f"{job} was told to end; it starts again from its checkpoints. Watch it: clary jobs watch {job}")
