"""Smithy RPC v2 CBOR: ``/service/NAME/operation/NAME``."""

from __future__ import annotations

from typing import Any

from .. import cbor_body
from ..message import Request, Response
from ..model import Operation, Shape
from .base import Protocol, Read, Write, fold_message, named


class RpcV2Cbor(Protocol):
    """The operation is the last part of the path; bodies are CBOR."""

    content_type = "application/cbor"

    def find(self, request: Request) -> tuple[Operation, Any]:
        return named(self.service, request.path.rpartition("/")[2]), None

    def compile_reader(self, operation: Operation) -> Read:
        if operation.input is None:
            return lambda request, found: {}
        read = cbor_body.reader(operation.input, self._reads)
        return lambda request, found: read(cbor_body.loads(request.body))

    def compile_writer(self, operation: Operation) -> Write:
        plain = cbor_body.writer(operation.output, self._writes) if operation.output else None

        def write(result: dict[str, Any], request_id: str) -> Response:
            headers = {"smithy-protocol": "rpc-v2-cbor", "x-amzn-RequestId": request_id}
            if plain is None:
                return Response(200, headers)
            headers["Content-Type"] = self.content_type
            return Response(200, headers, cbor_body.dumps(plain(result)))

        return write

    def write_error(
        self, response: Response, shape: Shape | None, code: str, members: dict[str, Any], request_id: str
    ) -> None:
        plain = cbor_body.writer(shape, self._writes) if shape else None
        response.headers |= {"smithy-protocol": "rpc-v2-cbor", "x-amzn-RequestId": request_id}
        told = fold_message(shape, members)
        response.body = cbor_body.dumps({"__type": shape.name if shape else code, **(plain(told) if plain else told)})
