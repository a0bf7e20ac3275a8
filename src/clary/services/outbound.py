"""Where the platform connects to for its callers, and where it does not.

Callers choose addresses: of integrations, of issuers of tokens. The platform stands in another place than they do: it reaches
its own pages, other programs of the machine, and what answers at link-local addresses (a cloud's credentials). A name is
resolved once, each address is judged, and the connection goes to a judged address: no name can change its mind in between.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl

from ..destinations import Address, Destination, destinations
from ..settings import Settings

_METADATA = tuple(map(ipaddress.ip_address, ("fd00:ec2::254", "100.100.100.200", "192.0.0.192")))
"""Where clouds give credentials to whoever asks, outside of the link-local range."""
_NAT64 = tuple(map(ipaddress.ip_network, ("64:ff9b::/96", "64:ff9b:1::/48")))
_COMPATIBLE = ipaddress.ip_network("::/96")


class Refused(OSError):
    """An address that the platform does not connect to for a caller."""


class Outbound:
    """Opens connections to the addresses that callers chose."""

    def __init__(self, settings: Settings, *urls: str):
        self._port = settings.port
        self._allowed = list(destinations(settings.outbound_allow))
        self._allowed += (Destination.of_url(url) for url in (settings.cognito, *urls) if url)  # named by the operator

    def connect(self, host: str, port: int, timeout: float) -> socket.socket:
        """Return a connection to the first address of a host that may be reached; Refused if none may be."""
        last: OSError = Refused(f"{host} has no address")
        for family, kind, protocol, _, address in _resolved(host, port):
            ip = ipaddress.ip_address(str(address[0]).partition("%")[0])
            if (why := self.problem(host, ip, port)) is not None:
                last = Refused(
                    f"{host} is at {ip}, {why}; the setting outbound_allow says which such addresses may be reached"
                )
                continue
            made = socket.socket(family, kind, protocol)
            try:
                made.settimeout(timeout)
                made.connect(address)
            except OSError as error:
                made.close()
                last = error
                continue
            return made
        raise last

    def problem(self, host: str, ip: Address, port: int) -> str | None:
        """Return why a port of an address is out of reach; None if it is not."""
        inner = _inner(ip)
        own = port == self._port and _is_ours(inner)
        if any(entry.fits(host, inner, port) for entry in self._allowed if entry.port is not None or not own):
            return None
        if own:
            return "where this platform listens"
        return _special(inner)


def _resolved(host: str, port: int) -> list[tuple[int, int, int, str, tuple[object, ...]]]:
    """Addresses of a host, in whatever spelling it is given: the system's resolver reads 2130706433 and 0x7f.1, too."""
    try:
        return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
    except (OSError, UnicodeError) as error:
        raise Refused(f"{host} has no address: {error}") from None


def _inner(ip: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does: mapped, compatible, translated or tunnelled."""
    if not isinstance(ip, ipaddress.IPv6Address):
        return ip
    if ip.ipv4_mapped is not None:
        return ip.ipv4_mapped
    if ip.sixtofour is not None:
        return ip.sixtofour
    if ip.teredo is not None:
        return ip.teredo[1]
    if any(ip in network for network in _NAT64) or (ip in _COMPATIBLE and int(ip) > 0xFFFF):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip


def _special(ip: Address) -> str | None:
    """What is special about an address; None for one of a network like any other, private ones among them."""
    if ip.is_loopback:
        return "a loopback address"
    if ip.is_link_local:
        return "a link-local address"
    if ip.is_unspecified or (isinstance(ip, ipaddress.IPv4Address) and int(ip) >> 24 == 0):
        return "an address of this host"
    if ip.is_multicast:
        return "a multicast address"
    if ip in _METADATA:
        return "where a cloud gives credentials"
    if isinstance(ip, ipaddress.IPv4Address) and int(ip) >= 0xF0000000:
        return "a reserved address"
    return None


def _is_ours(ip: Address) -> bool:
    """Whether an address is one of this machine's."""
    if ip.is_loopback or ip.is_unspecified:
        return True
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(ip), 0))
        except OSError:
            return False
    return True


def secured(connection: socket.socket, host: str) -> ssl.SSLSocket:
    """Return a connection under TLS whose other end has proved to be a host."""
    return ssl.create_default_context().wrap_socket(connection, server_hostname=host)
