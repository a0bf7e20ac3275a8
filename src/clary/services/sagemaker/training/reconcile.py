"""Brings training jobs to their end: looks at what is, lets the machine decide, acts, records."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

from ....clock import now
from ....control.activities import Activities
from ....control.loop import Outcome, passes
from ....control.shipping import Shipper
from ....executors import files
from ....executors.local import STOPPED, LocalExecutor, Sight, explain
from ....executors.volumes import Volumes
from ....provider.platform import Platform
from ....store.logs import StreamKey
from ....store.rows import Key, Row
from ....store.schema import resource
from ..failures import last_exception, without_host_paths
from ..input_objects import InputError
from ..watching import Watcher
from . import contract, inputs, outputs, pools, volume
from .api import STOPPABLE
from .capacity import Ledger, machine, need
from .machine import BEGINNING, Job, Seen, Verdict, step
from .status import advance, primary, waiting

Json = dict[str, Any]
log = logging.getLogger(__name__)
LOG_GROUP = "/aws/sagemaker/TrainingJobs"


class TrainingReconciler:
    """Training jobs."""

    kind = "TrainingJob"

    def __init__(
        self,
        platform: Platform,
        executor: LocalExecutor,
        activities: Activities,
        shipper: Shipper,
        watcher: Watcher,
        wake: Callable[[Key], None],
    ):
        self._platform = platform
        self._executor = executor
        self._activities = activities
        self._shipper = shipper
        self._watcher = watcher
        self._ledger: Ledger | None = None
        self._volumes = Volumes()
        self._wake = wake

    async def reconcile(self, row: Row) -> Outcome:
        """One look and one step."""
        row = await self._reuse(row)
        job = _job(row)
        all_hosts = contract.hosts(self._platform.settings, row)
        seen, result = await self._observe(row, job, all_hosts)
        decided = step(job, seen, now())
        if decided.job.over and not job.over:
            await self._drain(row, all_hosts)
            if pools.seconds(row):
                await asyncio.to_thread(pools.put_aside, self._platform.settings, row, all_hosts)
        for action in decided.do:
            await self._act(action, row, decided.job, all_hosts)
        status = row.status
        if decided.job.phase != job.phase:
            status = advance(status, decided.job, now(), len(all_hosts), result)
            status = without_host_paths(self._platform.settings, status)
            if decided.job.over:
                status = pools.ended(row, status, decided.job)
        if decided.job.phase == "Pending":
            status = waiting(status, seen.waits)
        again = decided.again
        if pools.available(status):
            status, again = await self._keep(row, status) if job.over else (status, 0)
        elif decided.job.over or decided.job.attempts > job.attempts:
            await self._make_room(row)
        gpus = (await self._capacity()).gpus(row.key)
        return Outcome(status, _private(row, decided.job, gpus), primary(decided.job), again)

    # ---- warm pools ------------------------------------------------------------------------------------------------

    async def _reuse(self, row: Row) -> Row:
        """The row; of a job that finds a pool that suits it, with the pool."""
        ledger = await self._capacity()
        if row.private.get("phase", "Starting") not in BEGINNING or row.wish.get("stop") or row.private.get("pool"):
            return row
        if (before := ledger.reuse(row.key, pools.likeness(row))) is None:
            return row
        if pool := await asyncio.to_thread(pools.claim, self._platform, row, before):
            return replace(row, private={**row.private, "pool": pool})
        await self._make_room(row)
        return row

    async def _keep(self, row: Row, status: Json) -> tuple[Json, float | None]:
        """The status of a pool, and when to look again: it goes when its time is over, or others need the room."""
        ledger = await self._capacity()
        left = pools.left(row, status)
        if left > 0 and ledger.has(row.key):
            for key in ledger.keep(row.key, need(self._platform.settings, row), pools.likeness(row)):
                self._wake(key)
        if left > 0 and ledger.keeps(row.key):
            return status, left
        ledger.drop(row.key)
        await self._make_room(row)
        await asyncio.to_thread(pools.remove, self._platform.settings, row.uid)
        return {**status, "WarmPoolStatus": pools.retained(status, Status="Terminated")}, None

    # ---- looking ---------------------------------------------------------------------------------------------------

    async def _observe(self, row: Row, job: Job, all_hosts: list[contract.Host]) -> tuple[Seen, Json]:
        if job.over:
            return Seen(), {}
        ledger = await self._capacity()
        if job.phase in BEGINNING:
            return Seen(waits="" if job.stop else self._ask(ledger, row)), {}
        ledger.holds(row.key, need(self._platform.settings, row), row.private.get("gpus", ()))
        match job.phase:
            case "Downloading":
                return self._see_inputs(row), {}
            case "Training" | "Stopping" | "Interrupting":
                return await asyncio.to_thread(self._see_run, row, all_hosts), {}
            case "Uploading":
                found = self._activities.see(f"{row.uid}:outputs")
                error = _told(found.error) if found.error else ""
                return Seen(outputs=found.state, outputs_error=error), found.result or {}
        return Seen(), {}

    def _ask(self, ledger: Ledger, row: Row) -> str:
        """What a job waits for; one that gets its room may end pools that had it."""
        waits = ledger.ask(row.key, row.created, need(self._platform.settings, row))
        for key in () if waits else ledger.crowded():
            self._wake(key)
        return waits

    async def _capacity(self) -> Ledger:
        """The ledger; when control has just started, with the jobs that run already and the pools that are kept."""
        if self._ledger is None:
            running, kept = await asyncio.to_thread(self._running)
            if self._ledger is None:
                self._ledger = Ledger(machine(self._platform.settings))
                for row in running:
                    self._ledger.holds(row.key, need(self._platform.settings, row), row.private.get("gpus", ()))
                for row in kept:
                    self._ledger.keep(row.key, need(self._platform.settings, row), pools.likeness(row))
        return self._ledger

    def _running(self) -> tuple[list[Row], list[Row]]:
        """Jobs that have their room, and those that ended whose room is kept."""
        with self._platform.database.read() as tx:
            query = tx.rows.query("TrainingJob")
            rows = tx.rows.fetch(query.where(resource.c.state.in_(STOPPABLE)))
            over = tx.rows.fetch(query.where(resource.c.state.not_in(STOPPABLE), resource.c.due.is_not(None)))
        kept = sorted((r for r in over if pools.available(r.status)), key=lambda r: r.modified)
        wanted = {r.uid for r in kept} | {r.private["pool"]["uid"] for r in rows if r.private.get("pool")}
        pools.sweep(self._platform.settings, wanted)
        return [r for r in rows if r.private.get("phase", "Starting") not in BEGINNING], kept

    async def _make_room(self, row: Row) -> None:
        if self._ledger is not None:
            for key in self._ledger.release(row.key):
                self._wake(key)

    def _see_inputs(self, row: Row) -> Seen:
        found = self._activities.see(f"{row.uid}:inputs")
        return Seen(inputs=found.state, inputs_error=_told(found.error) if found.error else "")

    def _see_run(self, row: Row, all_hosts: list[contract.Host]) -> Seen:
        """The job's processes as one: it runs while all run, fails when one fails, is done when all are."""
        sights = [self._executor.see(h.folder) for h in all_hosts]
        for host, sight in zip(all_hosts, sights, strict=True):
            if full := volume.told(row, host):
                return Seen(run="failed", run_error=full)
            if sight.state == "vanished":
                if (host.folder / STOPPED).exists():
                    text = "The platform was stopped while the job ran. Start the job again."
                else:
                    text = (
                        f"The process of {host.name} ended without leaving its exit status (it or its supervisor was "
                        f"killed from outside). Its log: {LOG_GROUP} {contract.log_stream(row, host)}"
                    )
                return Seen(run="vanished", run_error=f"InternalServerError: {text}")
            if sight.state == "exited" and sight.code:
                return Seen(run="failed", run_error=volume.told_of_failure(row, host) or self._why(row, host, sight))
        if any(s.state == "running" for s in sights):
            for host, sight in zip(all_hosts, sights, strict=True):
                if sight.pid:
                    self._watcher.watch(row.key, host.folder, sight.pid)
            # a process that has its lock but has not written its id yet cannot be watched: look again soon
            return Seen(run="running", watched=all(s.pid or s.state != "running" for s in sights))
        return Seen(run="exited" if all(s.state == "exited" for s in sights) else "absent")

    def _why(self, row: Row, host: contract.Host, sight: Sight) -> str:
        """The reason of a failure: the failure file, else the last exception of the log, and the exit code in words."""
        ending = explain(sight.code, sight.out_of_memory)
        text = files.read_text(host.ml, "output/failure", 1024).strip()
        if not text:
            text = last_exception(files.read_text_tail(host.folder / "log", 16 << 10))
        where = f" on {host.name}" if len(contract.hosts(self._platform.settings, row)) > 1 else ""
        prefix = "" if text.startswith(("AlgorithmError", "ClientError", "InternalServerError")) else "AlgorithmError: "
        tail = f", {ending}{where}"
        log = f". Log: {LOG_GROUP}/{contract.log_stream(row, host)}"
        return prefix + text[: 1024 - len(prefix) - len(tail) - len(log)] + tail + log

    # ---- doing -----------------------------------------------------------------------------------------------------

    async def _act(self, action: str, row: Row, job: Job, all_hosts: list[contract.Host]) -> None:
        match action:
            case "stage":
                self._activities.start(f"{row.uid}:inputs", lambda cancel: inputs.stage(self._platform, row, cancel))
            case "abandon":
                self._activities.forget(f"{row.uid}:inputs")
            case "start":
                await self._start(row, all_hosts)
            case "follow":
                await self._follow(row, all_hosts)
            case "stop":
                for host in all_hosts:
                    await asyncio.to_thread(self._executor.stop, host.folder, self._platform.settings.stop_seconds)
            case "upload":
                await self._upload(row, job, all_hosts)
            case "discard":
                await self._discard(row, all_hosts)
            case "sweep":
                await self._sweep(row, all_hosts)

    async def _start(self, row: Row, all_hosts: list[contract.Host]) -> None:
        self._activities.forget(f"{row.uid}:inputs")
        for host in all_hosts:
            spec = await asyncio.to_thread(contract.process, self._platform, row, all_hosts, host)
            await asyncio.to_thread(self._executor.start, spec)
        await self._follow(row, all_hosts)

    async def _follow(self, row: Row, all_hosts: list[contract.Host]) -> None:
        """Ship the hosts' logs, mirror their checkpoints."""
        for host in all_hosts:
            key = StreamKey(row.account, row.region, LOG_GROUP, contract.log_stream(row, host))
            await self._shipper.follow(host.folder / "log", key)
        self._volumes.watch(row.uid, volume.of_hosts(row, all_hosts))
        if row.spec.get("CheckpointConfig"):
            self._activities.start(f"{row.uid}:checkpoints", lambda cancel: self._mirror(row, all_hosts, cancel))

    def _mirror(self, row: Row, all_hosts: list[contract.Host], cancel: threading.Event) -> None:
        mirrors = [outputs.Mirror(self._platform, row, h) for h in all_hosts]
        while not cancel.wait(1.0):
            for mirror in mirrors:
                try:
                    mirror.sync()
                except Exception as error:  # a full disk, say: the next round stores it, at the latest the job's end
                    if not passes(error):
                        raise
                    log.warning("the checkpoints of %s are not in S3 yet: %s", row.name, error)

    async def _upload(self, row: Row, job: Job, all_hosts: list[contract.Host]) -> None:
        for host in all_hosts:  # of several hosts one may have failed while the others still run
            await asyncio.to_thread(self._executor.kill, host.folder)
        self._activities.forget(f"{row.uid}:checkpoints")
        self._volumes.forget(row.uid)
        await self._drain(row, all_hosts)
        keep = job.verdict is not None and job.verdict.phase != "Failed"
        self._activities.start(f"{row.uid}:outputs", lambda cancel: outputs.upload(self._platform, row, keep, cancel))

    async def _discard(self, row: Row, all_hosts: list[contract.Host]) -> None:
        """An attempt is over: its checkpoints and its log are kept, everything else goes."""
        for host in all_hosts:
            await asyncio.to_thread(self._executor.kill, host.folder)
        self._activities.forget(f"{row.uid}:checkpoints")
        self._volumes.forget(row.uid)
        await self._drain(row, all_hosts)
        if row.spec.get("CheckpointConfig"):
            for host in all_hosts:
                if host.folder.exists():
                    await asyncio.to_thread(outputs.Mirror(self._platform, row, host).sync)
        await self._sweep(row, all_hosts)

    async def _drain(self, row: Row, all_hosts: list[contract.Host]) -> None:
        """Everything that was printed is stored before the job's end is known."""
        for host in all_hosts:
            if (host.folder / "log").exists():
                key = StreamKey(row.account, row.region, LOG_GROUP, contract.log_stream(row, host))
                await self._shipper.follow(host.folder / "log", key)
                await self._shipper.drain(host.folder / "log")

    async def _sweep(self, row: Row, all_hosts: list[contract.Host]) -> None:
        self._volumes.forget(row.uid)
        for part in ("inputs", "outputs", "checkpoints"):
            self._activities.forget(f"{row.uid}:{part}")
        root = all_hosts[0].folder.parent
        await asyncio.to_thread(self._executor.sweep, root)


