"""Brings endpoints to what was asked for, and keeps their replicas alive."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ....clock import now
from ....control.activities import Activities
from ....control.loop import Outcome
from ....control.shipping import Shipper
from ....executors import files
from ....executors.local import LocalExecutor, Sight, explain
from ....provider.platform import Platform
from ....store.logs import StreamKey
from ....store.rows import Row
from ..training.reconcile import last_exception
from ..watching import Watcher
from . import fleet as fleets
from .machine import Endpoint, Seen, step
from .publish import Publisher, signature

log = logging.getLogger(__name__)

Json = dict[str, Any]
_QUICK_DEATH = 10.0


def log_group(name: str) -> str:
    """The log group of an endpoint."""
    return f"/aws/sagemaker/Endpoints/{name}"


class EndpointReconciler:
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
    ):
        self._platform = platform
        self._executor = executor
        self._activities = activities
        self._shipper = shipper
        self._watcher = watcher
        self._publisher = publisher

    async def reconcile(self, row: Row) -> Outcome:
        """One look and one step."""
        private = dict(row.private)
        endpoint = Endpoint(
            row.name, private.get("phase", "Launching"), private.get("current") is not None,
            bool(row.wish.get("delete")), "update" in row.wish, "",
        )  # fmt: skip
        soonest: float | None = None
        if endpoint.phase not in ("Deleting", "Failed") and private.get("current"):
            private["current"], _, soonest = await self._tend(row, private["current"], heal=True)
        seen = await self._observe(row, private, endpoint)
        decided = step(endpoint, seen)
        private["phase"] = decided.endpoint.phase
        granted: tuple[str, ...] = ()
        for action in decided.do:
            granted += await self._act(action, row, private)
        if decided.gone:
            return Outcome(row.status, private, "Deleting", delete=True)
        if endpoint.phase == "Deleting":
            private["current"] = None
        status = _status(row, private, decided.endpoint, endpoint)
        again = decided.again
        if soonest is not None:
            again = soonest if again is None else min(again, soonest)
        return Outcome(status, private, decided.endpoint.status, again, granted=granted)

    # ---- looking ---------------------------------------------------------------------------------------------------

    async def _observe(self, row: Row, private: Json, endpoint: Endpoint) -> Seen:
        launch, error = "starting", ""
        if endpoint.phase == "Launching" and not endpoint.delete:
            launch, error = await self._launch(row, private)
        published = private.get("published", "") == signature(private)
        left = len(private.get("retired", []))
        if endpoint.phase == "Deleting":
            left += sum(1 for part in ("current", "next") if private.get(part))
        return Seen(launch, error, published, left)

    async def _launch(self, row: Row, private: Json) -> tuple[str, str]:
        """Stage, start and ping the next fleet."""
        upcoming = private["next"]
        name = f"{row.uid}:{upcoming['number']}:models"
        found = self._activities.see(name)
        if found.state == "failed":
            assert found.error is not None
            known = isinstance(found.error, fleets.ArtifactError)
            return "failed", str(found.error) if known else f"{type(found.error).__name__}: {found.error}"
        if found.state == "absent" and not upcoming.get("staged"):
            self._activities.start(name, lambda cancel: fleets.stage(self._platform, row, upcoming, cancel))
            return "starting", ""
        if found.state == "running":
            return "starting", ""
        upcoming["staged"] = True
        private["next"], error, _ = await self._tend(row, upcoming, heal=False)
        if error:
            return "failed", error
        ready = all(s.get("ready") for s in private["next"]["slots"].values())
        return ("ready" if ready else "starting"), ""

    async def _tend(self, row: Row, fleet: Json, heal: bool) -> tuple[Json, str, float | None]:
        """Start what is missing, ping what starts, replace what died (``heal``) or say why it did."""
        soonest: float | None = None
        for slot in list(fleets.slots(self._platform, row, fleet)):
            state = fleet["slots"].get(slot.key)
            if state is None:
                fleet = await self._start(row, fleet, slot)
                soonest = 0.02
                continue
            if state.get("retry_at", 0) > now():
                soonest = min(soonest or 60.0, state["retry_at"] - now())
                continue
            sight = await asyncio.to_thread(self._executor.see, slot.folder)
            await self._follow(row, fleet, slot)
            if sight.state == "absent":
                fleet = await self._start(row, fleet, slot)
                soonest = 0.02
            elif sight.state == "running":
                self._watcher.watch(row.key, slot.folder, sight.pid)
                if not state.get("ready"):
                    if await self._answers(slot):
                        fleet = fleets.changed(fleet, slot.key, ready=True, failures=0)
                    elif now() - state["since"] > (
                        slot.variant.get("StartupSeconds") or self._platform.settings.startup_seconds
                    ):
                        reason = self._unhealthy(row, fleet, slot, None)
                        if not heal:
                            return fleet, reason, None
                        fleet = await self._replace(row, fleet, slot, state)
                        soonest = 0.1
                    else:
                        soonest = min(soonest or 60.0, 0.02 if now() - state["since"] < 3 else 0.25)
            elif heal:
                log.warning("replica %s of endpoint %s ended: %s", slot.key, row.name, explain(sight.code))
                fleet = await self._replace(row, fleet, slot, state)
                soonest = 0.02
            else:
                return fleet, self._unhealthy(row, fleet, slot, sight), None
        return fleet, "", soonest

    async def _answers(self, slot: fleets.Slot) -> bool:
        return slot.socket.exists() and await asyncio.to_thread(fleets.ping, slot.socket)

    def _unhealthy(self, row: Row, fleet: Json, slot: fleets.Slot, sight: Sight | None) -> str:
        """Why a replica did not come up: AWS's sentence, then the real cause."""
        name = slot.variant["VariantName"]
        text = (
            f"The primary container for production variant {name} did not pass the ping health check. Please check "
            "CloudWatch logs for this endpoint."
        )
        tail = last_exception(files.read_text_tail(slot.folder / "log", 16 << 10))
        if tail:
            text += f" Its last words: {tail}"
        if sight is not None and sight.state == "exited":
            text += f" ({explain(sight.code, sight.out_of_memory)})"
        return f"{text}. Log: {log_group(row.name)}/{fleets.log_stream(row, fleet, slot)}"[:1024]

    # ---- doing -----------------------------------------------------------------------------------------------------

    async def _start(self, row: Row, fleet: Json, slot: fleets.Slot) -> Json:
        spec = await asyncio.to_thread(fleets.process, self._platform, row, fleet, slot)
        await asyncio.to_thread(self._executor.start, spec)
        await self._follow(row, fleet, slot)
        if slot.key in fleet["slots"]:
            return fleet
        return fleets.started(fleet, slot)

    async def _follow(self, row: Row, fleet: Json, slot: fleets.Slot) -> None:
        stream = fleets.log_stream(row, fleet, slot)
        await self._shipper.follow(slot.folder / "log", StreamKey(row.account, row.region, log_group(row.name), stream))

    async def _replace(self, row: Row, fleet: Json, slot: fleets.Slot, state: Json) -> Json:
        """A new process in a dead one's place; one that dies quickly again waits longer each time."""
        await self._shipper.drain(slot.folder / "log")
        await asyncio.to_thread(self._executor.sweep, slot.folder)
        quick = now() - state["since"] < _QUICK_DEATH
        failures = state.get("failures", 0) + 1 if quick else 0
        wait = min(30.0, 0.25 * 2**failures) if failures > 1 else 0.0
        key, attempt = slot.key, slot.attempt + 1
        return fleets.changed(
            fleet, key, attempt=attempt, ready=False, since=now() + wait, failures=failures, retry_at=now() + wait
        )

    async def _act(self, action: str, row: Row, private: Json) -> tuple[str, ...]:
        match action:
            case "prepare":
                return self._prepare(row, private)
            case "adopt":
                if private.get("current"):
                    private["retired"] = [*private.get("retired", []), private["current"]]
                private["current"], private["next"] = private["next"], None
            case "abandon":
                self._activities.forget(f"{row.uid}:{private['next']['number']}:models")
                private["retired"] = [*private.get("retired", []), private["next"]]
                private["next"] = None
            case "publish":
                await self._publish(row, private)
            case "retire":
                await self._retire(row, private)
            case "sweep":
                base = self._platform.settings.folder / "runs"
                for folder in base.glob(f"ep-{row.uid}-*"):
                    await asyncio.to_thread(self._executor.sweep, folder)
        return ()

    def _prepare(self, row: Row, private: Json) -> tuple[str, ...]:
        private["next"] = row.wish["update"]["fleet"]
        return ("update",)

    async def _publish(self, row: Row, private: Json) -> None:
        """Record first, then tell: the table is built from what is on disk."""

        def save() -> None:
            with self._platform.database.write() as tx:
                fresh = tx.rows.get(*row.key)
                if fresh is not None:
                    tx.rows.save(fresh, private=private, modified=fresh.modified)

        await asyncio.to_thread(save)
        await self._publisher.publish()
        private["published"] = signature(private)

    async def _retire(self, row: Row, private: Json) -> None:
        """Ask old replicas to finish what they have; forget fleets whose processes are gone."""
        waiting: list[Json] = []
        old = list(private.get("retired", []))
        if private["phase"] == "Deleting":
            old += [private[part] for part in ("current", "next") if private.get(part)]
            private["current"] = private["next"] = None
        for fleet in old:
            if not await self._ended(row, fleet):
                waiting.append(fleet)
        private["retired"] = waiting

    async def _ended(self, row: Row, fleet: Json) -> bool:
        ended = True
        for slot in fleets.slots(self._platform, row, fleet):
            sight = await asyncio.to_thread(self._executor.see, slot.folder)
            if sight.state == "running":
                await asyncio.to_thread(self._executor.stop, slot.folder, self._platform.settings.drain_seconds)
                self._watcher.watch(row.key, slot.folder, sight.pid)
                ended = False
            else:
                await self._shipper.drain(slot.folder / "log")
        if ended:
            await asyncio.to_thread(self._executor.sweep, fleets.root(self._platform, row, fleet))
        return ended


