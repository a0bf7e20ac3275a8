"""Inference components: the operations."""

from __future__ import annotations

from typing import Any

from ....clock import now
from ....provider.context import Context
from ....provider.errors import ValidationException
from ....provider.pages import page
from ....store.rows import Row
from .. import fleet, models, sagemaker, tags
from ..endpoints import deployment
from ..endpoints.api import BUSY, find_endpoint, rollback_checked
from . import hosting

Json = dict[str, Any]


def _arn(ctx: Context, name: str) -> str:
    return ctx.arn("sagemaker", f"inference-component/{name.lower()}")


def _find(ctx: Context, name: str) -> Row:
    if (found := ctx.get("InferenceComponent", name)) is None:
        raise ValidationException(f'Could not find inference component "{_arn(ctx, name)}".')
    return found


@sagemaker.operation
def create_inference_component(ctx: Context, request: Json) -> Json:
    """Accept a component; the reconciler finds room for its copies and starts them."""
    name = request["InferenceComponentName"]
    arn = _arn(ctx, name)
    if ctx.get("InferenceComponent", name) is not None:
        raise ValidationException(f'Cannot create already existing inference component "{arn}".')
    if request.get("Specifications"):
        raise ValidationException("Clary does not serve Specifications by instance type yet; give one Specification.")
    if "Specification" not in request or "RuntimeConfig" not in request:
        raise ValidationException("Specification and RuntimeConfig are required for an inference component.")
    endpoint = find_endpoint(ctx, request["EndpointName"])
    if endpoint.state in ("Failed", "Deleting"):
        raise ValidationException(
            f'Cannot create inference component on endpoint "{endpoint.arn}" in status {endpoint.state}.'
        )
    variant = hosting.variant_of(endpoint, request.get("VariantName"))
    if variant is None:
        which = f'production variant "{request["VariantName"]}"' if "VariantName" in request else "production variant"
        raise ValidationException(
            f'Endpoint "{endpoint.arn}" has no {which} for inference components: one whose configuration names no model.'
        )
    at = now()
    copies = request["RuntimeConfig"]["CopyCount"]
    spec = {k: v for k, v in request.items() if k not in ("Tags", "RuntimeConfig")}
    spec["VariantName"] = variant["VariantName"]
    status = {
        "InferenceComponentStatus": "Creating",
        "RuntimeConfig": {"DesiredCopyCount": copies, "CurrentCopyCount": 0},
    }
    first = _fleet(ctx, 1, variant, spec["Specification"], copies)
    private = {"phase": "Launching", "next": first, "fleets": 1, "copies": copies, "claims": [], "short": 0}
    ctx.tx.rows.add(
        Row(
            "InferenceComponent", ctx.account, ctx.region, name, arn, spec, status, private, state="Creating",
            created=at, due=at,
        )
    )  # fmt: skip
    tags.put(ctx, arn, request.get("Tags"))
    return {"InferenceComponentArn": arn}


def _fleet(ctx: Context, number: int, host: Json, specification: Json, copies: int) -> Json:
    """The fleet of a component's copies."""
    if specification.get("BaseInferenceComponentName"):
        raise ValidationException("Clary does not serve adapter components (BaseInferenceComponentName) yet.")
    if ("ModelName" in specification) == ("Container" in specification):
        raise ValidationException("One of ModelName or Container must be specified, and not both.")
    required = specification.get("ComputeResourceRequirements")
    if required is None:
        raise ValidationException("ComputeResourceRequirements is required for an inference component.")
    least, most = required["MinMemoryRequiredInMb"], required.get("MaxMemoryRequiredInMb")
    if most is not None and most < least:
        raise ValidationException("MaxMemoryRequiredInMb must not be less than MinMemoryRequiredInMb.")
    name, kind = host["VariantName"], host["InstanceType"]
    if "ModelName" in specification:
        model = models.find(ctx, specification["ModelName"])
        its = fleet.variant(name, model, kind, copies)
    else:
        own = specification["Container"]
        given = {
            "Image": own.get("Image"),
            "ModelDataUrl": own.get("ArtifactUrl"),
            "Environment": own.get("Environment"),
        }
        container = models.completed(ctx.platform, ctx.account, {k: v for k, v in given.items() if v is not None})
        its = {
            "VariantName": name, "Weight": 1.0, "Count": copies, "InstanceType": kind, "Direct": False,
            "Containers": [{**container, "ContainerHostname": "primary"}], "Role": host["Role"],
            "Isolated": host["Isolated"],
        }  # fmt: skip
    if len(its["Containers"]) > 1 or fleet.multi_model(its):
        raise ValidationException("An inference component runs one container with one model.")
    startup = specification.get("StartupParameters") or {}
    its |= {"MemoryMb": most, "StartupSeconds": startup.get("ContainerStartupHealthCheckTimeoutInSeconds")}
    return {"number": number, "config": "", "variants": [its], "slots": {}, "specification": specification}


