"""Stages of HTTP APIs, and the deployments that they serve."""

from __future__ import annotations

from typing import Any

from ....clock import now
from ....provider.context import Context
from ....store.rows import Row
from .. import access_log
from ..errors import bad_request, conflict, not_found
from ..hosts import new_id
from . import http
from .api import find, paged, stage_arn

Json = dict[str, Any]
_SNAPSHOT = ("routes", "integrations", "authorizers")


def _stage(row: Row, name: str) -> Json:
    found: Json | None = row.private["stages"].get(name)
    if found is None:
        raise not_found("Invalid stage identifier specified")
    return found


def _tagged(ctx: Context, row: Row, stage: Json) -> Json:
    """A stage as it is described."""
    tags = ctx.tx.tags.of(stage_arn(row, stage["StageName"]))
    return {**stage, "Tags": tags} if tags else stage


def _given(request: Json) -> Json:
    return {k: v for k, v in request.items() if k not in ("ApiId", "Tags")}


def _keep(ctx: Context, row: Row, name: str, stage: Json | None) -> None:
    stages = {k: v for k, v in {**row.private["stages"], name: stage}.items() if v is not None}
    ctx.tx.rows.save(row, private={**row.private, "stages": stages})


def _check(row: Row, stage: Json) -> None:
    settings = stage.get("AccessLogSettings") or {}
    access_log.check(settings.get("DestinationArn"), settings.get("Format"))
    if (deployment := stage.get("DeploymentId")) and not stage.get("AutoDeploy"):
        _deployment(row, deployment)


@http.operation
def create_stage(ctx: Context, request: Json) -> Json:
    """A new stage."""
    row, name = find(ctx, request["ApiId"]), request["StageName"]
    if name in row.private["stages"]:
        raise conflict("Stage already exists")
    stage = {
        "AutoDeploy": False, "StageVariables": {}, "RouteSettings": {},
        "DefaultRouteSettings": {"DetailedMetricsEnabled": False}, **_given(request), "CreatedDate": now(),
        "LastUpdatedDate": now(),
    }  # fmt: skip
    _check(row, stage)
    if stage["AutoDeploy"]:
        stage["DeploymentId"] = new_id(6)
    _keep(ctx, row, name, stage)
    if tags := request.get("Tags"):
        ctx.tx.tags.put(stage_arn(row, name), tags)
    return _tagged(ctx, row, stage)


@http.operation
def update_stage(ctx: Context, request: Json) -> Json:
    """Change a stage: what it serves, its variables, its limits."""
    row = find(ctx, request["ApiId"])
    before = _stage(row, request["StageName"])
    if "DeploymentId" in request and before.get("AutoDeploy") and request.get("AutoDeploy", True):
        raise bad_request("Deployment ID cannot be set on a Stage with AutoDeploy enabled")
    stage = {**before, **_given(request), "LastUpdatedDate": now()}
    _check(row, stage)
    _keep(ctx, row, request["StageName"], stage)
    return _tagged(ctx, row, stage)


@http.operation
def get_stage(ctx: Context, request: Json) -> Json:
    """A stage."""
    row = find(ctx, request["ApiId"])
    return _tagged(ctx, row, _stage(row, request["StageName"]))


@http.operation
def get_stages(ctx: Context, request: Json) -> Json:
    """An API's stages."""
    row = find(ctx, request["ApiId"])
    return paged([_tagged(ctx, row, stage) for stage in row.private["stages"].values()], request)


@http.operation
def delete_stage(ctx: Context, request: Json) -> None:
    """Remove a stage."""
    row = find(ctx, request["ApiId"])
    _stage(row, request["StageName"])
    _keep(ctx, row, request["StageName"], None)
    arn = stage_arn(row, request["StageName"])
    ctx.tx.tags.remove(arn, list(ctx.tx.tags.of(arn)))


@http.operation
def delete_access_log_settings(ctx: Context, request: Json) -> None:
    """Write no access log any more."""
    row = find(ctx, request["ApiId"])
    stage = _stage(row, request["StageName"])
    _keep(ctx, row, request["StageName"], {k: v for k, v in stage.items() if k != "AccessLogSettings"})


# ---- deployments ---------------------------------------------------------------------------------------------------


def _deployment(row: Row, identifier: str) -> Json:
    found: Json | None = row.private["deployments"].get(identifier)
    if found is None:
        raise not_found("Invalid deployment identifier specified")
    return found


def _shown(deployment: Json) -> Json:
    return {k: v for k, v in deployment.items() if k not in _SNAPSHOT}


@http.operation
def create_deployment(ctx: Context, request: Json) -> Json:
    """Keep an API's routes as they are now, for a stage to serve."""
    row, identifier = find(ctx, request["ApiId"]), new_id(6)
    if not row.private["routes"]:
        raise bad_request("At least one route is required before deploying the Api.")
    deployment = {
        "DeploymentId": identifier, "DeploymentStatus": "DEPLOYED", "AutoDeployed": False, "CreatedDate": now(),
        **({"Description": request["Description"]} if "Description" in request else {}),
        **{name: row.private[name] for name in _SNAPSHOT},
    }  # fmt: skip
    private = {**row.private, "deployments": {**row.private["deployments"], identifier: deployment}}
    if name := request.get("StageName"):
        stage = _stage(row, name)
        if stage.get("AutoDeploy"):
            raise bad_request("Deployment cannot be created for a Stage with AutoDeploy enabled")
        private["stages"] = {**row.private["stages"], name: {**stage, "DeploymentId": identifier}}
    ctx.tx.rows.save(row, private=private)
    return _shown(deployment)


@http.operation
def get_deployment(ctx: Context, request: Json) -> Json:
    """A deployment."""
    return _shown(_deployment(find(ctx, request["ApiId"]), request["DeploymentId"]))


@http.operation
def get_deployments(ctx: Context, request: Json) -> Json:
    """An API's deployments."""
    return paged([_shown(d) for d in find(ctx, request["ApiId"]).private["deployments"].values()], request)


@http.operation
def delete_deployment(ctx: Context, request: Json) -> None:
    """Forget a deployment that no stage serves."""
    row, identifier = find(ctx, request["ApiId"]), request["DeploymentId"]
    _deployment(row, identifier)
    if any(s.get("DeploymentId") == identifier for s in row.private["stages"].values()):
        raise bad_request("Active stages pointing to this deployment must be moved or deleted")
    kept = {k: v for k, v in row.private["deployments"].items() if k != identifier}
    ctx.tx.rows.save(row, private={**row.private, "deployments": kept})
