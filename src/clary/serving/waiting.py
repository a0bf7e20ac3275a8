"""Where requests wait while no replica can take them: one is being restarted, or started from nothing."""

from __future__ import annotations

from typing import Protocol

MAX_WAITING = 1024
WAIT_SECONDS = 10.0
"""Replicas that died are back in less; one that is not will not be soon."""


class Gauge:
    """The requests of one serverless variant: those that count towards its concurrency, and those of them that wait."""

    __slots__ = ("under_way", "waiting")

    def __init__(self) -> None:
        self.under_way = self.waiting = 0


class Waiting(Protocol):
    """A request that has not been sent to anybody yet."""

    gauge: Gauge | None

    def route(self) -> None:
        """Try again."""


class WaitingRoom:
    """Requests in the order in which they came."""

    def __init__(self) -> None:
        self._waiting: dict[Waiting, None] = {}

    def enter(self, request: Waiting) -> bool:
        """Wait for the next change; False when there is no room."""
        if len(self._waiting) >= MAX_WAITING:
            return False
        self._waiting[request] = None
        return True

    def leave(self, request: Waiting) -> None:
        """Wait no more."""
        self._waiting.pop(request, None)

    def call_of(self, gauge: Gauge) -> None:
        """A request of a serverless variant is over: the others of it that wait try again."""
        if gauge.waiting:
            for request in [r for r in self._waiting if r.gauge is gauge]:
                self._waiting.pop(request, None)
                request.route()

    def call(self) -> None:
        """Something changed: everybody tries again, and some will come back."""
        if self._waiting:
            waiting, self._waiting = self._waiting, {}
            for request in waiting:
                request.route()
