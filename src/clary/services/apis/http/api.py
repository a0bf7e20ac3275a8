"""HTTP APIs: the operations on APIs themselves. All of an API – routes, integrations, stages – lies in one row."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from ....clock import now
from ....provider.context import Context
from ....provider.pages import cut, whole
from ....store.rows import Row
from ..errors import bad_request, not_found
from ..hosts import address, new_id
from . import http

Json = dict[str, Any]
KIND = "HttpApi"
_CHANGEABLE = (
    "Name", "Description", "CorsConfiguration", "DisableExecuteApiEndpoint", "DisableSchemaValidation", "Version",
    "RouteSelectionExpression", "ApiKeySelectionExpression", "IpAddressType",
)  # fmt: skip


def find(ctx: Context, api: str) -> Row:
    """An API; AWS's error when it is missing."""
    if (row := ctx.get(KIND, api)) is None:
        raise not_found(f"Invalid API identifier specified {ctx.account}:{api}")
    return row


def shown(ctx: Context, row: Row) -> Json:
    """An API as it is described."""
    found = {**row.spec, "ApiEndpoint": address(ctx, row.name), "CreatedDate": row.created}
    if tags := ctx.tx.tags.of(row.arn):
        found["Tags"] = tags
    return found


@http.operation
def create_api(ctx: Context, request: Json) -> Json:
    """A new API; with a target also its integration, its only route and a stage that serves it."""
    if request["ProtocolType"] != "HTTP":
        raise bad_request("Clary serves HTTP APIs; ProtocolType WEBSOCKET is not served yet.")
    api = new_id()
    arn = f"arn:aws:apigateway:{ctx.region}::/apis/{api}"
    spec: Json = {
        "ApiId": api, "ProtocolType": "HTTP", "DisableExecuteApiEndpoint": False, "IpAddressType": "ipv4",
        "RouteSelectionExpression": "$request.method $request.path",
        "ApiKeySelectionExpression": "$request.header.x-api-key",
        **{k: request[k] for k in _CHANGEABLE if k in request},
    }  # fmt: skip
    _check_cors(spec)
    private: Json = {"routes": {}, "integrations": {}, "authorizers": {}, "stages": {}, "deployments": {}}
    row = Row(KIND, ctx.account, ctx.region, api, arn, spec, private=private, created=now())
    if target := request.get("Target"):
        _quick(private, target, request)
    ctx.tx.rows.add(row)
    if tags := request.get("Tags"):
        ctx.tx.tags.put(arn, tags)
    return shown(ctx, row)


def _quick(private: Json, target: str, request: Json) -> None:
    """What AWS makes for an API that is created with a target."""
    integration, route = new_id(7), new_id(7)
    proxy = "AWS_PROXY" if target.startswith("arn:") else "HTTP_PROXY"
    private["integrations"][integration] = {
        "IntegrationId": integration, "IntegrationType": proxy, "IntegrationUri": target, "ConnectionType": "INTERNET",
        "IntegrationMethod": "POST" if proxy == "AWS_PROXY" else "ANY", "TimeoutInMillis": 30000,
        "PayloadFormatVersion": "2.0" if proxy == "AWS_PROXY" else "1.0", "ApiGatewayManaged": True,
        **({"CredentialsArn": request["CredentialsArn"]} if "CredentialsArn" in request else {}),
    }  # fmt: skip
    private["routes"][route] = {
        "RouteId": route, "RouteKey": request.get("RouteKey", "$default"), "Target": f"integrations/{integration}",
        "AuthorizationType": "NONE", "ApiKeyRequired": False, "ApiGatewayManaged": True,
    }  # fmt: skip
    private["stages"]["$default"] = {
        "StageName": "$default", "AutoDeploy": True, "ApiGatewayManaged": True, "StageVariables": {}, "RouteSettings": {},
        "DefaultRouteSettings": {"DetailedMetricsEnabled": False}, "CreatedDate": now(), "LastUpdatedDate": now(),
        "DeploymentId": new_id(6),
    }  # fmt: skip


def _check_cors(spec: Json) -> None:
    cors = spec.get("CorsConfiguration") or {}
    if cors.get("AllowCredentials") and "*" in (cors.get("AllowOrigins") or ()):
        raise bad_request("AllowCredentials cannot be true when AllowOrigins holds '*'.")


@http.operation
def get_api(ctx: Context, request: Json) -> Json:
    """An API."""
    return shown(ctx, find(ctx, request["ApiId"]))


@http.operation
def get_apis(ctx: Context, request: Json) -> Json:
    """APIs by page."""
    rows = sorted(ctx.tx.rows.list(KIND, ctx.account, ctx.region), key=lambda r: (r.created, r.name))
    return paged([shown(ctx, r) for r in rows], request)


def paged(items: list[Json], request: Json) -> Json:
    """A page of a list, and the token of the next one."""
    limit = whole(request.get("MaxResults"), 500, bad_request("MaxResults must be a number from 1 to 500."), 1, 500)
    shown, token = cut(items, request.get("NextToken"), limit, bad_request("The pagination token is invalid."))
    return {"Items": shown, **({"NextToken": token} if token else {})}


@http.operation
def update_api(ctx: Context, request: Json) -> Json:
    """Change an API's own members."""
    row = find(ctx, request["ApiId"])
    spec = {**row.spec, **{k: request[k] for k in _CHANGEABLE if k in request}}
    _check_cors(spec)
    return shown(ctx, ctx.tx.rows.save(row, spec=spec))


@http.operation
def delete_cors_configuration(ctx: Context, request: Json) -> None:
    """Answer preflights no more."""
    row = find(ctx, request["ApiId"])
    ctx.tx.rows.save(row, spec={k: v for k, v in row.spec.items() if k != "CorsConfiguration"})


@http.operation
def delete_api(ctx: Context, request: Json) -> None:
    """Remove an API with all that belongs to it."""
    row = find(ctx, request["ApiId"])
    for arn in [stage_arn(row, name) for name in row.private["stages"]]:
        ctx.tx.tags.remove(arn, list(ctx.tx.tags.of(arn)))
    ctx.tx.rows.delete(row)


def _tagged(ctx: Context, arn: str) -> str:
    """The ARN under which tags of an API, a stage or a domain name are kept."""
    if domain := arn.partition("/domainnames/")[2]:
        if (row := ctx.get("DomainName", domain)) is None:
            raise not_found("Invalid domain name identifier specified")
        return row.arn
    api, _, rest = arn.partition("/apis/")[2].partition("/")
    row = find(ctx, api)
    stage = unquote(rest.removeprefix("stages/"))
    if stage and stage not in row.private["stages"]:
        raise not_found("Invalid stage identifier specified")
    return stage_arn(row, stage) if stage else row.arn


def stage_arn(row: Row, stage: str) -> str:
    """A stage's ARN."""
    return f"{row.arn}/stages/{stage}"


@http.operation
def tag_resource(ctx: Context, request: Json) -> None:
    """Add or replace tags."""
    ctx.tx.tags.put(_tagged(ctx, request["ResourceArn"]), request.get("Tags") or {})


@http.operation
def untag_resource(ctx: Context, request: Json) -> None:
    """Remove tags."""
    ctx.tx.tags.remove(_tagged(ctx, request["ResourceArn"]), request["TagKeys"])


@http.operation
def get_tags(ctx: Context, request: Json) -> Json:
    """An API's tags."""
    return {"Tags": ctx.tx.tags.of(_tagged(ctx, request["ResourceArn"]))}