@sagemaker.operation
def update_inference_component(ctx: Context, request: Json) -> Json:
    """Another specification, another number of copies, or both; new copies come before old ones go."""
    row = _updatable(ctx, request["InferenceComponentName"])
    if request.get("Specifications"):
        raise ValidationException("Clary does not serve Specifications by instance type yet; give one Specification.")
    copies: int = request["RuntimeConfig"]["CopyCount"] if request.get("RuntimeConfig") else row.private["copies"]
    if "Specification" not in request:
        if "RuntimeConfig" not in request:
            raise ValidationException("An update needs a Specification, a RuntimeConfig, or both.")
        return _resized(ctx, row, copies)
    config = rollback_checked(ctx, request.get("DeploymentConfig") or {})
    specification = {**hosting.specification(row), **request["Specification"]}
    for one, other in (("ModelName", "Container"), ("Container", "ModelName")):
        if one in request["Specification"] and other not in request["Specification"]:
            specification.pop(other, None)
    host = hosting.variant_of(find_endpoint(ctx, row.spec["EndpointName"]), row.spec["VariantName"])
    if host is None:
        raise ValidationException(f"The endpoint {row.spec['EndpointName']} has no variant {row.spec['VariantName']}.")
    upcoming = _fleet(ctx, row.private.get("fleets", 1) + 1, host, specification, copies)
    current = row.private["current"]
    several = copies and current["variants"][0]["Count"]
    try:
        planned = deployment.plan(_by_copies(config) if several else {}, current, upcoming, now())
    except deployment.Invalid as error:
        raise ValidationException(str(error).replace("instance(s)", "copies")) from None
    status = {**row.status, "InferenceComponentStatus": "Updating"}
    if config:
        status["LastDeploymentConfig"] = config
    row = ctx.tx.rows.save(row, status=status, state="Updating")
    ctx.tx.rows.wish(row, update={"fleet": upcoming, "deployment": planned, "copies": copies})
    return {"InferenceComponentArn": row.arn}


def _by_copies(config: Json) -> Json:
    """A deployment's configuration as plans of fleets take it: a copy is an instance of the component's fleet."""
    policy = dict(config.get("RollingUpdatePolicy") or {})
    for member in ("MaximumBatchSize", "RollbackMaximumBatchSize"):
        if (size := policy.get(member)) and size["Type"] == "COPY_COUNT":
            policy[member] = {**size, "Type": "INSTANCE_COUNT"}
    return {**config, "RollingUpdatePolicy": policy} if policy else config


@sagemaker.operation
def update_inference_component_runtime_config(ctx: Context, request: Json) -> Json:
    """Another number of copies."""
    row = _updatable(ctx, request["InferenceComponentName"])
    return _resized(ctx, row, request["DesiredRuntimeConfig"]["CopyCount"])


def _updatable(ctx: Context, name: str) -> Row:
    row = _find(ctx, name)
    if row.state in BUSY or row.wish:
        raise ValidationException(f'Cannot update in-progress inference component "{row.arn}".')
    if row.state == "Failed":
        raise ValidationException(
            f'Cannot update inference component "{row.arn}" in status Failed; delete it and create it again.'
        )
    return row


def _resized(ctx: Context, row: Row, copies: int) -> Json:
    status = {**row.status, "InferenceComponentStatus": "Updating"}
    status["RuntimeConfig"] = {**status["RuntimeConfig"], "DesiredCopyCount": copies}
    row = ctx.tx.rows.save(row, status=status, state="Updating")
    ctx.tx.rows.wish(row, scale={"copies": copies})
    return {"InferenceComponentArn": row.arn}


@sagemaker.operation
def delete_inference_component(ctx: Context, request: Json) -> None:
    """Drain and remove a component."""
    row = _find(ctx, request["InferenceComponentName"])
    if row.state in ("Creating", "Updating"):
        raise ValidationException(f'Cannot delete in-progress inference component "{row.arn}".')
    row = ctx.tx.rows.save(row, status={**row.status, "InferenceComponentStatus": "Deleting"}, state="Deleting")
    ctx.tx.rows.wish(row, delete=True)


@sagemaker.held(lambda ctx, answer: _until(ctx, answer))
def describe_inference_component(ctx: Context, request: Json) -> Json:
    """A component as it is."""
    row = _find(ctx, request["InferenceComponentName"])
    specification = hosting.specification(row)
    if own := specification.get("Container"):
        deployed = {"SpecifiedImage": own["Image"], "ResolvedImage": own["Image"], "ResolutionTime": row.created}
        shown = {k: v for k, v in own.items() if k in ("ArtifactUrl", "Environment")}
        specification["Container"] = {"DeployedImage": deployed, **shown}
    return {
        **row.status, "Specification": specification, "InferenceComponentName": row.name,
        "InferenceComponentArn": row.arn, "EndpointName": row.spec["EndpointName"],
        "EndpointArn": _endpoint_arn(ctx, row), "VariantName": row.spec["VariantName"], "CreationTime": row.created,
        "LastModifiedTime": row.modified,
    }  # fmt: skip


def _endpoint_arn(ctx: Context, row: Row) -> str:
    return ctx.arn("sagemaker", f"endpoint/{row.spec['EndpointName'].lower()}")


def _until(ctx: Context, answer: Json) -> float | None:
    """While a transition is young, the description waits for its end."""
    if answer["InferenceComponentStatus"] not in BUSY:
        return None
    creating = answer["InferenceComponentStatus"] == "Creating"
    began = answer["CreationTime"] if creating else answer["LastModifiedTime"]
    return float(began) + ctx.platform.settings.hold_seconds


@sagemaker.operation
def list_inference_components(ctx: Context, request: Json) -> Json:
    """Components by page; those of an endpoint or a variant."""
    rows, more = page(ctx, "InferenceComponent", request)
    for member, name in (("EndpointNameEquals", "EndpointName"), ("VariantNameEquals", "VariantName")):
        if wanted := request.get(member):
            rows = [r for r in rows if r.spec[name] == wanted]
    shown = [
        {
            "InferenceComponentName": r.name, "InferenceComponentArn": r.arn, "EndpointName": r.spec["EndpointName"],
            "EndpointArn": _endpoint_arn(ctx, r), "VariantName": r.spec["VariantName"],
            "InferenceComponentStatus": r.state, "CreationTime": r.created, "LastModifiedTime": r.modified,
        }
        for r in rows
    ]  # fmt: skip
    return {"InferenceComponents": shown, **more}
