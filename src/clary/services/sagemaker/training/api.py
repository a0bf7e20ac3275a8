"""Training jobs: the operations."""

from __future__ import annotations

from typing import Any

from ....clock import now
from ....patterns import PatternError, compile_pattern
from ....provider.border import check_role
from ....provider.context import Context
from ....provider.errors import ResourceInUse, ValidationException
from ....provider.pages import page
from ....provider.platform import Platform
from ....store.object import split_uri
from ....store.rows import Row
from .. import sagemaker, tags
from ..images import resolve
from . import pools
from .metrics import implicit
from .outputs import model_uri
from .status import first

Json = dict[str, Any]
STOPPABLE = ("InProgress", "Stopping")


def _find(ctx: Context, name: str) -> Row:
    if (found := ctx.get("TrainingJob", name)) is None:
        raise ValidationException("Requested resource not found.")
    return found


@sagemaker.operation
def create_training_job(ctx: Context, request: Json) -> Json:
    """Accept a job; the reconciler runs it."""
    name = request["TrainingJobName"]
    arn = ctx.arn("sagemaker", f"training-job/{name.lower()}")
    if ctx.get("TrainingJob", name) is not None:
        raise ResourceInUse(
            "Training job names must be unique within an AWS account and region, and a training job with this name "
            f"already exists ({arn})"
        )
    spec = {k: v for k, v in request.items() if k != "Tags"}
    _check(ctx, spec)
    spec.setdefault("StoppingCondition", {}).setdefault("MaxRuntimeInSeconds", 86400)
    spec["AlgorithmSpecification"] = implicit(ctx.platform, ctx.account, spec)
    spec["OutputDataConfig"].setdefault("CompressionType", "GZIP")
    for flag in ("EnableNetworkIsolation", "EnableInterContainerTrafficEncryption", "EnableManagedSpotTraining"):
        spec.setdefault(flag, False)
    at = now()
    row = Row("TrainingJob", ctx.account, ctx.region, name, arn, spec, created=at, due=at)
    status = {**first(at), "ModelArtifacts": {"S3ModelArtifacts": model_uri(row)}}
    row = ctx.tx.rows.add(
        Row(row.kind, row.account, row.region, name, arn, spec, status, state="InProgress", created=at, due=at)
    )
    tags.put(ctx, arn, request.get("Tags"))
    return {"TrainingJobArn": arn}


def _check(ctx: Context, spec: Json) -> None:
    """What AWS refuses although each value alone is valid."""
    algorithm = spec.get("AlgorithmSpecification")
    if algorithm is None:
        raise ValidationException("Invalid request: AlgorithmSpecification is required for a training job.")
    if ("TrainingImage" in algorithm) == ("AlgorithmName" in algorithm):
        raise ValidationException(
            "Invalid request: You must specify exactly one of TrainingImage and AlgorithmName in AlgorithmSpecification."
        )
    if "AlgorithmName" in algorithm:
        raise ValidationException("Clary has no algorithm resources or marketplace; give a TrainingImage.")
    for definition in algorithm.get("MetricDefinitions") or ():
        try:
            compile_pattern(definition["Regex"])
        except PatternError as error:
            raise ValidationException(f"Invalid Regex of the metric {definition['Name']}: {error}") from None
    check_role(ctx, spec["RoleArn"])
    resolve(ctx.platform, ctx.account, algorithm["TrainingImage"])
    resources = spec.get("ResourceConfig")
    if resources is None:
        raise ValidationException("Invalid request: ResourceConfig is required for a training job.")
    grouped = bool(resources.get("InstanceGroups"))
    if grouped == ("InstanceType" in resources):
        raise ValidationException("Invalid request: specify either InstanceType and InstanceCount or InstanceGroups.")
    if not grouped and "InstanceCount" not in resources:
        raise ValidationException("Invalid request: InstanceCount is required with InstanceType.")
    if resources.get("KeepAlivePeriodInSeconds") and (grouped or spec.get("EnableManagedSpotTraining")):
        what = "InstanceGroups" if grouped else "managed spot training"
        raise ValidationException(
            f"Invalid request: KeepAlivePeriodInSeconds cannot be used with {what}: such instances are not kept."
        )
    channels = spec.get("InputDataConfig") or []
    _check_channels(channels)
    _check_groups(resources.get("InstanceGroups") or [], channels)
    try:
        split_uri(spec["OutputDataConfig"]["S3OutputPath"])
    except ValueError as error:
        raise ValidationException(f"OutputDataConfig.S3OutputPath: {error}.") from None
    if spec.get("EnableManagedSpotTraining"):
        limits = spec.get("StoppingCondition", {})
        wait, runtime = limits.get("MaxWaitTimeInSeconds"), limits.get("MaxRuntimeInSeconds", 86400)
        if wait is None or wait < runtime:
            raise ValidationException(
                "Invalid MaxWaitTimeInSeconds. It must be present and be greater than or equal to MaxRuntimeInSeconds."
            )


def _check_groups(groups: list[Json], channels: list[Json]) -> None:
    names = [g["InstanceGroupName"] for g in groups]
    if len(names) != len(set(names)):
        raise ValidationException("Invalid request: the names of InstanceGroups must be unique.")
    for channel in channels:
        wanted = (channel.get("DataSource", {}).get("S3DataSource") or {}).get("InstanceGroupNames") or []
        if unknown := sorted(set(wanted) - set(names)):
            raise ValidationException(
                f"Invalid request: channel {channel['ChannelName']} is for the instance groups {', '.join(unknown)}, "
                "which are not in ResourceConfig."
            )


