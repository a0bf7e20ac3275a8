"""Answers the requests that deployed REST APIs get: the steps of a request are those of ``Server._serve``."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from calendar import monthrange
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import orjson

from ....clock import now
from ....faults import whole_import
from ....ids import request_id as new_request_id
from ....patterns import PatternError, compile_pattern, wildcard
from ....provider.context import Context, context_of
from ....provider.errors import AwsError
from ....provider.platform import Platform
from ....store.metrics import MetricKey
from ....store.rows import Row
from ....web import Request, Response
from ....wire import bounded
from ...outbound import Outbound
from ...process_environment import address, credentials
from .. import access_log, proxying, tokens
from ..functions import Failed, arn_of, invoke
from ..hosts import Called, Signed, segments
from ..http.payload import Malformed, Result
from ..lives import Lives
from ..throttle import Buckets
from . import mapping, payload
from .api import KIND
from .methods import SERVICE_URI
from .parts import POOL, gateway_response
from .payload import Call

log = logging.getLogger(__name__)

Json = dict[str, Any]
MAX_BODY = 10 << 20
_MAX_CACHED = 10_000
_ENDPOINT = re.compile(r"^/*endpoints/(?P<name>[^/]+)/invocations$")


@dataclass(frozen=True, slots=True)
class Live:
    """An API as it serves."""

    row: Row


class Refused(Exception):
    """A request that the gateway answers itself: one of its cases, and the words for it."""

    def __init__(self, kind: str, text: str, status: int | None = None):
        super().__init__(text)
        self.kind = kind
        self.status = status


@dataclass(frozen=True, slots=True)
class Tested:
    """A request that was only a test."""

    call: Call
    result: Result
    notes: Json
    milliseconds: int


class Server:
    """REST APIs."""

    def __init__(self, platform: Platform):
        self._platform = platform
        self._outbound = Outbound(platform.settings)
        self._inbound = Outbound(platform.settings, address(platform.settings))  # to the platform's own endpoints
        self._lives = Lives(platform, KIND, Live)
        self._buckets = Buckets()
        self._verifier = tokens.Verifier(self._outbound)
        self._decisions: dict[tuple[str, ...], tuple[float, Json | None]] = {}
        self._used: dict[tuple[str, str, str], int] = {}  # plan, key, period: requests

    async def answer(self, request: Request, called: Called, signed: Signed) -> Response | None:
        """The answer to a request; None when there is no such API here."""
        live = await self._lives.find(called.api)
        if live is None or live.row.spec.get("disableExecuteApiEndpoint"):
            return None
        began, request_id = time.perf_counter(), new_request_id()
        name, _, path = called.path.lstrip("/").partition("/")
        stage = live.row.private["stages"].get(name)
        api: Json = live.row.private
        notes: Json = {}  # for the access log
        try:
            if stage is None:
                raise Refused("ACCESS_DENIED", "Forbidden")
            api = live.row.private["deployments"][stage["deploymentId"]]
            result = await self._serve(live, api, stage, request, f"/{path}", request_id, signed, notes)
        except Refused as error:
            result = _said(api, error, request_id)
            notes["error"] = {"message": str(error), "messageString": f'"{error}"', "responseType": error.kind}
        taken = (time.perf_counter() - began) * 1000
        self._count(live, name if stage else "", result.status, taken)
        if stage and (settings := stage.get("accessLogSettings")):
            notes |= {
                "responseLength": len(result.body), "status": result.status, "deploymentId": stage["deploymentId"],
                "extendedRequestId": request_id[:13] + "=",
            }  # fmt: skip
            found = access_log.values(live.row, request, request_id, name, taken, notes)
            self._platform.services["access_log"].write(
                live.row, name, settings.get("destinationArn"), settings.get("format"), found
            )
        headers = {"x-amzn-RequestId": request_id, "x-amz-apigw-id": request_id[:13] + "="}
        more = tuple((k, v) for k, v in result.headers if k.lower() != "content-length")
        return Response(result.status, headers, result.body, more=more)

    async def _serve(
        self,
        live: Live,
        api: Json,
        stage: Json,
        request: Request,
        path: str,
        request_id: str,
        signed: Signed,
        notes: Json,
    ) -> Result:
        found = _route(list(api["resources"].values()), request.method, path)
        if found is None:
            raise Refused("MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")
        resource, method, parameters = found
        body = await request.body.read(MAX_BODY)
        row = live.row
        call = Call(
            row.name, row.account, row.region, stage["stageName"], stage["deploymentId"], resource, request.method, path,
            request.query, payload.spelled(request.headers), body, request_id, request.peer or "127.0.0.1", now(),
            parameters, dict(stage.get("variables") or {}),
        )  # fmt: skip
        notes |= {"resourcePath": resource["path"], "resourceId": resource["id"]}
        context = context_of(self._platform, row, None)
        await self._authorize(context, api, method, call, request, signed)
        notes["authorizer"] = call.authorizer or {}
        if method.get("apiKeyRequired"):
            await self._check_key(call)
            notes["identity"] = {"apiKeyId": call.api_key[0] if call.api_key else None}
        self._throttle(stage, call)
        return await self._integrated(context, live, api, method, call, notes)

    async def _integrated(
        self, context: Context, live: Live, api: Json, method: Json, call: Call, notes: Json
    ) -> Result:
        """Look whether a request is as the method wants it, and ask what is behind it."""
        _validate(api, method, call)
        integration, began = method["methodIntegration"], time.perf_counter()
        try:
            if integration["type"] == "AWS_PROXY":
                result = await self._proxy(context, live, integration, call)
            elif integration["type"] == "HTTP_PROXY":
                result = await self._forward(integration, call)
            else:
                result = await self._map(context, live, integration, method, call)
            notes["integrationStatus"] = result.status
            return result
        finally:
            notes["integrationLatency"] = taken = int((time.perf_counter() - began) * 1000)
            notes["integration"] = {"latency": taken, "status": notes.get("integrationStatus")}

    async def test(self, row: Row, resource: Json, method: Json, asked: Json) -> Tested:
        """A request to a method as it stands, deployed or not; nobody is asked who calls."""
        path, _, query = str(asked.get("pathWithQueryString") or resource["path"]).partition("?")
        found = _route([resource], asked["httpMethod"], path)
        headers = {**(asked.get("headers") or {})}
        headers |= {k: ",".join(v) for k, v in (asked.get("multiValueHeaders") or {}).items()}
        call = Call(
            row.name, row.account, row.region, "test-invoke-stage", "", resource, asked["httpMethod"], path, query,
            payload.spelled({k.lower(): v for k, v in headers.items()}), (asked.get("body") or "").encode(),
            new_request_id(), "test-invoke-source-ip", now(), found[2] if found else {},
            dict(asked.get("stageVariables") or {}),
        )  # fmt: skip
        began = time.perf_counter()
        notes: Json = {}
        try:
            live, context = Live(row), context_of(self._platform, row, None)
            result = await self._integrated(context, live, row.private, method, call, notes)
        except Refused as error:
            result = _said(row.private, error, call.request_id)
            notes["error"] = str(error)
        return Tested(call, result, notes, int((time.perf_counter() - began) * 1000))

    # ---- who may call ----------------------------------------------------------------------------------------------

    async def _authorize(
        self, context: Context, api: Json, method: Json, call: Call, request: Request, signed: Signed
    ) -> None:
        kind = method["authorizationType"]
        if kind == "AWS_IAM":
            if "authorization" not in request.headers:
                raise Refused("MISSING_AUTHENTICATION_TOKEN", "Missing Authentication Token")
            try:
                caller = signed(request, call.body)
            except AwsError as error:
                raise Refused("INVALID_SIGNATURE", error.message) from None
            if caller.account != call.account:
                raise Refused("ACCESS_DENIED", f"User: {caller.arn} is not authorized to access this resource")
            call.authorizer = {"principalId": caller.user_id}
        if kind not in ("CUSTOM", "COGNITO_USER_POOLS"):
            return
        authorizer = api["authorizers"].get(method.get("authorizerId"))
        if authorizer is None:
            raise Refused("AUTHORIZER_CONFIGURATION_ERROR", "Internal server error")
        values = _identities(authorizer, call)
        if values is None:
            raise Refused("UNAUTHORIZED", "Unauthorized")
        if kind == "COGNITO_USER_POOLS":
            call.authorizer = await self._bearer(authorizer, method, values[0])
            return
        arn = f"arn:aws:execute-api:{call.region}:{call.account}:{call.api}/{call.stage}/{call.method}{call.path}"
        key = (call.api, authorizer["id"], *values)
        kept = self._decisions.get(key)
        if kept is None or kept[0] < time.monotonic():
            decision: Json | None = await self._decide(context, authorizer, call, values, arn)
            if seconds := authorizer["authorizerResultTtlInSeconds"]:
                if len(self._decisions) > _MAX_CACHED:
                    self._decisions.clear()
                self._decisions[key] = (time.monotonic() + seconds, decision)
        else:
            decision = kept[1]
        verdict = _verdict(decision, arn)
        if verdict != "Allow":
            tail = " with an explicit deny" if verdict == "Deny" else ""
            raise Refused("ACCESS_DENIED", f"User is not authorized to access this resource{tail}")
        assert decision is not None
        call.authorizer = {
            "principalId": decision.get("principalId"), "integrationLatency": 0,
            **{k: v if isinstance(v, str) else json.dumps(v) for k, v in (decision.get("context") or {}).items()},
        }  # fmt: skip

    async def _bearer(self, authorizer: Json, method: Json, token: str) -> Json:
        """What a user pool says of who brings its token: an access token where scopes are wanted, else an identity's."""
        claims, problem = None, tokens.BadToken("Unauthorized")
        for arn in authorizer["providerARNs"]:
            issuer = _issuer(arn, self._platform.settings.cognito)
            if tokens.unverified_issuer(token) != issuer:
                continue
            try:
                claims = await self._verifier.claims(token, issuer, None)
            except tokens.BadToken as error:
                problem = error
        if claims is None:
            if str(problem) == "the token has expired":
                raise Refused("UNAUTHORIZED", "The incoming token has expired")
            raise Refused("UNAUTHORIZED", "Unauthorized")
        wanted = method.get("authorizationScopes") or []
        if wanted and not set(tokens.scopes(claims)) & set(wanted):
            raise Refused("UNAUTHORIZED", "Unauthorized")
        if claims.get("token_use", "id") != ("access" if wanted else "id"):
            raise Refused("UNAUTHORIZED", "Unauthorized")
        return {"claims": tokens.texts(claims)}

    async def _decide(self, context: Context, authorizer: Json, call: Call, values: list[str], arn: str) -> Json:
        function = arn_of(mapping.filled(authorizer["authorizerUri"], call.variables))
        assert function is not None
        if authorizer["type"] == "TOKEN":
            event: Json = {"type": "TOKEN", "methodArn": arn, "authorizationToken": values[0]}
        else:
            event = {**payload.event(call, False), "type": "REQUEST", "methodArn": arn}
            for name in ("body", "isBase64Encoded"):
                event.pop(name)
        source = f"arn:aws:execute-api:{call.region}:{call.account}:{call.api}/authorizers/{authorizer['id']}"
        try:
            answer = await invoke(
                context, function, orjson.dumps(event), (source,), authorizer.get("authorizerCredentials")
            )
            found: Json = orjson.loads(answer.payload)
            _verdict(found, arn)
            return found
        except Failed as error:
            if _error_message(error) == "Unauthorized":
                raise Refused("UNAUTHORIZED", "Unauthorized") from None
            log.warning("the authorizer %s of REST API %s failed: %s", authorizer["name"], call.api, error)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("the authorizer %s of REST API %s gave no policy: %s", authorizer["name"], call.api, error)
        raise Refused("AUTHORIZER_CONFIGURATION_ERROR", "Internal server error")

    # ---- keys and limits -------------------------------------------------------------------------------------------

    async def _check_key(self, call: Call) -> None:
        value = call.headers.get("X-Api-Key", "")
        key, plan = await asyncio.to_thread(self._plan_of, call, value) if value else (None, None)
        if key is None or plan is None:
            raise Refused("INVALID_API_KEY", "Forbidden")
        call.api_key = (key.name, value)
        limits = plan.spec.get("throttle") or {}
        name = (plan.name, key.name)
        if limits and not self._buckets.take(
            name, float(limits.get("rateLimit", 10_000)), float(limits.get("burstLimit", 5000))
        ):
            raise Refused("THROTTLED", "Too Many Requests")
        if quota := plan.spec.get("quota"):
            period = (*name, _period(quota["period"]))
            used = self._used.get(period, quota.get("offset") or 0)
            if used >= quota["limit"]:
                raise Refused("QUOTA_EXCEEDED", "Limit Exceeded")
            if len(self._used) > _MAX_CACHED:
                self._used.clear()
            self._used[period] = used + 1

    def _plan_of(self, call: Call, value: str) -> tuple[Row | None, Row | None]:
        """The key of a value, and a plan that lets it call this stage."""
        with self._platform.database.read() as tx:
            keys = [r for r in tx.rows.list("ApiKey", call.account, call.region) if r.spec["value"] == value]
            if not keys or not keys[0].spec["enabled"]:
                return None, None
            for plan in tx.rows.list("UsagePlan", call.account, call.region):
                places = [(s["apiId"], s["stage"]) for s in plan.spec["apiStages"]]
                if keys[0].name in plan.private["keys"] and (call.api, call.stage) in places:
                    return keys[0], plan
        return keys[0], None

    def _throttle(self, stage: Json, call: Call) -> None:
        settings = stage["methodSettings"]
        own = f"{call.resource['path'].strip('/')}/{call.method}"
        found = {**settings.get("*/*", {}), **settings.get(own, {}), **settings.get(f"/{own}", {})}
        rate, burst = found.get("throttlingRateLimit"), found.get("throttlingBurstLimit")
        if rate is None and burst is None:
            return
        name = (call.api, call.stage, call.resource["id"], call.method)
        if not self._buckets.take(
            name, float(rate if rate is not None else 10_000), float(burst if burst is not None else 5000)
        ):
            raise Refused("THROTTLED", "Too Many Requests")

    # ---- proxies ---------------------------------------------------------------------------------------------------

    async def _proxy(self, context: Context, live: Live, integration: Json, call: Call) -> Result:
        types = live.row.spec.get("binaryMediaTypes") or []
        event = payload.event(call, payload.is_binary(types, call.headers.get("Content-Type", "")))
        try:
            answer = await self._function(context, integration, call, orjson.dumps(event))
            binary = any(payload.is_binary(types, a) for a in call.headers.get("Accept", "").split(","))
            told = orjson.loads(answer)
            headers = told.get("headers") if isinstance(told, dict) else None
            kind = next((v for k, v in (headers or {}).items() if k.lower() == "content-type"), "")
            return payload.result(answer, binary or payload.is_binary(types, str(kind)))
        except (Failed, Malformed, ValueError, AttributeError) as error:
            denied = isinstance(error, Failed) and error.denied
            log.warning("REST API %s, %s %s: %s", call.api, call.method, call.resource["path"], error)
            raise Refused("API_CONFIGURATION_ERROR", "Internal server error", 500 if denied else 502) from None

    async def _function(self, context: Context, integration: Json, call: Call, event: bytes) -> bytes:
        """A function's answer, within the integration's time."""
        arn = arn_of(mapping.filled(integration["uri"], call.variables))
        if arn is None:
            raise Failed(f"the integration's URI {integration['uri']} names no function")
        if integration["httpMethod"] != "POST":
            raise Failed("functions are invoked by POST; the integration has another method", denied=True)
        source = f"arn:aws:execute-api:{call.region}:{call.account}:{call.api}/{call.stage}/{call.method}{call.resource['path']}"
        invoked = invoke(context, arn, event, (source,), integration.get("credentials"))
        try:
            return (await asyncio.wait_for(invoked, integration["timeoutInMillis"] / 1000)).payload
        except TimeoutError:
            raise Refused("INTEGRATION_TIMEOUT", "Endpoint request timed out") from None

    async def _forward(self, integration: Json, call: Call) -> Result:
        url = mapping.filled(integration["uri"], call.variables)
        for name, value in call.parameters.items():
            url = url.replace(f"{{{name}}}", quote(value, safe="/" if "/" in value else ""))
        source = _source(call)
        sent = dict(call.headers)
        for target, expression in (integration.get("requestParameters") or {}).items():
            place, name = target.split(".", 3)[2:4]
            if (mapped := mapping.value(expression, source)) is not None:
                if place == "path":
                    url = url.replace(f"{{{name}}}", quote(mapped))
                elif place == "header":
                    sent[name] = mapped
        if call.query:
            url += ("&" if "?" in url else "?") + call.query
        method = integration["httpMethod"]
        answered = await self._ask(call.method if method == "ANY" else method, url, sent, call.body, integration)
        return Result(answered.status, answered.headers, answered.body)

    async def _ask(
        self, method: str, url: str, headers: dict[str, str], body: bytes, integration: Json
    ) -> proxying.Answered:
        try:
            return await proxying.ask(self._outbound, method, url, headers, body, integration["timeoutInMillis"] / 1000)
        except proxying.Unreachable as error:
            log.warning("%s", error)
            if error.refused:
                raise Refused("API_CONFIGURATION_ERROR", "Internal server error") from None
            if error.timed_out:
                raise Refused("INTEGRATION_TIMEOUT", "Endpoint request timed out") from None
            raise Refused("INTEGRATION_FAILURE", "Network error communicating with endpoint") from None

    # ---- integrations with mappings ----------------------------------------------------------------------------------

    async def _map(self, context: Context, live: Live, integration: Json, method: Json, call: Call) -> Result:
        """A MOCK, AWS or HTTP integration: request template, call, choice of the response, response template."""
        source = _source(call)
        overrides: Json = {}
        body = await asyncio.to_thread(self._request_body, integration, call, source, overrides)
        kind = integration["type"]
        answer = mapping.Source("", {}, {}, {}, source.context, source.variables)
        failure = ""
        status = 200
        if kind == "MOCK":
            status, body = _mock(body), ""
        elif kind == "HTTP":
            url, headers = self._mapped(integration, call, source, overrides)
            found = await self._ask(integration["httpMethod"], url, headers, body.encode(), integration)
            status, body, answer.headers = found.status, found.body.decode("utf-8", "replace"), dict(found.headers)
        elif SERVICE_URI.match(integration["uri"])["service"] == "lambda":  # type: ignore[index]  # checked when it was put
            try:
                body = (await self._function(context, integration, call, body.encode() or b"{}")).decode()
            except Failed as error:
                if not error.payload:
                    log.warning("REST API %s: %s", call.api, error)
                    raise Refused("API_CONFIGURATION_ERROR", "Internal server error") from None
                body = error.payload.decode("utf-8", "replace")
                failure = _error_message(error)
        else:
            found = await self._endpoint(integration, call, source, body, overrides)
            status, body, answer.headers = found.status, found.body.decode("utf-8", "replace"), dict(found.headers)
        answer.body = body
        function = kind == "AWS" and ":lambda:" in integration["uri"].partition(":apigateway:")[2]
        rule = _chosen(integration.get("integrationResponses") or {}, failure if function else str(status), function)
        if rule is None:
            log.warning("REST API %s: no integration response fits %s", call.api, failure or status)
            raise Refused("API_CONFIGURATION_ERROR", "Internal server error")
        return await asyncio.to_thread(_answered, rule, method, answer, source)

    def _request_body(self, integration: Json, call: Call, source: mapping.Source, overrides: Json) -> str:
        templates = integration.get("requestTemplates") or {}
        kind = call.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
        template = templates.get(kind)
        if template is not None:
            try:
                return mapping.render(template, source, overrides)
            except mapping.TemplateFailed as error:
                log.warning("REST API %s: the request template for %s failed: %s", call.api, kind, error)
                raise Refused("API_CONFIGURATION_ERROR", "Internal server error") from None
        behaviour = integration["passthroughBehavior"].upper()
        if behaviour == "NEVER" or (behaviour == "WHEN_NO_TEMPLATES" and templates):
            raise Refused("UNSUPPORTED_MEDIA_TYPE", "Unsupported Media Type")
        return source.body

    def _mapped(
        self, integration: Json, call: Call, source: mapping.Source, overrides: Json
    ) -> tuple[str, dict[str, str]]:
        """The URL and headers that an integration asks for."""
        url = mapping.filled(integration["uri"], call.variables)
        headers = {"User-Agent": f"AmazonAPIGateway_{call.api}", "x-amzn-apigateway-api-id": call.api}
        query: dict[str, str] = {}
        for target, expression in (integration.get("requestParameters") or {}).items():
            place, name = target.split(".", 3)[2:4]
            if (value := mapping.value(expression, source)) is None:
                continue
            if place == "path":
                url = url.replace(f"{{{name}}}", quote(value))
            elif place == "header":
                headers[name] = value
            else:
                query[name] = value
        changed = overrides.get("requestOverride") or {}
        headers |= {k: str(v) for k, v in changed.get("header", {}).items()}
        query |= {k: str(v) for k, v in changed.get("querystring", {}).items()}
        for name, value in changed.get("path", {}).items():
            url = url.replace(f"{{{name}}}", quote(str(value)))
        headers.setdefault("Content-Type", call.headers.get("Content-Type", "application/json"))
        return url + (f"?{urlencode(query)}" if query else ""), headers

    async def _endpoint(
        self, integration: Json, call: Call, source: mapping.Source, body: str, overrides: Json
    ) -> proxying.Answered:
        """SageMaker's runtime, called as the integration's role."""
        url, headers = self._mapped(integration, call, source, overrides)
        found = SERVICE_URI.match(url.partition("?")[0])
        named = _ENDPOINT.match(found["path"]) if found else None
        if named is None or not integration.get("credentials"):
            log.warning("REST API %s: the integration needs a role and a path endpoints/NAME/invocations", call.api)
            raise Refused("API_CONFIGURATION_ERROR", "Internal server error")
        return await asyncio.to_thread(self._invoke_endpoint, named["name"], integration, call, headers, body)

    def _invoke_endpoint(
        self, name: str, integration: Json, call: Call, headers: dict[str, str], body: str
    ) -> proxying.Answered:
        with whole_import():
            from botocore.auth import SigV4Auth
            from botocore.awsrequest import AWSRequest
            from botocore.credentials import Credentials

        keys = credentials(
            self._platform, call.account, call.region, integration["credentials"], "APIGatewayExecution", 900.0
        )  # fmt: skip
        url = f"{address(self._platform.settings)}/endpoints/{name}/invocations"
        sent = {
            k: v
            for k, v in headers.items()
            if k.lower() in ("content-type", "accept") or k.lower().startswith("x-amzn-sagemaker")
        }
        request = AWSRequest("POST", url, data=body.encode(), headers=sent)
        role = Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"], keys["AWS_SESSION_TOKEN"])
        SigV4Auth(role, "sagemaker", call.region).add_auth(request)
        try:
            return proxying.ask_now(
                self._inbound, "POST", url, dict(request.headers), body.encode(), integration["timeoutInMillis"] / 1000
            )
        except proxying.Unreachable as error:
            kind = "INTEGRATION_TIMEOUT" if error.timed_out else "INTEGRATION_FAILURE"
            raise Refused(
                kind, "Endpoint request timed out" if error.timed_out else "Network error communicating with endpoint"
            ) from None

    # ---- afterwards ------------------------------------------------------------------------------------------------

    def _count(self, live: Live, stage: str, status: int, milliseconds: float) -> None:
        row, meters = live.row, self._platform.services["meters"]
        name = (("ApiName", row.spec["name"]),)
        for dimensions in (name, (*name, ("Stage", stage))) if stage else (name,):
            for metric, value, unit in (
                ("Count", 1.0, "Count"), ("4XXError", float(400 <= status < 500), "Count"),
                ("5XXError", float(status >= 500), "Count"), ("Latency", milliseconds, "Milliseconds"),
            ):  # fmt: skip
                meters.add(MetricKey(row.account, row.region, "AWS/ApiGateway", metric, dimensions), value, unit)


