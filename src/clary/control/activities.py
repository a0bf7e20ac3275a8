"""Slow work beside the loop – copying inputs, packing outputs – that a reconciler starts and later asks about.

Nothing of it is durable: after a crash it is absent, and its owner starts it again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any


class Cancelled(Exception):
    """The owner no longer wants the result."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an activity is."""

    state: str  # absent, running, done or failed
    result: Any = None
    error: BaseException | None = None


class Activities:
    """Work by name; one piece of a name at a time."""

    def __init__(self, finished: Callable[[str], None], threads: int = 64):
        self._pool = ThreadPoolExecutor(threads, "activity")
        self._finished = finished
        self._running: dict[str, tuple[Future[Any], threading.Event]] = {}

    def start(self, name: str, work: Callable[[threading.Event], Any]) -> None:
        """Begin unless it runs; ``work`` gets an event that is set when it should give up."""
        if name in self._running:
            return
        cancel = threading.Event()
        future = self._pool.submit(work, cancel)
        self._running[name] = (future, cancel)
        future.add_done_callback(lambda _: self._finished(name))

    def see(self, name: str) -> Progress:
        """How far a piece of work is."""
        if name not in self._running:
            return Progress("absent")
        future, _ = self._running[name]
        if not future.done():
            return Progress("running")
        if future.cancelled():
            return Progress("absent")
        error = future.exception()
        return Progress("failed", error=error) if error else Progress("done", future.result())

    def forget(self, name: str) -> None:
        """Drop a piece of work; a running one is told to give up."""
        if (found := self._running.pop(name, None)) is not None:
            found[1].set()
            found[0].cancel()

    def close(self) -> None:
        """Tell everything to give up."""
        for name in list(self._running):
            self.forget(name)
        self._pool.shutdown(wait=False, cancel_futures=True)
