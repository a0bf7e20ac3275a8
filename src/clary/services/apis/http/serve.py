"""Answers the requests that deployed HTTP APIs get."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

import orjson

from ....clock import now
from ....ids import request_id as new_request_id
from ....provider.context import Context, context_of
from ....provider.errors import AwsError
from ....provider.platform import Platform
from ....store.metrics import MetricKey
from ....store.rows import Row
from ....web import Request, Response
from ...outbound import Outbound
from .. import access_log, proxying, tokens
from ..functions import Failed, arn_of, invoke
from ..hosts import Called, Signed
from ..lives import Lives
from ..throttle import Buckets
from . import cors, payload, routing
from .api import KIND

log = logging.getLogger(__name__)

Json = dict[str, Any]
MAX_BODY = 10 << 20
_VARIABLE = re.compile(r"\$\{stageVariables\.([A-Za-z0-9_]+)\}")
_MAX_CACHED = 10_000


@dataclass(frozen=True, slots=True)
class Live:
    """An API as it serves."""

    row: Row

    def stages(self) -> dict[str, Json]:
        """Its stages."""
        found: dict[str, Json] = self.row.private["stages"]
        return found

    def served(self, stage: Json) -> Json:
        """The routes, integrations and authorizers that a stage serves; none where nothing was deployed to it."""
        if stage.get("AutoDeploy"):
            return self.row.private
        empty: Json = {"routes": {}, "integrations": {}, "authorizers": {}}
        return dict(self.row.private["deployments"].get(stage.get("DeploymentId"), empty))


class Refused(Exception):
    """A request that gets an answer of the gateway's own; ``challenge`` says what is wrong with its token."""

    def __init__(self, status: int, text: str, challenge: str = ""):
        super().__init__(text)
        self.status = status
        self.challenge = challenge