# ---- the way of a request -------------------------------------------------------------------------------------------


def _route(resources: list[Json], method: str, path: str) -> tuple[Json, Json, dict[str, str]] | None:
    """Resource, method and path parameters: fixed parts beat variables, variables beat greedy ones."""
    given = segments(path)
    best: tuple[tuple[int, ...], Json, dict[str, str]] | None = None
    for resource in resources:
        methods = resource.get("resourceMethods", {})
        if method not in methods and "ANY" not in methods:
            continue
        found = _match(segments(resource["path"]), given)
        if found is not None and (best is None or found[0] > best[0]):
            best = (found[0], resource, found[1])
    if best is None:
        return None
    methods = best[1]["resourceMethods"]
    return best[1], methods.get(method) or methods["ANY"], best[2]


def _match(wanted: list[str], given: list[str]) -> tuple[tuple[int, ...], dict[str, str]] | None:
    values: dict[str, str] = {}
    rank: list[int] = []
    for number, part in enumerate(wanted):
        if part.startswith("{") and part.endswith("+}"):
            if number >= len(given):
                return None
            return (*rank, 0), {**values, part[1:-2]: "/".join(given[number:])}
        if number >= len(given):
            return None
        if part.startswith("{") and part.endswith("}"):
            values[part[1:-1]] = given[number]
            rank.append(1)
        elif part == given[number]:
            rank.append(2)
        else:
            return None
    return (tuple(rank), values) if len(wanted) == len(given) else None


