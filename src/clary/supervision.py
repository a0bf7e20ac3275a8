"""How the platform's processes belong together: a pipe whose end means that the supervisor is gone."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass

VARIABLE = "CLARY_LIFELINE"


@dataclass(frozen=True, slots=True)
class Lifeline:
    """The reading end of a pipe that the supervisor holds open and never writes to."""

    fd: int | None

    @classmethod
    def from_environment(cls) -> Lifeline:
        """The pipe that the supervisor passed, if it did."""
        text = os.environ.get(VARIABLE, "")
        return cls(int(text) if text.isdigit() else None)

    def watch(self, loop: asyncio.AbstractEventLoop, gone: Callable[[], None]) -> None:
        """Call ``gone`` when the supervisor is."""
        if self.fd is not None:
            loop.add_reader(self.fd, gone)
