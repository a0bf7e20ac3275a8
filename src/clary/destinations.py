"""Hosts and networks, as settings name them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Destination:
    """A host by name, or a network; all its ports, or one."""

    name: str
    network: Network | None
    port: int | None

    @classmethod
    def read(cls, text: str) -> Destination:
        """Read ``host`` or ``network``, either with ``:port``; IPv6 with a port stands in brackets. ValueError."""
        host, port = text, ""
        if text.startswith("["):
            host, closed, rest = text[1:].partition("]")
            if not closed:
                raise ValueError(f"{text!r} is neither a host nor a network")
            port = rest.removeprefix(":")
        elif text.count(":") == 1:
            host, _, port = text.partition(":")
        number = int(port) if port else None
        try:
            return cls("", ipaddress.ip_network(host, strict=False), number)
        except ValueError:
            if not host or "/" in host or ":" in host:
                raise ValueError(f"{text!r} is neither a host nor a network") from None
        return cls(host.rstrip(".").lower(), None, number)

    @classmethod
    def of_url(cls, url: str) -> Destination:
        """The host and the port of a URL."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls.read(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")

    def fits(self, host: str, ip: Address, port: int) -> bool:
        """Return whether a host that is at an address is meant, on a port."""
        if self.port not in (None, port):
            return False
        if self.network is None:
            return host.rstrip(".").lower() == self.name
        return ip.version == self.network.version and ip in self.network


def destinations(text: str) -> Iterator[Destination]:
    """Read a list, divided by spaces or commas; ValueError."""
    return map(Destination.read, text.replace(",", " ").split())