def _error_message(error: Failed) -> str:
    """What a function that failed said; empty where it could not be called."""
    return str(orjson.loads(error.payload or b"{}").get("errorMessage", ""))


def _source(call: Call) -> mapping.Source:
    pairs = parse_qsl(call.query, keep_blank_values=True)
    many: dict[str, list[str]] = {}
    for name, value in pairs:
        many.setdefault(name, []).append(value)
    return mapping.Source(
        call.body.decode("utf-8", "replace"), call.parameters, dict(pairs), call.headers, payload.context(call),
        call.variables, many,
    )  # fmt: skip


def _validate(api: Json, method: Json, call: Call) -> None:
    validator = api["validators"].get(method.get("requestValidatorId") or "")
    if validator is None:
        return
    source = _source(call)
    if validator["validateRequestParameters"]:
        missing = []
        for name, required in (method.get("requestParameters") or {}).items():
            if required and not mapping.value(name, source):
                missing.append(name.rpartition(".")[2])
        if missing:
            raise Refused("BAD_REQUEST_PARAMETERS", f"Missing required request parameters: [{', '.join(missing)}]")
    if validator["validateRequestBody"]:
        kind = call.headers.get("Content-Type", "application/json").partition(";")[0].strip().lower()
        name = (method.get("requestModels") or {}).get(kind)
        if name is None:
            return
        model = api["models"].get(name)
        if model is None or not mapping.fits(model.get("schema") or "{}", call.body):
            raise Refused("BAD_REQUEST_BODY", "Invalid request body")


