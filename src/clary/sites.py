"""Which web pages may call an open platform: in open mode any key is accepted, so a page in a browser needs none.

A browser names the host that the page asked for and, with everything that may change something, the page's origin.
Neither can be forged by a page, so other web sites, and names that they made lead here (DNS rebinding), are refused.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import urlsplit

_OURS = (
    ".localhost", ".amazonaws.com", ".amazonaws.com.cn", ".api.aws", ".on.aws", ".sagemaker.aws",
    ".internal", ".cluster.local", ".test",
)  # fmt: skip
"""Ends of names that nobody can register for a web site of theirs, or that are AWS's."""

Header = Callable[[str], str | None]
"""A request's header by its lower-case name."""


class Sites:
    """The names under which an open platform answers: its own, and those that the setting ``hosts`` adds."""

    def __init__(self, hosts: str = ""):
        self._named = frozenset(name.strip().lower() for name in hosts.split(",") if name.strip())
        self.knows = lru_cache(maxsize=1024)(self._knows)

    def _knows(self, host: str) -> bool:
        """Whether a ``Host`` header's value cannot be a foreign web site's name."""
        name = _name(host)
        if "." not in name or name.endswith(_OURS):  # a name without a dot is a machine's or a container's
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return self._is_named(name)
        return True

    def _is_named(self, name: str) -> bool:
        if "*" in self._named or name in self._named:
            return True
        parent = name.partition(".")[2]
        return bool(parent) and f"*.{parent}" in self._named

    def refusal(self, header: Header, harmless: bool = False) -> str | None:
        """Return why a request is refused; None for one that no foreign web page sent.

        ``harmless``: it changes nothing, so following a link to it is allowed.
        """
        host = header("host") or ""
        if not self.knows(host):
            return (
                f"The host name {host[:200]!r} is not one of this platform's. It runs in open mode, where a web site could "
                "reach it under a name of its own; add the name to CLARY_HOSTS to allow it."
            )
        origin = header("origin")
        if origin is not None:
            netloc = urlsplit(origin).netloc if origin.count("/") == 2 else ""
            if netloc and (netloc.lower() == host.lower() or self._is_named(_name(netloc))):
                return None
            return _foreign(origin)
        if header("sec-fetch-site") in ("cross-site", "same-site") and not (
            harmless and header("sec-fetch-mode") == "navigate"
        ):
            return _foreign("another origin")
        return None


def _foreign(origin: str) -> str:
    return (
        f"Web pages of {origin[:200]} may not call this platform. It runs in open mode, which accepts any credentials; add "
        "the page's host name to CLARY_HOSTS to allow it."
    )


def _name(host: str) -> str:
    """The name or address in a ``Host`` header's value, without its port."""
    name = host.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.partition(":")[0].rstrip(".")
