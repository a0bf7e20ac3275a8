"""Endpoints: what differs from other things that serve from fleets, and what Describe shows of them."""

from __future__ import annotations

import asyncio
from typing import Any

from ....control.activities import Activities
from ....control.shipping import Shipper
from ....executors.local import LocalExecutor
from ....provider.platform import Platform
from ....store.rows import Row
from .. import fleet as fleets
from ..components import hosting
from ..fleet_keeper import Keeper
from ..watching import Watcher
from . import deployment
from .lifecycle import FleetReconciler, resize
from .machine import Endpoint
from .publish import Publisher, signature
from .serverless import Demand

Json = dict[str, Any]


_MANAGED_SECONDS = 2.0

_SHOWN = (
    "ProductionVariants",
    "ShadowProductionVariants",
    "PendingDeploymentSummary",
    "DataCaptureConfig",
    "AsyncInferenceConfig",
)


def log_group(name: str) -> str:
    """The log group of an endpoint."""
    return f"/aws/sagemaker/Endpoints/{name}"


def _subject(slot: fleets.Slot) -> str:
    name = slot.container["ContainerHostname"]
    return f"The {name} container for production variant {slot.variant['VariantName']}"


class EndpointReconciler(FleetReconciler):
    """Endpoints."""

    kind = "Endpoint"

    def __init__(
        self,
        platform: Platform,
        executor: LocalExecutor,
        activities: Activities,
        shipper: Shipper,
        watcher: Watcher,
        publisher: Publisher,
        demand: Demand,
    ):
        keeper = Keeper(platform, executor, shipper, watcher, lambda row: log_group(row.name), _subject)
        super().__init__(platform, executor, activities, publisher, keeper)
        self._demand = demand

    async def ahead(self, row: Row, private: Json, endpoint: Endpoint) -> float | None:
        """Serverless variants follow their requests, managed ones their inference components."""
        if endpoint.phase != "InService":
            return None
        if any(fleets.empty(v) for v in private["current"]["variants"]):
            managed = any(hosting.most(v) for v in private["current"]["variants"])
            if managed and (counts := await asyncio.to_thread(hosting.counts, self._platform, row)):
                resize(private, "current", counts)
            return _MANAGED_SECONDS if managed else None
        return self._follow_demand(row, private)

    def _follow_demand(self, row: Row, private: Json) -> float | None:
        """Give serverless variants the instances that they need now; seconds until that should be looked at again."""
        counts: dict[str, Json] = {}
        serverless = [v for v in private["current"]["variants"] if v.get("Serverless")]
        for variant in serverless:
            key = (row.account, row.region, row.name, variant["VariantName"])
            idle = self._platform.settings.serverless_idle_seconds
            count = self._demand.count(row.uid, key, variant, row.modified, idle)
            if count != variant["Count"]:
                counts[variant["VariantName"]] = {"Count": count}
        if counts:
            resize(private, "current", counts)
        return min(5.0, self._platform.settings.serverless_idle_seconds) if serverless else None

    def status(self, row: Row, private: Json, endpoint: Endpoint, before: Endpoint) -> Json:
        """What Describe shows besides names and times."""
        return _status(row, private, endpoint, before)


def _status(row: Row, private: Json, endpoint: Endpoint, before: Endpoint) -> Json:
    status = {k: v for k, v in row.status.items() if k not in _SHOWN}
    status["EndpointStatus"] = endpoint.status
    current = private.get("current")
    upcoming = private.get("next")
    if current is not None:
        status["EndpointConfigName"] = current["config"]
        _show(status, current)
        if (capture := current.get("capture")) is not None:
            status["DataCaptureConfig"] = {
                "EnableCapture": capture.get("EnableCapture", False),
                "CaptureStatus": "Started" if capture.get("EnableCapture") else "Stopped",
                "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
                "DestinationS3Uri": capture["DestinationS3Uri"], "KmsKeyId": capture.get("KmsKeyId", ""),
            }  # fmt: skip
        if (asynchronous := current.get("async")) is not None:
            status["AsyncInferenceConfig"] = asynchronous
        if upcoming is not None:
            under_way = private["deployment"]
            status["PendingDeploymentSummary"] = {
                "EndpointConfigName": upcoming["config"], "StartTime": under_way["began"],
            }  # fmt: skip
            _show(status["PendingDeploymentSummary"], upcoming)
            for variant in status["PendingDeploymentSummary"]["ProductionVariants"]:
                active, count = (
                    private.get("published", "") == signature(private),
                    variant.get("DesiredInstanceCount", 1),
                )
                variant["VariantStatus"] = [deployment.variant_status(under_way, count, active)]
    if endpoint.reason:
        status["FailureReason"] = endpoint.reason[:1024]
    elif before.phase == "Activating":
        status.pop("FailureReason", None)
    return status


def _show(document: Json, fleet: Json) -> None:
    """Put a fleet's variants into a document, those that serve and those that shadow them."""
    document["ProductionVariants"] = [_variant(v, fleet) for v in fleet["variants"] if not v.get("Shadow")]
    if shadows := [_variant(v, fleet) for v in fleet["variants"] if v.get("Shadow")]:
        document["ShadowProductionVariants"] = shadows


def _variant(variant: Json, fleet: Json) -> Json:
    parts: dict[str, list[bool]] = {}
    for key, slot in fleet["slots"].items():
        parts.setdefault(key.partition("/")[0], []).append(bool(slot.get("ready")))
    size, name = len(variant["Containers"]), variant["VariantName"]
    ready = sum(len(p) == size and all(p) for key, p in parts.items() if key.rpartition("-")[0] == name)
    if fleets.empty(variant):
        shown = {
            "VariantName": name, "CurrentWeight": variant["Weight"], "DesiredWeight": variant["Weight"],
            "CurrentInstanceCount": variant["Count"], "DesiredInstanceCount": variant["Count"],
        }  # fmt: skip
        return {**shown, **({"ManagedInstanceScaling": variant["Managed"]} if variant.get("Managed") else {})}
    if (config := variant.get("Serverless")) is not None:
        capacity = {"CurrentServerlessConfig": config, "DesiredServerlessConfig": config}
    else:
        capacity = {"CurrentInstanceCount": ready, "DesiredInstanceCount": variant["Count"]}
    return {
        "VariantName": variant["VariantName"],
        "DeployedImages": fleets.deployed_images(variant, fleet),
        "CurrentWeight": variant["Weight"], "DesiredWeight": variant["Weight"],
        **capacity,
    }  # fmt: skip