def _check_channels(channels: list[Json]) -> None:
    names = [c["ChannelName"] for c in channels]
    if len(names) != len(set(names)):
        raise ValidationException("Invalid request: channel names must be unique within InputDataConfig.")
    for channel in channels:
        source = channel.get("DataSource", {})
        if "FileSystemDataSource" in source:
            raise ValidationException(
                f"Channel {channel['ChannelName']}: Clary mounts no EFS or FSx file systems; use S3DataSource."
            )
        if "S3DataSource" not in source:
            raise ValidationException(f"Invalid request: channel {channel['ChannelName']} has no data source.")


@sagemaker.held(lambda ctx, answer: _until(ctx, answer))
def describe_training_job(ctx: Context, request: Json) -> Json:
    """A job as it is."""
    return shown(_find(ctx, request["TrainingJobName"]))


def _until(ctx: Context, answer: Json) -> float | None:
    """While a young job runs, its description waits for the end."""
    if answer["TrainingJobStatus"] not in STOPPABLE:
        return None
    return float(answer["CreationTime"]) + ctx.platform.settings.hold_seconds


def shown(row: Row) -> Json:
    """A job as Describe and Search show it."""
    return {
        **row.view(), **_pool(row), "TrainingJobName": row.name, "TrainingJobArn": row.arn, "CreationTime": row.created,
        "LastModifiedTime": row.modified,
    }  # fmt: skip


@sagemaker.operation
def list_training_jobs(ctx: Context, request: Json) -> Json:
    """Jobs by page."""
    rows, more = page(ctx, "TrainingJob", request, order="Ascending")
    if wanted := request.get("WarmPoolStatusEquals"):
        rows = [r for r in rows if r.status.get("WarmPoolStatus", {}).get("Status") == wanted]
    return {"TrainingJobSummaries": [_summary(r) for r in rows], **more}


def _summary(row: Row) -> Json:
    summary = {
        "TrainingJobName": row.name, "TrainingJobArn": row.arn, "CreationTime": row.created,
        "LastModifiedTime": row.modified, "TrainingJobStatus": row.state,
        "SecondaryStatus": row.status.get("SecondaryStatus"), **_pool(row),
    }  # fmt: skip
    if "TrainingEndTime" in row.status:
        summary["TrainingEndTime"] = row.status["TrainingEndTime"]
    return summary


def _pool(row: Row) -> Json:
    """A job's warm pool; one that waits is paid until now."""
    if pools.available(row.status):
        return {"WarmPoolStatus": pools.retained(row.status)}
    return {"WarmPoolStatus": row.status["WarmPoolStatus"]} if "WarmPoolStatus" in row.status else {}


@sagemaker.operation
def stop_training_job(ctx: Context, request: Json) -> None:
    """Ask a running job to end; the reconciler does the rest."""
    job = _find(ctx, request["TrainingJobName"])
    if job.state not in STOPPABLE:
        raise ValidationException(f"The request was rejected because the training job is in status {job.state}.")
    ctx.tx.rows.wish(job, stop=True)


def interrupt(platform: Platform, account: str, region: str, name: str) -> str:
    """Take a running spot job's instance away; why not, when it cannot be."""
    with platform.database.write() as tx:
        job = tx.rows.get("TrainingJob", account, region, name)
        if job is None:
            return f"There is no training job named {name!r}."
        if not job.spec.get("EnableManagedSpotTraining"):
            return f"The training job {name} is no spot job: it has no EnableManagedSpotTraining."
        if job.private.get("phase") != "Training":
            return f"The training job {name} is not training now: its status is {job.status['SecondaryStatus']}."
        tx.rows.wish(job, interrupt=job.private.get("interruptions", 0) + 1)
    return ""


@sagemaker.operation
def update_training_job(ctx: Context, request: Json) -> Json:
    """The few settings that a job takes while it runs."""
    job = _find(ctx, request["TrainingJobName"])
    changes: Json = {
        n: request[n] for n in ("ProfilerConfig", "ProfilerRuleConfigurations", "RemoteDebugConfig") if n in request
    }
    if "ResourceConfig" in request:
        if job.state not in STOPPABLE and not pools.available(job.status):
            raise ValidationException(
                f"The training job {job.name} has no warm pool that is Available: KeepAlivePeriodInSeconds cannot be "
                "changed any more."
            )
        changes["ResourceConfig"] = {**job.spec["ResourceConfig"], **request["ResourceConfig"]}
    ctx.tx.rows.save(job, spec={**job.spec, **changes}, due=now())
    return {"TrainingJobArn": job.arn}


@sagemaker.operation
def delete_training_job(ctx: Context, request: Json) -> None:
    """Remove a job that has ended; its name is free again."""
    job = _find(ctx, request["TrainingJobName"])
    if job.state in STOPPABLE:
        raise ValidationException(f"The training job {job.name} is in status {job.state} and cannot be deleted.")
    if pools.available(job.status):
        raise ValidationException(
            f"The training job {job.name} keeps an Available warm pool and cannot be deleted; end the pool first "
            "(UpdateTrainingJob with KeepAlivePeriodInSeconds 0)."
        )
    ctx.tx.rows.delete(job)
