"""Keeps the processes of a fleet: starts them, pings them, replaces those that died, ends them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from ...clock import now
from ...control.shipping import Shipper
from ...executors import files
from ...executors.local import LocalExecutor, Sight, explain
from ...executors.volumes import Volume, Volumes, full
from ...provider.platform import Platform
from ...store.logs import StreamKey
from ...store.rows import Row
from . import fleet as fleets
from . import own_images
from .failures import last_exception
from .watching import Watcher

log = logging.getLogger(__name__)

Json = dict[str, Any]
_QUICK_DEATH = 10.0
LAST_SECONDS = 30.0
"""What AWS gives a container between SIGTERM and SIGKILL; enough where nobody waits for its answers."""


class Keeper:
    """Keeps fleets of one kind of row. ``log_group`` names where their logs go, ``subject`` a slot in its failures."""

    def __init__(
        self,
        platform: Platform,
        executor: LocalExecutor,
        shipper: Shipper,
        watcher: Watcher,
        log_group: Callable[[Row], str],
        subject: Callable[[fleets.Slot], str],
    ):
        self._platform = platform
        self._executor = executor
        self._shipper = shipper
        self._watcher = watcher
        self._log_group = log_group
        self._subject = subject
        self._volumes = Volumes()

    async def tend(self, row: Row, fleet: Json, heal: bool) -> tuple[Json, str, float | None]:
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
                log.warning("replica %s of %s %s ended: %s", slot.key, row.kind, row.name, explain(sight.code))
                fleet = await self._replace(row, fleet, slot, state)
                soonest = 0.02
            else:
                return fleet, self._unhealthy(row, fleet, slot, sight), None
        return fleet, "", soonest

    async def _answers(self, slot: fleets.Slot) -> bool:
        return slot.socket.exists() and await asyncio.to_thread(fleets.ping, slot.socket)

    def _unhealthy(self, row: Row, fleet: Json, slot: fleets.Slot, sight: Sight | None) -> str:
        """Why a replica did not come up: AWS's sentence, then the real cause."""
        text = (
            f"{self._subject(slot)} did not pass the ping health check. Please check CloudWatch logs for this "
            f"{'endpoint' if row.kind == 'Endpoint' else 'job'}."
        )
        tail = last_exception(files.read_text_tail(slot.folder / "log", 16 << 10))
        if tail:
            text += f" Its last words: {tail}"
        if found := full(slot.folder):
            text += f" (No space left on device: it wrote {found / 2**30:.2f} GiB)"
        elif sight is not None and sight.state == "exited":
            text += f" ({explain(sight.code, sight.out_of_memory)})"
        elif sight is not None:
            text += " (its process was killed from outside)"
        else:
            seconds = slot.variant.get("StartupSeconds") or self._platform.settings.startup_seconds
            text += f" (it did not answer its ping within {seconds:.0f} s)"
        return f"{text}. Log: {self._log_group(row)}/{fleets.log_stream(row, fleet, slot)}"[:1024]

    async def _start(self, row: Row, fleet: Json, slot: fleets.Slot) -> Json:
        spec = await asyncio.to_thread(fleets.process, self._platform, row, fleet, slot)
        await asyncio.to_thread(self._executor.start, spec)
        await self._follow(row, fleet, slot)
        if slot.key in fleet["slots"]:
            return fleet
        return fleets.started(fleet, slot, own_images.digest_of(spec))

    async def _follow(self, row: Row, fleet: Json, slot: fleets.Slot) -> None:
        stream = fleets.log_stream(row, fleet, slot)
        if not self._volumes.watches(str(slot.folder)):
            self._volumes.watch(
                str(slot.folder), [Volume(slot.folder, (slot.folder,), fleets.volume_bytes(slot.variant))]
            )
        await self._shipper.follow(
            slot.folder / "log", StreamKey(row.account, row.region, self._log_group(row), stream)
        )

    async def _replace(self, row: Row, fleet: Json, slot: fleets.Slot, state: Json) -> Json:
        """A new process in a dead one's place; one that dies quickly again waits longer each time."""
        self._volumes.forget(str(slot.folder))
        await self._shipper.drain(slot.folder / "log")
        await asyncio.to_thread(self._executor.sweep, slot.folder)
        quick = now() - state["since"] < _QUICK_DEATH
        failures = state.get("failures", 0) + 1 if quick else 0
        wait = min(30.0, 0.25 * 2**failures) if failures > 1 else 0.0
        key, attempt = slot.key, slot.attempt + 1
        return fleets.changed(
            fleet, key, attempt=attempt, ready=False, since=now() + wait, failures=failures, retry_at=now() + wait
        )

    async def ended(self, row: Row, fleet: Json, grace: float) -> bool:
        """Ask a fleet's processes to finish within ``grace`` seconds; True once they have, and its folder is removed."""
        ended = True
        for slot in fleets.slots(self._platform, row, fleet):
            sight = await asyncio.to_thread(self._executor.see, slot.folder)
            if sight.state == "running":
                await asyncio.to_thread(self._executor.stop, slot.folder, grace)
                self._watcher.watch(row.key, slot.folder, sight.pid)
                ended = False
            else:
                await self._shipper.drain(slot.folder / "log")
        for slot in fleets.slots(self._platform, row, fleet) if ended else ():
            self._volumes.forget(str(slot.folder))
        if ended and fleet.get("partial"):  # the others of its folder go on
            for slot in fleets.slots(self._platform, row, fleet):
                await asyncio.to_thread(self._executor.sweep, slot.folder)
        elif ended:
            await asyncio.to_thread(self._executor.sweep, fleets.root(self._platform, row, fleet))
        return ended