class Server:
    """HTTP APIs."""

    def __init__(self, platform: Platform):
        self._platform = platform
        self._outbound = Outbound(platform.settings)
        self._lives = Lives(platform, KIND, Live)
        self._buckets = Buckets()
        self._tokens = tokens.Verifier(self._outbound)
        self._decisions: dict[tuple[str, ...], tuple[float, Json | None]] = {}

    async def answer(self, request: Request, called: Called, signed: Signed) -> Response | None:
        """The answer to a request; None when there is no such API here. ``signed`` raises AwsError for who is not known."""
        live = await self._lives.find(called.api)
        if live is None or live.row.spec.get("DisableExecuteApiEndpoint"):
            return None
        began = time.perf_counter()
        request_id = new_request_id()
        headers: list[tuple[str, str]] = []
        stage = ""
        settings: Json = {}
        notes: Json = {}  # for the access log
        try:
            found = routing.stage(live.stages(), called.path)
            if found is None:
                raise Refused(404, "Not Found")
            stage, settings = found[0]["StageName"], found[0].get("AccessLogSettings") or {}
            headers = self._cross_origin(live, request)
            if cors.is_preflight(request.method, request.headers) and _cors(live):
                return _response(payload.Result(204, headers, b""), request_id)
            result = await self._serve(live, request, found[0], found[1], request_id, signed, notes)
            if _cors(live):  # the gateway's word on origins is the only one
                kept = [(k, v) for k, v in result.headers if not k.lower().startswith("access-control-")]
                result = replace(result, headers=[*kept, *headers])
        except Refused as error:
            body = json.dumps({"message": str(error)}, separators=(",", ":")).encode()
            notes["error"] = {"message": str(error), "messageString": f'"{error}"'}
            told = [("www-authenticate", error.challenge)] if error.challenge else []
            result = payload.Result(error.status, [("content-type", "application/json"), *told, *headers], body)
        taken = (time.perf_counter() - began) * 1000
        self._count(live, stage, result.status, taken)
        if settings:
            notes |= {"responseLength": len(result.body), "status": result.status}
            values = access_log.values(live.row, request, request_id, stage, taken, notes)
            self._platform.services["access_log"].write(
                live.row, stage, settings.get("DestinationArn"), settings.get("Format"), values
            )
        return _response(result, request_id)

    def _cross_origin(self, live: Live, request: Request) -> list[tuple[str, str]]:
        preflight = cors.is_preflight(request.method, request.headers)
        return cors.answer(_cors(live), request.headers, preflight) if _cors(live) else []

    async def _serve(
        self, live: Live, request: Request, stage: Json, path: str, request_id: str, signed: Signed, notes: Json
    ) -> payload.Result:
        served = live.served(stage)
        match = routing.route(list(served["routes"].values()), request.method, path)
        if match is None:
            raise Refused(404, "Not Found")
        route, name = match.route, stage["StageName"]
        notes["routeKey"] = route["RouteKey"]
        self._throttle(live, stage, route)
        body = await request.body.read(MAX_BODY)
        integration = served["integrations"].get((route.get("Target") or "").partition("/")[2])
        if integration is None:
            raise Refused(500, "Internal Server Error")
        api = live.row.name
        call = payload.Call(
            api, live.row.account, f"{api}.execute-api.{live.row.region}.amazonaws.com", name, route["RouteKey"],
            request.method, path if name == "$default" else f"/{name}{path if path != '/' else '/'}", request.query,
            dict(request.headers), body, request_id, request.peer or "127.0.0.1", now(),
            match.parameters, dict(stage.get("StageVariables") or {}),
        )  # fmt: skip
        context = context_of(self._platform, live.row, None)
        call = await self._authorized(context, live, served, route, call, path, request, signed)
        ((_, said),) = (call.authorizer or {"": {}}).items()
        notes["authorizer"] = said
        began = time.perf_counter()
        try:
            if integration["IntegrationType"] == "HTTP_PROXY":
                result = await self._forward(integration, call, match)
            else:
                result = await self._invoke(context, live, integration, call, path)
            notes["integrationStatus"] = result.status
            return result
        finally:
            notes["integrationLatency"] = taken = int((time.perf_counter() - began) * 1000)
            notes["integration"] = {"latency": taken, "status": notes.get("integrationStatus")}

    def _throttle(self, live: Live, stage: Json, route: Json) -> None:
        settings = {
            **(stage.get("DefaultRouteSettings") or {}),
            **stage.get("RouteSettings", {}).get(route["RouteKey"], {}),
        }
        rate, burst = settings.get("ThrottlingRateLimit"), settings.get("ThrottlingBurstLimit")
        if rate is None and burst is None:
            return
        name = (live.row.name, stage["StageName"], route["RouteKey"])
        if not self._buckets.take(name, float(rate or 10_000), float(burst if burst is not None else 5000)):
            raise Refused(429, "Too Many Requests")

    # ---- integrations ----------------------------------------------------------------------------------------------

    async def _invoke(
        self, context: Context, live: Live, integration: Json, call: payload.Call, path: str
    ) -> payload.Result:
        version, arn = (
            integration["PayloadFormatVersion"],
            arn_of(_filled(integration["IntegrationUri"], call.variables)),
        )
        assert arn is not None
        sources = _sources(live, call, path)
        event = orjson.dumps(payload.event(call, version))
        try:
            invoked = invoke(context, arn, event, sources, integration.get("CredentialsArn"))
            answer = await asyncio.wait_for(invoked, integration["TimeoutInMillis"] / 1000)
            return payload.result(answer.payload, version)
        except TimeoutError:
            raise Refused(503, "Service Unavailable") from None
        except (Failed, payload.Malformed) as error:
            log.warning("HTTP API %s, %s: %s", live.row.name, call.route_key, error)
            raise Refused(500, "Internal Server Error") from None

    async def _forward(self, integration: Json, call: payload.Call, match: routing.Match) -> payload.Result:
        url = _filled(integration["IntegrationUri"], call.variables)
        for name, value in match.parameters.items():
            url = url.replace(f"{{{name}}}", quote(value, safe="/"))
        if call.query:
            url += ("&" if "?" in url else "?") + call.query
        method = integration.get("IntegrationMethod", "ANY")
        headers = {
            **call.headers,
            "forwarded": f"by=127.0.0.1;for={call.source};host={call.headers.get('host', '')};proto=http",
        }
        try:
            found = await proxying.ask(
                self._outbound,
                call.method if method == "ANY" else method,
                url,
                headers,
                call.body,
                integration["TimeoutInMillis"] / 1000,
            )
        except proxying.Unreachable as error:
            log.warning("HTTP API %s, %s: %s", call.api, call.route_key, error)
            raise Refused(503, "Service Unavailable") from None
        return payload.Result(found.status, found.headers, found.body)

    # ---- who may call ----------------------------------------------------------------------------------------------

    async def _authorized(
        self,
        context: Context,
        live: Live,
        served: Json,
        route: Json,
        call: payload.Call,
        path: str,
        request: Request,
        signed: Signed,
    ) -> payload.Call:
        kind = route.get("AuthorizationType", "NONE")
        if kind == "NONE":
            return call
        if kind == "AWS_IAM":
            try:
                caller = signed(request, call.body)
            except AwsError:
                raise Refused(403, "Forbidden") from None
            if caller.account != call.account:
                raise Refused(403, "Forbidden")
            return call
        authorizer = served["authorizers"].get(route.get("AuthorizerId", ""))
        if authorizer is None:
            raise Refused(500, "Internal Server Error")
        if authorizer["AuthorizerType"] == "JWT":
            return replace(call, authorizer=await self._bearer(authorizer, route, call))
        sources = [_identity(call, s) for s in authorizer["IdentitySource"]]
        if any(s is None for s in sources):
            raise Refused(401, "Unauthorized")
        values = [s for s in sources if s is not None]
        name = (live.row.name, authorizer["AuthorizerId"], route["RouteKey"], *values)
        kept = self._decisions.get(name)
        if kept is None or kept[0] < time.monotonic():
            decision = await self._decide(context, live, authorizer, call, values, path)
            if (seconds := authorizer.get("AuthorizerResultTtlInSeconds") or 0) > 0:
                if len(self._decisions) > _MAX_CACHED:
                    self._decisions.clear()
                self._decisions[name] = (time.monotonic() + seconds, decision)
        else:
            decision = kept[1]
        if decision is None:
            raise Refused(403, "Forbidden")
        return replace(call, authorizer={"lambda": decision})

    async def _bearer(self, authorizer: Json, route: Json, call: payload.Call) -> Json:
        """What functions learn of the bearer of a token."""
        wanted = list(route.get("AuthorizationScopes") or ())
        token = next((t for s in authorizer["IdentitySource"] if (t := _identity(call, s))), None)
        if token is None:
            raise Refused(401, "Unauthorized", "Bearer")
        settings = authorizer["JwtConfiguration"]
        try:
            claims = await self._tokens.claims(token, settings["Issuer"], settings.get("Audience") or [])
            return {"jwt": {"claims": tokens.texts(claims), "scopes": tokens.check_scopes(claims, wanted)}}
        except tokens.BadToken as error:
            said = f'Bearer scope="{" ".join(wanted)}" error="invalid_token" error_description="{error}"'
            raise Refused(401, "Unauthorized", said) from None
        except tokens.ScopeMissing:
            said = f'Bearer scope="{" ".join(wanted)}" error="insufficient_scope"'
            raise Refused(403, "Forbidden", said) from None

    async def _decide(
        self, context: Context, live: Live, authorizer: Json, call: payload.Call, values: list[str], path: str
    ) -> Json | None:
        """The context that a function gives a caller; None when it lets nobody in."""
        version, row = authorizer["AuthorizerPayloadFormatVersion"], live.row
        route_arn = f"arn:aws:execute-api:{row.region}:{row.account}:{row.name}/{call.stage}/{call.method}{path}"
        event = {**payload.event(call, version), "type": "REQUEST", "identitySource": values}
        event |= {"routeArn": route_arn} if version == "2.0" else {"methodArn": route_arn}
        event.pop("body", None)
        arn = arn_of(_filled(authorizer["AuthorizerUri"], call.variables))
        assert arn is not None
        source = f"arn:aws:execute-api:{row.region}:{row.account}:{row.name}/authorizers/{authorizer['AuthorizerId']}"
        try:
            answer = await invoke(
                context, arn, orjson.dumps(event), (source,), authorizer.get("AuthorizerCredentialsArn")
            )
            found = orjson.loads(answer.payload)
            if authorizer.get("EnableSimpleResponses"):
                return dict(found.get("context") or {}) if found["isAuthorized"] is True else None
            allowed = any(
                s.get("Effect") == "Allow" for s in _listed(found["policyDocument"]["Statement"])
            ) and not any(s.get("Effect") == "Deny" for s in _listed(found["policyDocument"]["Statement"]))
            return dict(found.get("context") or {}) if allowed else None
        except (Failed, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("the authorizer %s of HTTP API %s failed: %s", authorizer["Name"], row.name, error)
            raise Refused(500, "Internal Server Error") from None

    # ---- afterwards ------------------------------------------------------------------------------------------------

    def _count(self, live: Live, stage: str, status: int, milliseconds: float) -> None:
        row, meters = live.row, self._platform.services["meters"]
        dimensions = (("ApiId", row.name),)
        for metric, value, unit in (
            ("Count", 1.0, "Count"), ("4xx", float(400 <= status < 500), "Count"), ("5xx", float(status >= 500), "Count"),
            ("Latency", milliseconds, "Milliseconds"),
        ):  # fmt: skip
            meters.add(MetricKey(row.account, row.region, "AWS/ApiGateway", metric, dimensions), value, unit)


def _cors(live: Live) -> Json:
    found: Json = live.row.spec.get("CorsConfiguration") or {}
    return found


def _filled(text: str, variables: dict[str, str]) -> str:
    return _VARIABLE.sub(lambda m: variables.get(m[1], ""), text)


def _sources(live: Live, call: payload.Call, path: str) -> tuple[str, ...]:
    """The ARNs under which a function's policy may let this request in."""
    row = live.row
    base = f"arn:aws:execute-api:{row.region}:{row.account}:{row.name}/{call.stage}"
    pattern = call.route_key.partition(" ")[2]
    if call.route_key == "$default":
        return (f"{base}/$default", f"{base}/{call.method}{path}")
    return (f"{base}/{call.method}{pattern}", f"{base}/{call.method}{path}", f"{base}{pattern}")


def _identity(call: payload.Call, source: str) -> str | None:
    """The value of an identity source (``$request.header.X``, ``$request.querystring.X``, ``$stageVariables.X``)."""
    _, _, rest = source.partition("$")
    if rest.startswith("request.header."):
        return call.headers.get(rest.removeprefix("request.header.").lower()) or None
    if rest.startswith("request.querystring."):
        found = payload.event(call, "1.0")["queryStringParameters"] or {}
        return found.get(rest.removeprefix("request.querystring.")) or None
    if rest.startswith("stageVariables."):
        return call.variables.get(rest.removeprefix("stageVariables.")) or None
    if rest.startswith("context."):
        return {"httpMethod": call.method, "routeKey": call.route_key, "stage": call.stage}.get(
            rest.removeprefix("context.")
        )
    return None


def _listed(value: Any) -> list[Json]:
    return value if isinstance(value, list) else [value]


def _response(result: payload.Result, request_id: str) -> Response:
    more = tuple((k, v) for k, v in result.headers if k.lower() != "content-length")
    return Response(result.status, {"apigw-requestid": request_id}, result.body, more=more)
