"""Deployments of REST APIs, and the stages that serve them."""

from __future__ import annotations

import re
from typing import Any

from ....clock import now
from ....provider.context import Context
from ....store.rows import Row
from .. import access_log
from ..errors import bad_request, conflict, not_found
from ..hosts import new_id
from . import rest
from .api import find, keep, stage_arn, with_tags
from .patches import patched

Json = dict[str, Any]
_SNAPSHOT = ("resources", "authorizers", "validators", "models", "responses")
_SETTING = re.compile(r"^/(?P<method>.+)/(?P<name>(?:throttling|logging|metrics|caching)/[A-Za-z]+)$")
_SETTINGS = {
    "throttling/rateLimit": "throttlingRateLimit", "throttling/burstLimit": "throttlingBurstLimit",
    "metrics/enabled": "metricsEnabled", "logging/loglevel": "loggingLevel", "logging/dataTrace": "dataTraceEnabled",
    "caching/enabled": "cachingEnabled",
}  # fmt: skip


def _deployment(row: Row, identifier: str) -> Json:
    found: Json | None = row.private["deployments"].get(identifier)
    if found is None:
        raise not_found("Invalid Deployment identifier specified")
    return found


def _shown(deployment: Json) -> Json:
    return {k: v for k, v in deployment.items() if k not in _SNAPSHOT}


@rest.operation
def create_deployment(ctx: Context, request: Json) -> Json:
    """Keep an API as it is now; with a stage's name, serve that there."""
    row, identifier = find(ctx, request["restApiId"]), new_id(6)
    methods = [m for r in row.private["resources"].values() for m in r.get("resourceMethods", {}).values()]
    if not methods:
        raise bad_request("The REST API doesn't contain any methods")
    if any("methodIntegration" not in m for m in methods):
        raise bad_request("No integration defined for method")
    deployment = {
        "id": identifier, "createdDate": now(), **{name: row.private[name] for name in _SNAPSHOT},
        **({"description": request["description"]} if "description" in request else {}),
    }  # fmt: skip
    stages = row.private["stages"]
    if name := request.get("stageName"):
        stage = stages.get(name) or _stage(name, {"variables": request.get("variables")})
        stage = {**stage, "deploymentId": identifier, "lastUpdatedDate": now()}
        if "variables" in request:
            stage["variables"] = request["variables"]
        stages = {**stages, name: stage}
    keep(ctx, row, deployments={**row.private["deployments"], identifier: deployment}, stages=stages)
    return _shown(deployment)


@rest.operation
def get_deployment(ctx: Context, request: Json) -> Json:
    """A deployment."""
    return _shown(_deployment(find(ctx, request["restApiId"]), request["deploymentId"]))


@rest.operation
def get_deployments(ctx: Context, request: Json) -> Json:
    """An API's deployments."""
    return {"items": [_shown(d) for d in find(ctx, request["restApiId"]).private["deployments"].values()]}


@rest.operation
def delete_deployment(ctx: Context, request: Json) -> None:
    """Forget a deployment that no stage serves."""
    row, identifier = find(ctx, request["restApiId"]), request["deploymentId"]
    _deployment(row, identifier)
    if any(s["deploymentId"] == identifier for s in row.private["stages"].values()):
        raise bad_request("Active stages pointing to this deployment must be moved or deleted")
    keep(ctx, row, deployments={k: v for k, v in row.private["deployments"].items() if k != identifier})


# ---- stages --------------------------------------------------------------------------------------------------------


def _stage(name: str, given: Json) -> Json:
    made = {
        "stageName": name, "cacheClusterEnabled": False, "cacheClusterStatus": "NOT_AVAILABLE", "methodSettings": {},
        "tracingEnabled": False, "createdDate": now(), "lastUpdatedDate": now(), **given,
    }  # fmt: skip
    return {k: v for k, v in made.items() if v is not None}


def stage(row: Row, name: str) -> Json:
    """A stage; AWS's error when it is missing."""
    found: Json | None = row.private["stages"].get(name)
    if found is None:
        raise not_found("Invalid Stage identifier specified")
    return found


@rest.operation
def create_stage(ctx: Context, request: Json) -> Json:
    """A new stage of a deployment."""
    row, name = find(ctx, request["restApiId"]), request["stageName"]
    if name in row.private["stages"]:
        raise conflict("Stage already exists")
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise bad_request("Stage name only allows a-zA-Z0-9_-")
    _deployment(row, request["deploymentId"])
    made = _stage(name, {k: v for k, v in request.items() if k not in ("restApiId", "tags")})
    keep(ctx, row, stages={**row.private["stages"], name: made})
    if tags := request.get("tags"):
        ctx.tx.tags.put(stage_arn(row, name), tags)
    return with_tags(ctx, stage_arn(row, name), made)


@rest.operation
def get_stage(ctx: Context, request: Json) -> Json:
    """A stage."""
    row, name = find(ctx, request["restApiId"]), request["stageName"]
    return with_tags(ctx, stage_arn(row, name), stage(row, name))


@rest.operation
def get_stages(ctx: Context, request: Json) -> Json:
    """An API's stages, or those of one deployment."""
    row = find(ctx, request["restApiId"])
    found = [with_tags(ctx, stage_arn(row, name), stage) for name, stage in row.private["stages"].items()]
    if wanted := request.get("deploymentId"):
        found = [s for s in found if s["deploymentId"] == wanted]
    return {"item": found}


@rest.operation
def update_stage(ctx: Context, request: Json) -> Json:
    """Change a stage: what it serves, its variables, its limits."""
    row = find(ctx, request["restApiId"])
    found = stage(row, request["stageName"])
    settings, others = {k: dict(v) for k, v in found["methodSettings"].items()}, []
    for operation in request.get("patchOperations") or ():
        if (match := _SETTING.match(operation.get("path", ""))) and match["name"] in _SETTINGS:
            member = _SETTINGS[match["name"]]
            method = match["method"].replace("~1", "/")
            settings.setdefault(method, {})[member] = operation.get("value", "")
        else:
            others.append(operation)
    paths = (
        "/deploymentId", "/description", "/variables/", "/tracingEnabled", "/accessLogSettings/", "/cacheClusterEnabled",
        "/clientCertificateId",
    )  # fmt: skip
    made = {**patched({**found, "methodSettings": settings}, others, paths, "Stage"), "lastUpdatedDate": now()}
    _deployment(row, made["deploymentId"])
    logged: Json = made.get("accessLogSettings") or {}
    access_log.check(logged.get("destinationArn"), logged.get("format"))
    keep(ctx, row, stages={**row.private["stages"], request["stageName"]: made})
    return with_tags(ctx, stage_arn(row, request["stageName"]), made)


@rest.operation
def delete_stage(ctx: Context, request: Json) -> None:
    """Remove a stage."""
    row = find(ctx, request["restApiId"])
    stage(row, request["stageName"])
    arn = stage_arn(row, request["stageName"])
    ctx.tx.tags.remove(arn, list(ctx.tx.tags.of(arn)))
    keep(ctx, row, stages={k: v for k, v in row.private["stages"].items() if k != request["stageName"]})
