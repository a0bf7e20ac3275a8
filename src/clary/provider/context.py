"""What a handler is given besides its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..store.database import Transaction
from ..store.rows import Row
from ..web import Request
from .caller import Caller, root

if TYPE_CHECKING:
    from .platform import Platform


@dataclass(slots=True)
class Context:
    """One call: who, where, and the open transaction (None in ``async`` handlers, which open their own)."""

    platform: Platform
    caller: Caller
    account: str
    region: str
    request_id: str
    http: Request
    body: Any = None  # the decoded byte stream of a streaming operation
    transaction: Transaction | None = None

    @property
    def tx(self) -> Transaction:
        """The open transaction."""
        assert self.transaction is not None, "an async handler opens its own transaction"
        return self.transaction

    def get(self, kind: str, name: str) -> Row | None:
        """A resource of the caller's account and region."""
        return self.tx.rows.get(kind, self.account, self.region, name)

    def arn(self, service: str, resource: str) -> str:
        """An ARN in the caller's account and region."""
        return f"arn:aws:{service}:{self.region}:{self.account}:{resource}"


def context_of(platform: Platform, row: Row, tx: Transaction | None) -> Context:
    """A context for work that no request asked for: a row's account and region."""
    request: Any = Request("POST", "/", "/", "", {}, None)  # type: ignore[arg-type]  # nobody reads its body
    return Context(platform, root(row.account), row.account, row.region, "", request, transaction=tx)
