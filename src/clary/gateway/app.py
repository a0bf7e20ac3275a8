"""One port for all services. The life of a request is the list of steps in ``Gateway.answer``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, cast

import orjson

from ..ids import request_id as new_request_id
from ..provider.caller import Caller
from ..provider.context import Context
from ..provider.errors import AwsError, SerializationException, ServiceUnavailable, ValidationException, coded
from ..provider.operation import Bound, Provider
from ..provider.platform import Platform
from ..services.apis.hosts import Called, called
from ..services.ecr.registry import is_registry
from ..sites import Sites
from ..web import BodyTooLarge, Disconnected, Overloaded, Request, Response
from ..wire import check
from ..wire.message import Malformed, NoSuchOperation
from ..wire.message import Request as WireRequest
from ..wire.message import Response as WireResponse
from ..wire.model import Operation
from ..wire.protocols import Protocol
from ..wire.signature import normal_path
from . import dispatch
from .bodies import Bodies
from .identity import Audience, Authenticator, Proof, permit
from .routing import Directory, Route, route
from .unavailable import is_unavailable, unavailable
from .unserved import unserved

log = logging.getLogger(__name__)

MAX_BODY = 32 << 20
"""Bytes of a body that is read whole; streaming operations have no such bound."""
MAX_ARCHIVE = 70_167_211
"""The same for a function with its archive; AWS's number."""

_HEALTH = frozenset(("/livez", "/readyz", "/version"))

Page = Callable[[Request], Awaitable[Response]]


@dataclass(slots=True)
class _Call:
    """What is known of a request, step by step."""

    request: Request
    request_id: str
    route: Route
    provider: Provider
    protocol: Protocol
    wire: WireRequest
    operation: Operation | None = None
    bound: Bound | None = None
    found: Any = None


