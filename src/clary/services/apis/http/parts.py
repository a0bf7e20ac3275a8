"""Routes, integrations and authorizers of HTTP APIs."""

from __future__ import annotations

import re
from typing import Any

from ....provider.context import Context
from ....store.rows import Row
from ..errors import bad_request, conflict, not_found
from ..functions import arn_of
from ..hosts import new_id
from ..tokens import issuer_problem
from . import http
from .api import find, paged

Json = dict[str, Any]
_ROUTE_KEY = re.compile(r"^(?:\$default|(?:ANY|DELETE|GET|HEAD|OPTIONS|PATCH|POST|PUT) /[^\s]*)$")
_NAMES = {"routes": "Route", "integrations": "Integration", "authorizers": "Authorizer"}


def part(row: Row, kind: str, identifier: str) -> Json:
    """One of an API's routes, integrations or authorizers."""
    found: Json | None = row.private[kind].get(identifier)
    if found is None:
        raise not_found(f"Invalid {_NAMES[kind]} identifier specified")
    return found


def keep(ctx: Context, row: Row, kind: str, identifier: str, made: Json | None) -> None:
    """Store a part, or remove it (None). Stages that deploy by themselves have a new deployment."""
    parts = {**row.private[kind], identifier: made}
    parts = {k: v for k, v in parts.items() if v is not None}
    stages = {
        name: {**stage, "DeploymentId": new_id(6)} if stage.get("AutoDeploy") else stage
        for name, stage in row.private["stages"].items()
    }
    ctx.tx.rows.save(row, private={**row.private, "stages": stages, kind: parts})


def _given(request: Json, own: str) -> Json:
    """The members of a part, without the names that only say which one it is."""
    return {k: v for k, v in request.items() if k not in ("ApiId", own)}


# ---- routes --------------------------------------------------------------------------------------------------------


def _check_route(row: Row, route: Json) -> None:
    if not _ROUTE_KEY.match(route["RouteKey"]):
        raise bad_request(
            'The provided route key is not formatted properly for HTTP protocol. Format should be "<HTTP METHOD> /<RESOURCE PATH>" or "$default"'
        )
    for other in row.private["routes"].values():
        if other["RouteKey"] == route["RouteKey"] and other["RouteId"] != route["RouteId"]:
            raise conflict(f"Route with key {route['RouteKey']} already exists for this API")
    if target := route.get("Target"):
        kind, _, identifier = target.partition("/")
        if kind != "integrations":
            raise bad_request(f"Invalid target {target}: it must have the form integrations/ID.")
        part(row, "integrations", identifier)
    if route["AuthorizationType"] in ("JWT", "CUSTOM"):
        part(row, "authorizers", route.get("AuthorizerId", ""))


@http.operation
def create_route(ctx: Context, request: Json) -> Json:
    """A new route."""
    row, identifier = find(ctx, request["ApiId"]), new_id(7)
    route = {"ApiKeyRequired": False, "AuthorizationType": "NONE", **_given(request, "RouteId"), "RouteId": identifier}
    _check_route(row, route)
    keep(ctx, row, "routes", identifier, route)
    return route


@http.operation
def update_route(ctx: Context, request: Json) -> Json:
    """Change a route."""
    row = find(ctx, request["ApiId"])
    route = {**part(row, "routes", request["RouteId"]), **_given(request, "RouteId")}
    _check_route(row, route)
    keep(ctx, row, "routes", route["RouteId"], route)
    return route


@http.operation
def get_route(ctx: Context, request: Json) -> Json:
    """A route."""
    return part(find(ctx, request["ApiId"]), "routes", request["RouteId"])


@http.operation
def get_routes(ctx: Context, request: Json) -> Json:
    """An API's routes."""
    return paged(list(find(ctx, request["ApiId"]).private["routes"].values()), request)


@http.operation
def delete_route(ctx: Context, request: Json) -> None:
    """Remove a route."""
    row = find(ctx, request["ApiId"])
    part(row, "routes", request["RouteId"])
    keep(ctx, row, "routes", request["RouteId"], None)


# ---- integrations --------------------------------------------------------------------------------------------------


def _check_integration(integration: Json) -> None:
    kind, uri = integration["IntegrationType"], integration.get("IntegrationUri", "")
    if integration.get("IntegrationSubtype"):
        raise bad_request("Clary does not serve integrations of AWS services (IntegrationSubtype) in HTTP APIs yet.")
    if integration.get("ConnectionType", "INTERNET") != "INTERNET":
        raise bad_request("Clary does not serve VPC links yet; ConnectionType must be INTERNET.")
    if kind not in ("AWS_PROXY", "HTTP_PROXY"):
        raise bad_request(f"HTTP APIs take the integration types AWS_PROXY and HTTP_PROXY, not {kind}.")
    if kind == "AWS_PROXY" and arn_of(uri) is None:
        raise bad_request("Invalid Integration URI specified: it must be the ARN of a Lambda function.")
    if kind == "HTTP_PROXY" and not re.match(r"^https?://", uri):
        raise bad_request("HttpProxy integrationUri should be a valid HTTP endpoint")
    if integration["PayloadFormatVersion"] not in ("1.0", "2.0"):
        raise bad_request("PayloadFormatVersion must be 1.0 or 2.0")


