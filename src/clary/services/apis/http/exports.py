"""An HTTP API as an OpenAPI document that can be imported again."""

from __future__ import annotations

from typing import Any

from ....provider.context import Context
from .. import openapi
from ..errors import bad_request, not_found
from ..hosts import address
from . import http
from .api import find
from .imports import INTEGRATION

Json = dict[str, Any]


@http.operation
def export_api(ctx: Context, request: Json) -> Json:
    """An API in OpenAPI 3.0, with what only API Gateway knows unless that is not wanted."""
    row = find(ctx, request["ApiId"])
    if request["Specification"] != "OAS30":
        raise bad_request("Invalid specification. Supported specifications are: [OAS30]")
    if request["OutputType"] not in ("JSON", "YAML"):
        raise bad_request("Invalid output type. Supported types are: [JSON, YAML]")
    stage = request.get("StageName")
    if stage and stage not in row.private["stages"]:
        raise not_found(f"Invalid stage identifier specified {stage}")
    document = _document(ctx, row, request.get("IncludeExtensions", True), stage)
    return {"body": openapi.text(document, request["OutputType"] == "YAML").encode()}


def _document(ctx: Context, row: Any, extended: bool, stage: str | None) -> Json:
    spec = row.spec
    info: Json = {"title": spec["Name"], "version": spec.get("Version") or "1.0"}
    if spec.get("Description"):
        info["description"] = spec["Description"]
    base = "" if stage in (None, "$default") else stage
    server: Json = {"url": f"{address(ctx, row.name)}/{{basePath}}", "variables": {"basePath": {"default": base}}}
    schemes: dict[str, Json] = {}
    paths: Json = {}
    for route in sorted(row.private["routes"].values(), key=lambda r: r["RouteKey"]):
        verb, _, path = route["RouteKey"].partition(" ")
        whole = route["RouteKey"] == "$default"
        name = openapi.ANY if verb == "ANY" or whole else verb.lower()
        paths.setdefault("/$default" if whole else path, {})[name] = _operation(row, route, extended, schemes)
    found: Json = {"openapi": "3.0.1", "info": info, "servers": [server], "paths": paths}
    if schemes:
        found["components"] = {"securitySchemes": schemes}
    if extended and (cors := spec.get("CorsConfiguration")):
        found["x-amazon-apigateway-cors"] = {_lower(k): v for k, v in cors.items()}
    if extended:
        found["x-amazon-apigateway-importexport-version"] = "1.0"
    return found


def _operation(row: Any, route: Json, extended: bool, schemes: dict[str, Json]) -> Json:
    found: Json = {"responses": {"default": {"description": f"Default response for {route['RouteKey']}"}}}
    if route.get("OperationName"):
        found["operationId"] = route["OperationName"]
    names = [p[1:-1].rstrip("+") for p in route["RouteKey"].split("/") if p.startswith("{") and p.endswith("}")]
    if names:
        found["parameters"] = [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]
    if not extended:
        return found
    authorizer = row.private["authorizers"].get(route.get("AuthorizerId"))
    if authorizer is not None:
        found["security"] = [{authorizer["Name"]: route.get("AuthorizationScopes") or []}]
        schemes[authorizer["Name"]] = _scheme(authorizer)
    elif route.get("AuthorizationType") == "AWS_IAM":
        found["x-amazon-apigateway-auth"] = {"type": "AWS_IAM"}
    integration = row.private["integrations"].get(str(route.get("Target", "")).rpartition("/")[2])
    if integration is not None:
        told = {ours: integration[theirs] for ours, theirs in INTEGRATION.items() if integration.get(theirs)}
        found["x-amazon-apigateway-integration"] = {**told, "type": told["type"].lower()}
    return found


def _scheme(authorizer: Json) -> Json:
    names = {
        "AuthorizerUri": "authorizerUri", "AuthorizerCredentialsArn": "authorizerCredentials",
        "AuthorizerResultTtlInSeconds": "authorizerResultTtlInSeconds",
        "AuthorizerPayloadFormatVersion": "authorizerPayloadFormatVersion",
        "EnableSimpleResponses": "enableSimpleResponses",
    }  # fmt: skip
    about: Json = {"type": authorizer["AuthorizerType"].lower()}
    about |= {ours: authorizer[theirs] for theirs, ours in names.items() if authorizer.get(theirs) is not None}
    if sources := authorizer.get("IdentitySource"):
        about["identitySource"] = ",".join(sources)
    if jwt := authorizer.get("JwtConfiguration"):
        about["jwtConfiguration"] = {_lower(k): v for k, v in jwt.items()}
        return {"type": "oauth2", "flows": {}, openapi.AUTHORIZER: about}
    return {"type": "apiKey", "name": "Authorization", "in": "header", openapi.AUTHORIZER: about}


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
