"""Function URLs: an address of its own for a function, or for one of its aliases."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime
from typing import Any

from ...clock import now
from ...provider.context import Context
from ...store.rows import Row
from ...wire.bounded import digits
from . import functions
from .naming import LATEST, arn, conflict, find, find_version, invalid, not_found

Json = dict[str, Any]
KIND = "FunctionUrl"
_ID = "abcdefghijklmnopqrstuvwxyz0123456789"
_ID_LENGTH = 32


def of(ctx: Context, name: str) -> list[Row]:
    """A function's URLs, those of its aliases too."""
    return [r for r in ctx.tx.rows.list(KIND, ctx.account, ctx.region) if r.spec["Function"] == name]


def _find(ctx: Context, request: Json) -> Row:
    row, named = find(ctx, request["FunctionName"], request.get("Qualifier"))
    for url in of(ctx, row.name):
        if url.spec["Qualifier"] == named.qualifier:
            return url
    raise not_found("The resource you requested does not exist.")


def _address(ctx: Context, identifier: str) -> str:
    """As the caller can reach it."""
    host = ctx.http.headers.get("host", "")
    if host.partition(":")[0].endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return f"https://{identifier}.lambda-url.{ctx.region}.on.aws/"
    return f"http://{identifier}.lambda-url.localhost:{ctx.platform.settings.port}/"


def _shown(ctx: Context, row: Row) -> Json:
    def stamp(at: float) -> str:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    members: Json = {k: row.spec[k] for k in ("AuthType", "Cors", "InvokeMode") if k in row.spec}
    return {
        **members, "FunctionUrl": _address(ctx, row.name), "FunctionArn": arn(ctx, row.spec["Function"], row.spec["Qualifier"]),
        "CreationTime": stamp(row.created), "LastModifiedTime": stamp(row.modified),
    }  # fmt: skip


@functions.operation
def create_function_url_config(ctx: Context, request: Json) -> Json:
    """Give a function, or an alias of it, an address."""
    row, named = find(ctx, request["FunctionName"], request.get("Qualifier"))
    if named.qualifier == LATEST or digits(named.qualifier):
        raise invalid("Function URLs can be made for functions and for aliases, not for versions.")
    if named.qualifier:
        find_version(ctx, row.name, named.qualifier)
    if any(url.spec["Qualifier"] == named.qualifier for url in of(ctx, row.name)):
        raise conflict(f"FunctionUrlConfig exists for this Lambda function: {arn(ctx, row.name, named.qualifier)}")
    spec: Json = {
        "Function": row.name, "Qualifier": named.qualifier, "AuthType": request["AuthType"],
        "InvokeMode": request.get("InvokeMode", "BUFFERED"), **({"Cors": request["Cors"]} if "Cors" in request else {}),
    }  # fmt: skip
    identifier = "".join(secrets.choice(_ID) for _ in range(_ID_LENGTH))
    own = f"{arn(ctx, row.name, named.qualifier)}#url"
    made = ctx.tx.rows.add(Row(KIND, ctx.account, ctx.region, identifier, own, spec, created=now()))
    return {k: v for k, v in _shown(ctx, made).items() if k != "LastModifiedTime"}


@functions.operation
def get_function_url_config(ctx: Context, request: Json) -> Json:
    """A function's address."""
    return _shown(ctx, _find(ctx, request))


@functions.operation
def list_function_url_configs(ctx: Context, request: Json) -> Json:
    """The addresses of a function and its aliases."""
    row, _ = find(ctx, request["FunctionName"])
    return {"FunctionUrlConfigs": [_shown(ctx, url) for url in of(ctx, row.name)]}


@functions.operation
def update_function_url_config(ctx: Context, request: Json) -> Json:
    """Change who may call, or from which pages."""
    row = _find(ctx, request)
    spec: Json = {**row.spec, **{k: request[k] for k in ("AuthType", "Cors", "InvokeMode") if k in request}}
    return _shown(ctx, ctx.tx.rows.save(row, spec=spec))


@functions.operation
def delete_function_url_config(ctx: Context, request: Json) -> None:
    """Take the address away."""
    ctx.tx.rows.delete(_find(ctx, request))
