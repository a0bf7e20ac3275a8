"""Requests for services that Clary does not have: an error that names the service and the operation."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from ..web import Request
from ..wire.message import Malformed, NoSuchOperation
from ..wire.message import Request as WireRequest
from ..wire.message import Response as WireResponse
from ..wire.model import load
from ..wire.protocols import PROTOCOLS, Protocol
from .routing import Route

_MAX_BODY = 1 << 20


async def unserved(request: Request, found: Route, request_id: str) -> WireResponse:
    """The error in the protocol of the service, as far as botocore knows it."""
    codec = _codec(found.service, found.protocol)
    body = await request.body.read(_MAX_BODY)
    operation = ""
    if codec:
        try:
            operation = codec.find(WireRequest(request.method, request.path, request.query, request.headers, body))[
                0
            ].name
        except (NoSuchOperation, Malformed):
            operation = request.headers.get("x-amz-target", "").rpartition(".")[2]
    name = f"{found.service}:{operation}" if operation else f"the service {found.service!r}"
    text = f"Clary does not serve {name} yet; /_clary/coverage lists what it serves."
    if codec is None:
        return WireResponse(
            501, {"Content-Type": "application/json"}, f'{{"__type":"NotImplemented","message":"{text}"}}'.encode()
        )
    code = "InvalidAction" if codec.content_type == "text/xml" else "UnknownOperationException"
    return codec.fail(code, text, request_id, 400)


@lru_cache(maxsize=8)
def _codec(service: str, protocol: str | None) -> Protocol | None:
    spec = find_spec("botocore")
    assert spec and spec.submodule_search_locations
    if not service.replace("-", "").isalnum() or not Path(spec.submodule_search_locations[0], "data", service).is_dir():
        return None
    model = load(service)
    spoken = protocol if protocol in model.protocols else next((p for p in model.protocols if p in PROTOCOLS), None)
    return PROTOCOLS[spoken](model) if spoken else None
