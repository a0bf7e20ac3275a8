"""What functions are given by HTTP APIs, and what their results mean, in both payload formats. Pure.

Source: AWS, "Create AWS Lambda proxy integrations for HTTP APIs".
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import orjson

Json = dict[str, Any]
_TEXT = ("text/", "application/json", "application/xml", "application/javascript", "application/ecmascript")


class Malformed(Exception):
    """A result that is no response; the text says why."""


@dataclass(frozen=True, slots=True)
class Call:
    """A request on its way to an integration."""

    api: str
    account: str
    domain: str
    stage: str
    route_key: str
    method: str
    path: str  # with the stage, unless that is $default
    query: str
    headers: dict[str, str]  # names in lower case
    body: bytes
    request_id: str
    source: str
    at: float
    parameters: dict[str, str] = field(default_factory=dict)
    variables: dict[str, str] = field(default_factory=dict)
    authorizer: Json | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What the client gets. Header names may repeat."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def _is_text(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or kind.startswith(_TEXT) or kind.endswith(("+json", "+xml"))


def _body(call: Call) -> tuple[str | None, bool]:
    if not call.body:
        return None, False
    if _is_text(call.headers.get("content-type", "")):
        try:
            return call.body.decode(), False
        except UnicodeDecodeError:
            pass
    return base64.b64encode(call.body).decode(), True


def _time(at: float) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(at, UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")


def event(call: Call, version: str) -> Json:
    """The event of a request."""
    return _second(call) if version == "2.0" else _first(call)


def _second(call: Call) -> Json:
    pairs = parse_qsl(call.query, keep_blank_values=True)
    query: dict[str, str] = {}
    for name, text in pairs:
        query[name] = f"{query[name]},{text}" if name in query else text
    headers = {k: v for k, v in call.headers.items() if k != "cookie"}
    body, encoded = _body(call)
    context: Json = {
        "accountId": call.account, "apiId": call.api, "domainName": call.domain,
        "domainPrefix": call.domain.partition(".")[0],
        "http": {
            "method": call.method, "path": call.path, "protocol": "HTTP/1.1", "sourceIp": call.source,
            "userAgent": call.headers.get("user-agent", ""),
        },
        "requestId": call.request_id, "routeKey": call.route_key, "stage": call.stage, "time": _time(call.at),
        "timeEpoch": int(call.at * 1000),
    }  # fmt: skip
    if call.authorizer is not None:
        context["authorizer"] = call.authorizer
    found: Json = {
        "version": "2.0", "routeKey": call.route_key, "rawPath": call.path, "rawQueryString": call.query,
        "headers": headers, "requestContext": context, "isBase64Encoded": encoded,
    }  # fmt: skip
    if "cookie" in call.headers:
        found["cookies"] = [c.strip() for c in call.headers["cookie"].split(";")]
    for name, value in (
        ("queryStringParameters", query), ("pathParameters", call.parameters), ("stageVariables", call.variables),
    ):  # fmt: skip
        if value:
            found[name] = value
    if body is not None:
        found["body"] = body
    return found


def _first(call: Call) -> Json:
    many: dict[str, list[str]] = {}
    for name, value in parse_qsl(call.query, keep_blank_values=True):
        many.setdefault(name, []).append(value)
    body, encoded = _body(call)
    resource = call.route_key if call.route_key == "$default" else call.route_key.partition(" ")[2]
    identity = dict.fromkeys(
        (
            "accessKey", "accountId", "caller", "cognitoAuthenticationProvider", "cognitoAuthenticationType",
            "cognitoIdentityId", "cognitoIdentityPoolId", "principalOrgId", "user", "userArn",
        )
    )  # fmt: skip
    ((_, authorizer),) = (call.authorizer or {"jwt": {"claims": None, "scopes": None}}).items()
    return {
        "version": "1.0", "resource": resource, "path": call.path, "httpMethod": call.method,
        "headers": dict(call.headers), "multiValueHeaders": {k: [v] for k, v in call.headers.items()},
        "queryStringParameters": {k: v[-1] for k, v in many.items()} or None,
        "multiValueQueryStringParameters": many or None,
        "requestContext": {
            "accountId": call.account, "apiId": call.api, "authorizer": authorizer, "domainName": call.domain,
            "domainPrefix": call.domain.partition(".")[0], "extendedRequestId": call.request_id,
            "httpMethod": call.method, "path": call.path, "protocol": "HTTP/1.1", "requestId": call.request_id,
            "requestTime": _time(call.at), "requestTimeEpoch": int(call.at * 1000), "resourceId": call.route_key,
            "resourcePath": resource, "stage": call.stage,
            "identity": {**identity, "sourceIp": call.source, "userAgent": call.headers.get("user-agent", "")},
        },
        "pathParameters": call.parameters or None, "stageVariables": call.variables or None, "body": body,
        "isBase64Encoded": encoded,
    }  # fmt: skip


def result(payload: bytes, version: str) -> Result:
    """A function's result as a response; Malformed when it is none."""
    try:
        value = orjson.loads(payload)
    except ValueError:
        raise Malformed("the function's result is not JSON") from None
    if version == "2.0" and not (isinstance(value, dict) and "statusCode" in value):
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        return Result(200, [("content-type", "application/json")], text.encode())
    if not isinstance(value, dict):
        raise Malformed("the function's result is not an object with a statusCode")
    status = _status(value.get("statusCode", 200 if version == "1.0" else None))
    headers = _headers(value.get("headers"))
    for name, values in _mapping(value.get("multiValueHeaders"), "multiValueHeaders").items():
        if not isinstance(values, list):
            raise Malformed("multiValueHeaders must hold lists")
        headers = [(k, v) for k, v in headers if k.lower() != name.lower()] + [(name, _text(v)) for v in values]
    for cookie in value.get("cookies") or () if version == "2.0" else ():
        headers.append(("set-cookie", _text(cookie)))
    if not any(k.lower() == "content-type" for k, _ in headers):
        headers.append(("content-type", "application/json" if version == "1.0" else "text/plain;charset=UTF-8"))
    body = value.get("body")
    if body is not None and not isinstance(body, str):
        raise Malformed("the body must be a string")
    return Result(status, headers, decoded(body or "", bool(value.get("isBase64Encoded"))))


def decoded(body: str, encoded: bool) -> bytes:
    """A result's body; Malformed when it says that it is base64 and is not."""
    if not encoded:
        return body.encode()
    try:
        return base64.b64decode(body, validate=True)
    except (ValueError, binascii.Error):
        raise Malformed("isBase64Encoded is true, and the body is not base64") from None


def _status(value: Any) -> int:
    try:
        status = int(value)
    except (TypeError, ValueError):
        raise Malformed(f"the statusCode {value!r} is not a number") from None
    if not 100 <= status <= 599:
        raise Malformed(f"the statusCode {status} is not one of HTTP")
    return status


def _mapping(value: Any, name: str) -> Json:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"{name} must be an object")
    return value


def _headers(value: Any) -> list[tuple[str, str]]:
    return [(name, _text(v)) for name, v in _mapping(value, "headers").items()]


def _text(value: Any) -> str:
    """A header's value: booleans and numbers as JSON has them, and nothing that could begin another header."""
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    return text.replace("\r", " ").replace("\n", " ")
