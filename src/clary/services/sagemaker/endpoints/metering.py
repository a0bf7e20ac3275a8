"""CloudWatch's metrics of endpoints: what the fronts counted, and zeros for those that were idle.

Source: AWS, "SageMaker AI metrics in Amazon CloudWatch" (names, units, and which value each request counts as).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import delete, insert, select

from ....clock import now
from ....control.chores import repeated
from ....provider.platform import Platform
from ....store.database import Transaction
from ....store.metrics import MINUTE, MetricKey, MetricRows, Statistics
from ....store.rows import Row
from ....store.schema import metric_file
from .. import fleet as fleets
from .capacity import dimensions

log = logging.getLogger(__name__)

Json = dict[str, Any]
NAMESPACE = "AWS/SageMaker"
PROVISIONED = "ServerlessProvisionedConcurrencyUtilization"
_EVERY_SECONDS = 1.0
_Place = tuple[str, str, tuple[tuple[str, str], ...]]
"""Account, region, dimensions (sorted by name)."""
_FINE = 10
"""Seconds of the grain in which concurrency is kept, for policies that follow it closely."""
_IDLE = ("Invocations", "InvocationsPerInstance")
_IDLE_COPIES = ("Invocations", "InvocationsPerCopy")


def running(platform: Platform) -> AbstractAsyncContextManager[None]:
    """Store metrics while the block runs."""
    folder = platform.settings.folder / "run" / "metrics"
    folder.mkdir(parents=True, exist_ok=True)
    _forget_removed(platform, folder)
    zeroed, followed = int(now()) // MINUTE, int(now()) // _FINE

    def work() -> None:
        nonlocal zeroed, followed
        ingest(platform, folder)
        ten = int(now() - 2) // _FINE
        if ten > followed:
            fine_zeros(platform, (ten - 1) * _FINE)
            followed = ten
        minute = int(now() - 2) // MINUTE
        if minute > zeroed:
            zeros(platform, (minute - 1) * MINUTE)
            zeroed = minute

    return repeated(_EVERY_SECONDS, "storing the endpoints' metrics", work)


def _forget_removed(platform: Platform, folder: Path) -> None:
    """Names of files that a crash let us remove but not forget."""
    with platform.database.write() as tx:
        present = [p.name for p in folder.glob("*.json")]
        tx.connection.execute(delete(metric_file).where(metric_file.c.name.not_in(present)))


def ingest(platform: Platform, folder: Path) -> int:
    """Store what the fronts handed over, each file once; how many files there were."""
    paths = sorted(folder.glob("*.json"))
    for path in paths:
        try:
            document = orjson.loads(path.read_bytes())
            platform.database.attempt(partial(_store, name=path.name, document=document))
            _note_use(platform, document)
        except (ValueError, KeyError):  # cut short, or of a front of another version
            log.warning("the metrics file %s cannot be read; it is removed", path.name)
            path.unlink()
            continue
        path.unlink(missing_ok=True)
        with platform.database.write() as tx:
            tx.connection.execute(delete(metric_file).where(metric_file.c.name == path.name))
    return len(paths)


def _note_use(platform: Platform, document: list[Json]) -> None:
    """Serverless variants keep their instances while they have requests."""
    if (demand := platform.services.get("demand")) is not None:
        for item in document:
            account, region, endpoint, variant, *_ = item["variant"]
            demand.used((account, region, endpoint, variant), now())


def _store(tx: Transaction, name: str, document: list[Json]) -> None:
    if tx.connection.execute(select(metric_file.c.name).where(metric_file.c.name == name)).first():
        return  # stored before a crash kept the file from being removed
    tx.connection.execute(insert(metric_file), {"name": name})
    rows = MetricRows(tx.connection)
    for item in document:
        for part in _dimensions(item["variant"]):
            _add(rows, item, part)
            _add_concurrency(rows, item, part)


def _of_component(place: _Place) -> bool:
    return place[2][0][0] == "InferenceComponentName"


def _concurrency(place: _Place) -> str:
    return "ConcurrentRequestsPerCopy" if _of_component(place) else "ConcurrentRequestsPerModel"


def _add_concurrency(rows: MetricRows, item: Json, place: _Place) -> None:
    """How many requests were under way for each instance or copy; what a component without copies had to refuse."""
    if values := item.get("concurrent"):
        found = Statistics()
        for value in values:
            found.add(value)
        at = int(item.get("second") or item["at"]) // _FINE * _FINE
        rows.add(_key(place, _concurrency(place)), at, "None", found)
    if values := item.get("provisioned"):
        taken, used = Statistics(), Statistics()
        for under_way, kept in values:
            taken.add(float(min(under_way, kept)))
            used.add(min(under_way, kept) / kept)
        rows.add(_key(place, "ServerlessProvisionedConcurrencyExecutions"), item["at"], "Count", taken)
        rows.add(_key(place, PROVISIONED), item["at"], "None", used)
    if (refused := item.get("no_capacity")) and _of_component(place):
        rows.add(_key(place, "NoCapacityInvocationFailures"), item["at"], "None", _ones(float(refused), float(refused)))


def _add(rows: MetricRows, item: Json, place: _Place) -> None:
    """Add what was counted under one set of dimensions."""
    count = float(item["invocations"])
    if not count:
        return
    each = "InvocationsPerCopy" if _of_component(place) else "InvocationsPerInstance"
    for metric, total in (
        ("Invocations", count), (each, item["per_instance"]), ("Invocation4XXErrors", item["client_errors"]), ("Invocation5XXErrors", item["server_errors"]),
        ("InvocationModelErrors", item["model_errors"]),
    ):  # fmt: skip
        rows.add(_key(place, metric), item["at"], "None", _ones(count, float(total)))
    for metric, part in (("ModelLatency", "model"), ("OverheadLatency", "overhead")):
        rows.add(_key(place, metric), item["at"], "Microseconds", _latencies(item[part]))
    if (item.get("setup") or {}).get("count"):
        rows.add(_key(place, "ModelSetupTime"), item["at"], "Microseconds", _latencies(item["setup"]))
    if item.get("cache_hits") or (item.get("loading") or {}).get("count"):
        _add_models(rows, item, place)


def _add_models(rows: MetricRows, item: Json, place: _Place) -> None:
    """What multi-model endpoints report besides."""
    hits, misses = float(item["cache_hits"]), float(item["loading"]["count"])
    rows.add(_key(place, "ModelCacheHit"), item["at"], "None", _ones(hits + misses, hits))
    if (item.get("unloading") or {}).get("count"):
        rows.add(_key(place, "ModelUnloadingTime"), item["at"], "Microseconds", _latencies(item["unloading"]))
    if misses:
        for metric, part in (("ModelLoadingTime", "loading"), ("ModelDownloadingTime", "downloading")):
            rows.add(_key(place, metric), item["at"], "Microseconds", _latencies(item[part]))
        waited = Statistics(
            misses, item["loading"]["total"] + item["downloading"]["total"],
            item["loading"]["low"] + item["downloading"]["low"], item["loading"]["high"] + item["downloading"]["high"],
        )  # fmt: skip
        rows.add(_key(place, "ModelLoadingWaitTime"), item["at"], "Microseconds", waited)
    count = float(item["models"])
    account, region, dimensions = place
    key = MetricKey(account, region, "/aws/sagemaker/Endpoints", "LoadedModelCount", dimensions)
    rows.add(key, item["at"], "None", Statistics(1.0, count, count, count, {count: 1.0}))


def _latencies(found: Json) -> Statistics:
    samples = {float(v): float(n) for v, n in found["samples"]}
    return Statistics(found["count"], found["total"], found["low"], found["high"], samples)


def _ones(count: float, total: float) -> Statistics:
    """Values that are one or zero for each request (or one over the instances): their sum is what matters."""
    value = total / count if count else 0.0
    if value in (0.0, 1.0) or total != int(total):
        return Statistics(count, total, value, value, {value: count})
    return Statistics(count, total, 0.0, 1.0, {0.0: count - total, 1.0: total})


def _dimensions(variant: list[str]) -> Iterator[_Place]:
    """The variant's dimensions; while a deployment moves traffic, also with the configuration of the fleet; for an
    inference component its own.
    """
    account, region, endpoint, name, config, component = variant
    named = (("EndpointName", endpoint), ("VariantName", name))
    if component:
        yield account, region, (("InferenceComponentName", component),)
        return
    yield account, region, named
    if config:
        yield account, region, (("EndpointConfigName", config), *named)


def _key(place: _Place, metric: str) -> MetricKey:
    account, region, dimensions = place
    return MetricKey(account, region, NAMESPACE, metric, dimensions)


def zeros(platform: Platform, minute: int) -> None:
    """Store zeros for the variants that had no requests in a minute: scaling in depends on them."""
    with platform.database.read() as tx:
        every = [*tx.rows.list("Endpoint"), *tx.rows.list("InferenceComponent")]
    rows = [r for r in every if r.state in ("InService", "Updating") and r.created < minute]
    if not rows:
        return
    with platform.database.write() as tx:
        metrics = MetricRows(tx.connection)
        for row in rows:
            component = row.name if row.kind == "InferenceComponent" else ""
            for variant in (row.private.get("current") or {}).get("variants", ()):
                if fleets.empty(variant):
                    continue
                (place,) = _dimensions([row.account, row.region, row.name, variant["VariantName"], "", component])
                for metric in _IDLE_COPIES if component else _IDLE:
                    metrics.ensure_zero(_key(place, metric), minute, "None")
                if (variant.get("Serverless") or {}).get("ProvisionedConcurrency"):
                    metrics.ensure_zero(_key(place, PROVISIONED), minute, "None")


def fine_zeros(platform: Platform, at: int) -> None:
    """Store zeros for ten idle seconds of what a policy follows that closely."""
    with platform.database.read() as tx:
        policies = tx.rows.list("ScalingPolicy")
    places = {place for policy in policies if (place := _followed(policy)) is not None}
    if places:
        with platform.database.write() as tx:
            metrics = MetricRows(tx.connection)
            for place in places:
                metrics.ensure_zero(_key(place, _concurrency(place)), at, "None")


def _followed(policy: Row) -> _Place | None:
    config = policy.spec.get("TargetTrackingScalingPolicyConfiguration") or {}
    kind = (config.get("PredefinedMetricSpecification") or {}).get("PredefinedMetricType", "")
    if not kind.endswith("HighResolution"):
        return None
    found = dimensions(policy.spec["ScalableDimension"], policy.spec["ResourceId"]) or {}
    return policy.account, policy.region, tuple(sorted(found.items()))
