"""Requests that tests sign by hand, to send what no client sends."""

from __future__ import annotations

import http.client
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.platform import Platform


def ask(
    platform: Platform, method: str, target: str, headers: dict[str, str], body: bytes = b""
) -> tuple[int, str, dict[str, str]]:
    """Status, text and headers of an answer."""
    parts = urlsplit(platform.endpoint)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request(method, target, body, headers)
    answer = connection.getresponse()
    found = answer.status, answer.read().decode(), {k.lower(): v for k, v in answer.getheaders()}
    connection.close()
    return found


def sign(
    platform: Platform,
    headers: dict[str, str],
    body: bytes = b"",
    *,
    service: str = "sagemaker",
    region: str = "us-east-1",
    path: str = "/",
    method: str = "POST",
) -> dict[str, str]:
    """The headers of a signed request."""
    request = AWSRequest(method, platform.endpoint + path, data=body, headers=headers)
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(Credentials(*platform.root_key), service, region).add_auth(request)
    return {**dict(request.headers), "Host": urlsplit(platform.endpoint).netloc}