def _status(row: Row, private: Json, endpoint: Endpoint, before: Endpoint) -> Json:
    """The status document: what Describe shows besides names and times."""
    status = {k: v for k, v in row.status.items() if k not in ("ProductionVariants", "PendingDeploymentSummary")}
    status["EndpointStatus"] = endpoint.status
    current = private.get("current")
    upcoming = private.get("next")
    if current is not None:
        status["EndpointConfigName"] = current["config"]
        status["ProductionVariants"] = [_variant(v, current) for v in current["variants"]]
        if upcoming is not None:
            status["PendingDeploymentSummary"] = {
                "EndpointConfigName": upcoming["config"],
                "ProductionVariants": [_variant(v, upcoming) for v in upcoming["variants"]],
                "StartTime": row.modified,
            }
    if endpoint.reason:
        status["FailureReason"] = endpoint.reason[:1024]
    elif before.phase == "Activating":
        status.pop("FailureReason", None)
    return status


def _variant(variant: Json, fleet: Json) -> Json:
    ready = sum(
        1 for k, s in fleet["slots"].items() if s.get("ready") and k.rpartition("-")[0] == variant["VariantName"]
    )
    image = variant["Container"]["Image"]
    return {
        "VariantName": variant["VariantName"],
        "DeployedImages": [{"SpecifiedImage": image, "ResolvedImage": image, "ResolutionTime": now()}],
        "CurrentWeight": variant["Weight"], "DesiredWeight": variant["Weight"],
        "CurrentInstanceCount": ready, "DesiredInstanceCount": variant["Count"],
    }  # fmt: skip
