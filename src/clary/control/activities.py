"""Slow work beside the loop – copying inputs, packing outputs – that a reconciler starts and later asks about.

Nothing of it is durable: after a crash it is absent, and its owner starts it again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from ..faults import is_fault


class Cancelled(Exception):
    """The owner no longer wants the result."""


log = logging.getLogger(__name__)

_PATIENCE_SECONDS = 60.0
_PAUSES = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 15.0, 15.0)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an activity is."""

    state: str  # absent, running, done or failed
    result: Any = None
    error: BaseException | None = None


def _patient(work: Callable[[threading.Event], Any], cancel: threading.Event) -> Any:
    """Do work, which can be begun anew at any time, and again while only faults of the machine are in its way."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for pause in _PAUSES:
        try:
            return work(cancel)
        except Exception as error:
            if not is_fault(error) or time.monotonic() > deadline or cancel.is_set():
                raise
            log.warning("a piece of work is tried again in %.1f s: %s", pause, error)
            cancel.wait(pause)
    return work(cancel)


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
        future = self._pool.submit(_patient, work, cancel)
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
