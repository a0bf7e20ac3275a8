"""Small work that is done again and again beside the loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

log = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def repeated(seconds: float, what: str, work: Callable[[], object]) -> AsyncIterator[None]:
    """Do work in a thread every so many seconds while the block runs; a failure is logged and does not end it."""

    async def again() -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await asyncio.to_thread(work)
            except Exception:  # one bad file or a database that is away must not end the chore
                log.exception("%s failed", what)

    task = asyncio.create_task(again())
    try:
        yield
    finally:
        task.cancel()
