"""HTTP APIs from OpenAPI 3 documents."""

from __future__ import annotations

from typing import Any

from ....provider.context import Context
from .. import openapi
from ..checked import called
from ..errors import bad_request
from . import http
from .api import create_api, find, shown, update_api
from .parts import create_authorizer, create_integration, create_route

Json = dict[str, Any]
INTEGRATION = {
    "type": "IntegrationType", "uri": "IntegrationUri", "httpMethod": "IntegrationMethod",
    "payloadFormatVersion": "PayloadFormatVersion", "timeoutInMillis": "TimeoutInMillis",
    "connectionType": "ConnectionType", "connectionId": "ConnectionId", "credentials": "CredentialsArn",
    "description": "Description", "requestParameters": "RequestParameters", "integrationSubtype": "IntegrationSubtype",
}  # fmt: skip


def _own(document: Json) -> Json:
    """What a document says of the API itself."""
    info = document.get("info") or {}
    found: Json = {"Name": info.get("title") or "Untitled"}
    if info.get("description"):
        found["Description"] = info["description"]
    if info.get("version"):
        found["Version"] = str(info["version"])
    if cors := document.get("x-amazon-apigateway-cors"):
        found["CorsConfiguration"] = {
            k: v.split(",") if isinstance(v, str) and k != "maxAge" else v for k, v in cors.items()
        }
    return found


@http.operation
def import_api(ctx: Context, request: Json) -> Json:
    """A new API from a document."""
    document = openapi.parse(request["Body"])
    made = called(http, create_api, ctx, {"ProtocolType": "HTTP", **_own(document)})
    _fill(ctx, made["ApiId"], document)
    return shown(ctx, find(ctx, made["ApiId"]))


@http.operation
def reimport_api(ctx: Context, request: Json) -> Json:
    """Replace what an API does; its stages stay."""
    document = openapi.parse(request["Body"])
    row = find(ctx, request["ApiId"])
    ctx.tx.rows.save(row, private={**row.private, "routes": {}, "integrations": {}, "authorizers": {}})
    called(http, update_api, ctx, {"ApiId": row.name, **_own(document)})
    _fill(ctx, row.name, document)
    return shown(ctx, find(ctx, row.name))


def _fill(ctx: Context, api: str, document: Json) -> None:
    authorizers = {}
    for name, scheme in openapi.schemes(document).items():
        if about := scheme.get(openapi.AUTHORIZER):
            authorizers[name] = _authorizer(ctx, api, name, about)
    for path, verb, operation in openapi.operations(document):
        found = openapi.integration(document, operation)
        if found is None:
            continue
        given = {INTEGRATION[k]: v for k, v in found.items() if k in INTEGRATION}
        given["IntegrationType"] = str(given.get("IntegrationType", "")).upper()
        if given["IntegrationType"].startswith("AWS"):
            given["IntegrationMethod"] = "POST"
        integration = called(http, create_integration, ctx, {"ApiId": api, **given})["IntegrationId"]
        route: Json = {
            "RouteKey": "$default" if path == "/$default" else f"{verb} {path}",
            "Target": f"integrations/{integration}",
        }
        for name, scopes in openapi.wanted(document, operation):
            if name not in authorizers:
                raise bad_request(
                    f"Invalid OpenAPI input. {verb} {path} wants the authorizer {name}, which is not defined."
                )
            route |= {"AuthorizationType": authorizers[name][0], "AuthorizerId": authorizers[name][1]}
            if scopes:
                route["AuthorizationScopes"] = scopes
        if (operation.get("x-amazon-apigateway-auth") or {}).get("type") == "AWS_IAM":
            route["AuthorizationType"] = "AWS_IAM"
        if operation.get("operationId"):
            route["OperationName"] = operation["operationId"]
        called(http, create_route, ctx, {"ApiId": api, **route})


def _authorizer(ctx: Context, api: str, name: str, about: Json) -> tuple[str, str]:
    """The authorization type of routes, and the authorizer's id."""
    given: Json = {"Name": name, "AuthorizerType": str(about.get("type", "")).upper()}
    for own, theirs in (
        ("authorizerUri", "AuthorizerUri"), ("authorizerCredentials", "AuthorizerCredentialsArn"),
        ("authorizerResultTtlInSeconds", "AuthorizerResultTtlInSeconds"),
        ("authorizerPayloadFormatVersion", "AuthorizerPayloadFormatVersion"),
        ("enableSimpleResponses", "EnableSimpleResponses"),
    ):  # fmt: skip
        if own in about:
            given[theirs] = about[own]
    if "jwtConfiguration" in about:
        settings = about["jwtConfiguration"] or {}
        given["JwtConfiguration"] = {"issuer": settings.get("issuer"), "audience": settings.get("audience") or []}
    if sources := about.get("identitySource"):
        given["IdentitySource"] = [s.strip() for s in sources.split(",")]
    made = called(http, create_authorizer, ctx, {"ApiId": api, **given})
    return "CUSTOM" if made["AuthorizerType"] == "REQUEST" else "JWT", made["AuthorizerId"]
