"""A service's operations: found by name, called with clean values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, TypeVar

from ..wire.model import Service, load
from ..wire.protocols import PROTOCOLS, Protocol
from .context import Context

Json = dict[str, Any]
Handler = TypeVar("Handler", bound=Callable[..., Any])
Hold = Callable[[Context, Json], float | None]
"""Given an answer: the moment until which it should wait for a change, or None to send it at once."""

_READS = ("Describe", "List", "Get", "Head", "Search", "Filter", "Simulate")


@dataclass(frozen=True, slots=True)
class Bound:
    """A handler bound to an operation of the model."""

    name: str
    call: Callable[[Context, Json], Any]
    is_async: bool
    reads: bool  # only looks: runs in a read transaction
    streams: bool  # takes the body as it comes
    quick: bool  # a look-up of a row or two: not worth a thread where the database is a file
    hold: Hold | None = None


class Provider:
    """One service: its model, its protocols, its handlers."""

    def __init__(
        self,
        name: str,
        *,
        signing: str | None = None,
        streams: frozenset[str] = frozenset(),
        quick: frozenset[str] = frozenset(),
        required: Mapping[str, tuple[str, ...]] | None = None,
    ):
        self.name = name
        self.model: Service = load(name)
        for shape, members in (required or {}).items():  # what the service insists on and its model does not say
            body = self.model.shapes[shape]
            body["required"] = [*body.get("required", ()), *members]
        self.signing = signing or self.model.metadata.get("signingName") or self.model.metadata["endpointPrefix"]
        self.handlers: dict[str, Bound] = {}
        self._streams = streams
        self._quick = quick
        self._names: dict[str, str] = {n.lower(): n for n in self.model.operations}
        self._protocols: dict[str, Protocol] = {}

    def protocol(self, name: str) -> Protocol:
        """The codec of one of the protocols that the service speaks."""
        if name not in self._protocols:
            self._protocols[name] = PROTOCOLS[name](self.model)
        return self._protocols[name]

    @property
    def preferred(self) -> Protocol:
        """The codec of the first protocol of the model that we speak."""
        return self.protocol(next(p for p in self.model.protocols if p in PROTOCOLS))

    def operation(self, handler: Handler) -> Handler:
        """Bind a function to the operation of its name; LookupError when the model has none."""
        self._bind(handler, None)
        return handler

    def held(self, hold: Hold) -> Callable[[Handler], Handler]:
        """As ``operation``, for an answer that waits a while for a transition to end."""

        def bind(handler: Handler) -> Handler:
            self._bind(handler, hold)
            return handler

        return bind

    def name_of(self, handler: Callable[..., Any]) -> str:
        """Return the operation that a function is named after; LookupError if the model has none."""
        return self._names[handler.__name__.replace("_", "").lower()]

    def _bind(self, handler: Callable[..., Any], hold: Hold | None) -> None:
        wanted = handler.__name__.replace("_", "").lower()
        if (name := self._names.get(wanted)) is None:
            near = get_close_matches(wanted, self._names, 1)
            hint = f"; did you mean {self._names[near[0]]}?" if near else ""
            raise LookupError(f"{self.name} has no operation for {handler.__name__}{hint}")
        self.handlers[name] = Bound(
            name,
            handler,
            is_async=inspect.iscoroutinefunction(handler),
            reads=name.startswith(_READS),
            streams=name in self._streams,
            quick=name in self._quick,
            hold=hold,
        )
