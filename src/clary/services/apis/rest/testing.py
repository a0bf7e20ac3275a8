"""Trying a method as it stands, without deploying it: what the console's test button does."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from ....clock import now
from ....provider.context import Context
from ....store.rows import Row
from ..errors import bad_request
from . import rest
from .api import find
from .methods import method_of

Json = dict[str, Any]


@rest.operation
async def test_invoke_method(ctx: Context, request: Json) -> Json:
    """Send a request through a method's integration; neither authorizers nor keys are asked."""
    row, resource, method = await asyncio.to_thread(_read, ctx, request)
    if "methodIntegration" not in method:
        raise bad_request("No integration defined for method")
    tested = await ctx.platform.services["rest"].test(row, resource, method, request)
    result = tested.result
    headers = {k: v for k, v in result.headers if k.lower() != "content-length"}
    return {
        "status": result.status, "body": result.body.decode("utf-8", "replace"), "headers": headers,
        "multiValueHeaders": {k: [v for n, v in result.headers if n == k] for k in headers},
        "log": _log(tested, headers), "latency": tested.milliseconds,
    }  # fmt: skip


def _read(ctx: Context, request: Json) -> tuple[Row, Json, Json]:
    with ctx.platform.database.read() as tx:
        ctx.transaction = tx
        row = find(ctx, request["restApiId"])
        return row, *method_of(row, request)


def _log(tested: Any, headers: Json) -> str:
    """The steps, in the words of execution logs."""
    call, result, notes = tested.call, tested.result, tested.notes
    stamp = datetime.fromtimestamp(now(), UTC).strftime("%a %b %d %H:%M:%S UTC %Y")

    def dict_of(values: Json) -> str:
        return "{" + ", ".join(f"{k}={v}" for k, v in values.items()) + "}"

    lines = [
        f"Starting execution for request: {call.request_id}",
        f"HTTP Method: {call.method}, Resource Path: {call.path}",
        f"Method request path: {dict_of(call.parameters)}",
        f"Method request query string: {{{call.query}}}",
        f"Method request headers: {dict_of(call.headers)}",
        f"Method request body before transformations: {call.body.decode('utf-8', 'replace')}",
    ]
    if "integrationLatency" in notes:
        lines.append(f"Received response. Integration latency: {notes['integrationLatency']} ms")
    if "error" in notes:
        lines.append(f"Execution failed due to configuration or request error: {notes['error']}")
    lines += [
        f"Method response body after transformations: {result.body.decode('utf-8', 'replace')}",
        f"Method response headers: {dict_of(headers)}",
        "Execution failed" if "error" in notes else "Successfully completed execution",
        f"Method completed with status: {result.status}",
    ]
    text = "\n".join(f"{stamp} : {line}" for line in lines)
    return f"Execution log for request {call.request_id}\n{text}\n"
