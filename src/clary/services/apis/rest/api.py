"""REST APIs: the operations on APIs themselves. All of an API lies in one row."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from ....clock import now
from ....provider.context import Context
from ....provider.pages import cut, whole
from ....store.rows import Row
from ..errors import bad_request, not_found
from ..hosts import new_id
from . import rest
from .patches import patched

Json = dict[str, Any]
KIND = "RestApi"
_ACCOUNT = "ApiGatewayAccount"
_PATCHABLE = (
    "/name", "/description", "/policy", "/apiKeySource", "/minimumCompressionSize", "/disableExecuteApiEndpoint",
    "/binaryMediaTypes/", "/endpointConfiguration/", "/version",
)  # fmt: skip


def find(ctx: Context, api: str) -> Row:
    """An API; AWS's error when it is missing."""
    if (row := ctx.get(KIND, api)) is None:
        raise not_found(f"Invalid API identifier specified {ctx.account}:{api}")
    return row


def keep(ctx: Context, row: Row, **changes: Any) -> Row:
    """Store changed parts of an API."""
    return ctx.tx.rows.save(row, private={**row.private, **changes})


def paged(items: list[Json], request: Json) -> Json:
    """A page of a list, and the position of the next one."""
    limit = whole(request.get("limit"), 25, bad_request("Invalid limit parameter: it must be from 1 to 500."), 1, 500)
    shown, position = cut(items, request.get("position"), limit, bad_request("Invalid position parameter"))
    return {"items": shown, **({"position": position} if position else {})}


def shown(ctx: Context, row: Row) -> Json:
    """An API as it is described."""
    return with_tags(ctx, row.arn, {**row.spec, "createdDate": row.created})


@rest.operation
def create_rest_api(ctx: Context, request: Json) -> Json:
    """A new API with its root resource."""
    if request.get("cloneFrom"):
        raise bad_request("Clary does not clone REST APIs yet.")
    api, root = new_id(), new_id()
    spec: Json = {
        "apiKeySource": "HEADER", "endpointConfiguration": {"types": ["EDGE"], "ipAddressType": "ipv4"},
        "disableExecuteApiEndpoint": False, **{k: v for k, v in request.items() if k != "tags"}, "id": api,
        "rootResourceId": root, "apiStatus": "AVAILABLE",
    }  # fmt: skip
    models = {
        name: {"id": new_id(6), "name": name, "contentType": "application/json", "schema": schema, "description": about}
        for name, schema, about in (
            (
                "Empty",
                '{\n  "$schema": "http://json-schema.org/draft-04/schema#",\n  "title" : "Empty Schema",\n  "type" : "object"\n}',
                "This is a default empty schema model",
            ),
            (
                "Error",
                '{\n  "$schema" : "http://json-schema.org/draft-04/schema#",\n  "title" : "Error Schema",\n  "type" : "object",\n  "properties" : {\n    "message" : { "type" : "string" }\n  }\n}',
                "This is a default error schema model",
            ),
        )
    }
    private: Json = {
        "resources": {root: {"id": root, "path": "/"}}, "stages": {}, "deployments": {}, "authorizers": {},
        "validators": {}, "models": models, "responses": {},
    }  # fmt: skip
    arn = f"arn:aws:apigateway:{ctx.region}::/restapis/{api}"
    row = Row(KIND, ctx.account, ctx.region, api, arn, spec, private=private, created=now())
    ctx.tx.rows.add(row)
    if tags := request.get("tags"):
        ctx.tx.tags.put(arn, tags)
    return shown(ctx, row)


@rest.operation
def get_rest_api(ctx: Context, request: Json) -> Json:
    """An API."""
    return shown(ctx, find(ctx, request["restApiId"]))


@rest.operation
def get_rest_apis(ctx: Context, request: Json) -> Json:
    """APIs by page."""
    rows = sorted(ctx.tx.rows.list(KIND, ctx.account, ctx.region), key=lambda r: (r.created, r.name))
    return paged([shown(ctx, r) for r in rows], request)


