"""Clients whose changing calls carry tokens, so that a step that is done again after a crash makes nothing twice."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

from ...provider.once import HEADER

_READS = ("get_", "describe_", "list_", "head_", "generate_", "can_paginate", "close")
_current = threading.local()


class Calls:
    """The calls of one step. The n-th call of an operation has the same token whenever the step is done."""

    def __init__(self, token: str):
        self._token = token
        self._counts: Counter[str] = Counter()

    def through(self, client: Any) -> Any:
        """Return a client that sends this step's tokens; the client itself when there are none."""
        return _Stamped(client, self) if self._token else client

    def next(self, service: str, operation: str) -> str:
        """Return the token of the step's next call of an operation."""
        name = f"{service}.{operation}"
        self._counts[name] += 1
        return f"{self._token}.{name}.{self._counts[name]}"


class _Stamped:
    def __init__(self, client: Any, calls: Calls):
        self._client = client
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        if name.startswith(_READS) or name in ("exceptions", "meta"):
            return found

        def call(*args: Any, **params: Any) -> Any:
            _current.token = self._calls.next(self._client.meta.service_model.service_name, name)
            try:
                return found(*args, **params)
            finally:
                _current.token = ""

        return call


def stamp(params: dict[str, Any], **_: Any) -> None:
    """Put the running call's token into its headers, before it is signed."""
    if token := getattr(_current, "token", ""):
        params["headers"][HEADER] = token
