"""Endpoints: the operations."""

from __future__ import annotations

from typing import Any

from ....clock import now
from ....provider.context import Context
from ....provider.errors import ValidationException
from ....provider.pages import page
from ....store.rows import Row
from .. import endpoint_configs, fleet, models, sagemaker, tags
from ..components import hosting
from . import deployment

Json = dict[str, Any]
BUSY = ("Creating", "Updating", "RollingBack", "Deleting")


def _arn(ctx: Context, name: str) -> str:
    return ctx.arn("sagemaker", f"endpoint/{name.lower()}")


def find_endpoint(ctx: Context, name: str) -> Row:
    """An endpoint; AWS's error when it is missing."""
    if (found := ctx.get("Endpoint", name)) is None:
        raise ValidationException(f'Could not find endpoint "{_arn(ctx, name)}".')
    return found


def _fleet(ctx: Context, number: int, config_name: str) -> Json:
    config = endpoint_configs.find(ctx, config_name)
    variants = (*config.spec["ProductionVariants"], *(config.spec.get("ShadowProductionVariants") or ()))
    wanted = {v["ModelName"] for v in variants if "ModelName" in v}
    return fleet.new(number, config, {name: models.find(ctx, name) for name in wanted})


@sagemaker.operation
def create_endpoint(ctx: Context, request: Json) -> Json:
    """Accept an endpoint; the reconciler launches its fleet."""
    name = request["EndpointName"]
    arn = _arn(ctx, name)
    if ctx.get("Endpoint", name) is not None:
        raise ValidationException(f'Cannot create already existing endpoint "{arn}".')
    first = _fleet(ctx, 1, request["EndpointConfigName"])
    at = now()
    config = rollback_checked(ctx, request.get("DeploymentConfig") or {})
    spec = {k: v for k, v in request.items() if k != "Tags"}
    status = {"EndpointStatus": "Creating", "EndpointConfigName": request["EndpointConfigName"]}
    if config:
        status["LastDeploymentConfig"] = config
    private = {"phase": "Launching", "next": first, "fleets": 1}
    ctx.tx.rows.add(
        Row("Endpoint", ctx.account, ctx.region, name, arn, spec, status, private, state="Creating", created=at, due=at)
    )
    tags.put(ctx, arn, request.get("Tags"))
    return {"EndpointArn": arn}


@sagemaker.operation
def update_endpoint(ctx: Context, request: Json) -> Json:
    """Launch the fleet of another configuration beside the present one, then change over."""
    row = find_endpoint(ctx, request["EndpointName"])
    if row.state in BUSY or "update" in row.wish:
        raise ValidationException(f'Cannot update in-progress endpoint "{row.arn}".')
    if row.state == "Failed":
        raise ValidationException(
            f'Cannot update endpoint "{row.arn}" in status Failed; delete it and create it again.'
        )
    config = rollback_checked(ctx, request.get("DeploymentConfig") or {})
    if not config and request.get("RetainDeploymentConfig"):
        config = row.status.get("LastDeploymentConfig") or {}
    number = row.private.get("fleets", 1) + 1
    upcoming = _fleet(ctx, number, request["EndpointConfigName"])
    _check_components(ctx, row, {v["VariantName"] for v in upcoming["variants"] if fleet.empty(v)})
    if _serverless(upcoming) and not _serverless(row.private["current"]):
        raise ValidationException("An endpoint with instances cannot be updated to a serverless configuration.")
    if request.get("RetainAllVariantProperties"):
        _retain(row, upcoming, request.get("ExcludeRetainedVariantProperties") or [])
    try:
        planned = deployment.plan(config, row.private["current"], upcoming, now())
    except deployment.Invalid as error:
        raise ValidationException(str(error)) from None
    status = {**row.status, "EndpointStatus": "Updating"}
    status.pop("LastDeploymentConfig", None)
    if config:
        status["LastDeploymentConfig"] = config
    row = ctx.tx.rows.save(row, status=status, state="Updating")
    ctx.tx.rows.wish(row, update={"fleet": upcoming, "deployment": planned})
    return {"EndpointArn": row.arn}


def _check_components(ctx: Context, row: Row, hosts: set[str]) -> None:
    """The variants that inference components are placed on must go on."""
    for component in hosting.of_endpoint(ctx.tx, row):
        if component.spec["VariantName"] not in hosts:
            raise ValidationException(
                f'Cannot update endpoint "{row.arn}": inference component {component.name} is placed on its variant '
                f"{component.spec['VariantName']}, which the new configuration does not keep for components."
            )


def _serverless(its: Json) -> bool:
    return any(v.get("Serverless") for v in its["variants"])


def rollback_checked(ctx: Context, config: Json) -> Json:
    """A DeploymentConfig that can be carried out."""
    try:
        deployment.check(config)
    except deployment.Invalid as error:
        raise ValidationException(str(error)) from None
    if missing := [n for n in deployment.alarms(config) if ctx.get("Alarm", n) is None]:
        raise ValidationException(f"AutoRollbackConfiguration names alarms that do not exist: {', '.join(missing)}.")
    return config


