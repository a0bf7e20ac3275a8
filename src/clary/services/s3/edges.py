"""What S3 does before a handler reads its parameters and after it wrote its answer, unlike every other service."""

from __future__ import annotations

from typing import Any

from ...provider.context import Context
from ...provider.errors import coded
from ...wire.message import Request, Response
from . import s3

_NEEDS_BODY: dict[str, str] = {
    name: operation.input["payload"]
    for name, operation in s3.model.operations.items()
    if name.startswith("Put") and operation.input and (body := operation.input["payload"])
    if operation.input.members[body].type == "structure" and not name.endswith("Acl")  # whose headers may say it all
}
"""Operations that are nothing without the document in their body, and the member that it becomes."""


def prepare(operation: str, wire: Request, params: dict[str, Any], ctx: Context) -> None:
    """User metadata travels in headers whose values may be anything; encoding is decided by the query."""
    if operation in _NEEDS_BODY and _NEEDS_BODY[operation] not in params:
        raise coded("MissingRequestBodyError", "Request Body is empty", 400)
    if "Metadata" in params:
        params["Metadata"] = {k.lower(): v for k, v in params["Metadata"].items()}


def finish(operation: str, response: Response, request_id: str) -> None:
    """Partial answers have a status of their own; every answer has S3's own request ids."""
    response.headers["x-amz-request-id"] = request_id
    response.headers["x-amz-id-2"] = request_id.replace("-", "")
    if "Content-Range" in response.headers and operation == "GetObject":
        response.status = 206
