"""What the protocols read from and write to: a request and a response with nothing of a server in them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Request:
    """A request as the protocols see it; header names are in lower case, ``path`` is still percent-encoded."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass(slots=True)
class Response:
    """An answer; ``body`` is bytes, or an iterator of bytes for event streams."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = b""


class NoSuchOperation(LookupError):
    """The service model has no such operation, or no operation for this method and path."""


class Malformed(ValueError):
    """The bytes do not spell a value of the modelled type."""
