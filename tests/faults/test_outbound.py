"""What callers of an API make the platform connect to: not to this machine, unless its operator says so."""

from __future__ import annotations

import http.client
import json
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.platform import Platform, started


@pytest.fixture(scope="module")
def guarded() -> Iterator[Platform]:
    """A platform as it comes, without the setting that other tests have."""
    with started(Path(tempfile.mkdtemp(prefix="clary-test-"))) as platform:
        yield platform


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server of this machine that must not hear anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


def _silent(listener: socket.socket) -> bool:
    try:
        listener.accept()[0].close()
    except TimeoutError:
        return True
    return False


def _spellings(port: int) -> list[str]:
    hosts = (
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0.0.0.0",
        "localhost.",
        "[64:ff9b::7f00:1]",
    )
    return [f"http://{host}:{port}/livez" for host in hosts] + ["http://169.254.169.254/latest/meta-data/"]


def _get(platform: Platform, path: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=60)
    connection.request("GET", path, headers=headers)
    answer = connection.getresponse()
    found = answer.status, answer.read(), dict(answer.getheaders())
    connection.close()
    return found


def test_http_apis(guarded: Platform, name: str, listener: socket.socket) -> None:
    client = guarded.client("apigatewayv2")
    api = client.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
    client.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    urls = [*_spellings(listener.getsockname()[1]), f"http://127.0.0.1:{guarded.port}/livez"]
    for number, url in enumerate(urls):
        made = client.create_integration(
            ApiId=api,
            IntegrationType="HTTP_PROXY",
            IntegrationMethod="GET",
            IntegrationUri=url,
            PayloadFormatVersion="1.0",
        )
        client.create_route(ApiId=api, RouteKey=f"GET /{number}", Target=f"integrations/{made['IntegrationId']}")
        status, body, _ = _get(guarded, f"/_clary/execute-api/{api}/{number}")
        assert (status, json.loads(body)) == (503, {"message": "Service Unavailable"}), url
    assert _silent(listener)
    assert "outbound_allow says which such addresses may be reached" in guarded.log()


def test_rest_apis_and_their_tests(guarded: Platform, name: str, listener: socket.socket) -> None:
    client = guarded.client("apigateway")
    made = client.create_rest_api(name=name)
    for number, url in enumerate(_spellings(listener.getsockname()[1])):
        resource = client.create_resource(restApiId=made["id"], parentId=made["rootResourceId"], pathPart=f"r{number}")[
            "id"
        ]
        where = {"restApiId": made["id"], "resourceId": resource, "httpMethod": "GET"}
        client.put_method(**where, authorizationType="NONE")
        client.put_integration(**where, type="HTTP_PROXY", integrationHttpMethod="GET", uri=url)
        assert client.test_invoke_method(**where)["status"] == 500
    client.create_deployment(restApiId=made["id"], stageName="s")
    for number, url in enumerate(_spellings(0)):
        status, body, _ = _get(guarded, f"/_clary/execute-api/{made['id']}/s/r{number}")
        assert (status, json.loads(body)) == (500, {"message": "Internal server error"}), url
    assert _silent(listener)


def test_issuers_of_tokens(guarded: Platform, name: str, listener: socket.socket) -> None:
    from tests.services.test_tokens import token

    client = guarded.client("apigatewayv2")
    issuer = f"http://127.0.0.1:{listener.getsockname()[1]}"
    api = client.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
    client.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    authorizer = client.create_authorizer(
        ApiId=api, Name="a", AuthorizerType="JWT", IdentitySource=["$request.header.Authorization"],
        JwtConfiguration={"Issuer": issuer, "Audience": ["a"]},
    )["AuthorizerId"]  # fmt: skip
    made = client.create_integration(
        ApiId=api,
        IntegrationType="HTTP_PROXY",
        IntegrationMethod="GET",
        IntegrationUri="https://a.invalid/",
        PayloadFormatVersion="1.0",
    )
    client.create_route(
        ApiId=api, RouteKey="GET /x", AuthorizationType="JWT", AuthorizerId=authorizer, Target=f"integrations/{made['IntegrationId']}"
    )  # fmt: skip
    status, _, headers = _get(guarded, f"/_clary/execute-api/{api}/x", Authorization=token(issuer))
    assert status == 401 and "OIDC discovery endpoint communication error" in headers["www-authenticate"]
    assert _silent(listener)
