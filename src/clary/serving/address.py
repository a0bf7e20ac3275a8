"""What the URL of a call to the data plane says. Clients ask for few URLs over and over: each is read once."""

from __future__ import annotations

import re
from typing import Final

from ..wire import signature

_PATH: Final = re.compile(rb"/endpoints/[a-zA-Z0-9][a-zA-Z0-9-]{0,62}/invocations(?:-response-stream)?")
"""The one spelling of such a call's path. Another one, such as ``/endpoints/a/../b/invocations``, would be signed for one
endpoint and be read as another's."""
_START = b"/endpoints/"
_IN_PIECES = b"/invocations-response-stream"
_KEPT = 4096
_LONGEST_KEPT = 1024
"""Bytes: strangers may ask too, and must not fill the memory."""


class Address:
    """A URL that the front serves."""

    __slots__ = ("canonical", "endpoint", "in_pieces")

    def __init__(self, url: bytes):
        path, _, query = url.decode("latin-1").partition("?")
        self.endpoint = path[len(_START) :].partition("/")[0]
        self.in_pieces = path.endswith(_IN_PIECES.decode())
        self.canonical = (
            signature.canonical_path(path, "sagemaker").encode() + b"\n" + signature.canonical_query(query).encode()
        )
        """Path and query, as they are signed."""


class Addresses:
    """Those that were read."""

    def __init__(self) -> None:
        self._known: dict[bytes, Address] = {}

    def of(self, url: bytes) -> Address | None:
        """What a URL says; None when it is not the front's."""
        found = self._known.get(url)
        if found is None and is_served(url):
            found = Address(url)
            if len(self._known) >= _KEPT:
                self._known.clear()
            if len(url) <= _LONGEST_KEPT:
                self._known[url] = found
        return found


def is_served(url: bytes) -> bool:
    """Whether a URL is that of a call that the front serves."""
    return _PATH.fullmatch(url.partition(b"?")[0]) is not None


def is_invoke(data: bytes) -> bool:
    """Whether a request's first bytes are those of a call that the front serves."""
    if not data.startswith(b"POST /endpoints/"):
        return False
    end = data.find(b" ", 16)
    return is_served(data[5 : end if end > 0 else len(data)])
