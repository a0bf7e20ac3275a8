"""``clary logs``."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import click

from .platform import CallError, Running, running

Json = dict[str, Any]
_POLL_SECONDS = 0.3
_GROUPS = ("/aws/sagemaker/InferenceComponents", "/aws/lambda")
_OCTAL = re.compile(r"#(0[0-3][0-7])")


@click.command("logs")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends (other logs: until Ctrl-C).")
@click.option("--endpoint", "of_endpoint", is_flag=True, help="The endpoint's log, when a job has the same name.")
@click.option("--raw", is_flag=True, help="Print events as stored, control characters escaped.")
def command(name: str, follow: bool, of_endpoint: bool, raw: bool) -> None:
    """Show the log of a training job, an endpoint, an inference component or a function; or any log group.

    \b
    Examples:
      clary logs my-training-job
      clary logs my-endpoint -f
      clary logs my-function
      clary logs /my/log-group
    """
    platform = running()
    group, prefix, job = _find(platform, name, of_endpoint)
    if job:
        follow_job(platform, name, follow, raw)
    else:
        _print(_Reader(platform, group, prefix, raw), lambda: not follow)


def follow_job(platform: Running, name: str, follow: bool, raw: bool = False) -> None:
    """Print a job's log, as far as there is one or to the job's end."""
    reader = _Reader(platform, "/aws/sagemaker/TrainingJobs", f"{name}/", raw)
    _print(reader, lambda: not follow or _ended(platform, name))


def _print(reader: _Reader, over: Callable[[], bool]) -> None:
    while True:
        last = over()  # asked before reading: nothing printed since is missed
        reader.print_new()
        if last:
            return
        time.sleep(_POLL_SECONDS)


def _find(platform: Running, name: str, of_endpoint: bool) -> tuple[str, str, bool]:
    """The log group, the prefix of its streams, and whether it is a job's. Lists are asked: a Describe may wait."""
    if name.startswith("/"):
        return _group(platform, [name], name), "", False
    named = {"NameContains": name, "MaxResults": 100}
    if not of_endpoint:
        jobs = platform.call("sagemaker", "SageMaker.ListTrainingJobs", {**named, "SortOrder": "Descending"})
        if any(j["TrainingJobName"] == name for j in jobs["TrainingJobSummaries"]):
            return "/aws/sagemaker/TrainingJobs", f"{name}/", True
    endpoints = platform.call("sagemaker", "SageMaker.ListEndpoints", named)["Endpoints"]
    if any(e["EndpointName"] == name for e in endpoints):
        return f"/aws/sagemaker/Endpoints/{name}", "", False
    return _group(platform, [f"{place}/{name}" for place in _GROUPS], name), "", False


def _group(platform: Running, candidates: list[str], name: str) -> str:
    """The first of these log groups that there is."""
    for group in candidates:
        asked = {"logGroupNamePrefix": group}
        groups = platform.call("logs", "Logs_20140328.DescribeLogGroups", asked)["logGroups"]
        if any(g["logGroupName"] == group for g in groups):
            return group
    raise click.ClickException(
        f"there is no training job, endpoint, inference component or function named {name!r} that has printed anything. "
        "See: clary status"
    )


def _ended(platform: Running, name: str) -> bool:
    named = {"NameContains": name, "MaxResults": 100, "SortOrder": "Descending"}
    jobs = platform.call("sagemaker", "SageMaker.ListTrainingJobs", named)["TrainingJobSummaries"]
    states = [j["TrainingJobStatus"] for j in jobs if j["TrainingJobName"] == name]
    return not states or states[0] not in ("InProgress", "Stopping")


class _Reader:
    """Prints each stream's events once."""

    def __init__(self, platform: Running, group: str, prefix: str, raw: bool):
        self._platform = platform
        self._group = group
        self._prefix = prefix
        self._raw = raw
        self._tokens: dict[str, str] = {}

    def _call(self, operation: str, params: Json) -> Json:
        return self._platform.call("logs", f"Logs_20140328.{operation}", {"logGroupName": self._group, **params})

    def print_new(self) -> None:
        """Whatever has come since the last time."""
        try:
            prefix = {"logStreamNamePrefix": self._prefix} if self._prefix else {}
            streams = self._call("DescribeLogStreams", prefix)["logStreams"]
        except CallError as error:
            if error.code == "ResourceNotFoundException":
                return
            raise
        for stream in streams:
            self._print_stream(stream["logStreamName"], len(streams) > 1)

    def _print_stream(self, name: str, several: bool) -> None:
        label = click.style(name.rpartition("/")[2].rpartition("-")[0] or name, fg="cyan") + " " if several else ""
        while True:
            params: Json = {"logStreamName": name, "startFromHead": True}
            if name in self._tokens:
                params["nextToken"] = self._tokens[name]
            page = self._call("GetLogEvents", params)
            for event in page["events"]:
                text = event["message"].removesuffix("\n")
                click.echo(label + (text if self._raw else _OCTAL.sub(lambda m: chr(int(m[1], 8)), text)))
            self._tokens[name] = page["nextForwardToken"]
            if not page["events"]:
                return
