"""The query protocol: form fields in, XML out."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import escape

from .. import form_body, xml_body
from ..message import Malformed, Request, Response
from ..model import Operation, Shape
from .base import Protocol, Read, Write, named


class Query(Protocol):
    """``Action=Name&Member.1=…`` in, an XML envelope out."""

    content_type = "text/xml"

    def find(self, request: Request) -> tuple[Operation, Any]:
        fields = form_body.tree(request.body, request.query)
        action = fields.get("Action", "")
        if type(action) is not str:
            raise Malformed("Action is not a name")
        return named(self.service, action), fields

    def compile_reader(self, operation: Operation) -> Read:
        if operation.input is None:
            return lambda request, fields: {}
        read = form_body.reader(operation.input, self._reads)
        return lambda request, fields: read(fields)

    def compile_writer(self, operation: Operation) -> Write:
        name, shape = operation.name, operation.output
        space = f' xmlns="{s}"' if (s := self.service.metadata.get("xmlNamespace")) else ""
        fields = xml_body.fields_writer(shape, self._writes) if shape else None
        wrapper = shape["resultWrapper"] if shape else None
        head = f"<{name}Response{space}>" + (f"<{wrapper}>" if wrapper else "")
        tail = f"</{wrapper}>" if wrapper else ""

        def write(result: dict[str, Any], request_id: str) -> Response:
            out = [head]
            if fields:
                fields(result, out)
            meta = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
            out.append(f"{tail}{meta}</{name}Response>")
            headers = {"Content-Type": self.content_type, "x-amzn-RequestId": request_id}
            return Response(200, headers, "".join(out).encode())

        return write

    def write_error(
        self, response: Response, shape: Shape | None, code: str, members: dict[str, Any], request_id: str
    ) -> None:
        space = f' xmlns="{s}"' if (s := self.service.metadata.get("xmlNamespace")) else ""
        out = [f"<ErrorResponse{space}><Error><Type>{'Receiver' if response.status >= 500 else 'Sender'}</Type>"]
        xml_error(out, shape, code, members, self._writes)
        out.append(f"</Error><RequestId>{request_id}</RequestId></ErrorResponse>")
        response.headers["x-amzn-RequestId"] = request_id
        response.body = "".join(out).encode()


def xml_error(out: list[str], shape: Shape | None, code: str, members: dict[str, Any], memo: dict[Any, Any]) -> None:
    """The inside of an ``<Error>``: code, message, then the members; unmodelled ones as plain text."""
    out.append(f"<Code>{escape(code)}</Code><Message>{escape(str(members['message']))}</Message>")
    rest = {k: v for k, v in members.items() if k.lower() != "message"}
    if shape:
        xml_body.fields_writer(shape, memo)(rest, out)
    known = shape.members if shape else {}
    out += (f"<{k}>{escape(str(v))}</{k}>" for k, v in rest.items() if k not in known)
