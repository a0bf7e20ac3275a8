"""Endpoint configurations: variants under a name. Immutable, and deletable while in use."""

from __future__ import annotations

from typing import Any

from ...provider.border import check_role
from ...provider.context import Context
from ...provider.errors import ValidationException
from ...provider.pages import page
from ...store.object import split_uri
from ...store.rows import Row
from . import models, sagemaker, tags

Json = dict[str, Any]


def find(ctx: Context, name: str) -> Row:
    """A configuration; AWS's error when it is missing."""
    if (found := ctx.get("EndpointConfig", name)) is None:
        arn = ctx.arn("sagemaker", f"endpoint-config/{name.lower()}")
        raise ValidationException(f'Could not find endpoint configuration "{arn}".')
    return found


@sagemaker.operation
def create_endpoint_config(ctx: Context, request: Json) -> Json:
    """A new configuration of models that exist."""
    name = request["EndpointConfigName"]
    arn = ctx.arn("sagemaker", f"endpoint-config/{name.lower()}")
    if ctx.get("EndpointConfig", name) is not None:
        raise ValidationException(f'Cannot create already existing endpoint configuration "{arn}".')
    check_role(ctx, request.get("ExecutionRoleArn"))
    variants = request["ProductionVariants"]
    shadows = request.get("ShadowProductionVariants") or []
    if shadows and (len(shadows) > 1 or len(variants) > 1):
        raise ValidationException("A shadow test takes exactly one production variant and one shadow variant.")
    names = [v["VariantName"] for v in (*variants, *shadows)]
    if len(names) != len(set(names)):
        raise ValidationException("Production variant names must be unique within an endpoint configuration.")
    _refuse_unserved(request)
    if (asynchronous := request.get("AsyncInferenceConfig")) is not None:
        _check_asynchronous(asynchronous, [*variants, *shadows])
    if any("ServerlessConfig" in v for v in (*variants, *shadows)):
        if len(variants) + len(shadows) > 1:
            raise ValidationException("A serverless endpoint has exactly one production variant.")
        if request.get("DataCaptureConfig"):
            raise ValidationException("Data capture is not available for serverless endpoints.")
    empty = [v["VariantName"] for v in (*variants, *shadows) if "ModelName" not in v]
    if empty:
        _check_component_hosts(request, empty)
    spec = {k: v for k, v in request.items() if k not in ("Tags", "EndpointConfigName")}
    spec["ProductionVariants"] = [_variant(ctx, v) for v in variants]
    if shadows:
        spec["ShadowProductionVariants"] = [_variant(ctx, v) for v in shadows]
    if (capture := spec.get("DataCaptureConfig")) is not None:
        try:
            split_uri(capture["DestinationS3Uri"])
        except ValueError as error:
            raise ValidationException(f"DataCaptureConfig.DestinationS3Uri: {error}.") from None
    spec.setdefault("EnableNetworkIsolation", False)
    ctx.tx.rows.add(Row("EndpointConfig", ctx.account, ctx.region, name, arn, spec))
    tags.put(ctx, arn, request.get("Tags"))
    return {"EndpointConfigArn": arn}


_STRATEGIES = {"RANDOM", "LEAST_OUTSTANDING_REQUESTS", "PREFIX_AWARE"}


def _check_routing(variant: Json) -> None:
    """Prefixes are configured if they decide, and only then."""
    routing = variant.get("RoutingConfig") or {}
    if (routing.get("RoutingStrategy") == "PREFIX_AWARE") == bool(config := routing.get("PrefixAwareRoutingConfig")):
        absent = [n for n in ("PrefixLength", "ConcurrencyThreshold") if config and n not in config]
        if absent:
            raise ValidationException(
                f"PrefixAwareRoutingConfig of production variant {variant['VariantName']} needs {' and '.join(absent)}."
            )
        return
    needs = "takes PrefixAwareRoutingConfig with the routing strategy PREFIX_AWARE only"
    if not config:
        needs = "needs PrefixAwareRoutingConfig, as its routing strategy is PREFIX_AWARE"
    raise ValidationException(f"RoutingConfig of production variant {variant['VariantName']} {needs}.")


def _refuse_unserved(request: Json) -> None:
    """Features that would silently do nothing are refused by name."""
    unserved = [n for n in ("ExplainerConfig",) if request.get(n)]
    strategies = {
        (v.get("RoutingConfig") or {}).get("RoutingStrategy", "RANDOM") for v in request["ProductionVariants"]
    }
    unserved += sorted(f"RoutingStrategy {s}" for s in strategies - _STRATEGIES)
    if unserved:
        raise ValidationException(
            f"Clary does not serve {', '.join(unserved)} yet; remove it from the endpoint configuration."
        )


