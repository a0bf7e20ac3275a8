"""Which models of multi-model endpoints lie ready for their replicas; control is asked for one that does not yet.

What was fetched once is remembered, so a model that is in use needs no control plane. Control is told which models were
not asked for the longest, so that it can remove them where room is short, and says which it has removed.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import orjson

FETCH_SECONDS = 60.0
"""A request waits that long for its model; it goes on being fetched after that."""
_AGAIN_SECONDS = 0.2
_OFFERED = 64
"""Models that control may remove for a new one."""

Key = tuple[str, str, str]
"""A fleet, a variant of it and a model's name."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """How asking ended: the model's id in its replicas, or why there is none."""

    id: str = ""
    error: str = ""
    seconds: float = 0.0
    gone: list[str] = field(default_factory=list)  # the ids of models that were removed for it


class _Ready:
    """A model that lies ready."""

    __slots__ = ("id", "used")

    def __init__(self, number: str):
        self.id = number
        self.used = time.monotonic()


class Library:
    """The models of the fleets in the present table. A fleet is named by its endpoint's id and its number."""

    def __init__(self, path: Path):
        self._path = path
        self._ready: dict[Key, _Ready] = {}
        self._asked: dict[Key, list[Callable[[Fetched], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, fleet: str, variant: str, model: str) -> str | None:
        """A model's id, if it lies ready."""
        found = self._ready.get((fleet, variant, model))
        if found is None:
            return None
        found.used = time.monotonic()
        return found.id

    def lost(self, fleet: str, variant: str, model: str) -> None:
        """A replica has not found a model's files: it is fetched again."""
        self._ready.pop((fleet, variant, model), None)

    def fetch(self, fleet: str, variant: str, model: str, done: Callable[[Fetched], None]) -> None:
        """Have a model fetched; ``done`` is called once."""
        key = (fleet, variant, model)
        waiting = self._asked.get(key)
        if waiting is not None:
            waiting.append(done)
            return
        self._asked[key] = [done]
        task = asyncio.get_running_loop().create_task(self._ask(key))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def keep(self, fleets: set[str]) -> None:
        """Forget what belongs to fleets that are no more."""
        if any(key[0] not in fleets for key in self._ready):
            self._ready = {key: found for key, found in self._ready.items() if key[0] in fleets}

    async def _ask(self, key: Key) -> None:
        found = Fetched(error="NotReady")
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                while (answer := await self._answer(key)) is None:  # noqa: ASYNC110  # control is away: nobody could tell
                    await asyncio.sleep(_AGAIN_SECONDS)
                found = answer
        except TimeoutError:
            pass
        if found.id:
            self._remove(key, set(found.gone))
            self._ready[key] = _Ready(found.id)
        for done in self._asked.pop(key):
            done(found)

    def _idle(self, key: Key) -> list[str]:
        """The ids of a variant's models that were not asked for the longest."""
        ready = [found for its, found in self._ready.items() if its[:2] == key[:2] and its != key]
        return [found.id for found in heapq.nsmallest(_OFFERED, ready, key=lambda found: found.used)]

    def _remove(self, key: Key, gone: set[str]) -> None:
        if gone:
            left = {its: found for its, found in self._ready.items() if its[:2] != key[:2] or found.id not in gone}
            self._ready = left

    async def _answer(self, key: Key) -> Fetched | None:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._path))
        except OSError:
            return None
        try:
            writer.write(orjson.dumps([*key, self._idle(key)]) + b"\n")
            line = await reader.readline()
            return Fetched(**orjson.loads(line)) if line else None
        except (OSError, ValueError):
            return None
        finally:
            writer.close()