def _job(row: Row) -> Job:
    private = row.private
    verdict, limits = private.get("verdict"), row.spec.get("StoppingCondition", {})
    return Job(
        row.name, private.get("phase", "Starting"), bool(row.wish.get("stop")), private.get("began"),
        float(limits.get("MaxRuntimeInSeconds", 86400)), Verdict(**verdict) if verdict else None,
        int(row.wish.get("interrupt", 0)), private.get("interruptions", 0), private.get("attempts", 0),
        int((row.spec.get("RetryStrategy") or {}).get("MaximumRetryAttempts", 0)), private.get("ran", 0.0),
        row.created + limits["MaxWaitTimeInSeconds"] if "MaxWaitTimeInSeconds" in limits else None,
    )  # fmt: skip


def _private(row: Row, job: Job, gpus: Sequence[int]) -> Json:
    found: Json = {"phase": job.phase, "began": job.began, "verdict": asdict(job.verdict) if job.verdict else None}
    if gpus:
        found["gpus"] = list(gpus)
    if "pool" in row.private:
        found["pool"] = row.private["pool"]
    if job.attempts:
        found |= {"attempts": job.attempts, "interruptions": job.interruptions, "ran": job.ran}
    return found


def _told(error: BaseException) -> str:
    if isinstance(error, (InputError, outputs.OutputError)):
        return str(error)
    return f"InternalServerError: {type(error).__name__}: {error}"