@sagemaker.operation
def update_endpoint_weights_and_capacities(ctx: Context, request: Json) -> Json:
    """Change weights and instance counts of the present fleet; its other instances serve on."""
    row = find_endpoint(ctx, request["EndpointName"])
    if row.state in BUSY or row.wish:
        raise ValidationException(f'Cannot update in-progress endpoint "{row.arn}".')
    current = row.private.get("current")
    if row.state != "InService" or current is None:
        raise ValidationException(f'Cannot update endpoint "{row.arn}" in status {row.state}.')
    known = {v["VariantName"]: v for v in current["variants"]}
    wanted: dict[str, Json] = {}
    for change in request["DesiredWeightsAndCapacities"]:
        name = change["VariantName"]
        if name not in known:
            raise ValidationException(f'Could not find production variant "{name}" of endpoint "{row.arn}".')
        if (count := change.get("DesiredInstanceCount")) is not None:
            _check_count(ctx, row, known[name], count)
        if (config := known[name].get("Serverless")) is not None:
            wanted[name] = {"Serverless": _reconfigured(config, change)}
            continue
        given = {"Weight": change.get("DesiredWeight"), "Count": change.get("DesiredInstanceCount")}
        wanted[name] = {k: v for k, v in given.items() if v is not None}
    row = ctx.tx.rows.save(row, status={**row.status, "EndpointStatus": "Updating"}, state="Updating")
    ctx.tx.rows.wish(row, scale=wanted)
    return {"EndpointArn": row.arn}


def _check_count(ctx: Context, row: Row, variant: Json, count: int) -> None:
    """Whether a variant can have so many instances."""
    name = variant["VariantName"]
    if fleet.empty(variant):
        if count < (used := hosting.used(ctx.tx, row, name)):
            raise ValidationException(
                f"DesiredInstanceCount {count} of variant {name} is too small: copies of inference components are placed "
                f"on {used} instance(s). Lower their copy counts first."
            )
    elif count == 0 and "async" not in row.private["current"]:
        raise ValidationException(f"DesiredInstanceCount of variant {name} must be at least 1.")


def _reconfigured(config: Json, change: Json) -> Json:
    """A serverless variant's configuration with another concurrency."""
    if "DesiredInstanceCount" in change:
        raise ValidationException(
            f"Variant {change['VariantName']} is serverless: it has a concurrency, not a number of instances."
        )
    changed = {**config, **(change.get("ServerlessUpdateConfig") or {})}
    if (changed.get("ProvisionedConcurrency") or 0) > changed["MaxConcurrency"]:
        raise ValidationException("ProvisionedConcurrency must not be greater than MaxConcurrency.")
    return changed


def _retain(row: Row, upcoming: Json, excluded: list[Json]) -> None:
    """Keep the present counts and weights of variants that go on."""
    dropped = {e["VariantPropertyType"] for e in excluded}
    old_capture = (row.private.get("current") or {}).get("capture")
    if "DataCaptureConfig" not in dropped and old_capture is not None:
        upcoming["capture"] = old_capture
    present = {v["VariantName"]: v for v in (row.private.get("current") or {}).get("variants", [])}
    for variant in upcoming["variants"]:
        if (old := present.get(variant["VariantName"])) is None:
            continue
        if "DesiredInstanceCount" not in dropped:
            variant["Count"] = old["Count"]
        if "DesiredWeight" not in dropped:
            variant["Weight"] = old["Weight"]


@sagemaker.operation
def delete_endpoint(ctx: Context, request: Json) -> None:
    """Drain and remove an endpoint."""
    row = find_endpoint(ctx, request["EndpointName"])
    if row.state in ("Creating", "Updating", "RollingBack"):
        raise ValidationException(f'Cannot update in-progress endpoint "{row.arn}".')
    if components := hosting.of_endpoint(ctx.tx, row):
        names = ", ".join(sorted(c.name for c in components)[:10])
        raise ValidationException(
            f'Cannot delete endpoint "{row.arn}" while it has inference components: {names}. Delete them first.'
        )
    row = ctx.tx.rows.save(row, status={**row.status, "EndpointStatus": "Deleting"}, state="Deleting")
    ctx.tx.rows.wish(row, delete=True)


@sagemaker.held(lambda ctx, answer: _until(ctx, answer))
def describe_endpoint(ctx: Context, request: Json) -> Json:
    """An endpoint as it is."""
    row = find_endpoint(ctx, request["EndpointName"])
    return {
        **row.status, "EndpointName": row.name, "EndpointArn": row.arn, "CreationTime": row.created,
        "LastModifiedTime": row.modified,
    }  # fmt: skip


def _until(ctx: Context, answer: Json) -> float | None:
    """While a transition is young, the description waits for its end – but not for that of a deployment that bakes."""
    if answer["EndpointStatus"] not in BUSY:
        return None
    upcoming = (answer.get("PendingDeploymentSummary") or {}).get("ProductionVariants", ())
    if any(status["Status"] == "Baking" for variant in upcoming for status in variant.get("VariantStatus", ())):
        return None
    began = answer["CreationTime"] if answer["EndpointStatus"] == "Creating" else answer["LastModifiedTime"]
    return float(began) + ctx.platform.settings.hold_seconds


@sagemaker.operation
def list_endpoints(ctx: Context, request: Json) -> Json:
    """Endpoints by page."""
    rows, more = page(ctx, "Endpoint", request)
    shown = [
        {
            "EndpointName": r.name, "EndpointArn": r.arn, "CreationTime": r.created, "LastModifiedTime": r.modified,
            "EndpointStatus": r.state,
        }
        for r in rows
    ]  # fmt: skip
    return {"Endpoints": shown, **more}
