"""The APIs that can be called, read once and kept until one of them changes."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ...provider.platform import Platform
from ...store.rows import Key, Row

Live = TypeVar("Live")


class Lives(Generic[Live]):
    """Rows of one kind by name (ids are unique over accounts and regions), each made into what serves it."""

    def __init__(self, platform: Platform, kind: str, make: Callable[[Row], Live]):
        self._platform = platform
        self._kind = kind
        self._make = make
        self._known: dict[str, Live] | None = None
        self._stale: set[str] = set()
        self._lock = threading.Lock()
        platform.database.listeners.append(self._changed)

    def _changed(self, keys: list[Key]) -> None:
        names = {k.name for k in keys if k.kind == self._kind}
        if names:
            with self._lock:
                self._stale |= names

    async def find(self, name: str) -> Live | None:
        """What serves an API; None when there is none of that id."""
        if self._known is None or name in self._stale:
            await asyncio.to_thread(self._read)
        assert self._known is not None
        return self._known.get(name)

    def _read(self) -> None:
        with self._lock:
            stale, self._stale = self._stale, set()
        try:
            with self._platform.database.read() as tx:
                rows = tx.rows.list(self._kind)
        except BaseException:  # the database is away: what changed is still to be read
            with self._lock:
                self._stale |= stale
            raise
        known = dict(self._known or {})
        for row in rows:
            if row.name not in known or row.name in stale:
                known[row.name] = self._make(row)
        present = {r.name for r in rows}
        self._known = {name: live for name, live in known.items() if name in present}
