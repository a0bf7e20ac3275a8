"""Brings inference components to what was asked for: room on the endpoint's instances, then a fleet of copies."""

from __future__ import annotations

import asyncio
from typing import Any

from ....control.activities import Activities
from ....control.shipping import Shipper
from ....executors.local import LocalExecutor
from ....provider.platform import Platform
from ....store.rows import Key, Row
from .. import fleet as fleets
from ..endpoints.lifecycle import FleetReconciler, resize
from ..endpoints.machine import Endpoint
from ..endpoints.publish import Publisher
from ..fleet_keeper import Keeper
from ..watching import Watcher
from . import hosting

Json = dict[str, Any]
_AGAIN_SECONDS = 2.0


def log_group(name: str) -> str:
    """The log group of an inference component."""
    return f"/aws/sagemaker/InferenceComponents/{name}"


def _subject(slot: fleets.Slot) -> str:
    return f"The container of copy {slot.index} on production variant {slot.variant['VariantName']}"


class ComponentReconciler(FleetReconciler):
    """Inference components."""

    kind = "InferenceComponent"

    def __init__(
        self,
        platform: Platform,
        executor: LocalExecutor,
        activities: Activities,
        shipper: Shipper,
        watcher: Watcher,
        publisher: Publisher,
    ):
        keeper = Keeper(platform, executor, shipper, watcher, lambda row: log_group(row.name), _subject)
        super().__init__(platform, executor, activities, publisher, keeper)

    async def ahead(self, row: Row, private: Json, endpoint: Endpoint) -> float | None:
        """As many copies run as have a place; the others wait for one."""
        if endpoint.phase not in ("InService", "Scaling") or endpoint.update or endpoint.delete:
            return None
        claim = await self._claim(row, private, hosting.specification(row), private["copies"])
        if claim.endpoint == "":
            return _AGAIN_SECONDS
        private["growing"], private["shortage"] = claim.waits, claim.shortage
        resize(private, "current", _count(private["current"], len(claim.instances)))
        return _AGAIN_SECONDS if claim.shortage else None

    async def room(self, row: Row, private: Json) -> tuple[str, str]:
        """The copies of the next fleet may take the places of those that they replace."""
        if private["next"].get("placed"):
            return "ready", ""
        specification = private["next"]["specification"]
        claim = await self._claim(row, private, specification, private["copies"])
        if claim.waits:
            return "starting", ""
        if claim.shortage:
            return "failed", claim.shortage
        private["next"]["placed"] = True
        return "ready", ""

    async def _claim(self, row: Row, private: Json, specification: Json, copies: int) -> hosting.Claim:
        claim = await asyncio.to_thread(
            self._platform.database.attempt, lambda tx: hosting.claim(tx, row, private, specification, copies)
        )
        if claim.waits:
            self._wake_endpoint(row)
        return claim

    def _wake_endpoint(self, row: Row) -> None:
        self._platform.services["engine"].wake(Key("Endpoint", row.account, row.region, row.spec["EndpointName"]))

    def prepare(self, row: Row, private: Json) -> tuple[str, ...]:
        """An update says how many copies the next fleet has."""
        private["copies"] = row.wish["update"]["copies"]
        return super().prepare(row, private)

    def resize(self, row: Row, private: Json) -> None:
        """Another number of copies; ``ahead`` finds them a place."""
        private["copies"] = row.wish["scale"]["copies"]
        private["growing"] = True

    def growing(self, private: Json) -> bool:
        """Whether copies wait for an instance that may come."""
        return bool(private.get("growing"))

    def status(self, row: Row, private: Json, endpoint: Endpoint, before: Endpoint) -> Json:
        """What Describe shows besides names and times."""
        state = "Updating" if endpoint.status == "RollingBack" else endpoint.status
        parts = [private[name] for name in ("current", "next") if private.get(name)]
        ready = sum(bool(s.get("ready")) for fleet in parts for s in fleet["slots"].values())
        ready = min(ready, private["copies"])
        status = {
            **row.status, "InferenceComponentStatus": state,
            "RuntimeConfig": {"DesiredCopyCount": private["copies"], "CurrentCopyCount": ready},
        }  # fmt: skip
        reason = endpoint.reason or (private.get("shortage", "") if endpoint.phase == "InService" else "")
        if reason:
            status["FailureReason"] = reason[:1024]
        elif before.phase in ("Activating", "Scaling") or (row.private.get("shortage") and not private.get("shortage")):
            status.pop("FailureReason", None)
        return status


def _count(fleet: Json, count: int) -> dict[str, Json]:
    return {fleet["variants"][0]["VariantName"]: {"Count": count}}
