"""Answers the requests that function URLs get: every path and method goes to the one function."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from ...clock import now
from ...ids import request_id as new_request_id
from ...provider.caller import ANONYMOUS
from ...provider.context import context_of
from ...provider.errors import AwsError
from ...provider.platform import Platform
from ...store.rows import Row
from ...web import Request, Response
from ..functions.environments import Throttled
from ..functions.invoke import Begun, call, call_streaming
from ..functions.permissions import admits, lets_anybody
from ..functions.urls import KIND
from .hosts import Called, Signed
from .http import cors, payload
from .lives import Lives

log = logging.getLogger(__name__)

Json = dict[str, Any]
MAX_BODY = 6 << 20
_HTTP_RESPONSE = "application/vnd.awslambda.http-integration-response"
_PRELUDE_END = bytes(8)
_MAX_PRELUDE = 1 << 20
_FORBIDDEN = (
    "Forbidden. For troubleshooting Function URL authorization issues, see: "
    "https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html"
)


class Server:
    """Function URLs."""

    def __init__(self, platform: Platform):
        self._platform = platform
        self._lives: Lives[Row] = Lives(platform, KIND, lambda row: row)

    async def answer(self, request: Request, called: Called, signed: Signed) -> Response | None:
        """The answer to a request; None when there is no such URL here."""
        row = await self._lives.find(called.api)
        if row is None:
            return None
        rules: Json = row.spec.get("Cors") or {}
        preflight = cors.is_preflight(request.method, request.headers)
        headers = cors.answer(rules, request.headers, preflight) if rules else []
        request_id = new_request_id()
        found: payload.Result | _Streamed
        if preflight and rules:
            found = payload.Result(200, headers, b"")
        else:
            found = await self._serve(row, request, called.path, request_id, signed)
            if rules:
                kept = [(k, v) for k, v in found.headers if not k.lower().startswith("access-control-")]
                found = replace(found, headers=[*kept, *headers])
        more = tuple((k, v) for k, v in found.headers if k.lower() != "content-length")
        return Response(found.status, {"x-amzn-requestid": request_id}, found.body, more=more)

    async def _serve(
        self, row: Row, request: Request, path: str, request_id: str, signed: Signed
    ) -> payload.Result | _Streamed:
        body = await request.body.read(MAX_BODY)
        anybody, caller = row.spec["AuthType"] == "NONE", ANONYMOUS
        if not anybody:
            try:
                caller = signed(request, body)
            except AwsError:
                return _refused(403, _FORBIDDEN)
        host = f"{row.name}.lambda-url.{row.region}.on.aws"
        asked = payload.Call(
            row.name, row.account, host, "$default", "$default", request.method, path, request.query,
            dict(request.headers), body, request_id, request.peer or "127.0.0.1", now(),
        )  # fmt: skip
        qualifier = row.spec["Qualifier"]
        arn = f"arn:aws:lambda:{row.region}:{row.account}:function:{row.spec['Function']}"
        target = f"{arn}:{qualifier}" if qualifier else arn
        context = context_of(self._platform, row, None)
        event = orjson.dumps(payload.event(asked, "2.0"))

        def allowed(function: Row, named: str) -> bool:
            if anybody:
                return lets_anybody(function, named)
            return admits(function, named, caller, "lambda:InvokeFunctionUrl")

        try:
            if row.spec.get("InvokeMode") == "RESPONSE_STREAM":
                return await _streamed(await call_streaming(context, target, event, allowed))
            answer = await call(context, target, event, allowed)
            if answer.error:
                return _refused(502, "Internal Server Error")
            return payload.result(answer.payload, "2.0")
        except PermissionError:
            return _refused(403, _FORBIDDEN)
        except Throttled:
            return _refused(429, "Rate Exceeded.")
        except (AwsError, payload.Malformed) as error:
            log.warning("the URL of the function %s: %s", row.spec["Function"], error)
            return _refused(502, "Internal Server Error")


@dataclass(frozen=True, slots=True)
class _Streamed:
    """A response whose body comes while the function writes it."""

    status: int
    headers: list[tuple[str, str]]
    body: AsyncIterator[bytes]


async def _streamed(begun: Begun) -> payload.Result | _Streamed:
    """What a function streams, or, of one that does not, what it answered."""
    if not begun.stream.used:
        answer = await begun.answer
        return _refused(502, "Internal Server Error") if answer.error else payload.result(answer.payload, "2.0")
    pieces = begun.stream.pieces()
    if begun.stream.content_type != _HTTP_RESPONSE:
        return _Streamed(200, [("content-type", begun.stream.content_type)], pieces)
    head = b""
    async for piece in pieces:
        head += piece
        if _PRELUDE_END in head or len(head) > _MAX_PRELUDE:
            break
    text, end, first = head.partition(_PRELUDE_END)
    try:
        told = orjson.loads(text) if end else None
        if not isinstance(told, dict):
            raise ValueError("it does not begin with its status and headers")
        status = int(told.get("statusCode", 200))
        headers = [(str(k).lower(), str(v)) for k, v in (told.get("headers") or {}).items()]
        headers += [("set-cookie", str(c)) for c in told.get("cookies") or ()]
        if any(c in "\r\n" for pair in headers for text in pair for c in text) or not 200 <= status <= 599:
            raise ValueError("its status or a header is none of HTTP")
    except (ValueError, TypeError, AttributeError) as error:
        begun.stream.abandon()
        log.warning("a streamed response of a function URL: %s", error)
        return _refused(502, "Internal Server Error")
    return _Streamed(status, headers, _after(first, pieces))


async def _after(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


def _refused(status: int, text: str) -> payload.Result:
    body = json.dumps({"Message": text}, separators=(",", ":")).encode()
    return payload.Result(status, [("content-type", "application/json")], body)
