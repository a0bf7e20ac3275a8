"""CloudWatch's instance metrics: what the processes of endpoints and jobs use, as AWS names it.

Source: AWS, "SageMaker AI jobs and endpoint metrics". Percent of a core and of the instance type's memory.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from ...clock import now
from ...control.chores import repeated
from ...executors.local import LocalExecutor
from ...executors.usage import Meter
from ...provider.platform import Platform
from ...store.database import Transaction
from ...store.metrics import MINUTE, MetricKey, MetricRows, Statistics
from ...store.rows import Row
from ...store.schema import resource
from . import fleet as fleets
from .components import hosting
from .instances import instance, memory_limit
from .training import contract

_EVERY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Place:
    """A process that is measured, and the metrics that are its."""

    pid: int
    account: str
    region: str
    namespace: str
    dimensions: tuple[tuple[str, str], ...]
    memory_bytes: int
    disk: bool = True
    cores: float = 0.0  # given where the metrics are normalized: a percentage of what the process was allotted


def running(platform: Platform) -> AbstractAsyncContextManager[None]:
    """Measure while the block runs."""
    meter, executor = Meter(), LocalExecutor(platform.settings.folder / "run")
    return repeated(_EVERY_SECONDS, "measuring the instances", lambda: measure(platform, executor, meter))


def measure(platform: Platform, executor: LocalExecutor, meter: Meter) -> None:
    """One look at every process."""
    with platform.database.read() as tx:
        places = list(_places(platform, executor, tx))
    usages = meter.look([p.pid for p in places]) if places else {}
    measured = [(place, usages[place.pid]) for place in places if place.pid in usages]
    if not measured:
        return
    disk = shutil.disk_usage(platform.settings.folder)
    at = int(now()) // MINUTE * MINUTE
    with platform.database.write() as tx:
        rows = MetricRows(tx.connection)
        for place, usage in measured:
            suffix = "Normalized" if place.cores else ""
            values = {
                f"CPUUtilization{suffix}": usage.processor_percent / (place.cores or 1),
                f"MemoryUtilization{suffix}": usage.memory_bytes / place.memory_bytes * 100,
            }
            if place.disk:
                values["DiskUtilization"] = disk.used / disk.total * 100
            for name, value in values.items():
                found = Statistics()
                found.add(round(value, 3))
                key = MetricKey(place.account, place.region, place.namespace, name, place.dimensions)
                rows.add(key, at, "Percent", found)


def _places(platform: Platform, executor: LocalExecutor, tx: Transaction) -> Iterator[_Place]:
    for row in tx.rows.list("Endpoint"):
        for part in ("current", "next"):
            if (its := row.private.get(part)) is not None:
                yield from _of_endpoint(platform, executor, row, its)
    for row in tx.rows.list("InferenceComponent"):
        if (its := row.private.get("current")) is not None:
            yield from _of_component(platform, executor, row, its)
    for row in _busy(tx, "TrainingJob"):
        for host in contract.hosts(platform.settings, row):
            if pid := executor.see(host.folder).pid:
                dimensions = (("Host", f"{row.name}/{host.name}"),)
                yield _Place(
                    pid, row.account, row.region, "/aws/sagemaker/TrainingJobs", dimensions,
                    memory_limit(host.instance_type),
                )  # fmt: skip
    for row in _busy(tx, "TransformJob"):
        its = row.private["fleet"]
        for slot in fleets.slots(platform, row, its):
            if pid := executor.see(slot.folder).pid:
                dimensions = (("Host", f"{row.name}/{fleets.instance_id(row, its, slot)}"),)
                yield _Place(
                    pid, row.account, row.region, "/aws/sagemaker/TransformJobs", dimensions,
                    fleets.memory(slot.variant), False,
                )  # fmt: skip


def _busy(tx: Transaction, kind: str) -> list[Row]:
    return tx.rows.fetch(tx.rows.query(kind).where(resource.c.state.in_(("InProgress", "Stopping"))))


def _of_endpoint(platform: Platform, executor: LocalExecutor, row: Row, its: fleets.Json) -> Iterator[_Place]:
    for slot in fleets.slots(platform, row, its):
        if its["slots"].get(slot.key, {}).get("ready") and (pid := executor.see(slot.folder).pid):
            dimensions = (("EndpointName", row.name), ("VariantName", slot.variant["VariantName"]))
            yield _Place(
                pid, row.account, row.region, "/aws/sagemaker/Endpoints", dimensions, fleets.memory(slot.variant)
            )


def _of_component(platform: Platform, executor: LocalExecutor, row: Row, its: fleets.Json) -> Iterator[_Place]:
    wanted = hosting.need(hosting.specification(row))
    dimensions = (("InferenceComponentName", row.name),)
    for slot in fleets.slots(platform, row, its):
        if its["slots"].get(slot.key, {}).get("ready") and (pid := executor.see(slot.folder).pid):
            cores = wanted.cores or instance(slot.variant["InstanceType"]).cores
            yield _Place(
                pid, row.account, row.region, "/aws/sagemaker/InferenceComponents", dimensions,
                int(wanted.memory) << 20, False, cores,
            )  # fmt: skip