def _issuer(arn: str, base: str) -> str:
    """Who makes a user pool's tokens."""
    pool = POOL.fullmatch(arn)
    assert pool is not None
    there = base.rstrip("/") or f"https://cognito-idp.{pool['region']}.amazonaws.com"
    return f"{there}/{pool['id']}"


def _identities(authorizer: Json, call: Call) -> list[str] | None:
    """The values that an authorizer looks at; None when one of them is missing or is not of the right form."""
    source = _source(call)
    one = authorizer["type"] in ("TOKEN", "COGNITO_USER_POOLS")
    default = "method.request.header.Authorization" if one else ""
    names = [n.strip() for n in (authorizer.get("identitySource") or default).split(",") if n.strip()]
    values = [mapping.value(n, source) for n in names]
    if any(not v for v in values):
        return None
    found = [v for v in values if v is not None]
    pattern = authorizer.get("identityValidationExpression")
    if pattern and one and not _full(pattern, found[0]):
        return None
    return found


def _full(pattern: str, text: str) -> bool:
    """Whether the whole of a text matches; what cannot be compiled here was refused when it was written."""
    try:
        return compile_pattern(pattern, dot_all=True).full(text)
    except PatternError:
        raise Refused("API_CONFIGURATION_ERROR", "Internal server error") from None


