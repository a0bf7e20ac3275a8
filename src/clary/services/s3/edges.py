"""What S3 does before a handler reads its parameters and after it wrote its answer, unlike every other service."""

from __future__ import annotations

from typing import Any

from ...provider.context import Context
from ...wire.message import Request, Response


def prepare(operation: str, wire: Request, params: dict[str, Any], ctx: Context) -> None:
    """User metadata travels in headers whose values may be anything; encoding is decided by the query."""
    if "Metadata" in params:
        params["Metadata"] = {k.lower(): v for k, v in params["Metadata"].items()}


def finish(operation: str, response: Response, request_id: str) -> None:
    """Partial answers have a status of their own; every answer has S3's own request ids."""
    response.headers["x-amz-request-id"] = request_id
    response.headers["x-amz-id-2"] = request_id.replace("-", "")
    if "Content-Range" in response.headers and operation == "GetObject":
        response.status = 206
