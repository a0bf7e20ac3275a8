"""Lambda functions, and what belongs to them."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

from ....wire.bounded import digits
from ..kind import Failed, Json, Kind, Made, Work, gone, only, retag, tags_of

# what a function is configured with, and what that is without a word about it
_CONFIGURATION: Json = {
    "Role": None, "Handler": None, "Runtime": None, "Description": "", "Timeout": 3, "MemorySize": 128,
    "Environment": {"Variables": {}}, "Layers": [], "EphemeralStorage": {"Size": 512}, "LoggingConfig": None,
    "TracingConfig": {"Mode": "PassThrough"}, "DeadLetterConfig": {"TargetArn": ""},
    "VpcConfig": {"SubnetIds": [], "SecurityGroupIds": []}, "KMSKeyArn": "",
}  # fmt: skip


def _configuration(props: Json) -> Json:
    given = only(props, *_CONFIGURATION)
    return {**given, "KMSKeyArn": props["KmsKeyArn"]} if "KmsKeyArn" in props else given


def _code(props: Json) -> Json:
    """A function's code; what stands in the template becomes an archive of one file."""
    given: Json = props["Code"]
    if "ZipFile" not in given:
        return given
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        script = str(props.get("Runtime", "")).startswith("nodejs")
        entry = zipfile.ZipInfo("index.js" if script else "index.py", (1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o644 << 16
        packed.writestr(entry, given["ZipFile"])
        helper = "cfn-response" if script else "cfnresponse"
        if helper in given["ZipFile"]:
            name = f"{helper}.js" if script else f"{helper}.py"
            packed.writestr(f"node_modules/{name}" if script else name, Path(__file__).with_name(name).read_text())
    return {"ZipFile": out.getvalue()}


def _function(work: Work, props: Json) -> Made:
    client = work.client("lambda")
    try:
        made = client.create_function(
            FunctionName=work.name, Code=_code(props), Tags=tags_of(props), **_configuration(props),
            **only(props, "Architectures", "PackageType"),
        )  # fmt: skip
    except client.exceptions.ResourceConflictException:
        raise Failed(f"{work.name} already exists in stack or outside of it") from None
    return _reserve(work, made["FunctionArn"], {}, props)


def _reserve(work: Work, arn: str, old: Json, props: Json) -> Made:
    """A function's share of the account's concurrency."""
    client = work.client("lambda")
    if (reserved := props.get("ReservedConcurrentExecutions")) is not None:
        client.put_function_concurrency(FunctionName=work.name, ReservedConcurrentExecutions=reserved)
    elif "ReservedConcurrentExecutions" in old:
        client.delete_function_concurrency(FunctionName=work.name)
    return Made(work.name, {"Arn": arn})


def _changed_function(work: Work, name: str, old: Json, props: Json) -> Made:
    client = work.client("lambda")
    if only(old, "Code", "Architectures") != only(props, "Code", "Architectures"):
        client.update_function_code(FunctionName=name, **_code(props), **only(props, "Architectures"))
    before, now = _configuration(old), _configuration(props)
    reset = {k: v for k, v in _CONFIGURATION.items() if k in before and k not in now and v is not None}
    arn = client.update_function_configuration(FunctionName=name, **reset, **now)["FunctionArn"]
    retag(
        old, props, lambda tags: client.tag_resource(Resource=arn, Tags=tags),
        lambda keys: client.untag_resource(Resource=arn, TagKeys=keys),
    )  # fmt: skip
    return _reserve(work, arn, old, props)


def _permission(work: Work, props: Json) -> Made:
    statement = f"{work.stack}-{work.logical}-{work.name[-12:]}"[-100:]
    given = {k: v for k, v in props.items() if k != "InvokedViaFunctionUrl"}
    work.client("lambda").add_permission(StatementId=statement, **given)
    return Made(statement)


def _no_permission(work: Work, statement: str, props: Json) -> None:
    gone(work.client("lambda").remove_permission, FunctionName=props["FunctionName"], StatementId=statement)


# ---- versions, aliases, layers ---------------------------------------------------------------------------------------


def _provision(work: Work, function: str, qualifier: str, old: Json, props: Json) -> None:
    """Instances that a version or an alias keeps warm."""
    client, place = work.client("lambda"), {"FunctionName": function, "Qualifier": qualifier}
    if wanted := props.get("ProvisionedConcurrencyConfig"):
        client.put_provisioned_concurrency_config(**place, **wanted)
    elif old.get("ProvisionedConcurrencyConfig"):
        gone(client.delete_provisioned_concurrency_config, **place)


def _version(work: Work, props: Json) -> Made:
    made = work.client("lambda").publish_version(**only(props, "FunctionName", "Description", "CodeSha256"))
    _provision(work, props["FunctionName"], made["Version"], {}, props)
    return Made(made["FunctionArn"], {"Version": made["Version"], "FunctionArn": made["FunctionArn"]})


def _alias(work: Work, props: Json) -> Made:
    return _put_alias(work, {}, props)


def _put_alias(work: Work, old: Json, props: Json) -> Made:
    client = work.client("lambda")
    weights = (props.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or ()
    routing = {"AdditionalVersionWeights": {w["FunctionVersion"]: w["FunctionWeight"] for w in weights}}
    call = client.update_alias if old else client.create_alias
    made = call(**only(props, "FunctionName", "Name", "Description", "FunctionVersion"), RoutingConfig=routing)
    _provision(work, props["FunctionName"], props["Name"], old, props)
    return Made(made["AliasArn"], {"AliasArn": made["AliasArn"]})


def _layer(work: Work, props: Json) -> Made:
    given = only(props, "Description", "CompatibleRuntimes", "LicenseInfo", "Content", "CompatibleArchitectures")
    made = work.client("lambda").publish_layer_version(LayerName=props.get("LayerName", work.name), **given)
    return Made(made["LayerVersionArn"], {"LayerVersionArn": made["LayerVersionArn"]})


def _no_layer(work: Work, arn: str, props: Json) -> None:
    layer, _, version = arn.rpartition(":")
    if digits(version):
        gone(work.client("lambda").delete_layer_version, LayerName=layer, VersionNumber=int(version))


# ---- asynchronous calls, addresses -----------------------------------------------------------------------------------


def _invoke_config(work: Work, props: Json) -> Made:
    work.client("lambda").put_function_event_invoke_config(**props)
    return Made(f"{props['FunctionName']}|{props['Qualifier']}")


def _no_invoke_config(work: Work, physical: str, props: Json) -> None:
    gone(work.client("lambda").delete_function_event_invoke_config, **only(props, "FunctionName", "Qualifier"))


def _url_call(operation: str) -> Any:
    def call(work: Work, props: Json) -> Made:
        given = {
            "FunctionName": props["TargetFunctionArn"],
            **only(props, "AuthType", "Cors", "InvokeMode", "Qualifier"),
        }
        made = getattr(work.client("lambda"), operation)(**given)
        return Made(made["FunctionArn"], {"FunctionUrl": made["FunctionUrl"], "FunctionArn": made["FunctionArn"]})

    return call


_url, _changed_url = _url_call("create_function_url_config"), _url_call("update_function_url_config")


def _no_url(work: Work, physical: str, props: Json) -> None:
    given = {"FunctionName": props["TargetFunctionArn"], **only(props, "Qualifier")}
    gone(work.client("lambda").delete_function_url_config, **given)


KINDS: dict[str, Kind] = {
    "AWS::Lambda::Function": Kind(
        _function, lambda w, i, p: gone(w.client("lambda").delete_function, FunctionName=i), _changed_function,
        named="FunctionName", limit=64, ignores=(
            "CapacityProviderConfig", "CodeSigningConfigArn", "DurableConfig", "FileSystemConfigs", "FunctionScalingConfig",
            "ImageConfig", "PublishToLatestPublished", "RecursiveLoop", "RuntimeManagementConfig", "SnapStart",
            "TenancyConfig",
        ),
    ),
    "AWS::Lambda::Permission": Kind(_permission, _no_permission, ignores=("InvokedViaFunctionUrl",)),
    "AWS::Lambda::Version": Kind(
        _version, lambda w, i, p: gone(w.client("lambda").delete_function, FunctionName=i),
        ignores=("FunctionScalingConfig", "RuntimePolicy"),
    ),
    "AWS::Lambda::Alias": Kind(
        _alias, lambda w, i, p: gone(w.client("lambda").delete_alias, FunctionName=p["FunctionName"], Name=p["Name"]),
        lambda w, i, o, p: _put_alias(w, o, p),
    ),
    "AWS::Lambda::LayerVersion": Kind(_layer, _no_layer),
    "AWS::Lambda::EventInvokeConfig": Kind(
        _invoke_config, _no_invoke_config, lambda w, i, o, p: _invoke_config(w, p)
    ),
    "AWS::Lambda::Url": Kind(_url, _no_url, lambda w, i, o, p: _changed_url(w, p)),
}  # fmt: skip
