"""Brings transform jobs to their end: looks at what is, lets the machine decide, acts, records."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ....clock import now
from ....control.activities import Activities
from ....control.loop import Outcome
from ....control.shipping import Shipper
from ....executors.local import LocalExecutor
from ....provider.platform import Platform
from ....store.rows import Row
from .. import fleet as fleets
from ..failures import without_host_paths
from ..fleet_keeper import LAST_SECONDS, Keeper
from ..watching import Watcher
from . import work
from .machine import Job, Seen, Verdict, step

Json = dict[str, Any]


class TransformReconciler:
    """Transform jobs."""

    kind = "TransformJob"

    def __init__(
        self, platform: Platform, executor: LocalExecutor, activities: Activities, shipper: Shipper, watcher: Watcher
    ):
        self._platform = platform
        self._activities = activities
        self._keeper = Keeper(
            platform,
            executor,
            shipper,
            watcher,
            lambda row: work.LOG_GROUP,
            lambda slot: "AlgorithmError: The container",
        )

    async def reconcile(self, row: Row) -> Outcome:
        """One look and one step."""
        private = dict(row.private)
        verdict = private.get("verdict")
        job = Job(
            row.name,
            private.get("phase", "Starting"),
            bool(row.wish.get("stop")),
            Verdict(**verdict) if verdict else None,
        )
        seen = await self._observe(row, private, job)
        decided = step(job, seen)
        for action in decided.do:
            self._act(action, row, private)
        private["phase"] = decided.job.phase
        private["verdict"] = asdict(decided.job.verdict) if decided.job.verdict else None
        status = without_host_paths(self._platform.settings, _status(row, decided.job))
        return Outcome(status, private, status["TransformJobStatus"], decided.again)

    async def _observe(self, row: Row, private: Json, job: Job) -> Seen:
        match job.phase:
            case "Starting":
                found = self._activities.see(f"{row.uid}:model")
                return Seen(model=found.state, error=_told(found.error))
            case "Launching":
                private["fleet"], error, _ = await self._keeper.tend(row, private["fleet"], heal=False)
                ready = all(s.get("ready") for s in private["fleet"]["slots"].values())
                return Seen(fleet="failed" if error else "ready" if ready else "starting", error=error)
            case "Transforming":
                private["fleet"], _, _ = await self._keeper.tend(row, private["fleet"], heal=True)
                found = self._activities.see(f"{row.uid}:work")
                return Seen(work=found.state, error=_told(found.error))
            case "Ending":
                return Seen(ended=await self._keeper.ended(row, private["fleet"], LAST_SECONDS))
        return Seen()

    def _act(self, action: str, row: Row, private: Json) -> None:
        match action:
            case "stage":
                fleet = private["fleet"]
                self._activities.start(
                    f"{row.uid}:model", lambda cancel: fleets.stage(self._platform, row, fleet, cancel)
                )
            case "work":
                self._activities.start(f"{row.uid}:work", lambda cancel: work.run(self._platform, row, cancel))
            case "abandon" | "sweep":
                for part in ("model", "work"):
                    self._activities.forget(f"{row.uid}:{part}")


def _told(error: BaseException | None) -> str:
    if error is None:
        return ""
    if isinstance(error, work.TransformError):
        return str(error)
    if isinstance(error, fleets.ArtifactError):
        return f"ClientError: {error}"
    return f"InternalServerError: {type(error).__name__}: {error}"[:1024]


def _status(row: Row, job: Job) -> Json:
    status = dict(row.status)
    before = status.get("TransformJobStatus")
    status["TransformJobStatus"] = job.phase if job.over else "Stopping" if job.stop else "InProgress"
    if job.phase != "Starting":
        status.setdefault("TransformStartTime", now())
    if job.over and before != job.phase:
        status["TransformEndTime"] = now()
        if job.verdict is not None and job.verdict.reason:
            status["FailureReason"] = job.verdict.reason[:1024]
    return status