def _variant(ctx: Context, variant: Json) -> Json:
    _check_routing(variant)
    if "ServerlessConfig" in variant:
        _check_serverless(variant)
    elif "InstanceType" not in variant or "InitialInstanceCount" not in variant:
        raise ValidationException(
            f"Production variant {variant['VariantName']} needs InstanceType and InitialInstanceCount."
        )
    if "ModelName" not in variant:
        return {"InitialVariantWeight": 1.0, **variant}
    model = models.find(ctx, variant["ModelName"])
    containers = models.containers(model)
    if "ServerlessConfig" in variant and (len(containers) > 1 or containers[0].get("Mode") == "MultiModel"):
        raise ValidationException("A serverless endpoint serves one container with one model.")
    if len(containers) > 1 and any(c.get("Mode") == "MultiModel" for c in containers):
        raise ValidationException(
            f"Clary does not serve a multi-model container beside others yet: model {model.name} has both."
        )
    return {"InitialVariantWeight": 1.0, **variant}


def _check_component_hosts(request: Json, empty: list[str]) -> None:
    """Variants without a model are for inference components: all of an endpoint's are, or none."""
    variants = [*request["ProductionVariants"], *(request.get("ShadowProductionVariants") or [])]
    if len(empty) < len(variants):
        raise ValidationException(
            f"Production variants {', '.join(empty)} have no ModelName and others have one; an endpoint either hosts "
            "inference components or models."
        )
    if "ExecutionRoleArn" not in request:
        raise ValidationException(
            f"ExecutionRoleArn is required: production variants {', '.join(empty)} have no ModelName, so inference "
            "components will be placed on them."
        )
    for member in ("AsyncInferenceConfig", "ShadowProductionVariants"):
        if request.get(member):
            raise ValidationException(f"An endpoint for inference components takes no {member}.")
    for variant in variants:
        if "ServerlessConfig" in variant:
            raise ValidationException(
                f"Production variant {variant['VariantName']}: a serverless one needs a ModelName."
            )
        scaling = variant.get("ManagedInstanceScaling") or {}
        if scaling.get("Status") == "ENABLED":
            least, most = scaling.get("MinInstanceCount", 1), scaling.get("MaxInstanceCount", 1)
            if not least <= variant.get("InitialInstanceCount", least) <= most:
                raise ValidationException(
                    f"InitialInstanceCount of production variant {variant['VariantName']} must lie between "
                    f"MinInstanceCount ({least}) and MaxInstanceCount ({most}) of ManagedInstanceScaling."
                )


def _check_asynchronous(config: Json, variants: list[Json]) -> None:
    if len(variants) > 1:
        raise ValidationException("An asynchronous endpoint has exactly one production variant.")
    if any("ServerlessConfig" in v for v in variants):
        raise ValidationException("A serverless endpoint cannot be asynchronous.")
    for member in ("S3OutputPath", "S3FailurePath"):
        if uri := config["OutputConfig"].get(member):
            try:
                split_uri(uri)
            except ValueError as error:
                raise ValidationException(f"AsyncInferenceConfig.OutputConfig.{member}: {error}.") from None


def _check_serverless(variant: Json) -> None:
    config = variant["ServerlessConfig"]
    if "InstanceType" in variant or "InitialInstanceCount" in variant:
        raise ValidationException(
            f"Production variant {variant['VariantName']} has a ServerlessConfig and so takes neither InstanceType nor "
            "InitialInstanceCount."
        )
    if config["MemorySizeInMB"] not in range(1024, 6145, 1024):
        raise ValidationException(
            f"MemorySizeInMB is {config['MemorySizeInMB']}; it must be 1024, 2048, 3072, 4096, 5120 or 6144."
        )
    if (config.get("ProvisionedConcurrency") or 0) > config["MaxConcurrency"]:
        raise ValidationException("ProvisionedConcurrency must not be greater than MaxConcurrency.")


@sagemaker.operation
def describe_endpoint_config(ctx: Context, request: Json) -> Json:
    """A configuration."""
    row = find(ctx, request["EndpointConfigName"])
    return {**row.spec, "EndpointConfigName": row.name, "EndpointConfigArn": row.arn, "CreationTime": row.created}


@sagemaker.operation
def list_endpoint_configs(ctx: Context, request: Json) -> Json:
    """Configurations by page."""
    rows, more = page(ctx, "EndpointConfig", request)
    shown = [{"EndpointConfigName": r.name, "EndpointConfigArn": r.arn, "CreationTime": r.created} for r in rows]
    return {"EndpointConfigs": shown, **more}


@sagemaker.operation
def delete_endpoint_config(ctx: Context, request: Json) -> None:
    """Remove a configuration."""
    ctx.tx.rows.delete(find(ctx, request["EndpointConfigName"]))
