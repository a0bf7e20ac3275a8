"""What functions behind REST APIs are given, and what their results mean (Lambda proxy integration). Pure."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import orjson

from ....patterns import wildcard
from ..http.payload import Malformed, Result, decoded

Json = dict[str, Any]
_KNOWN = frozenset(("statusCode", "headers", "multiValueHeaders", "body", "isBase64Encoded"))
_IDENTITY = (
    "cognitoIdentityPoolId", "accountId", "cognitoIdentityId", "caller", "principalOrgId", "accessKey",
    "cognitoAuthenticationType", "cognitoAuthenticationProvider", "userArn", "user",
)  # fmt: skip


@dataclass(slots=True)
class Call:
    """A request on its way through a method."""

    api: str
    account: str
    region: str
    stage: str
    deployment: str
    resource: Json
    method: str
    path: str  # without the stage
    query: str
    headers: dict[str, str]  # names as they are usually spelled
    body: bytes
    request_id: str
    source: str
    at: float
    parameters: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    authorizer: Json | None = None
    api_key: tuple[str, str] | None = None  # id and value

    @property
    def domain(self) -> str:
        """The API's name."""
        return f"{self.api}.execute-api.{self.region}.amazonaws.com"


def spelled(headers: dict[str, str]) -> dict[str, str]:
    """Header names as clients usually spell them; how this one did is no longer known."""
    special = {"dnt": "DNT", "te": "TE", "www-authenticate": "WWW-Authenticate", "etag": "ETag"}
    return {special.get(k, "-".join(p.capitalize() for p in k.split("-"))): v for k, v in headers.items()}


def is_binary(types: list[str], content_type: str) -> bool:
    """Whether an API takes a content type as bytes."""
    kind = content_type.partition(";")[0].strip().lower()
    return any(wildcard(t.lower()).full(kind) for t in types) if kind else "*/*" in types


def context(call: Call) -> Json:
    """``requestContext``, and ``$context`` of templates."""
    identity: Json = {
        **dict.fromkeys(_IDENTITY), "sourceIp": call.source, "userAgent": call.headers.get("User-Agent"),
    }  # fmt: skip
    if call.api_key is not None:
        identity |= {"apiKeyId": call.api_key[0], "apiKey": call.api_key[1]}
    moment = datetime.fromtimestamp(call.at, UTC)
    found: Json = {
        "resourceId": call.resource["id"], "resourcePath": call.resource["path"], "httpMethod": call.method,
        "extendedRequestId": base64.b64encode(call.request_id.encode()[:11]).decode(),
        "requestTime": moment.strftime("%d/%b/%Y:%H:%M:%S +0000"), "path": f"/{call.stage}{call.path}",
        "accountId": call.account, "protocol": "HTTP/1.1", "stage": call.stage, "domainPrefix": call.api,
        "requestTimeEpoch": int(call.at * 1000), "requestId": call.request_id, "identity": identity,
        "domainName": call.domain, "deploymentId": call.deployment, "apiId": call.api,
    }  # fmt: skip
    if call.authorizer is not None:
        found["authorizer"] = call.authorizer
    return found


def event(call: Call, binary: bool) -> Json:
    """The event of a proxy integration."""
    many: dict[str, list[str]] = {}
    for name, value in parse_qsl(call.query, keep_blank_values=True):
        many.setdefault(name, []).append(value)
    if not call.body:
        body, encoded = None, False
    elif binary:
        body, encoded = base64.b64encode(call.body).decode(), True
    else:
        body, encoded = call.body.decode("utf-8", "replace"), False
    return {
        "resource": call.resource["path"], "path": call.path, "httpMethod": call.method,
        "headers": call.headers or None, "multiValueHeaders": {k: [v] for k, v in call.headers.items()} or None,
        "queryStringParameters": {k: v[-1] for k, v in many.items()} or None,
        "multiValueQueryStringParameters": many or None, "pathParameters": call.parameters or None,
        "stageVariables": call.variables or None, "requestContext": context(call), "body": body,
        "isBase64Encoded": encoded,
    }  # fmt: skip


def result(payload: bytes, binary: bool) -> Result:
    """A function's result as a response; Malformed when it is none."""
    try:
        value = orjson.loads(payload)
    except ValueError:
        raise Malformed("the function's result is not JSON") from None
    if not isinstance(value, dict) or not value or set(value) - _KNOWN:
        raise Malformed(
            "the function's result must be an object with statusCode, headers, multiValueHeaders and body only"
        )
    try:
        status = int(value.get("statusCode", 200))
    except (TypeError, ValueError):
        raise Malformed(f"the statusCode {value.get('statusCode')!r} is not a number") from None
    if not 100 <= status <= 599:
        raise Malformed(f"the statusCode {status} is not one of HTTP")
    found: dict[str, list[str]] = {}
    many = value.get("multiValueHeaders") or {}
    if not isinstance(many, dict) or any(not isinstance(v, list) for v in many.values()):
        raise Malformed("multiValueHeaders must hold lists")
    for name, values in many.items():
        found.setdefault(name, []).extend(_text(v) for v in values)
    single = value.get("headers") or {}
    if not isinstance(single, dict):
        raise Malformed("headers must be an object")
    for name, one in single.items():
        if _text(one) not in found.setdefault(name, []):
            found[name].append(_text(one))
    if not any(k.lower() == "content-type" for k in found):
        found["Content-Type"] = ["application/json"]
    body = value.get("body")
    if body is not None and not isinstance(body, str):
        raise Malformed("the body must be a string")
    data = decoded(body or "", bool(value.get("isBase64Encoded")) and binary)
    return Result(status, [(k, v) for k, values in found.items() for v in values], data)


def _text(value: Any) -> str:
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text.replace("\r", " ").replace("\n", " ")
