"""What the protocols share: codecs compiled once for each operation, and the outline of an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import event_stream, json_body
from ..check import Check, checker
from ..message import NoSuchOperation, Request, Response
from ..model import Operation, Service, Shape
from ..rest import Bindings

Read = Callable[[Request, Any], dict[str, Any]]
Write = Callable[[dict[str, Any], str], Response]


class Protocol:
    """One protocol for one service. Codecs are compiled at an operation's first use and kept."""

    content_type = ""

    def __init__(self, service: Service):
        self.service = service
        self._reads: dict[Any, Any] = {}
        self._writes: dict[Any, Any] = {}
        self._typed: dict[Any, json_body.Convert] = {}
        self._checks: dict[Any, Check | None] = {}
        self._readers: dict[str, Read] = {}
        self._writers: dict[str, Write] = {}

    def read(self, request: Request) -> tuple[Operation, dict[str, Any]]:
        """The operation that a request names, and its parameters; raises Malformed, NoSuchOperation."""
        operation, found = self.find(request)
        return operation, self.read_found(operation, request, found)

    def read_found(self, operation: Operation, request: Request, found: Any) -> dict[str, Any]:
        """The parameters of a request whose operation is already known."""
        if (read := self._readers.get(operation.name)) is None:
            read = self._readers[operation.name] = self.compile_reader(operation)
        return read(request, found)

    def typed(self, operation: Operation, given: dict[str, Any]) -> dict[str, Any]:
        """Return parameters that came by no wire, each in its modelled type; Malformed if one is none.

        They go by the names of members, what is inside them is spelled as on the wire.
        """
        members = operation.input.members if operation.input else {}
        known = {n: v for n, v in given.items() if n in members and v is not None}
        return {n: json_body.reader(members[n], self._typed)(v) for n, v in known.items()}

    def check(self, operation: Operation, params: dict[str, Any]) -> list[str]:
        """What the parameters violate, in AWS's words."""
        violations: list[str] = []
        if operation.input and (check := checker(operation.input, self._checks)):
            check(params, "", violations)
        return violations

    def write(self, operation: Operation, result: dict[str, Any], request_id: str) -> Response:
        """A result as a response; members that the output shape lacks are dropped."""
        if (write := self._writers.get(operation.name)) is None:
            write = self._writers[operation.name] = self.compile_writer(operation)
        return write(result, request_id)

    def fail(self, code: str, message: str, request_id: str, status: int | None = None, **members: Any) -> Response:
        """An error as a response; the status comes from the model unless given."""
        shape = self.service.errors.get(code)
        traits = (shape["error"] or {}) if shape else {}
        message, members = _clean(message), {k: _clean(v) for k, v in members.items()}
        status = status or traits.get("httpStatusCode") or (500 if shape and shape["fault"] else 400)
        response = Response(status, {"Content-Type": self.content_type})
        if self.service.metadata.get("awsQueryCompatible") is not None:
            kind = "Receiver" if status >= 500 else "Sender"
            response.headers["x-amzn-query-error"] = f"{traits.get('code', code)};{kind}"
        self.write_error(response, shape, code, {"message": message, **members}, request_id)
        return response

    def find(self, request: Request) -> tuple[Operation, Any]:
        """The operation that a request names, with whatever the reader needs of the search."""
        raise NotImplementedError

    def compile_reader(self, operation: Operation) -> Read:
        """A reader of an operation's requests."""
        raise NotImplementedError

    def compile_writer(self, operation: Operation) -> Write:
        """A writer of an operation's results."""
        raise NotImplementedError

    def write_error(
        self, response: Response, shape: Shape | None, code: str, members: dict[str, Any], request_id: str
    ) -> None:
        """Fill a response with an error; ``members['message']`` is its text."""
        raise NotImplementedError


def _clean(value: Any) -> Any:
    """A text that can be written: bytes of a header that are not UTF-8 were kept as halves of characters."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and not value.isascii() else value


def named(service: Service, name: str) -> Operation:
    """An operation by name."""
    try:
        return service.operations[name]
    except KeyError:
        raise NoSuchOperation(name) from None


def fold_message(shape: Shape | None, members: dict[str, Any]) -> dict[str, Any]:
    """Errors model their text as ``message`` or ``Message``; fill the one that the shape has."""
    if shape and "message" not in shape.members and "Message" in shape.members:
        return {**members, "Message": members.get("message")}
    return members


def stream_of(shape: Shape | None) -> tuple[str, Shape] | None:
    """The member of an output that is an event stream."""
    return next(((n, m) for n, m in (shape.members if shape else {}).items() if m["eventstream"]), None)


def streaming(stream: tuple[str, Shape], dialect: str, bound: Bindings | None = None) -> Write:
    """A writer of results whose body is an event stream."""
    name, shape = stream
    frames = event_stream.writer(shape, dialect)

    def write(result: dict[str, Any], request_id: str) -> Response:
        response = Response(200, {"Content-Type": event_stream.TYPE, "x-amzn-RequestId": request_id})
        for key, put in (bound.writers if bound else {}).items():
            if result.get(key) is not None:
                put(result[key], response)
        response.body = frames(result[name])
        return response

    return write
