"""Brings what serves from fleets to what was asked for, and keeps its replicas alive: endpoints, inference components."""

from __future__ import annotations

import asyncio
from typing import Any

from ....clock import now
from ....control.activities import Activities
from ....control.loop import Outcome
from ....executors.local import LocalExecutor
from ....provider.platform import Platform
from ....store.rows import Row
from .. import fleet as fleets
from ..failures import without_host_paths
from ..fleet_keeper import LAST_SECONDS, Keeper
from . import deployment
from .machine import Endpoint, Seen, step
from .publish import Publisher, signature

Json = dict[str, Any]


class FleetReconciler:
    """One look and one step at a time; what endpoints and inference components have in common."""

    kind = ""

    def __init__(
        self, platform: Platform, executor: LocalExecutor, activities: Activities, publisher: Publisher, keeper: Keeper
    ):
        self._platform = platform
        self._executor = executor
        self._activities = activities
        self._publisher = publisher
        self._keeper = keeper

    # ---- where they differ -----------------------------------------------------------------------------------------

    async def ahead(self, row: Row, private: Json, endpoint: Endpoint) -> float | None:
        """Before anything is looked at: adapt the present fleet's size; seconds until that should be done again."""
        return None

    async def room(self, row: Row, private: Json) -> tuple[str, str]:
        """Whether the next fleet can be placed: ready, starting (not yet) or failed, and why."""
        return "ready", ""

    def resize(self, row: Row, private: Json) -> None:
        """Carry out a wish for another size."""
        resize(private, "current", row.wish["scale"])

    def growing(self, private: Json) -> bool:
        """Whether the present fleet waits for room."""
        return False

    def status(self, row: Row, private: Json, endpoint: Endpoint, before: Endpoint) -> Json:
        """The status document: what Describe shows besides names and times."""
        raise NotImplementedError

    # ---- a look ----------------------------------------------------------------------------------------------------

    async def reconcile(self, row: Row) -> Outcome:
        """One look and one step."""
        private = dict(row.private)
        under_way = private.get("deployment") or {}
        endpoint = Endpoint(
            row.name, private.get("phase", "Launching"), private.get("current") is not None,
            bool(row.wish.get("delete")), "update" in row.wish, "scale" in row.wish,
            len(under_way.get("stages", ())) - under_way.get("stage", 0), bool(under_way.get("share")),
        )  # fmt: skip
        soonest = await self.ahead(row, private, endpoint)
        if endpoint.phase not in ("Deleting", "Failed") and private.get("current"):
            private["current"], _, again = await self._keeper.tend(row, private["current"], heal=True)
            soonest = min((s for s in (soonest, again) if s is not None), default=None)
        seen = await self._observe(row, private, endpoint)
        decided = step(endpoint, seen)
        private["phase"] = decided.endpoint.phase
        granted: tuple[str, ...] = ()
        for action in decided.do:
            granted += await self._act(action, row, private, seen)
        if decided.gone:
            return Outcome(row.status, private, "Deleting", delete=True)
        status = without_host_paths(self._platform.settings, self.status(row, private, decided.endpoint, endpoint))
        again = decided.again
        if soonest is not None:
            again = soonest if again is None else min(again, soonest)
        return Outcome(status, private, decided.endpoint.status, again, granted=granted)

    # ---- looking ---------------------------------------------------------------------------------------------------

    async def _observe(self, row: Row, private: Json, endpoint: Endpoint) -> Seen:
        launch, error = "starting", ""
        under_way = private.get("deployment")
        if endpoint.phase == "Launching" and not endpoint.delete:
            launch, error = await self._launch(row, private)
        elif endpoint.phase == "Baking":
            private["next"], _, _ = await self._keeper.tend(row, private["next"], heal=True)
        baked = (under_way.get("until") or 0.0) - now() if under_way else 0.0
        trouble = await asyncio.to_thread(self._trouble, row, under_way, endpoint) if under_way else ""
        published = private.get("published", "") == signature(private)
        left = len(private.get("retired", []))
        if endpoint.phase == "Deleting":
            left += sum(1 for part in ("current", "next") if private.get(part))
        scaled = (
            endpoint.phase in ("Scaling", "RollingBack")
            and not self.growing(private)
            and all(
                private["current"]["slots"].get(slot.key, {}).get("ready")
                for slot in fleets.slots(self._platform, row, private["current"])
            )
        )
        return Seen(launch, error, scaled, published, left, baked, trouble)

    def _trouble(self, row: Row, under_way: Json, endpoint: Endpoint) -> str:
        """Why the deployment under way must end: an alarm that is on while the next fleet serves, or too much time."""
        if under_way.get("trouble"):
            return str(under_way["trouble"])
        if endpoint.phase not in ("Launching", "Baking"):
            return ""
        if now() > under_way["deadline"]:
            allowed = under_way["deadline"] - under_way["began"]
            return (
                f"The deployment took longer than MaximumExecutionTimeoutInSeconds ({allowed:.0f}); it was rolled back."
            )
        if not under_way["share"]:
            return ""
        with self._platform.database.read() as tx:
            found = {n: tx.rows.get("Alarm", row.account, row.region, n) for n in under_way["alarms"]}
        if on := [n for n, alarm in found.items() if alarm is not None and alarm.state == "ALARM"]:
            why = next(a.status.get("StateReason", "") for a in found.values() if a is not None and a.state == "ALARM")
            return (
                f"The deployment was rolled back because the CloudWatch alarm(s) {', '.join(on)} went into ALARM state "
                f"while the new fleet was baking. {why}"
            ).strip()
        return ""

    async def _launch(self, row: Row, private: Json) -> tuple[str, str]:
        """Find room for, stage, start and ping the next fleet."""
        state, why = await self.room(row, private)
        if state != "ready":
            return state, why
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
        private["next"], error, _ = await self._keeper.tend(row, upcoming, heal=False)
        if error:
            return "failed", error
        ready = all(s.get("ready") for s in private["next"]["slots"].values())
        return ("ready" if ready else "starting"), ""

    # ---- doing -----------------------------------------------------------------------------------------------------

    async def _act(self, action: str, row: Row, private: Json, seen: Seen) -> tuple[str, ...]:
        match action:
            case "prepare":
                return self.prepare(row, private)
            case "resize":
                self.resize(row, private)
                return ("scale",)
            case "shift":
                private["deployment"] = deployment.shifted(private["deployment"], now())
            case "advance":
                _advance(private)
            case "revert":
                _revert(private, seen.trouble or seen.launch_error)
            case "adopt":
                if private.get("current"):
                    private["retired"] = [*private.get("retired", []), private["current"]]
                private["current"], private["next"], private["deployment"] = private["next"], None, None
            case "abandon":
                self._activities.forget(f"{row.uid}:{private['next']['number']}:models")
                private["retired"] = [*private.get("retired", []), private["next"]]
                private["next"] = private["deployment"] = None
            case "publish":
                await self._publish(row, private)
            case "retire":
                await self._retire(row, private)
            case "sweep":
                base = self._platform.settings.folder / "runs"
                for folder in base.glob(f"ep-{row.uid}-*"):
                    await asyncio.to_thread(self._executor.sweep, folder)
        return ()

    def prepare(self, row: Row, private: Json) -> tuple[str, ...]:
        """Take up a wish for another fleet; what was granted."""
        private["next"], private["deployment"] = row.wish["update"]["fleet"], row.wish["update"]["deployment"]
        private["fleets"] = private["next"]["number"]
        if (first := private["deployment"]["launch"]) is not None:
            private["next"], _ = fleets.resized(private["next"], _counts(first))
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
        grace = self._platform.settings.drain_seconds
        if private["phase"] == "Deleting":
            grace = min(grace, LAST_SECONDS)
            old += [private[part] for part in ("current", "next") if private.get(part)]
            private["current"] = private["next"] = private["deployment"] = None
        for fleet in old:
            if not await self._keeper.ended(row, fleet, grace):
                waiting.append(fleet)
        private["retired"] = waiting


def _counts(counts: dict[str, int]) -> dict[str, Json]:
    return {name: {"Count": count} for name, count in counts.items()}


def resize(private: Json, part: str, wanted: dict[str, Json]) -> None:
    """Change a fleet's weights and counts; the instances that it has no longer are retired."""
    private[part], surplus = fleets.resized(private[part], wanted)
    if surplus is not None:
        private["retired"] = [*private.get("retired", []), surplus]


def _advance(private: Json) -> None:
    """On to the next stage; of a rolling update old instances go and the next batch of new ones comes."""
    before = deployment.present(private["deployment"])
    private["deployment"] = deployment.advanced(private["deployment"])
    stage = deployment.present(private["deployment"])
    if before is not None and "old" in before:
        resize(private, "current", _counts(before["old"]))
    if stage is not None and "new" in stage:
        resize(private, "next", _counts(stage["new"]))


def _revert(private: Json, trouble: str) -> None:
    """All traffic back to the old fleet, and that to its old size."""
    original = private["deployment"]["original"]
    private["deployment"] = {**private["deployment"], "share": 0.0, "trouble": trouble}
    if original:
        resize(private, "current", _counts(original))
