"""What commands share: settings, the running platform's address and credentials, signed calls."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click

from .. import tokens
from ..settings import Settings, from_environment
from ..wire import signature
from ..wire.signature import Scope
from .supervisor import address

Json = dict[str, Any]


class CallError(click.ClickException):
    """The platform refused a call."""

    def __init__(self, code: str, message: str):
        super().__init__(f"{code}: {message}")
        self.code = code


@dataclass(frozen=True, slots=True)
class Running:
    """A platform that runs."""

    settings: Settings
    endpoint: str
    session: Json

    def call(self, service: str, target: str, params: Json) -> Json:
        """A JSON 1.1 call, signed as the execution role; CallError when it is refused."""
        return self._post(service, "/", "", target, json.dumps(params).encode())

    def post(self, path: str, **query: str) -> Json:
        """A call of one of the platform's own pages, signed alike."""
        return self._post("sagemaker", path, urlencode(sorted(query.items()), quote_via=quote), "", b"")

    def _post(self, service: str, path: str, query: str, target: str, body: bytes) -> Json:
        parts = urlsplit(self.endpoint)
        date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = {
            "host": parts.netloc, "content-type": "application/x-amz-json-1.1", "x-amz-date": date,
            "x-amz-target": target, "x-amz-security-token": self.session["SessionToken"],
        }  # fmt: skip
        scope = Scope(date[:8], self.settings.region, service)
        names = sorted(headers)
        payload = hashlib.sha256(body).hexdigest()
        canonical = signature.canonical_request("POST", path, query, headers, names, payload, service)
        text = signature.string_to_sign(canonical, date, scope)
        signed = signature.sign(self.session["SecretAccessKey"], scope, text)
        credential = f"{self.session['AccessKeyId']}/{scope}"
        headers["authorization"] = (
            f"{signature.ALGORITHM} Credential={credential}, SignedHeaders={';'.join(names)}, Signature={signed}"
        )
        connection = http.client.HTTPConnection(parts.hostname or "127.0.0.1", parts.port, timeout=60)
        try:
            connection.request("POST", f"{path}?{query}" if query else path, body, headers)
            answer = connection.getresponse()
            document: Json = json.loads(answer.read() or b"{}")
        except OSError as error:
            raise click.ClickException(f"the platform at {self.endpoint} does not answer: {error}") from None
        finally:
            connection.close()
        if answer.status >= 400:
            raise CallError(document.get("__type", str(answer.status)), document.get("message", ""))
        return document

    def client(self, service: str) -> Any:
        """botocore's client, as the execution role."""
        import botocore.session
        from botocore.config import Config

        return botocore.session.get_session().create_client(
            service,
            region_name=self.settings.region,
            endpoint_url=self.endpoint,
            aws_access_key_id=self.session["AccessKeyId"],
            aws_secret_access_key=self.session["SecretAccessKey"],
            aws_session_token=self.session["SessionToken"],
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, read_timeout=120),
        )


def settings(**overrides: Any) -> Settings:
    """The settings of this command; a usage error when a variable is unreadable."""
    try:
        return from_environment(**overrides)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def running() -> Running:
    """The platform of the home folder; an error that says how to start one."""
    found = settings()
    endpoint = address(found)
    if endpoint is None:
        raise click.ClickException(f"no platform runs on {found.folder}. Start one with: clary up -d")
    return Running(found, endpoint, session(found))


def session(found: Settings) -> Json:
    """The credentials that the platform left for its user."""
    path = found.folder / "run" / "session.json"
    deadline = time.monotonic() + 10
    while True:
        try:
            document: Json = json.loads(path.read_text())
            return document
        except (OSError, ValueError):
            if time.monotonic() > deadline:
                raise click.ClickException(f"the platform has left no credentials in {path}") from None
            time.sleep(0.05)


def client_environment(platform: Running, proxy: bool = False) -> dict[str, str]:
    """The variables that point any AWS client at the platform."""
    from ..client import STARTUP

    found = platform.session
    values = {
        "AWS_ACCESS_KEY_ID": found["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": found["SecretAccessKey"],
        "AWS_SESSION_TOKEN": found["SessionToken"], "AWS_DEFAULT_REGION": platform.settings.region,
        "AWS_REGION": platform.settings.region, "AWS_ENDPOINT_URL": platform.endpoint,
        "AWS_EC2_METADATA_DISABLED": "true", "CLARY_ENDPOINT": platform.endpoint,
        "SAGEMAKER_SUPPRESS_V2_WARNING": "1",
    }  # fmt: skip
    path = os.environ.get("PYTHONPATH", "")
    kept = [p for p in path.split(os.pathsep) if p and Path(p) != STARTUP]
    values["PYTHONPATH"] = os.pathsep.join([str(STARTUP), *kept])
    if proxy:
        bundle = str(platform.settings.folder / "tls" / "ca-bundle.pem")
        del values["AWS_ENDPOINT_URL"]
        password = tokens.ensure(platform.settings.folder, tokens.PROXY)
        through = platform.endpoint.replace("://", f"://{tokens.USER}:{password}@")
        values |= {
            "HTTPS_PROXY": through, "https_proxy": through, "NO_PROXY": "127.0.0.1,localhost",
            "AWS_CA_BUNDLE": bundle, "REQUESTS_CA_BUNDLE": bundle, "SSL_CERT_FILE": bundle, "CURL_CA_BUNDLE": bundle,
            "NODE_EXTRA_CA_CERTS": bundle,
        }  # fmt: skip
    return values