@http.operation
def create_integration(ctx: Context, request: Json) -> Json:
    """A new integration."""
    row, identifier = find(ctx, request["ApiId"]), new_id(7)
    integration = {
        "ConnectionType": "INTERNET", "TimeoutInMillis": 30000, "PayloadFormatVersion": "1.0", **_given(request, "IntegrationId"),
        "IntegrationId": identifier,
    }  # fmt: skip
    _check_integration(integration)
    keep(ctx, row, "integrations", identifier, integration)
    return integration


@http.operation
def update_integration(ctx: Context, request: Json) -> Json:
    """Change an integration."""
    row = find(ctx, request["ApiId"])
    integration = {**part(row, "integrations", request["IntegrationId"]), **_given(request, "IntegrationId")}
    _check_integration(integration)
    keep(ctx, row, "integrations", integration["IntegrationId"], integration)
    return integration


@http.operation
def get_integration(ctx: Context, request: Json) -> Json:
    """An integration."""
    return part(find(ctx, request["ApiId"]), "integrations", request["IntegrationId"])


@http.operation
def get_integrations(ctx: Context, request: Json) -> Json:
    """An API's integrations."""
    return paged(list(find(ctx, request["ApiId"]).private["integrations"].values()), request)


@http.operation
def delete_integration(ctx: Context, request: Json) -> None:
    """Remove an integration that no route uses."""
    row, identifier = find(ctx, request["ApiId"]), request["IntegrationId"]
    part(row, "integrations", identifier)
    users = [r["RouteKey"] for r in row.private["routes"].values() if r.get("Target") == f"integrations/{identifier}"]
    if users:
        raise conflict(
            f"Cannot delete Integration '{identifier}', as it is referenced by the following routes: {users}"
        )
    keep(ctx, row, "integrations", identifier, None)


# ---- authorizers ---------------------------------------------------------------------------------------------------


_FUNCTION_DEFAULTS = {
    "AuthorizerResultTtlInSeconds": 0, "EnableSimpleResponses": False, "AuthorizerPayloadFormatVersion": "1.0"
}  # fmt: skip


def _check_authorizer(authorizer: Json) -> None:
    if authorizer["AuthorizerType"] == "JWT":
        settings = authorizer.get("JwtConfiguration") or {}
        if not settings.get("Issuer") or not settings.get("Audience"):
            raise bad_request(
                "JwtConfiguration with an Issuer and an Audience is required for authorizers of type JWT."
            )
        if problem := issuer_problem(settings["Issuer"]):
            raise bad_request(problem)
        return
    if arn_of(authorizer.get("AuthorizerUri", "")) is None:
        raise bad_request("AuthorizerUri must name a Lambda function.")


@http.operation
def create_authorizer(ctx: Context, request: Json) -> Json:
    """What decides who may call: a function, or an issuer of tokens."""
    row, identifier = find(ctx, request["ApiId"]), new_id(6)
    authorizer = {
        **(_FUNCTION_DEFAULTS if request["AuthorizerType"] == "REQUEST" else {}),
        **_given(request, "AuthorizerId"), "AuthorizerId": identifier,
    }  # fmt: skip
    _check_authorizer(authorizer)
    keep(ctx, row, "authorizers", identifier, authorizer)
    return authorizer


@http.operation
def update_authorizer(ctx: Context, request: Json) -> Json:
    """Change an authorizer."""
    row = find(ctx, request["ApiId"])
    authorizer = {**part(row, "authorizers", request["AuthorizerId"]), **_given(request, "AuthorizerId")}
    _check_authorizer(authorizer)
    keep(ctx, row, "authorizers", authorizer["AuthorizerId"], authorizer)
    return authorizer


@http.operation
def get_authorizer(ctx: Context, request: Json) -> Json:
    """An authorizer."""
    return part(find(ctx, request["ApiId"]), "authorizers", request["AuthorizerId"])


@http.operation
def get_authorizers(ctx: Context, request: Json) -> Json:
    """An API's authorizers."""
    return paged(list(find(ctx, request["ApiId"]).private["authorizers"].values()), request)


@http.operation
def delete_authorizer(ctx: Context, request: Json) -> None:
    """Remove an authorizer that no route uses."""
    row, identifier = find(ctx, request["ApiId"]), request["AuthorizerId"]
    part(row, "authorizers", identifier)
    if any(r.get("AuthorizerId") == identifier for r in row.private["routes"].values()):
        raise conflict(f"Cannot delete Authorizer '{identifier}', as routes use it.")
    keep(ctx, row, "authorizers", identifier, None)
