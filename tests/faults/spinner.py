"""A part that beats, and holds the interpreter for ever if ``SPINNER`` is its name. Started by a supervisor."""

from __future__ import annotations

import asyncio
import os
import re

from clary.supervision import HEARTBEAT, Lifeline


async def main() -> None:
    """Beat for a while; then spin, or go on."""
    loop, gone = asyncio.get_running_loop(), asyncio.Event()
    Lifeline.from_environment().watch(loop, gone.set)
    await asyncio.sleep(1.5)
    if os.environ.get("SPINNER") == "control" and "CLARY_LISTEN" not in os.environ:
        os.write(2, b"spinning\n")
        re.match("(a+)+$", "a" * 100 + "!")
    await gone.wait()


if __name__ == "__main__":
    assert os.environ[HEARTBEAT]
    asyncio.run(main())