def _verdict(decision: Json | None, arn: str) -> str:
    """What a policy says of a method: Allow, Deny, or nothing."""
    verdict = ""
    statements = decision["policyDocument"]["Statement"] if decision else []
    for statement in statements if isinstance(statements, list) else [statements]:
        resources = statement["Resource"]
        listed = resources if isinstance(resources, list) else [resources]
        if any(wildcard(r).full(arn) for r in listed):
            if statement["Effect"] == "Deny":
                return "Deny"
            verdict = "Allow"
    return verdict


def _period(kind: str) -> str:
    day = datetime.now(UTC)
    if kind == "DAY":
        return day.strftime("%Y-%m-%d")
    if kind == "WEEK":
        return day.strftime("%G-%V")
    return f"{day:%Y-%m}-{monthrange(day.year, day.month)[1]}"


def _mock(body: str) -> int:
    """The status that a MOCK integration's request template names; its keys need no quotes."""
    try:
        return int(bounded.loads(re.sub(r"([{,]\s*)([A-Za-z_]\w*)(\s*:)", r'\1"\2"\3', body))["statusCode"])
    except (ValueError, KeyError, TypeError):
        raise Refused("API_CONFIGURATION_ERROR", "Internal server error") from None


def _chosen(responses: Json, subject: str, function: bool) -> Json | None:
    """The integration response whose pattern fits: of a function its error's message, else the status."""
    default = None
    for rule in responses.values():
        pattern = rule.get("selectionPattern")
        if not pattern:
            default = default or rule
        elif (subject or not function) and _full(pattern, subject):
            return dict(rule)
    return default


