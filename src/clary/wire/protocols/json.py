"""AWS JSON 1.0 and 1.1: one path, the operation in ``X-Amz-Target``."""

from __future__ import annotations

from typing import Any

from .. import json_body
from ..message import Request, Response
from ..model import Operation, Service, Shape
from .base import Protocol, Read, Write, fold_message, named, stream_of, streaming


class AwsJson(Protocol):
    """JSON 1.0 and 1.1; the model says which."""

    def __init__(self, service: Service):
        super().__init__(service)
        self.content_type = f"application/x-amz-json-{service.metadata.get('jsonVersion', '1.0')}"

    def find(self, request: Request) -> tuple[Operation, Any]:
        return named(self.service, request.headers.get("x-amz-target", "").rpartition(".")[2]), None

    def compile_reader(self, operation: Operation) -> Read:
        if operation.input is None:
            return lambda request, found: {}
        read = json_body.reader(operation.input, self._reads)
        return lambda request, found: read(json_body.loads(request.body))

    def compile_writer(self, operation: Operation) -> Write:
        if stream := stream_of(operation.output):
            return streaming(stream, "json")
        plain = json_body.writer(operation.output, self._writes) if operation.output else None

        def write(result: dict[str, Any], request_id: str) -> Response:
            body = json_body.dumps(plain(result)) if plain else b""
            return Response(200, {"Content-Type": self.content_type, "x-amzn-RequestId": request_id}, body)

        return write

    def write_error(
        self, response: Response, shape: Shape | None, code: str, members: dict[str, Any], request_id: str
    ) -> None:
        plain = json_body.writer(shape, self._writes) if shape else None
        kind = shape.name if shape and "awsQueryCompatible" in self.service.metadata else code
        told = fold_message(shape, members)
        body = {"__type": kind, "message": members["message"], **(plain(told) if plain else told)}
        response.headers["x-amzn-RequestId"] = request_id
        response.body = json_body.dumps(body)
