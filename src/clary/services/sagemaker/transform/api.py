"""Transform jobs: the operations."""

from __future__ import annotations

from typing import Any

from ....clock import now
from ....provider.context import Context
from ....provider.errors import ResourceInUse, ValidationException
from ....provider.pages import page
from ....store.object import split_uri
from ....store.rows import Row
from .. import fleet, models, sagemaker, tags
from . import processing
from .execution import MAX_TOGETHER_MB

Json = dict[str, Any]
STOPPABLE = ("InProgress", "Stopping")


def _find(ctx: Context, name: str) -> Row:
    if (found := ctx.get("TransformJob", name)) is None:
        raise ValidationException(f"Could not find requested job with name: {name}")
    return found


@sagemaker.operation
def create_transform_job(ctx: Context, request: Json) -> Json:
    """Accept a job; the reconciler runs it."""
    name = request["TransformJobName"]
    arn = ctx.arn("sagemaker", f"transform-job/{name.lower()}")
    if ctx.get("TransformJob", name) is not None:
        raise ResourceInUse(
            f"Job name must be unique within an AWS account and region, and a job with this name already exists ({arn})"
        )
    model = models.find(ctx, request["ModelName"])
    spec = {k: v for k, v in request.items() if k != "Tags"}
    _check(spec, model)
    resources = spec["TransformResources"]
    variant = fleet.variant(name, model, resources["InstanceType"], resources["InstanceCount"])
    variant["Containers"] = [
        {**c, "Environment": {**(c.get("Environment") or {}), **environment(spec)}} for c in variant["Containers"]
    ]
    at = now()
    private = {"fleet": {"number": 0, "config": name, "variants": [variant], "slots": {}}}
    row = Row("TransformJob", ctx.account, ctx.region, name, arn, spec, {"TransformJobStatus": "InProgress"}, private)
    ctx.tx.rows.add(
        Row(
            row.kind, row.account, row.region, name, arn, spec, row.status, private, state="InProgress", created=at,
            due=at,
        )
    )  # fmt: skip
    tags.put(ctx, arn, request.get("Tags"))
    return {"TransformJobArn": arn}


def environment(spec: Json) -> dict[str, str]:
    """What a job's containers are told besides the model's own environment; the job's values win."""
    told = {"SAGEMAKER_BATCH": "true"}
    for member, variable in (
        ("MaxPayloadInMB", "SAGEMAKER_MAX_PAYLOAD_IN_MB"),
        ("MaxConcurrentTransforms", "SAGEMAKER_MAX_CONCURRENT_TRANSFORMS"),
    ):
        if member in spec:
            told[variable] = str(spec[member])
    if strategy := spec.get("BatchStrategy"):
        told["SAGEMAKER_BATCH_STRATEGY"] = {"SingleRecord": "SINGLE_RECORD", "MultiRecord": "MULTI_RECORD"}[strategy]
    return {**told, **(spec.get("Environment") or {})}


def _check(spec: Json, model: Row) -> None:
    """What AWS refuses although each value alone is valid."""
    if (model.spec.get("InferenceExecutionConfig") or {}).get("Mode") == "Direct":
        raise ValidationException(
            f"Batch transform needs a model whose containers run in Serial mode; {model.name} runs them in Direct mode."
        )
    if any(c.get("Mode") == "MultiModel" for c in models.containers(model)):
        raise ValidationException(f"Batch transform does not take multi-model containers; model {model.name} has one.")
    for where, uri in (
        ("TransformInput.DataSource.S3DataSource.S3Uri", _source(spec)["S3Uri"]),
        ("TransformOutput.S3OutputPath", spec["TransformOutput"]["S3OutputPath"]),
    ):
        try:
            split_uri(uri)
        except ValueError as error:
            raise ValidationException(f"{where}: {error}.") from None
    payload, together = spec.get("MaxPayloadInMB", 6), spec.get("MaxConcurrentTransforms", 1)
    if payload * together > MAX_TOGETHER_MB:
        raise ValidationException(
            f"MaxConcurrentTransforms * MaxPayloadInMB must not exceed {MAX_TOGETHER_MB} MB, it is {payload * together}."
        )
    if spec.get("BatchStrategy") == "SingleRecord" and spec["TransformInput"].get("SplitType", "None") == "None":
        raise ValidationException("BatchStrategy SingleRecord needs a SplitType other than None.")
    if (trouble := processing.check(spec)) is not None:
        raise ValidationException(trouble)


def _source(spec: Json) -> Json:
    source: Json | None = spec["TransformInput"]["DataSource"].get("S3DataSource")
    if source is None:
        raise ValidationException("TransformInput.DataSource needs an S3DataSource.")
    return source


@sagemaker.held(lambda ctx, answer: _until(ctx, answer))
def describe_transform_job(ctx: Context, request: Json) -> Json:
    """A job as it is."""
    return shown(_find(ctx, request["TransformJobName"]))


def _until(ctx: Context, answer: Json) -> float | None:
    """While a young job runs, its description waits for the end."""
    if answer["TransformJobStatus"] not in STOPPABLE:
        return None
    return float(answer["CreationTime"]) + ctx.platform.settings.hold_seconds


def shown(row: Row) -> Json:
    """A job as Describe shows it."""
    return {**row.view(), "TransformJobName": row.name, "TransformJobArn": row.arn, "CreationTime": row.created}


@sagemaker.operation
def list_transform_jobs(ctx: Context, request: Json) -> Json:
    """Jobs by page."""
    rows, more = page(ctx, "TransformJob", request)
    return {"TransformJobSummaries": [_summary(r) for r in rows], **more}


def _summary(row: Row) -> Json:
    shown_too: Json = {k: row.status[k] for k in ("TransformEndTime", "FailureReason") if k in row.status}
    return {
        "TransformJobName": row.name, "TransformJobArn": row.arn, "CreationTime": row.created,
        "LastModifiedTime": row.modified, "TransformJobStatus": row.state, **shown_too,
    }  # fmt: skip


@sagemaker.operation
def stop_transform_job(ctx: Context, request: Json) -> None:
    """Ask a running job to end; the reconciler does the rest."""
    job = _find(ctx, request["TransformJobName"])
    if job.state not in STOPPABLE:
        raise ValidationException(f"The request was rejected because the transform job is in status {job.state}.")
    ctx.tx.rows.wish(job, stop=True)
