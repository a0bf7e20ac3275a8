"""Chores beside the requests: fresh credentials for the command line, orphaned blobs, emptying accounts in open mode."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

from sqlalchemy import delete, select
from sqlalchemy.exc import SQLAlchemyError

from . import bootstrap, litter
from .clock import now
from .control.chores import repeated
from .provider import once
from .provider.platform import Platform
from .services.ecr import manifests
from .services.sagemaker import own_images, packages
from .store.metrics import MetricRows
from .store.object import load_segments
from .store.rows import Row
from .store.schema import (
    access_key,
    bucket,
    log_event,
    log_stream,
    metric,
    metric_point,
    resource,
    s3_object,
    s3_part,
    s3_upload,
    tag,
)  # fmt: skip

log = logging.getLogger(__name__)

_METRIC_SECONDS = 15 * 86400.0
_CALL_SECONDS = 86400.0
_JOBS = ("TrainingJob", "TransformJob")
_HOSTS = ("InferenceComponent", "Endpoint")
_END_SECONDS = 120.0  # that a reset waits for what has processes
_EVERY_SECONDS = 3600.0
_FAULT_SECONDS = 60.0  # until the chores are tried again that a fault has cut short
_LAST_SECONDS = 15.0  # in which a control before this one has surely ended
_GRACE_SECONDS = 3600.0  # a blob is written before the row that refers to it


def _tidy_up_after_the_last(platform: Platform, began: float) -> None:
    """Remove what a control that died before a moment was making or removing in the folder of runs."""
    for path in (platform.settings.folder / "runs").glob(".*"):
        with contextlib.suppress(FileNotFoundError):
            if path.lstat().st_mtime < began:
                litter.remove(path)


def _tidy(platform: Platform) -> None:
    """Remove what faults of the machine have left."""
    litter.remove_waiting()
    platform.objects.settle()


@contextlib.asynccontextmanager
async def running(platform: Platform) -> AsyncIterator[None]:
    """Do the chores while the block runs."""

    began = now()

    async def work() -> None:
        await asyncio.to_thread(_tidy_up_after_the_last, platform, began)
        await asyncio.sleep(_LAST_SECONDS)
        with contextlib.suppress(OSError, SQLAlchemyError):
            await asyncio.to_thread(sweep_blobs, platform, now() - began)
        while True:
            pause = _FAULT_SECONDS
            with contextlib.suppress(OSError, SQLAlchemyError):
                session = platform.settings.folder / "run" / "session.json"
                await asyncio.to_thread(bootstrap.write_session, platform, session)  # its credentials expire
                await asyncio.to_thread(forget_metrics, platform)
                await asyncio.to_thread(forget_calls, platform)
                removed = await asyncio.to_thread(sweep_blobs, platform, _GRACE_SECONDS)
                if removed:
                    log.info("removed %d blobs that nothing refers to", removed)
                await asyncio.to_thread(sweep_images, platform, _GRACE_SECONDS)
                await asyncio.to_thread(own_images.sweep, platform, platform.settings.packages_days * 86400)
                removed = await asyncio.to_thread(packages.sweep, platform, platform.settings.packages_days * 86400)
                if removed:
                    log.info("removed %d sets of packages that nothing needed lately", removed)
                pause = _EVERY_SECONDS
            await asyncio.sleep(pause)

    task = asyncio.create_task(work())
    try:
        async with repeated(1.0, "tidying up", lambda: _tidy(platform)):
            yield
    finally:
        task.cancel()


def forget_metrics(platform: Platform) -> int:
    """Remove points that are older than CloudWatch keeps points of a minute; how many there were."""
    with platform.database.write() as tx:
        return MetricRows(tx.connection).forget_before(now() - _METRIC_SECONDS)


def forget_calls(platform: Platform) -> None:
    """Forget the answers to call tokens that no sender has asked for in a day."""
    with platform.database.write() as tx:
        once.forget_before(tx, now() - _CALL_SECONDS)


def sweep_blobs(platform: Platform, older_than: float) -> int:
    """Remove blobs of writes that a crash cut off; how many there were."""
    old = list(platform.blobs.older_than(older_than))
    if not old:
        return 0
    used = platform.objects.referenced()
    orphans = [b for b in old if b not in used]
    platform.objects.discard(orphans)
    return len(orphans)


def sweep_images(platform: Platform, older_than: float) -> int:
    """Remove layers that no image has any more, and uploads that nobody goes on with; how many there were."""
    removed = 0
    for account, blobs in platform.services["image-blobs"].every().items():
        with platform.database.read() as tx:
            used = manifests.used(tx, account)
        removed += blobs.sweep(used, older_than)
    return removed


async def reset(platform: Platform, account: str | None) -> int:
    """Empty one account, or all: endpoints and jobs are ended first. The number of resources and buckets removed."""
    await _end_everything(platform, account)
    removed = await asyncio.to_thread(_clear, platform, account)
    await platform.services["functions"].close_absent()
    await asyncio.to_thread(bootstrap.account, platform.database, platform.settings)
    platform.keyring.forget()
    return removed


async def _end_everything(platform: Platform, account: str | None) -> None:
    """Delete what has processes, users before what they use, and wait until it is gone."""

    def ask(kind: str) -> None:
        with platform.database.write() as tx:
            for row in tx.rows.list(kind, account):
                if kind in _JOBS and _runs(row):
                    tx.rows.wish(row, stop=True)
                elif kind in _HOSTS:
                    tx.rows.wish(row, delete=True)
                elif kind == "Stack" and _runs(row):  # a step that is under way would go on making things
                    tx.rows.wish(row, operation={"kind": "delete"})

    def lives(kind: str) -> bool:
        with platform.database.read() as tx:
            return any(kind in _HOSTS or _runs(row) for row in tx.rows.list(kind, account))

    deadline = now() + _END_SECONDS
    for kinds in (("Stack",), (*_JOBS, "InferenceComponent"), ("Endpoint",)):
        for kind in kinds:
            await asyncio.to_thread(ask, kind)
        for kind in kinds:
            while await asyncio.to_thread(lives, kind):
                if now() > deadline:
                    log.warning("a reset goes on although a %s does not end", kind)
                    break
                await asyncio.sleep(0.05)


def _runs(row: Row) -> bool:
    """Whether a job or a stack is under way; a warm pool that waits for its next job is not."""
    if row.kind == "Stack":
        return row.state.endswith("_IN_PROGRESS")
    pooled = (row.status.get("WarmPoolStatus") or {}).get("Status") == "Available"
    return row.state in ("InProgress", "Stopping") or (row.due is not None and not pooled)


def _clear(platform: Platform, account: str | None) -> int:
    orphans: list[str] = []
    with platform.database.write() as tx:
        run = tx.connection.execute

        def own(column: object) -> object:
            return column == account if account else column != "aws"  # the sample files stay

        buckets = [n for (n,) in run(select(bucket.c.name).where(own(bucket.c.account)))]  # type: ignore[arg-type]
        uploads = [i for (i,) in run(select(s3_upload.c.id).where(s3_upload.c.bucket.in_(buckets)))]
        for column, where in (
            (s3_object.c.blobs, s3_object.c.bucket.in_(buckets)),
            (s3_part.c.blobs, s3_part.c.upload.in_(uploads)),
        ):
            for (text,) in run(select(column).where(where)):
                orphans += (s.blob for s in load_segments(text))
        streams = [i for (i,) in run(select(log_stream.c.id).where(own(log_stream.c.account)))]  # type: ignore[arg-type]
        metrics = [i for (i,) in run(select(metric.c.id).where(own(metric.c.account)))]  # type: ignore[arg-type]
        arns = [a for (a,) in run(select(resource.c.arn).where(own(resource.c.account)))]  # type: ignore[arg-type]
        arns += (f"arn:aws:s3:::{name}" for name in buckets)
        removed = len(arns)
        for statement in (
            delete(s3_object).where(s3_object.c.bucket.in_(buckets)),
            delete(s3_part).where(s3_part.c.upload.in_(uploads)),
            delete(s3_upload).where(s3_upload.c.id.in_(uploads)),
            delete(bucket).where(bucket.c.name.in_(buckets)),
            delete(log_event).where(log_event.c.stream.in_(streams)),
            delete(log_stream).where(log_stream.c.id.in_(streams)),
            delete(metric_point).where(metric_point.c.metric.in_(metrics)),
            delete(metric).where(metric.c.id.in_(metrics)),
            delete(tag).where(tag.c.arn.in_(arns)),
            delete(resource).where(own(resource.c.account)),  # type: ignore[arg-type]
            delete(access_key).where(own(access_key.c.account), access_key.c.user_name.is_not(None)),  # type: ignore[arg-type]
        ):
            run(statement)
        tx.after_commit.append(lambda: platform.objects.discard(orphans))
    return removed
