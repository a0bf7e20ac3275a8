"""Models: an image, artifacts and an environment under a name. Immutable."""

from __future__ import annotations

from typing import Any

from ...provider.border import check_role
from ...provider.context import Context
from ...provider.errors import ValidationException
from ...provider.pages import page
from ...provider.platform import Platform
from ...store.object import split_uri
from ...store.rows import Row
from . import own_images, sagemaker, tags
from .images import resolve

_MANY = "com.amazonaws.sagemaker.capabilities.multi-models"

Json = dict[str, Any]


def find(ctx: Context, name: str) -> Row:
    """A model; AWS's error when it is missing."""
    if (found := ctx.get("Model", name)) is None:
        raise ValidationException(f'Could not find model "{ctx.arn("sagemaker", f"model/{name.lower()}")}".')
    return found


def containers(row: Row) -> list[Json]:
    """A model's containers, one or several."""
    return list(row.spec.get("Containers") or [row.spec["PrimaryContainer"]])


@sagemaker.operation
def create_model(ctx: Context, request: Json) -> Json:
    """A new model."""
    name = request["ModelName"]
    arn = ctx.arn("sagemaker", f"model/{name.lower()}")
    if ctx.get("Model", name) is not None:
        raise ValidationException(f'Cannot create already existing model "{arn}".')
    if ("PrimaryContainer" in request) == bool(request.get("Containers")):
        raise ValidationException("One of PrimaryContainer or Containers must be specified, and not both.")
    check_role(ctx, request.get("ExecutionRoleArn"))
    spec = {k: v for k, v in request.items() if k not in ("Tags", "ModelName")}
    if "PrimaryContainer" in spec:
        spec["PrimaryContainer"] = completed(ctx.platform, ctx.account, spec["PrimaryContainer"])
    else:
        spec["Containers"] = [completed(ctx.platform, ctx.account, c) for c in spec["Containers"]]
        _check_pipeline(spec)
    spec.setdefault("EnableNetworkIsolation", False)
    ctx.tx.rows.add(Row("Model", ctx.account, ctx.region, name, arn, spec))
    tags.put(ctx, arn, request.get("Tags"))
    return {"ModelArn": arn}


def _check_pipeline(spec: Json) -> None:
    """Several containers: which of them a request goes through needs names that tell them apart."""
    names = [c.get("ContainerHostname") for c in spec["Containers"]]
    direct = (spec.get("InferenceExecutionConfig") or {}).get("Mode") == "Direct"
    if (direct or any(names)) and not all(names):
        why = "in Direct mode" if direct else "when one has it"
        raise ValidationException(f"ContainerHostname must be given for every container {why}.")
    if len(set(filter(None, names))) < len(list(filter(None, names))):
        raise ValidationException("The ContainerHostname of each container must be unique within a model.")
    if len(names) > 1 and any(c["Mode"] == "MultiModel" for c in spec["Containers"]) and not direct:
        raise ValidationException("A serial inference pipeline cannot have a container whose Mode is MultiModel.")


def hostnames(row: Row) -> list[str]:
    """The names of a model's containers as errors and TargetContainerHostname have them."""
    found = containers(row)
    if len(found) == 1:
        return [found[0].get("ContainerHostname") or "primary"]
    return [c.get("ContainerHostname") or f"container-{n}" for n, c in enumerate(found, 1)]


def _check_image(platform: Platform, account: str, container: Json) -> None:
    runtime = resolve(platform, account, container["Image"])
    many = container.get("Mode") == "MultiModel"
    if runtime.image and many and own_images.labels(platform, runtime.image).get(_MANY) != "true":
        text = f"Your Ecr Image {container['Image']} does not contain required {_MANY}=true Docker label(s)."
        raise ValidationException(text)


def completed(platform: Platform, account: str, container: Json) -> Json:
    """A container as Describe shows it: defaults filled in, the URL also as a data source."""
    if "Image" not in container:
        raise ValidationException(
            "A container needs an Image; model packages and inference specifications are not served yet."
        )
    _check_image(platform, account, container)
    shown: Json = {"Mode": "SingleModel", **container}
    environment = shown.get("Environment") or {}
    if sum(len(k.encode()) + len(v.encode()) for k, v in environment.items()) > 32 << 10:
        raise ValidationException("The environment of a container is limited to 32 KB in total.")
    url = shown.get("ModelDataUrl")
    if shown["Mode"] == "MultiModel" and (url is None or "ModelDataSource" in shown):
        raise ValidationException(
            "A container whose Mode is MultiModel needs a ModelDataUrl, the prefix of its models."
        )
    if url is not None and "ModelDataSource" not in shown:
        try:
            split_uri(url)
        except ValueError as error:
            raise ValidationException(f"Invalid ModelDataUrl: {error}.") from None
        if shown["Mode"] == "MultiModel":  # the URL is a prefix under which the models lie
            return shown
        shown["ModelDataSource"] = {"S3DataSource": {"S3Uri": url, "S3DataType": "S3Object", "CompressionType": "Gzip"}}
    return shown


@sagemaker.operation
def describe_model(ctx: Context, request: Json) -> Json:
    """A model."""
    row = find(ctx, request["ModelName"])
    return {**row.spec, "ModelName": row.name, "ModelArn": row.arn, "CreationTime": row.created}


@sagemaker.operation
def list_models(ctx: Context, request: Json) -> Json:
    """Models by page."""
    rows, more = page(ctx, "Model", request)
    return {"Models": [{"ModelName": r.name, "ModelArn": r.arn, "CreationTime": r.created} for r in rows], **more}


@sagemaker.operation
def delete_model(ctx: Context, request: Json) -> None:
    """Remove a model; endpoints that run it go on."""
    ctx.tx.rows.delete(find(ctx, request["ModelName"]))
