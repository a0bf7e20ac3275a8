"""Hears which rows changed and wakes whoever waits for them."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from ..store.rows import Key


class Signals:
    """Waiters by row. ``notify`` may be called from any thread; the rest belongs to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop):
        self._loop = loop
        self._waiters: dict[Key, set[asyncio.Event]] = defaultdict(set)
        self.kinds: set[str] = set()
        self.work = asyncio.Event()
        """There may be work on rows of ``kinds``."""

    def notify(self, keys: list[Key]) -> None:
        """Some rows were committed."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, list(keys))

    def _tell(self, keys: list[Key]) -> None:
        for key in keys:
            if key.kind in self.kinds:
                self.work.set()
            for event in self._waiters.get(key, ()):
                event.set()

    def watch(self, key: Key) -> Watch:
        """A watch on one row; use it as a context manager, look at the row, then wait."""
        return Watch(self, key)

    def add(self, key: Key, event: asyncio.Event) -> None:
        """Set an event at each change of a row."""
        self._waiters[key].add(event)

    def remove(self, key: Key, event: asyncio.Event) -> None:
        """Forget an event."""
        self._waiters[key].discard(event)
        if not self._waiters[key]:
            del self._waiters[key]


class Watch:
    """Sees every change of a row from the moment it is entered."""

    def __init__(self, signals: Signals, key: Key):
        self._signals = signals
        self._key = key
        self._event = asyncio.Event()

    def __enter__(self) -> Watch:
        self._signals.add(self._key, self._event)
        return self

    def __exit__(self, *_: object) -> None:
        self._signals.remove(self._key, self._event)

    async def change(self, timeout: float) -> bool:
        """Wait for the next change; False when none came in time."""
        try:
            await asyncio.wait_for(self._event.wait(), timeout)
        except TimeoutError:
            return False
        self._event.clear()
        return True
