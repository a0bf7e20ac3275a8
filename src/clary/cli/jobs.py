"""``clary jobs``."""

from __future__ import annotations

import shutil
import sys
import time
from datetime import datetime
from typing import Any

import click

from .logs import follow_job
from .platform import CallError, Running, running
from .plot import curve

Json = dict[str, Any]
_MARKS = {"Completed": ("✓", "green"), "Failed": ("✗", "red"), "Stopped": ("■", "yellow")}
_LOOK_SECONDS = 0.5
_ENDED = ("Completed", "Failed", "Stopped")


@click.group("jobs")
def command() -> None:
    """Work with training jobs."""


@command.command("list")
@click.option("-n", "--number", default=20, show_default=True, help="How many, the newest first.")
@click.option("--status", type=click.Choice(["InProgress", "Completed", "Failed", "Stopping", "Stopped"]))
@click.option("--name", "contains", help="Only jobs whose name contains this.")
def listing(number: int, status: str | None, contains: str | None) -> None:
    """The newest jobs, one a line."""
    asked: Json = {"MaxResults": min(max(number, 1), 100), "SortBy": "CreationTime", "SortOrder": "Descending"}
    asked |= {"StatusEquals": status} if status else {}
    asked |= {"NameContains": contains} if contains else {}
    found = running().call("sagemaker", "SageMaker.ListTrainingJobs", asked)["TrainingJobSummaries"]
    if not found:
        click.echo("no training jobs. Start one with: clary run -- python your_script.py")
        return
    width = max(len(j["TrainingJobName"]) for j in found)
    for job in found:
        end = job.get("TrainingEndTime") or (
            job["LastModifiedTime"] if job["TrainingJobStatus"] in _ENDED else time.time()
        )
        click.echo(
            f"{_mark(job['TrainingJobStatus'])}  {job['TrainingJobName']:<{width}}  {_shown(job):<22}  "
            f"{_clock(job['CreationTime'])}  {_length(end - job['CreationTime']):>8}"
        )


def _shown(job: Json) -> str:
    first, second = job["TrainingJobStatus"], job.get("SecondaryStatus") or ""
    return first if second in ("", first) else f"{first}/{second}" if first in _ENDED else second


@command.command("show")
@click.argument("name")
def show(name: str) -> None:
    """A job's state, data, results and the reason of its failure."""
    platform = running()
    job = _describe(platform, name)
    click.echo(f"{_mark(job['TrainingJobStatus'])}  {name}: {_shown(job)}")
    algorithm, resources = job["AlgorithmSpecification"], job["ResourceConfig"]
    lines: list[tuple[str, str]] = [("image", algorithm.get("TrainingImage", ""))]
    groups = resources.get("InstanceGroups") or [resources]
    lines.append(("instances", ", ".join(f"{g['InstanceCount']} x {g['InstanceType']}" for g in groups)))
    lines += (("channel", f"{c['ChannelName']}: {_source(c)}") for c in job.get("InputDataConfig", ()))
    if values := {k: v for k, v in (job.get("HyperParameters") or {}).items() if not k.startswith("sagemaker_")}:
        lines.append(("parameters", ", ".join(f"{k}={v}" for k, v in sorted(values.items()))))
    if job["TrainingJobStatus"] in ("Completed", "Stopped"):
        lines.append(("model", job["ModelArtifacts"]["S3ModelArtifacts"]))
    if "TrainingTimeInSeconds" in job:
        billable = float(job.get("BillableTimeInSeconds") or job["TrainingTimeInSeconds"])
        lines.append(("time", f"{_length(job['TrainingTimeInSeconds'])}, billable {_length(billable)}"))
    for label, text in lines:
        click.echo(f"   {label:<11} {text}")
    for step in job["SecondaryStatusTransitions"]:
        length = _length(float(step.get("EndTime") or time.time()) - float(step["StartTime"]))
        click.echo(
            f"   {_clock(step['StartTime'])}    {step['Status']:<12} {length:>7}   {step.get('StatusMessage', '')}"
        )
    for metric in sorted(job.get("FinalMetricDataList", ()), key=lambda m: m["MetricName"]):
        click.echo(f"   {metric['MetricName']:<44} {metric['Value']:g}")
    if reason := job.get("FailureReason"):
        click.secho(f"   {reason}", fg="red")
        click.echo(f"   its log: clary jobs logs {name}")