class Gateway:
    """Answers every request that the data plane does not."""

    def __init__(self, platform: Platform, pages: dict[str, Page]):
        self._platform = platform
        self._pages = pages
        self._authenticator = Authenticator(platform.settings, platform.keyring)
        self._sites = Sites(platform.settings.hosts)
        self._bodies = Bodies(platform.settings.folder / "run")
        self._directory = Directory.of(platform.providers)
        self.calls: dict[tuple[str, str, int], int] = {}  # service, operation, status: how often

    async def __call__(self, request: Request) -> Response:
        """Answer one request, whatever happens."""
        api = called(request) or await self._platform.services["domains"].called(request)
        if self._platform.settings.open and (refusal := self._foreign(request, api)) is not None:
            return Response(403, {"Content-Type": "application/json"}, orjson.dumps({"message": refusal}), close=True)
        if api is not None:
            return await self._execute(request, api)
        if (page := self._page(request)) is not None:
            return await page(request)
        if is_registry(request):
            return await self._ask_registry(request)
        return await self.answer(request)

    async def _ask_registry(self, request: Request) -> Response:
        """A request of a tool that pushes or pulls images."""
        try:
            return cast(Response, await self._platform.services["registry"].answer(request))
        except Disconnected:
            raise
        except Exception as error:  # as in ``answer``: a bug becomes a response
            if isinstance(error, Overloaded) or is_unavailable(error):
                log.error("a request for the registry failed: %s", error or "all bodies together are too large")
                return _registry_fault(503, "UNAVAILABLE", "The registry is not available now. Please try again.")
            log.exception("a request for the registry failed: %s %s", request.method, request.path)
            return _registry_fault(500, "UNKNOWN", "An internal error occurred; the platform's log has its traceback.")

    async def _execute(self, request: Request, api: Called) -> Response:
        """A request for an API that somebody deployed."""

        def signed(request: Request, body: bytes) -> Caller:
            if normal_path(request.path) != request.path:  # the API reads it as it came, and another one is signed
                raise coded("InvalidSignatureException", "The path has empty, '.' or '..' segments.", 403)
            return self._authenticator.check(request, Audience(api.service, "rest-json"), body).caller

        try:
            for server in self._platform.services.get("apis", ()):
                if (found := await server.answer(request, api, signed)) is not None:
                    return cast(Response, found)
        except BodyTooLarge:
            return Response(413, {"Content-Type": "application/json"}, b'{"message":"Request Too Long"}')
        except Overloaded:
            return Response(503, {"Content-Type": "application/json"}, b'{"message":"Service Unavailable"}')
        except Disconnected:
            raise
        except Exception as error:  # as in ``answer``: a bug becomes a response
            if is_unavailable(error):
                log.error("a request for API %s failed: %s", api.api, error)
                return Response(503, {"Content-Type": "application/json"}, b'{"message":"Service Unavailable"}')
            log.exception("a request for API %s failed: %s %s", api.api, request.method, request.path)
            return Response(500, {"Content-Type": "application/json"}, b'{"message":"Internal server error"}')
        return Response(403, {"Content-Type": "application/json"}, b'{"message":"Forbidden"}')

    def _foreign(self, request: Request, api: Called | None) -> str | None:
        """Return why an open platform refuses what a web page of another site sent; None for everything else.

        Deployed APIs and functions' URLs are for web pages, and health pages for every machine.
        """
        if api is not None or request.path in _HEALTH:
            return None
        harmless = request.method in ("GET", "HEAD") and "Action=" not in request.query
        return self._sites.refusal(request.headers.get, harmless)

    def _page(self, request: Request) -> Page | None:
        if request.headers.get("authorization", "").startswith(
            "AWS"
        ):  # for S3, even when its bucket is named like a page
            return self._pages.get(request.path) if request.path.startswith("/_clary/") else None
        return self._pages.get("CONNECT" if request.method == "CONNECT" else request.path)

    async def answer(self, request: Request) -> Response:
        """Route, authenticate, read, check, permit, call, write."""
        request_id = new_request_id()
        call: _Call | None = None
        try:
            await self._peek_form(request)
            found = route(request, self._directory)
            provider = self._platform.providers.get(found.service)
            if provider is None:
                return _plain(await unserved(request, found, request_id))
            protocol = provider.protocol(found.protocol) if found.protocol else provider.preferred
            call = _Call(request, request_id, found, provider, protocol, self._wire_request(request, found))
            response = await self._serve(call)
        except Disconnected:
            raise
        except BodyTooLarge:
            response = self._refuse(
                call, request_id, coded("RequestEntityTooLarge", "The request body is too large.", 413)
            )
        except Overloaded:
            response = self._refuse(call, request_id, _overloaded(call))
        except AwsError as error:
            response = self._refuse(call, request_id, error)
        except Exception as error:  # the one place where a bug becomes a response
            if is_unavailable(error):
                log.error("request %s failed: %s", request_id, error)
                refusal = unavailable(call.provider if call else None)
            else:
                log.exception("request %s failed: %s %s", request_id, request.method, request.path)
                refusal = _bug(request_id)
            response = self._refuse(call, request_id, refusal)
        self._count(call, response.status)
        return response

    async def _serve(self, call: _Call) -> Response:
        self._find(call)
        audience = _audience(call)
        head = self._authenticator.open(call.request, audience)
        if call.bound is not None and call.bound.streams:
            proof = head if isinstance(head, Proof) else self._authenticator.close(head, audience, None)
            return await self._perform(call, proof, (call.request.body, proof))
        async with self._bodies.hold(call.request, _most(call)) as held:
            proof = head if isinstance(head, Proof) else self._authenticator.close(head, audience, held.sha256)
            body = await held.read()
        if audience.family == "s3" and (claimed := proof.payload_hash or "").startswith("STREAMING-"):
            body = self._platform.services["s3.decode"](call.request, proof, body, claimed)
        call.wire.body = body
        return await self._perform(call, proof, body)

    async def _perform(self, call: _Call, proof: Proof, body: Any) -> Response:
        context = self._context(call, proof)
        assert call.operation is not None and call.bound is not None
        context.body = body
        params = self._parameters(call)
        permit(context.caller, call.provider.name, call.operation.name)
        if (prepare := self._platform.services.get(f"{call.provider.name}.prepare")) is not None:
            prepare(call.operation.name, call.wire, params, context)
        result = await dispatch.call(self._platform, call.bound, context, params)
        if isinstance(result, Response):
            result.headers.setdefault("x-amzn-RequestId", call.request_id)
            return result
        written = call.protocol.write(call.operation, result or {}, call.request_id)
        if (finish := self._platform.services.get(f"{call.provider.name}.finish")) is not None:
            finish(call.operation.name, written, call.request_id)
        return _plain(written)

    # ---- steps -----------------------------------------------------------------------------------------------------

    async def _peek_form(self, request: Request) -> None:
        """An unsigned form names its service only in its body."""
        if "authorization" not in request.headers and request.headers.get("content-type", "").startswith(
            "application/x-www-form-urlencoded"
        ):
            body = await request.body.read(MAX_BODY)
            request.context["body"] = body
            _, found, rest = body.partition(b"Version=")
            if found:
                request.context["form-version"] = rest[:10].decode("latin-1")

    def _wire_request(self, request: Request, found: Route) -> WireRequest:
        path = request.path
        if found.service != "s3":
            path = normal_path(path)  # as it is signed: no other spelling of it may name another resource
        if found.bucket:
            path = f"/{found.bucket}{path}"
            request.context["v2-resource"] = path
        return WireRequest(request.method, path, request.query, request.headers)

    def _find(self, call: _Call) -> None:
        """The operation, before its body is read; for form services the body holds its name, so not yet."""
        if call.protocol.content_type == "text/xml":
            return
        try:
            call.operation, call.found = call.protocol.find(call.wire)
        except NoSuchOperation as error:
            raise _unknown(call, str(error)) from None
        call.bound = call.provider.handlers.get(call.operation.name)

    def _parameters(self, call: _Call) -> dict[str, Any]:
        try:
            assert call.operation is not None
            params = call.protocol.read_found(call.operation, call.wire, call.found)
        except (Malformed, UnicodeDecodeError) as error:
            raise _malformed(call, str(error)) from None
        if violations := call.protocol.check(call.operation, params):
            raise _violation(call, check.message(violations))
        return params

    def _context(self, call: _Call, proof: Proof) -> Context:
        if call.operation is None:
            try:
                call.operation, call.found = call.protocol.find(call.wire)
            except NoSuchOperation as error:
                raise _unknown(call, str(error)) from None
            except Malformed as error:
                raise _malformed(call, str(error)) from None
            call.bound = call.provider.handlers.get(call.operation.name)
        if call.bound is None:
            raise _not_served(call, call.operation.name)
        settings = self._platform.settings
        region = call.route.region or settings.region
        account = proof.caller.account or settings.account
        return Context(self._platform, proof.caller, account, region, call.request_id, call.request)

    # ---- errors ----------------------------------------------------------------------------------------------------

    def _refuse(self, call: _Call | None, request_id: str, error: AwsError) -> Response:
        if call is None:
            body = f'{{"__type":"{error.code}"}}'.encode()
            return Response(error.status or 400, {"Content-Type": "application/json"}, body)
        written = call.protocol.fail(error.code, error.message, request_id, error.status, **error.members)
        written.headers.update(getattr(error, "headers", {}))
        if call.provider.name == "s3":
            written.headers["x-amz-request-id"] = request_id
        return _plain(written)

    def _count(self, call: _Call | None, status: int) -> None:
        name = call.operation.name if call and call.operation else ""
        key = (call.provider.name if call else "", name, status)
        self.calls[key] = self.calls.get(key, 0) + 1


