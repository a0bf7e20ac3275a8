"""REST with XML bodies; S3 is the service that speaks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .. import xml_body
from ..message import Response
from ..model import Service, Shape
from ..rest import Bindings
from .query import xml_error
from .rest_json import Rest

_DECLARATION = b'<?xml version="1.0" encoding="UTF-8"?>\n'


class RestXml(Rest):
    """REST with XML bodies."""

    content_type = "application/xml"
    dialect = "xml"

    def body_reader(self, shape: Shape | None, bound: Bindings) -> Callable[[bytes], Any]:
        target = bound.payload[1] if bound.payload else shape
        if target is None:
            return lambda body: {}
        read = xml_body.reader(target, self._reads)
        return lambda body: read(xml_body.parse(body))

    def body_writer(self, shape: Shape | None, bound: Bindings) -> Callable[[Any], bytes]:
        target = bound.payload[1] if bound.payload else shape
        if target is None:
            return lambda value: b""
        tag = target["locationName"] or target.name
        put = xml_body.writer(target, self._writes)
        top = f' xmlns="{s}"' if not xml_body.namespace(target) and (s := _top_namespace(self.service)) else ""

        def write(value: dict[str, Any]) -> bytes:
            out: list[str] = []
            put(tag, value, out)
            if top:
                out[0] = out[0].replace(f"<{tag}", f"<{tag}{top}", 1)
            return _DECLARATION + "".join(out).encode()

        return write

    def write_error(
        self, response: Response, shape: Shape | None, code: str, members: dict[str, Any], request_id: str
    ) -> None:
        response.headers["x-amzn-RequestId"] = request_id
        for name, put in (Bindings(shape, response=True).writers if shape else {}).items():
            if members.get(name) is not None:
                put(members[name], response)
        out: list[str] = []
        xml_error(out, shape, code, members, self._writes)
        inside = "".join(out)
        kind = "Receiver" if response.status >= 500 else "Sender"
        if self.service.metadata.get("serviceId") == "S3":  # S3 alone writes its errors without an envelope
            text = f"<Error>{inside}<RequestId>{request_id}</RequestId></Error>"
        else:
            text = (
                f"<ErrorResponse><Error><Type>{kind}</Type>{inside}</Error>"
                f"<RequestId>{request_id}</RequestId></ErrorResponse>"
            )
        response.body = _DECLARATION + text.encode()


def _top_namespace(service: Service) -> str | None:
    space = service.metadata.get("xmlNamespace")
    found: str | None = space.get("uri") if isinstance(space, dict) else space
    return found