@command.command("logs")
@click.argument("name")
@click.option("-f", "--follow", is_flag=True, help="Go on until the job ends.")
def logs(name: str, follow: bool) -> None:
    """What a job printed."""
    platform = running()
    _describe(platform, name)
    follow_job(platform, name, follow)


@command.command("metrics")
@click.argument("name")
@click.option("--metric", help="Only this one, as a curve.")
def metrics(name: str, metric: str | None) -> None:
    """A job's metrics as curves over the lines that its log had for them."""
    platform = running()
    job = _describe(platform, name)
    found = _Metrics(platform, job).read()
    if metric is not None and metric not in found:
        raise click.ClickException(f"{name} has no metric {metric!r}. It has: {', '.join(sorted(found)) or 'none'}")
    if not found:
        click.echo(f"{name} has printed nothing that one of its metric definitions matches.")
    for each, values in sorted(found.items()):
        if metric is None or each == metric:
            _draw(each, values, tall=metric is not None)


@command.command("stop")
@click.argument("name")
def stop(name: str) -> None:
    """Ask a job to end. It gets SIGTERM; what is in its model folder is kept."""
    platform = running()
    platform.call("sagemaker", "SageMaker.StopTrainingJob", {"TrainingJobName": name})
    click.echo(f"{name} is being stopped. Watch it: clary jobs watch {name}")


@command.command("watch")
@click.argument("name")
@click.option("--metric", help="The metric to draw; by default the first that the job prints.")
def watch(name: str, metric: str | None) -> None:
    """A job while it runs: its state, progress, a curve, processor and memory. Ctrl-C leaves, the job goes on."""
    platform = running()
    job = _describe(platform, name)
    seen, meters = _Metrics(platform, job), platform.client("cloudwatch")
    before = 0
    while True:
        job = _describe(platform, name)
        values = seen.read()
        lines = _picture(meters, job, values, metric)
        if before:
            click.echo(f"\x1b[{before}A\x1b[J", nl=False)
        click.echo("\n".join(lines))
        before = len(lines) if sys.stdout.isatty() else 0
        if job["TrainingJobStatus"] in _ENDED:
            if reason := job.get("FailureReason"):
                click.secho(reason, fg="red")
            raise SystemExit(0 if job["TrainingJobStatus"] != "Failed" else 1)
        time.sleep(_LOOK_SECONDS if before else 4 * _LOOK_SECONDS)


def _picture(meters: Any, job: Json, values: dict[str, list[float]], wanted: str | None) -> list[str]:
    width = min(100, shutil.get_terminal_size((80, 24)).columns)
    last = job["SecondaryStatusTransitions"][-1]
    passed = _length((job.get("TrainingEndTime") or time.time()) - job["CreationTime"])
    head = f"{_mark(job['TrainingJobStatus'])}  {job['TrainingJobName']}  {_shown(job)}  {passed}"
    if job["TrainingJobStatus"] not in _ENDED and last.get("StatusMessage"):
        head += f"  {last['StatusMessage']}"
    lines = [head[: width - 1] if len(head) >= width else head]
    if percent := values.get("train:progress"):
        done = round(percent[-1] / 100 * 40)
        lines.append(f"   progress   {'█' * done}{'░' * (40 - done)} {percent[-1]:.0f} %")
    lines += (f"   {label:<10} {value:.0f} %" for label, value in _usage(meters, job).items())
    name = wanted or next(
        (n for n in values if n not in ("train:progress", "train:throughput") and len(values[n]) > 1), None
    )
    if name in values:
        lines += curve(name, values[name], width - 4, 8)
    return lines