def _plain(written: WireResponse) -> Response:
    length = written.headers.pop("Content-Length", None)
    return Response(written.status, written.headers, written.body, None if length is None else int(length))


def _audience(call: _Call) -> Audience:
    """Who a request's signature must have been made for."""
    region = call.route.host_region
    if call.provider.name == "s3":
        return Audience("s3", "s3", region)
    family = {"text/xml": "query", "application/json": "rest-json"}.get(call.protocol.content_type, "json")
    unsigned = call.operation is not None and call.operation.spec.get("authtype") == "v4-unsigned-body"
    return Audience(call.provider.signing, family, region, unsigned)


def _most(call: _Call) -> int:
    """Bytes of the largest body that is read whole for an operation."""
    return MAX_ARCHIVE if call.provider.name == "lambda" else MAX_BODY


def _registry_fault(status: int, code: str, text: str) -> Response:
    body = orjson.dumps({"errors": [{"code": code, "message": text}]})
    return Response(status, {"Content-Type": "application/json"}, body, close=True)


def _bug(request_id: str) -> AwsError:
    text = f"An internal error occurred. The platform's log has its traceback under request id {request_id}."
    return coded("InternalFailure", text, 500)


def _overloaded(call: _Call | None) -> AwsError:
    if call is not None and call.provider.name == "s3":
        return coded("SlowDown", "Please reduce your request rate.", 503)
    return ServiceUnavailable("The platform holds as many request bodies as it may. Please try again.")


def _unknown(call: _Call, name: str) -> AwsError:
    if call.provider.name == "s3":
        return coded(
            "MethodNotAllowed",
            "The specified method is not allowed against this resource.",
            405,
            Method=call.wire.method,
        )
    if call.protocol.content_type == "text/xml":
        version = call.provider.model.metadata["apiVersion"]
        return coded("InvalidAction", f"Could not find operation {name} for version {version}", 400)
    return coded("UnknownOperationException", f"The operation {name} is not known to {call.provider.name}.", 404)


def _not_served(call: _Call, name: str) -> AwsError:
    text = f"Clary does not serve {call.provider.name}:{name} yet; /_clary/coverage lists what it serves."
    if call.provider.name == "s3":
        return coded("NotImplemented", text, 501)
    if call.protocol.content_type == "text/xml":
        return coded("InvalidAction", text, 400)
    return coded("UnknownOperationException", text, 400)


def _malformed(call: _Call, text: str) -> AwsError:
    if call.provider.name == "s3":
        return coded(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema",
            400,
        )
    if call.protocol.content_type == "text/xml":
        return coded("MalformedQueryString", text, 400)
    return SerializationException(text)


def _violation(call: _Call, text: str) -> AwsError:
    if call.provider.name == "s3":
        return coded("InvalidRequest", text, 400)
    if call.protocol.content_type == "text/xml" or call.provider.name == "sagemaker-runtime":
        return coded("ValidationError", text, 400)
    if call.provider.name in ("apigateway", "apigatewayv2"):
        return coded("BadRequestException", text, 400)
    if call.provider.name == "logs":
        return coded("InvalidParameterException", text, 400)
    return ValidationException(text)