def _answered(rule: Json, method: Json, answer: mapping.Source, source: mapping.Source) -> Result:
    """An integration's answer as the method's."""
    status = int(rule["statusCode"])
    overrides: Json = {}
    templates = rule.get("responseTemplates") or {}
    kind = (answer.header("Content-Type") or "application/json").partition(";")[0].strip().lower()
    template = templates.get(kind)
    if template is None and templates:
        kind, template = next(iter(templates.items()))
    text = answer.body
    if template:
        try:
            text = mapping.render(template, answer, overrides)
        except mapping.TemplateFailed as error:
            log.warning("a response template failed: %s", error)
            raise Refused("API_CONFIGURATION_ERROR", "Internal server error") from None
    declared = (method.get("methodResponses") or {}).get(rule["statusCode"], {}).get("responseParameters") or {}
    headers = {"Content-Type": kind}
    for target, expression in (rule.get("responseParameters") or {}).items():
        if target in declared and (value := mapping.value(expression, source, answer)) is not None:
            headers[target.removeprefix("method.response.header.")] = value
    changed: Json = overrides.get("responseOverride") or {}
    headers |= {k: str(v) for k, v in changed.get("header", {}).items()}
    return Result(int(changed.get("status") or status), list(headers.items()), text.encode())


def _said(api: Json, error: Refused, request_id: str) -> Result:
    """The gateway's own words, as the API has them."""
    rule = gateway_response(api if "responses" in api else {"responses": {}}, error.kind)
    status = int(rule["statusCode"]) if not rule["defaultResponse"] or error.status is None else error.status
    template = next(iter(rule["responseTemplates"].values()), "")
    text = template.replace("$context.error.messageString", json.dumps(str(error)))
    text = text.replace("$context.error.message", str(error)).replace("$context.error.responseType", error.kind)
    text = text.replace("$context.requestId", request_id)
    headers = [("Content-Type", next(iter(rule["responseTemplates"]), "application/json"))]
    for target, expression in rule["responseParameters"].items():
        headers.append((target.removeprefix("gatewayresponse.header."), str(expression).strip("'")))
    names = {
        "MISSING_AUTHENTICATION_TOKEN": "MissingAuthenticationTokenException", "ACCESS_DENIED": "AccessDeniedException",
        "INVALID_API_KEY": "ForbiddenException", "THROTTLED": "TooManyRequestsException",
        "QUOTA_EXCEEDED": "LimitExceededException", "UNAUTHORIZED": "UnauthorizedException",
    }  # fmt: skip
    headers.append(
        (
            "x-amzn-ErrorType",
            names.get(error.kind, "BadRequestException" if status < 500 else "InternalServerErrorException"),
        )
    )
    return Result(status, headers, text.encode())
