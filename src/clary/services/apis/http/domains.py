"""Domain names of one's own, and which stage of which API a path below one leads to."""

from __future__ import annotations

import re
from typing import Any

from ....clock import now
from ....provider.context import Context
from ....store.rows import Row
from ..domains import KIND
from ..errors import bad_request, conflict, not_found
from ..hosts import new_id
from . import http
from .api import paged

Json = dict[str, Any]
_NAME = re.compile(r"^(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
_KEY = re.compile(r"^[A-Za-z0-9$\-._+!*'()/]*$")


def _find(ctx: Context, name: str) -> Row:
    row = ctx.tx.rows.get(KIND, ctx.account, ctx.region, name.lower())
    if row is None:
        raise not_found("Invalid domain name identifier specified")
    return row


def _configurations(ctx: Context, name: str, given: list[Json]) -> list[Json]:
    """What was asked for, with what the service adds."""
    found = []
    for one in given:
        if not one.get("CertificateArn"):
            raise bad_request("CertificateArn is required in DomainNameConfigurations.")
        made = {
            "EndpointType": "REGIONAL", "SecurityPolicy": "TLS_1_2", "IpAddressType": "ipv4", **one,
            "ApiGatewayDomainName": f"d-{new_id()}.execute-api.{ctx.region}.amazonaws.com",
            "DomainNameStatus": "AVAILABLE", "HostedZoneId": "Z1UJRXOUMOOFQ8",
        }  # fmt: skip
        found.append(made)
    return found


def _shown(ctx: Context, row: Row) -> Json:
    found = {"DomainName": row.name, "ApiMappingSelectionExpression": "$request.basepath", **row.spec}
    if tags := ctx.tx.tags.of(row.arn):
        found["Tags"] = tags
    return found


@http.operation
def create_domain_name(ctx: Context, request: Json) -> Json:
    """A name under which APIs answer. Its certificate is not looked at: requests come by HTTP, or through a proxy."""
    name = request["DomainName"].lower()
    if not _NAME.match(name):
        raise bad_request(f"Invalid domain name: {request['DomainName']}")
    if any(row.name == name for row in ctx.tx.rows.list(KIND)):
        raise conflict("The domain name you provided already exists.")
    arn = f"arn:aws:apigateway:{ctx.region}::/domainnames/{name}"
    spec = {"DomainNameConfigurations": _configurations(ctx, name, request.get("DomainNameConfigurations") or [])}
    if "MutualTlsAuthentication" in request:
        raise bad_request("Clary does not serve mutual TLS yet.")
    row = Row(KIND, ctx.account, ctx.region, name, arn, spec, private={"mappings": {}}, created=now())
    ctx.tx.rows.add(row)
    if tags := request.get("Tags"):
        ctx.tx.tags.put(arn, tags)
    return _shown(ctx, row)


@http.operation
def get_domain_name(ctx: Context, request: Json) -> Json:
    """A domain name."""
    return _shown(ctx, _find(ctx, request["DomainName"]))


@http.operation
def get_domain_names(ctx: Context, request: Json) -> Json:
    """All domain names."""
    rows = sorted(ctx.tx.rows.list(KIND, ctx.account, ctx.region), key=lambda r: r.name)
    return paged([_shown(ctx, row) for row in rows], request)


@http.operation
def update_domain_name(ctx: Context, request: Json) -> Json:
    """Change a domain name's certificate or policy."""
    row = _find(ctx, request["DomainName"])
    if given := request.get("DomainNameConfigurations"):
        before = row.spec["DomainNameConfigurations"]
        made = _configurations(ctx, row.name, given)
        for old, new in zip(before, made, strict=False):
            new["ApiGatewayDomainName"] = old["ApiGatewayDomainName"]
        ctx.tx.rows.save(row, spec={**row.spec, "DomainNameConfigurations": made})
    return _shown(ctx, _find(ctx, request["DomainName"]))


@http.operation
def delete_domain_name(ctx: Context, request: Json) -> None:
    """Remove a domain name that leads nowhere any more."""
    row = _find(ctx, request["DomainName"])
    if row.private["mappings"]:
        raise bad_request("The domain name has API mappings; delete them first.")
    ctx.tx.rows.delete(row)


# ---- mappings ------------------------------------------------------------------------------------------------------


def _mapping(row: Row, identifier: str) -> Json:
    found: Json | None = row.private["mappings"].get(identifier)
    if found is None:
        raise not_found("Invalid api mapping identifier specified")
    return found


def _keep(ctx: Context, row: Row, identifier: str, mapping: Json | None) -> None:
    mappings = {k: v for k, v in {**row.private["mappings"], identifier: mapping}.items() if v is not None}
    ctx.tx.rows.save(row, private={**row.private, "mappings": mappings})


def _check(ctx: Context, row: Row, mapping: Json) -> None:
    api = ctx.get("HttpApi", mapping["ApiId"]) or ctx.get("RestApi", mapping["ApiId"])
    if api is None:
        raise bad_request(f"Invalid API identifier specified {mapping['ApiId']}")
    if mapping["Stage"] not in api.private["stages"]:
        raise bad_request("Invalid stage identifier specified")
    if not _KEY.match(mapping["ApiMappingKey"]):
        raise bad_request("Invalid ApiMappingKey: it consists of letters, numbers and the characters $-._+!*'()/")
    for identifier, other in row.private["mappings"].items():
        if other["ApiMappingKey"] == mapping["ApiMappingKey"] and identifier != mapping["ApiMappingId"]:
            raise conflict("ApiMapping key already exists for this domain name")


@http.operation
def create_api_mapping(ctx: Context, request: Json) -> Json:
    """Let a path below a domain name lead to a stage."""
    row, identifier = _find(ctx, request["DomainName"]), new_id(6)
    mapping = {
        "ApiMappingId": identifier, "ApiId": request["ApiId"], "Stage": request["Stage"],
        "ApiMappingKey": (request.get("ApiMappingKey") or "").strip("/"),
    }  # fmt: skip
    _check(ctx, row, mapping)
    _keep(ctx, row, identifier, mapping)
    return mapping


@http.operation
def get_api_mapping(ctx: Context, request: Json) -> Json:
    """A mapping."""
    return _mapping(_find(ctx, request["DomainName"]), request["ApiMappingId"])


@http.operation
def get_api_mappings(ctx: Context, request: Json) -> Json:
    """A domain name's mappings."""
    return paged(list(_find(ctx, request["DomainName"]).private["mappings"].values()), request)


@http.operation
def update_api_mapping(ctx: Context, request: Json) -> Json:
    """Change a mapping."""
    row = _find(ctx, request["DomainName"])
    given: Json = {k: request[k] for k in ("ApiId", "Stage", "ApiMappingKey") if k in request}
    mapping: Json = {**_mapping(row, request["ApiMappingId"]), **given}
    mapping["ApiMappingKey"] = mapping["ApiMappingKey"].strip("/")
    _check(ctx, row, mapping)
    _keep(ctx, row, mapping["ApiMappingId"], mapping)
    return mapping


@http.operation
def delete_api_mapping(ctx: Context, request: Json) -> None:
    """Remove a mapping."""
    row = _find(ctx, request["DomainName"])
    _mapping(row, request["ApiMappingId"])
    _keep(ctx, row, request["ApiMappingId"], None)
