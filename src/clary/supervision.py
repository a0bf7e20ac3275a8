"""How the platform's processes belong together.

The supervisor holds a pipe open to all parts: its end means that the supervisor is gone. Front and control each hold one
to the supervisor, into which their event loop writes a byte a second: silence means that the part no longer does anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass

VARIABLE = "CLARY_LIFELINE"
HEARTBEAT = "CLARY_HEARTBEAT"
BEAT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Lifeline:
    """The reading end of a pipe that the supervisor never writes to, and the writing end of one that it reads."""

    fd: int | None
    heartbeat: int | None = None

    @classmethod
    def from_environment(cls) -> Lifeline:
        """The pipes that the supervisor passed, if it did."""
        lifeline, heartbeat = (os.environ.get(n, "") for n in (VARIABLE, HEARTBEAT))
        return cls(int(lifeline) if lifeline.isdigit() else None, int(heartbeat) if heartbeat.isdigit() else None)

    def watch(self, loop: asyncio.AbstractEventLoop, gone: Callable[[], None]) -> None:
        """Call ``gone`` when the supervisor is, and tell it that the loop turns for as long as it does."""
        if self.fd is not None:
            loop.add_reader(self.fd, gone)
        if self.heartbeat is not None:
            os.set_inheritable(self.heartbeat, False)
            self._beat(loop, self.heartbeat)

    def _beat(self, loop: asyncio.AbstractEventLoop, heartbeat: int) -> None:
        with contextlib.suppress(OSError):  # full: nobody has read for an hour; closed: the supervisor is gone
            os.write(heartbeat, b".")
        loop.call_later(BEAT_SECONDS, self._beat, loop, heartbeat)
