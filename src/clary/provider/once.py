"""Calls that act once however often they are sent: a token's answer is kept, in the transaction of what it did.

Whoever retries after a crash sends the same token and gets the same answer, generated identifiers included. The sender
forgets its tokens when it has stored what they gave; the hourly chores remove those that were never forgotten.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import delete

from ..clock import now
from ..store.database import Transaction
from ..store.rows import Row
from ..store.schema import resource
from .context import Context

HEADER = "x-clary-call-token"
KIND = "CallRecord"
MAX_TOKEN = 200


def once(ctx: Context, work: Callable[[], Any]) -> Any:
    """Do a handler's work in its open transaction, or return the answer that its token got before."""
    token = ctx.http.headers.get(HEADER)
    if not token or len(token) > MAX_TOKEN:
        return work()
    if (known := ctx.get(KIND, token)) is not None:
        return known.spec["answer"]
    answer = work()
    if answer is None or isinstance(answer, dict):
        ctx.tx.rows.add(Row(KIND, ctx.account, ctx.region, token, "", {"answer": answer}, created=now()))
    return answer


def called(tx: Transaction, account: str, region: str, prefix: str) -> bool:
    """Return whether a call with a token of this prefix has acted."""
    statement = tx.rows.query(KIND, account, region).where(resource.c.name.startswith(prefix, autoescape=True))
    return bool(tx.rows.fetch(statement.limit(1)))


def forget(tx: Transaction, account: str, region: str, prefixes: list[str]) -> None:
    """Forget the answers to the tokens of these prefixes."""
    for prefix in prefixes:
        named = resource.c.name.startswith(prefix, autoescape=True)
        ours = (resource.c.kind == KIND) & (resource.c.account == account) & (resource.c.region == region)
        tx.connection.execute(delete(resource).where(ours, named))


def forget_before(tx: Transaction, moment: float) -> None:
    """Forget answers that were given before a moment."""
    tx.connection.execute(delete(resource).where(resource.c.kind == KIND, resource.c.created < moment))
