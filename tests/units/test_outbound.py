"""Addresses that the platform connects to for its callers."""

from __future__ import annotations

import ipaddress
import socket
import threading
from typing import Any

import pytest

from clary.destinations import Destination
from clary.services import outbound
from clary.services.apis import proxying
from clary.services.outbound import Outbound, Refused
from clary.settings import Settings, from_environment


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "localhost", "localhost.", "api.localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.9.9.9", "0.0.0.0", "0",
        "::1", "::", "::ffff:127.0.0.1", "::ffff:7f00:1", "::127.0.0.1", "64:ff9b::127.0.0.1", "64:ff9b:1::a9fe:a9fe", "2002:7f00:1::",
        "169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "fd00:ec2::254", "100.100.100.200", "224.0.0.1", "ff02::1", "240.0.0.1",
        "255.255.255.255", "0.1.2.3",
    ],
)  # fmt: skip
def test_special_addresses_are_refused_in_every_spelling(host: str) -> None:
    with pytest.raises(Refused):
        Outbound(Settings()).connect(host, 80, 1)


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "8.8.8.8", "2606:4700::1", "fd12::1", "64:ff9b::8.8.8.8"],
)
def test_other_networks_may_be_reached(address: str) -> None:
    assert Outbound(Settings()).problem("host", ipaddress.ip_address(address), 80) is None


def test_the_platform_itself_is_out_of_reach_at_any_of_its_addresses() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("10.255.255.255", 1))  # sends nothing; tells by which address we would
        except OSError:
            pytest.skip("this machine has no address but loopback's")
        own = ipaddress.ip_address(probe.getsockname()[0])
    assert Outbound(Settings(port=4566)).problem("host", own, 4566) == "where this platform listens"
    assert Outbound(Settings(port=4566)).problem("host", own, 4567) is None
    wide = Outbound(Settings(port=4566, outbound_allow="0.0.0.0/0, ::/0"))
    assert wide.problem("host", ipaddress.ip_address("127.0.0.1"), 4566) == "where this platform listens"
    assert wide.problem("host", ipaddress.ip_address("127.0.0.1"), 4567) is None
    named = Outbound(Settings(port=4566, outbound_allow="127.0.0.1:4566"))
    assert named.problem("host", ipaddress.ip_address("127.0.0.1"), 4566) is None
    assert named.problem("host", ipaddress.ip_address("127.0.0.1"), 4567) == "a loopback address"


def test_what_the_operator_names_may_be_reached() -> None:
    loopback = ipaddress.ip_address("127.0.0.1")
    by_name = Outbound(Settings(outbound_allow="Local.Example"))
    assert by_name.problem("local.example.", loopback, 80) is None
    assert by_name.problem("other.example", loopback, 80) == "a loopback address"
    assert Outbound(Settings(cognito="http://localhost:9229")).problem("localhost", loopback, 9229) is None
    assert Outbound(Settings(cognito="http://localhost:9229")).problem("localhost", loopback, 9228) is not None
    assert Destination.read("[::1]:80").port == 80
    for bad in ("/", "10.0.0.0/99", "a:b", "[::1"):
        with pytest.raises(ValueError, match="CLARY_OUTBOUND_ALLOW"):
            from_environment({"CLARY_OUTBOUND_ALLOW": bad})


def test_a_name_is_resolved_once_and_the_connection_goes_there(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    asked: list[str] = []

    def resolve(host: str, at: int, **_: Any) -> Any:
        asked.append(host)
        answers = ["169.254.169.254", "127.0.0.1"] if len(asked) == 1 else ["169.254.169.254"]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (a, at)) for a in answers]

    monkeypatch.setattr(outbound.socket, "getaddrinfo", resolve)

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 302 Found\r\nLocation: http://169.254.169.254/\r\nContent-Length: 2\r\n\r\nok"
            )

    thread = threading.Thread(target=answer)
    thread.start()
    found = proxying.ask_now(
        Outbound(Settings(outbound_allow="127.0.0.0/8")), "GET", f"http://rebinding.example:{port}/", {}, b"", 5
    )
    thread.join()
    listener.close()
    assert (found.status, found.body, asked) == (302, b"ok", ["rebinding.example"])
