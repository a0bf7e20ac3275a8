"""Answers the requests that function URLs get: every path and method goes to the one function."""

from __future__ import annotations

import json
import logging
from typing import Any

import orjson

from ...clock import now
from ...ids import request_id as new_request_id
from ...provider.context import context_of
from ...provider.errors import AwsError
from ...provider.platform import Platform
from ...store.rows import Row
from ...web import Request, Response
from ..functions.environments import Throttled
from ..functions.invoke import call
from ..functions.permissions import lets_anybody
from ..functions.urls import KIND
from .hosts import Called, Signed
from .http import cors, payload
from .lives import Lives

log = logging.getLogger(__name__)

Json = dict[str, Any]
MAX_BODY = 6 << 20
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
        if preflight and rules:
            found = payload.Result(200, headers, b"")
        else:
            found = await self._serve(row, request, called.path, request_id, signed)
            if rules:
                kept = [(k, v) for k, v in found.headers if not k.lower().startswith("access-control-")]
                found = payload.Result(found.status, [*kept, *headers], found.body)
        more = tuple((k, v) for k, v in found.headers if k.lower() != "content-length")
        return Response(found.status, {"x-amzn-requestid": request_id}, found.body, more=more)

    async def _serve(self, row: Row, request: Request, path: str, request_id: str, signed: Signed) -> payload.Result:
        body = await request.body.read(MAX_BODY)
        anybody = row.spec["AuthType"] == "NONE"
        if not anybody:
            try:
                signed(request, body)
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
        try:
            answer = await call(
                context, target, orjson.dumps(payload.event(asked, "2.0")),
                lambda function, named: not anybody or lets_anybody(function, named),
            )  # fmt: skip
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


def _refused(status: int, text: str) -> payload.Result:
    body = json.dumps({"Message": text}, separators=(",", ":")).encode()
    return payload.Result(status, [("content-type", "application/json")], body)
