"""Warm pools: the room of a job that ended is kept for the next one that asks for the same, with what it cached.

A pool is the previous job's row, its place in the ledger, and the folder of what its hosts left in
``/opt/ml/sagemaker/warmpoolcache``. It never makes anybody wait: a job that needs its room gets it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .... import litter
from ....clock import now
from ....provider.platform import Platform
from ....settings import Settings
from ....store.rows import Key, Row
from .contract import Host
from .machine import Job

Json = dict[str, Any]
CACHE = "sagemaker/warmpoolcache"  # under /opt/ml
_LONGEST_CHAIN = 28 * 86400.0
_EQUAL = ("RoleArn", "VpcConfig", "EnableInterContainerTrafficEncryption", "EnableNetworkIsolation")
_EQUAL_RESOURCES = ("InstanceCount", "InstanceType", "VolumeSizeInGB", "VolumeKmsKeyId")


def seconds(row: Row) -> float:
    """How long a job's instances are to be kept after it; 0 when they are not."""
    return float(row.spec.get("ResourceConfig", {}).get("KeepAlivePeriodInSeconds") or 0)


def likeness(row: Row) -> str:
    """What a job must have in common with a pool: equal texts match. Empty when a job can have none."""
    resources = row.spec.get("ResourceConfig", {})
    if "InstanceType" not in resources or row.spec.get("EnableManagedSpotTraining"):
        return ""
    alike = [row.account, row.region, *(row.spec.get(n) for n in _EQUAL), *(resources.get(n) for n in _EQUAL_RESOURCES)]
    return json.dumps(alike, sort_keys=True)


def ended(row: Row, status: Json, job: Job) -> Json:
    """The status of a job that is over, with that of its pool."""
    reason = job.verdict.reason if job.verdict is not None else ""
    launched = job.began is not None and not reason.startswith("InternalServerError")
    if seconds(row) and launched:
        return {**status, "WarmPoolStatus": {"Status": "Available", "ResourceRetainedBillableTimeInSeconds": 0}}
    if row.private.get("pool"):
        return {**status, "WarmPoolStatus": {"Status": "Terminated", "ResourceRetainedBillableTimeInSeconds": 0}}
    return status


def available(status: Json) -> bool:
    """Whether a job that is over has a pool that waits for another."""
    return bool(status.get("WarmPoolStatus", {}).get("Status") == "Available")


def left(row: Row, status: Json) -> float:
    """Seconds that a pool is still kept."""
    since = row.private.get("pool", {}).get("since", row.created)
    end = status.get("TrainingEndTime", row.modified)
    return float(min(end + seconds(row), since + _LONGEST_CHAIN) - now())


def retained(status: Json, **changes: Any) -> Json:
    """A pool's part of the status, with the time for which it was kept until now."""
    kept = max(0, round(now() - status.get("TrainingEndTime", now())))
    return {**status["WarmPoolStatus"], "ResourceRetainedBillableTimeInSeconds": kept, **changes}


def claim(platform: Platform, row: Row, previous: Key) -> Json:
    """Write down, in both rows at once, that a job goes on in the pool of another. Empty when the pool is gone."""
    with platform.database.write() as tx:
        before, mine = tx.rows.get(*previous), tx.rows.get(*row.key)
        if before is None or mine is None or not available(before.status):
            return {}
        pool = {"uid": before.uid, "since": before.private.get("pool", {}).get("since", before.created)}
        reused = retained(before.status, Status="Reused", ReusedByJob=row.name)
        tx.rows.save(before, status={**before.status, "WarmPoolStatus": reused}, due=None)
        using = {"Status": "InUse", "ResourceRetainedBillableTimeInSeconds": 0}
        tx.rows.save(mine, status={**mine.status, "WarmPoolStatus": using}, private={**mine.private, "pool": pool})
    return pool


# ---- what the hosts cached -------------------------------------------------------------------------------------------


def put_aside(settings: Settings, row: Row, hosts: Iterable[Host]) -> None:
    """Keep the caches of a job that has ended; links that it may have left in their place are not followed."""
    for host in hosts:
        where = host.ml / CACHE
        if where.is_dir() and not any(p.is_symlink() for p in (where, where.parent, host.ml)) and any(where.iterdir()):
            aside = folder(settings, row.uid) / host.name
            aside.parent.mkdir(parents=True, exist_ok=True)
            if not aside.exists():
                os.rename(where, aside)


def take(settings: Settings, row: Row, hosts: Iterable[Host]) -> None:
    """Give a job's hosts the caches of the pool that it uses, or empty ones."""
    pool = row.private.get("pool", {}).get("uid", "")
    for host in hosts:
        where = host.ml / CACHE
        where.parent.mkdir(parents=True, exist_ok=True)
        if pool and (aside := folder(settings, pool) / host.name).is_dir():
            os.rename(aside, where)
        where.mkdir(exist_ok=True)
    if pool:
        remove(settings, pool)


def remove(settings: Settings, uid: str) -> None:
    """A pool's caches are needed no more."""
    litter.remove(folder(settings, uid))


def folder(settings: Settings, uid: str) -> Path:
    """Where the caches of a job's pool lie."""
    return settings.folder / "pools" / uid


def sweep(settings: Settings, wanted: set[str]) -> None:
    """Remove caches that nobody will ask for: what a killed control process left."""
    root = settings.folder / "pools"
    for each in root.iterdir() if root.is_dir() else ():
        if each.name not in wanted:
            litter.remove(each)
