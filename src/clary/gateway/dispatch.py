"""An operation's call: transaction, handler, hold, result."""

from __future__ import annotations

import asyncio
from typing import Any

from ..clock import now
from ..provider.context import Context
from ..provider.once import once
from ..provider.operation import Bound
from ..provider.platform import Platform
from ..store.database import Transaction
from ..store.rows import Key

Json = dict[str, Any]


async def call(platform: Platform, bound: Bound, context: Context, params: Json) -> Any:
    """Run a handler: an ``async`` one as it is, a plain one in a thread and one transaction."""
    if bound.is_async:
        return await bound.call(context, params)
    if bound.hold is None:
        return await _in_transaction(platform, bound, context, params)
    return await _held(platform, bound, context, params)


async def _in_transaction(platform: Platform, bound: Bound, context: Context, params: Json) -> Any:
    def work(tx: Transaction) -> Any:
        context.transaction = tx
        return bound.call(context, params) if bound.reads else once(context, lambda: bound.call(context, params))

    def run() -> Any:
        return platform.database.attempt(work, bound.reads)

    if bound.quick and bound.reads and platform.database.sqlite:
        return run()  # SQLite's readers never wait for its writer: a thread's wake-up would cost more than the look-up
    return await asyncio.get_running_loop().run_in_executor(platform.threads, run)


async def _held(platform: Platform, bound: Bound, context: Context, params: Json) -> Any:
    """Answer at once, or – while the answer shows a young transition – when the transition ends."""
    assert bound.hold is not None
    result = await _in_transaction(platform, bound, context, params)
    until = bound.hold(context, result)
    if until is None or until <= now():
        return result
    kind, name = bound.name.removeprefix("Describe"), params[bound.name.removeprefix("Describe") + "Name"]
    with platform.signals.watch(Key(kind, context.account, context.region, name)) as watch:
        while True:
            result = await _in_transaction(platform, bound, context, params)
            until = bound.hold(context, result)
            if until is None or (left := until - now()) <= 0:
                return result
            await watch.change(min(left, 1.0))
