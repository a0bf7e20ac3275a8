"""Open mode accepts any key, so it must not accept web pages: other sites can neither change nor read anything."""

from __future__ import annotations

import http.client
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from clary.sites import Sites
from tests.platform import Platform, started


@pytest.fixture(scope="module")
def opened() -> Iterator[Platform]:
    """A platform in open mode."""
    with started(
        Path(tempfile.mkdtemp(prefix="clary-open-")), "--open", CLARY_HOSTS="clary.example.com,*.example.org"
    ) as platform:
        yield platform


def ask(platform: Platform, method: str, target: str, headers: dict[str, str], body: str = "") -> tuple[int, str]:
    """Status and text of an answer to what a browser could send."""
    connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=20)
    connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
    for name, value in {"Host": f"localhost:{platform.port}", "Content-Length": str(len(body)), **headers}.items():
        connection.putheader(name, value)
    connection.endheaders(body.encode())
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


QUERY = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=a%2F20260101%2Fus-east-1%2Fiam%2Faws4_request&X-Amz-Signature=0&X-Amz-Date=20260101T000000Z&X-Amz-SignedHeaders=host&X-Amz-Expires=1"
MUTATING = [
    ("POST", "/_clary/reset", ""),
    ("POST", "/", "Action=CreateUser&Version=2010-05-08&UserName=evil"),
    ("GET", "/?Action=CreateUser&Version=2010-05-08&UserName=evil", ""),
    ("POST", f"/?{QUERY}", "Action=CreateUser&Version=2010-05-08&UserName=evil"),
    ("POST", "/endpoints/any/invocations", "1"),
    ("PUT", "/evil-bucket", ""),
    ("GET", "/", ""),
    ("GET", "/metrics", ""),
]


@pytest.mark.parametrize(("method", "target", "body"), MUTATING)
@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:4566"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:3000"},
        {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"},
    ],
    ids=[
        "a name of theirs",
        "with our port",
        "their origin",
        "a hidden origin",
        "another local program's page",
        "an image",
    ],
)
def test_what_another_web_page_sends_is_refused(
    opened: Platform, method: str, target: str, body: str, headers: dict[str, str]
) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded" if "Action" in body else "text/plain"}
    status, text = ask(opened, method, target, {**kind, **headers}, body)
    assert status == 403, text
    assert "CLARY_HOSTS" in text
    users = opened.client("iam", ("000000000000", "x")).list_users()["Users"]
    assert not [u for u in users if u["UserName"] == "evil"]


def test_a_link_may_show_and_may_not_act(opened: Platform) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert ask(opened, "GET", "/", link)[0] == 200
    assert ask(opened, "GET", "/?Action=CreateUser&Version=2010-05-08&UserName=evil", link)[0] == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Host": "127.0.0.1:4566"},
        {"Host": "[::1]:4566"},
        {"Host": "clary:4566"},
        {"Host": "host.docker.internal:4566"},
        {"Host": "clary.default.svc.cluster.local"},
        {"Host": "s3.us-east-1.amazonaws.com"},
        {"Host": "bucket.s3.localhost:4566"},
        {"Host": "clary.example.com"},
        {"Host": "a.example.org"},
        {"Host": "localhost:4566", "Origin": "http://localhost:4566"},
        {"Origin": "https://clary.example.com"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_its_own_names_and_pages_are_served(opened: Platform, headers: dict[str, str]) -> None:
    status, text = ask(opened, "POST", "/", {**headers, "X-Amz-Target": "SageMaker.ListModels"}, "{}")
    assert status in (200, 404) if "bucket" in headers.get("Host", "") else status == 200, text


def test_health_is_shown_to_everybody(opened: Platform) -> None:
    for path in ("/livez", "/readyz", "/version"):
        assert ask(opened, "GET", path, {"Host": "evil.example", "Origin": "https://evil.example"})[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "amazonaws.com.evil.example",
        "1.2.3.4.evil",
        "b.clary.example.com",
        "example.org",
    ],
)
def test_names_that_look_like_ours(host: str) -> None:
    assert not Sites("clary.example.com,*.example.org").knows(host)


def test_a_star_allows_every_name() -> None:
    assert Sites("*").knows("evil.example")
