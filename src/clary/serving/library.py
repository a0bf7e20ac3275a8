"""Which models of multi-model endpoints lie ready for their replicas; control is asked for one that does not yet.

What was fetched once is remembered, so a model that is in use needs no control plane.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import orjson

FETCH_SECONDS = 60.0
"""A request waits that long for its model; it goes on being fetched after that."""
_AGAIN_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Fetched:
    """How asking ended: the model's id in its replicas, or why there is none."""

    id: str = ""
    error: str = ""
    seconds: float = 0.0


class Library:
    """The models of the fleets in the present table. A fleet is named by its endpoint's id and its number."""

    def __init__(self, path: Path):
        self._path = path
        self._ready: dict[tuple[str, str, str], str] = {}
        self._asked: dict[tuple[str, str, str], list[Callable[[Fetched], None]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def find(self, fleet: str, variant: str, model: str) -> str | None:
        """A model's id, if it lies ready."""
        return self._ready.get((fleet, variant, model))

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

    async def _ask(self, key: tuple[str, str, str]) -> None:
        found = Fetched(error="NotReady")
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                while (answer := await self._answer(key)) is None:  # noqa: ASYNC110  # control is away: nobody could tell
                    await asyncio.sleep(_AGAIN_SECONDS)
                found = answer
        except TimeoutError:
            pass
        if found.id:
            self._ready[key] = found.id
        for done in self._asked.pop(key):
            done(found)

    async def _answer(self, key: tuple[str, str, str]) -> Fetched | None:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._path))
        except OSError:
            return None
        try:
            writer.write(orjson.dumps(key) + b"\n")
            line = await reader.readline()
            return Fetched(**orjson.loads(line)) if line else None
        except (OSError, ValueError):
            return None
        finally:
            writer.close()
