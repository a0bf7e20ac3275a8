"""Token buckets: so many requests a second, and so many at once."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Bucket:
    """Refilled at ``rate`` a second up to ``burst``; each request takes one token."""

    rate: float
    burst: float
    _tokens: float = field(init=False)
    _at: float = field(init=False)

    def __post_init__(self) -> None:
        self._tokens, self._at = self.burst, time.monotonic()

    def take(self) -> bool:
        """Whether a request may go on."""
        now = time.monotonic()
        self._tokens = min(self.burst, self._tokens + (now - self._at) * self.rate)
        self._at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Buckets:
    """One bucket for each name; a name whose limits have changed gets a new one."""

    def __init__(self) -> None:
        self._buckets: dict[object, Bucket] = {}

    def take(self, name: object, rate: float, burst: float) -> bool:
        """Whether a request under a name may go on."""
        found = self._buckets.get(name)
        if found is None or (found.rate, found.burst) != (rate, burst):
            if len(self._buckets) > 10_000:
                self._buckets.clear()
            found = self._buckets[name] = Bucket(rate, burst)
        return found.take()
