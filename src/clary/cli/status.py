"""``clary status``."""

from __future__ import annotations

import json
from typing import Any

import click

from .platform import Running, running, settings
from .supervisor import address, running_pid

Json = dict[str, Any]


@click.command("status")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def command(as_json: bool) -> None:
    """Show whether the platform runs, its endpoints and its latest jobs.

    \b
    Example:
      clary status --json
    """
    found = settings()
    if address(found) is None:
        if as_json:
            click.echo(json.dumps({"running": False, "home": str(found.folder)}))
        else:
            click.echo(f"No platform runs on {found.folder}. Start one with: clary up -d")
        raise SystemExit(3)
    platform = running()
    endpoints = platform.call("sagemaker", "SageMaker.ListEndpoints", {"MaxResults": 20}).get("Endpoints", [])
    jobs = platform.call("sagemaker", "SageMaker.ListTrainingJobs", {"MaxResults": 10, "SortOrder": "Descending"}).get(
        "TrainingJobSummaries", []
    )
    if as_json:
        document = {
            "running": True,
            "home": str(found.folder),
            "endpoint": platform.endpoint,
            "pid": running_pid(found),
        }
        click.echo(json.dumps({**document, "endpoints": endpoints, "training_jobs": jobs}, default=str))
        return
    _print(platform, endpoints, jobs)


def _print(platform: Running, endpoints: list[Json], jobs: list[Json]) -> None:
    click.echo(f"Clary runs at {platform.endpoint} (home {platform.settings.folder})")
    rows = [("ENDPOINT", e["EndpointName"], e["EndpointStatus"]) for e in endpoints]
    rows += [("JOB", j["TrainingJobName"], f"{j['TrainingJobStatus']} ({j['SecondaryStatus']})") for j in jobs]
    if not rows:
        click.echo("Nothing runs on it yet.")
        return
    width = max(len(name) for _, name, _ in rows)
    for kind, name, state in rows:
        click.echo(f"  {kind:<9} {name:<{width}}  {state}")
