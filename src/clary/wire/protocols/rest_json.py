"""REST with JSON bodies, and the outline that it shares with REST with XML bodies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from .. import json_body
from ..message import NoSuchOperation, Request, Response
from ..model import Operation, Service, Shape
from ..rest import Bindings, Routes, decoded, fixed_query
from .base import Protocol, Read, Write, fold_message, stream_of, streaming

MAX_QUERY_FIELDS = 1000


class Rest(Protocol):
    """The parts that rest-json and rest-xml share; a subclass says how a body is spelled."""

    dialect = ""

    def __init__(self, service: Service):
        super().__init__(service)
        self.routes = Routes(service)

    def find(self, request: Request) -> tuple[Operation, Any]:
        try:
            fields = parse_qs(request.query, keep_blank_values=True, max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            fields = {}
        if (found := self.routes.match(request.method, request.path, fields, request.headers)) is None:
            raise NoSuchOperation(f"{request.method} {request.path}")
        return found[0], (found[1], fields)

    def compile_reader(self, operation: Operation) -> Read:
        bound = Bindings(operation.input, fixed=fixed_query(operation))
        read_body = self.body_reader(operation.input, bound)

        def read(request: Request, found: Any) -> dict[str, Any]:
            labels, fields = found
            params = bound.read(labels, fields, request.headers)
            if not request.body:
                return params
            if bound.payload:
                name, shape = bound.payload
                if shape.type == "blob":
                    params[name] = request.body
                else:
                    params[name] = decoded(request.body) if shape.type == "string" else read_body(request.body)
            elif bound.body:
                params.update(read_body(request.body))
            return params

        return read

    def compile_writer(self, operation: Operation) -> Write:
        bound = Bindings(operation.output, response=True)
        if stream := stream_of(operation.output):
            return streaming(stream, self.dialect, bound)
        write_body = self.body_writer(operation.output, bound)
        status = operation.http.get("responseCode", 200)

        def write(result: dict[str, Any], request_id: str) -> Response:
            response = Response(status, {"x-amzn-RequestId": request_id})
            for name, put in bound.writers.items():
                if (value := result.get(name)) is not None:
                    put(value, response)
            if bound.payload:
                self._write_payload(bound.payload, result, response, write_body)
            elif bound.body or (operation.output is None and self.dialect == "json"):
                response.headers["Content-Type"] = self.content_type
                response.body = write_body(result)
            return response

        return write

    def _write_payload(
        self,
        payload: tuple[str, Shape],
        result: dict[str, Any],
        response: Response,
        write_body: Callable[[Any], bytes],
    ) -> None:
        name, shape = payload
        value = result.get(name)
        if shape.type in ("blob", "string") and not shape["document"]:
            response.body = value.encode() if isinstance(value, str) else value or b""
            kind = "application/octet-stream" if shape.type == "blob" else "text/plain"
            response.headers.setdefault("Content-Type", kind)
        elif value is not None:
            response.headers["Content-Type"] = self.content_type
            response.body = write_body(value)

    def body_reader(self, shape: Shape | None, bound: Bindings) -> Callable[[bytes], Any]:
        """A reader of the body's members, or of the payload."""
        raise NotImplementedError

    def body_writer(self, shape: Shape | None, bound: Bindings) -> Callable[[Any], bytes]:
        """A writer of the body's members, or of the payload."""
        raise NotImplementedError


class RestJson(Rest):
    """REST with JSON bodies."""

    content_type = "application/json"
    dialect = "json"

    def body_reader(self, shape: Shape | None, bound: Bindings) -> Callable[[bytes], Any]:
        target = bound.payload[1] if bound.payload else shape
        if target is None:
            return lambda body: {}
        read = json_body.reader(target, self._reads)
        return lambda body: read(json_body.loads(body))

    def body_writer(self, shape: Shape | None, bound: Bindings) -> Callable[[Any], bytes]:
        target = bound.payload[1] if bound.payload else shape
        plain = json_body.writer(target, self._writes) if target else None
        placed = set(bound.writers) if not bound.payload else set()

        def write(value: Any) -> bytes:
            if placed:
                value = {k: v for k, v in value.items() if k not in placed}
            return json_body.dumps(plain(value) if plain else value)

        return write

    def write_error(
        self, response: Response, shape: Shape | None, code: str, members: dict[str, Any], request_id: str
    ) -> None:
        response.headers |= {"x-amzn-ErrorType": code, "x-amzn-RequestId": request_id}
        members = fold_message(shape, members)
        if not shape:
            response.body = json_body.dumps({"message": members["message"]})
            return
        bound = Bindings(shape, response=True)
        for name, put in bound.writers.items():
            if members.get(name) is not None:
                put(members[name], response)
        plain = json_body.writer(shape, self._writes)
        body = {k: v for k, v in members.items() if k not in bound.writers}
        response.body = json_body.dumps(plain(body) if plain else body)
