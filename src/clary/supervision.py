"""How the platform's processes belong together.

The supervisor holds a pipe open to all parts: its end means that the supervisor is gone. Front and control each hold one
to the supervisor, into which their event loop writes a byte a second: silence means that the part no longer does anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NoReturn

VARIABLE = "CLARY_LIFELINE"
HEARTBEAT = "CLARY_HEARTBEAT"
BEAT_SECONDS = 1.0
_LAST_SECONDS = 8.0


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
            loop.add_reader(self.fd, self._lost, loop, self.fd, gone)
        if self.heartbeat is not None:
            os.set_inheritable(self.heartbeat, False)
            self._beat(loop, self.heartbeat)

    def _lost(self, loop: asyncio.AbstractEventLoop, fd: int, gone: Callable[[], None]) -> None:
        """End in order, or after a while without: nothing may live on that no supervisor watches."""
        loop.remove_reader(fd)
        loop.call_later(_LAST_SECONDS, os._exit, 1)
        gone()

    def _beat(self, loop: asyncio.AbstractEventLoop, heartbeat: int) -> None:
        with contextlib.suppress(OSError):  # full: nobody has read for an hour; closed: the supervisor is gone
            os.write(heartbeat, b".")
        loop.call_later(BEAT_SECONDS, self._beat, loop, heartbeat)


def run_part(main: Coroutine[Any, Any, None]) -> NoReturn:
    """Run a part's main coroutine, then end the process at once.

    ``asyncio.run`` would first wait for every thread. One may sit in a call to this very platform, whose answer it is
    no longer going to get; what was acknowledged is on disk.
    """
    try:
        import uvloop

        loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    except ImportError:
        loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    code = 0
    try:
        loop.run_until_complete(main)
    except BaseException:  # noqa: BLE001  # the last frame of this process: tell the log, then leave
        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)