@rest.operation
def update_rest_api(ctx: Context, request: Json) -> Json:
    """Change an API's own members."""
    row = find(ctx, request["restApiId"])
    operations = list(request.get("patchOperations") or ())
    spec = dict(row.spec)
    for operation in [o for o in operations if o["path"].startswith("/binaryMediaTypes/")]:
        operations.remove(operation)
        kind = operation["path"].removeprefix("/binaryMediaTypes/").replace("~1", "/")
        types = [t for t in spec.get("binaryMediaTypes") or () if t != kind]
        spec["binaryMediaTypes"] = types if operation["op"] == "remove" else [*types, kind]
    return shown(ctx, ctx.tx.rows.save(row, spec=patched(spec, operations, _PATCHABLE, "RestApi")))


@rest.operation
def delete_rest_api(ctx: Context, request: Json) -> None:
    """Remove an API with all that belongs to it."""
    row = find(ctx, request["restApiId"])
    for arn in [stage_arn(row, name) for name in row.private["stages"]]:
        ctx.tx.tags.remove(arn, list(ctx.tx.tags.of(arn)))
    ctx.tx.rows.delete(row)


_TAGGABLE = {"apikeys": ("ApiKey", "API Key"), "usageplans": ("UsagePlan", "Usage Plan")}


def _tagged(ctx: Context, arn: str) -> str:
    """Return the ARN under which tags of an API, a stage, a key or a usage plan are kept; NotFoundException for others."""
    kind, _, rest = arn.partition("::/")[2].partition("/")
    name, _, below = unquote(rest).partition("/")
    if kind == "restapis":
        row = find(ctx, name)
        if not below:
            return row.arn
        stage = below.removeprefix("stages/")
        if not below.startswith("stages/") or stage not in row.private["stages"]:
            raise not_found("Invalid stage identifier specified")
        return stage_arn(row, stage)
    if kind in _TAGGABLE and not below:
        own, said = _TAGGABLE[kind]
        if (found := ctx.get(own, name)) is None:
            raise not_found(f"Invalid {said} identifier specified")
        return found.arn
    raise not_found("Invalid resource ARN: REST APIs, their stages, API keys and usage plans have tags.")


def stage_arn(row: Row, stage: str) -> str:
    """A stage's ARN."""
    return f"{row.arn}/stages/{stage}"


def with_tags(ctx: Context, arn: str, document: Json) -> Json:
    """Return a document with the tags of its ARN, if there are any."""
    tags = ctx.tx.tags.of(arn)
    return {**document, "tags": tags} if tags else document


@rest.operation
def tag_resource(ctx: Context, request: Json) -> None:
    """Add or replace tags."""
    ctx.tx.tags.put(_tagged(ctx, request["resourceArn"]), request["tags"])


@rest.operation
def untag_resource(ctx: Context, request: Json) -> None:
    """Remove tags."""
    ctx.tx.tags.remove(_tagged(ctx, request["resourceArn"]), request["tagKeys"])


@rest.operation
def get_tags(ctx: Context, request: Json) -> Json:
    """An API's tags."""
    tags = ctx.tx.tags.of(_tagged(ctx, request["resourceArn"]))
    limit = whole(request.get("limit"), 500, bad_request("Invalid limit parameter: it must be from 1 to 500."), 1, 500)
    page, position = cut(list(tags.items()), request.get("position"), limit, bad_request("Invalid position parameter"))
    return {"tags": dict(page), **({"position": position} if position else {})}


@rest.operation
def get_account(ctx: Context, request: Json) -> Json:
    """The account's limits, and the role that logs are written with."""
    row = ctx.get(_ACCOUNT, "account")
    limits = {"rateLimit": 10000.0, "burstLimit": 5000}
    return {**(row.spec if row else {}), "throttleSettings": limits, "features": ["UsagePlans"], "apiKeyVersion": "4"}


@rest.operation
def update_account(ctx: Context, request: Json) -> Json:
    """Change the role that logs are written with. Clary writes them without one."""
    row = ctx.get(_ACCOUNT, "account")
    spec = patched(row.spec if row else {}, request.get("patchOperations"), ("/cloudwatchRoleArn",), "Account")
    if row is None:
        arn = f"arn:aws:apigateway:{ctx.region}::/account"
        ctx.tx.rows.add(Row(_ACCOUNT, ctx.account, ctx.region, "account", arn, spec, created=now()))
    else:
        ctx.tx.rows.save(row, spec=spec)
    return get_account(ctx, request)