def _usage(meters: Any, job: Json) -> dict[str, float]:
    """Processor and memory of the first host, as CloudWatch has them."""
    found: dict[str, float] = {}
    if job["TrainingJobStatus"] in _ENDED:
        return found
    host = {"Name": "Host", "Value": f"{job['TrainingJobName']}/algo-1"}
    for label, metric in (("processor", "CPUUtilization"), ("memory", "MemoryUtilization")):
        points = meters.get_metric_statistics(
            Namespace="/aws/sagemaker/TrainingJobs", MetricName=metric, Dimensions=[host], Period=60,
            StartTime=time.time() - 180, EndTime=time.time() + 60, Statistics=["Average"],
        )["Datapoints"]  # fmt: skip
        if points:
            found[label] = max(points, key=lambda p: p["Timestamp"])["Average"]
    return found


class _Metrics:
    """A job's metrics, read from what its log gets new."""

    def __init__(self, platform: Running, job: Json):
        import re

        definitions = job["AlgorithmSpecification"].get("MetricDefinitions") or ()
        self._patterns = [(d["Name"], re.compile(d["Regex"])) for d in definitions]
        self._platform = platform
        self._prefix = f"{job['TrainingJobName']}/"
        self._tokens: dict[str, str] = {}
        self.values: dict[str, list[float]] = {}

    def read(self) -> dict[str, list[float]]:
        """All values so far, by metric."""
        call = self._platform.call
        group = {"logGroupName": "/aws/sagemaker/TrainingJobs"}
        try:
            asked: Json = {**group, "logStreamNamePrefix": self._prefix}
            streams = call("logs", "Logs_20140328.DescribeLogStreams", asked)["logStreams"]
        except CallError as error:
            if error.code == "ResourceNotFoundException":
                return self.values
            raise
        for stream in streams:
            name = stream["logStreamName"]
            while True:
                asked = {**group, "logStreamName": name, "startFromHead": True}
                asked |= {"nextToken": self._tokens[name]} if name in self._tokens else {}
                page = call("logs", "Logs_20140328.GetLogEvents", asked)
                self._tokens[name] = page["nextForwardToken"]
                for event in page["events"]:
                    self._take(event["message"])
                if not page["events"]:
                    break
        return self.values

    def _take(self, line: str) -> None:
        for name, pattern in self._patterns:
            match = pattern.search(line)
            if match and match.groups():
                try:
                    self.values.setdefault(name, []).append(float(match[1]))
                except (TypeError, ValueError):
                    continue


def _describe(platform: Running, name: str) -> Json:
    """A job now: searched for, since a description waits while a young job runs."""
    found = platform.call("sagemaker", "SageMaker.Search", _search(name))["Results"]
    if not found:
        raise click.ClickException(f"there is no training job named {name!r}. See: clary jobs list")
    job: Json = found[0]["TrainingJob"]
    return job


def _search(name: str) -> Json:
    return {
        "Resource": "TrainingJob", "MaxResults": 1,
        "SearchExpression": {"Filters": [{"Name": "TrainingJobName", "Operator": "Equals", "Value": name}]},
    }  # fmt: skip


def _draw(name: str, values: list[float], tall: bool) -> None:
    width = min(100, shutil.get_terminal_size((80, 24)).columns)
    if len(values) < 2:
        click.echo(f"   {name}  {values[-1]:g}")
        return
    click.echo("\n".join(curve(name, values, width - 4, 12 if tall else 5)))


def _source(channel: Json) -> str:
    found = channel.get("DataSource", {}).get("S3DataSource") or {}
    return " ".join(
        filter(None, (found.get("S3Uri", ""), channel.get("ContentType", ""), channel.get("InputMode", "")))
    )


def _mark(status: str) -> str:
    mark, color = _MARKS.get(status, ("…", "cyan"))
    return click.style(mark, fg=color)


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at).strftime("%m-%d %H:%M:%S")


def _length(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds // 60:.0f} min {seconds % 60:.0f} s" if seconds < 7200 else f"{seconds / 3600:.1f} h"
