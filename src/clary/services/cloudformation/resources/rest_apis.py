"""REST APIs: API Gateway's first version."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ..kind import Json, Kind, Made, Work, gone, only, retag, tags_of, text_of


def _camel(value: Json) -> Json:
    """Members in the spelling of API Gateway's first version."""
    return {
        (k[:1].lower() + k[1:] if k[:1].isupper() and "." not in k and "/" not in k else k): v for k, v in value.items()
    }


def _patches(old: Json, props: Json, paths: dict[str, str]) -> list[Json]:
    """The operations that bring a document from one state to another; ``paths`` are those of its properties."""
    operations = []
    for name, path in paths.items():
        if props.get(name) == old.get(name):
            continue
        if name in props:
            operations.append({"op": "replace", "path": path, "value": _text(props[name])})
        else:
            operations.append({"op": "remove", "path": path})
    return operations


def _map_patches(old: Json, props: Json, path: str) -> list[Json]:
    """The same for a map, whose keys are the last part of the path."""
    escaped = {name: f"{path}/{name.replace('~', '~0').replace('/', '~1')}" for name in {*old, *props}}
    return _patches(old, props, escaped)


def _text(value: Any) -> str:
    if isinstance(value, dict | list):
        return json.dumps(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


# ---- APIs ------------------------------------------------------------------------------------------------------------

_API_PATHS = {
    "Name": "/name", "Description": "/description", "Policy": "/policy", "ApiKeySourceType": "/apiKeySource",
    "MinimumCompressionSize": "/minimumCompressionSize", "DisableExecuteApiEndpoint": "/disableExecuteApiEndpoint",
    "Version": "/version",
}  # fmt: skip


def api_document(work: Work, props: Json) -> str:
    """The OpenAPI document of an API, from the template or from S3; empty when it has none."""
    if body := props.get("Body"):
        return text_of(body)
    if place := props.get("BodyS3Location"):
        found = work.client("s3").get_object(Bucket=place["Bucket"], Key=place["Key"])["Body"].read()
        return str(found.decode())
    return ""


def _rest_api(work: Work, props: Json) -> Made:
    client = work.client("apigateway")
    if body := api_document(work, props):
        more = {"parameters": props["Parameters"]} if props.get("Parameters") else {}
        made = client.import_rest_api(body=body, failOnWarnings=bool(props.get("FailOnWarnings")), **more)
        if changes := _patches({}, props, _API_PATHS):
            client.update_rest_api(restApiId=made["id"], patchOperations=changes)
        _retag(work, made["id"], {}, props)
    else:
        given = _camel(only(props, "Name", "Description", "BinaryMediaTypes", "MinimumCompressionSize", "CloneFrom"))
        given |= _camel(only(props, "DisableExecuteApiEndpoint", "Version"))
        if source := props.get("ApiKeySourceType"):
            given["apiKeySource"] = source
        if policy := props.get("Policy"):
            given["policy"] = text_of(policy)
        if about := props.get("EndpointConfiguration"):
            given["endpointConfiguration"] = _camel(about)
        made = client.create_rest_api(**{"name": work.name, **given}, tags=tags_of(props))
    return Made(made["id"], {"RootResourceId": made["rootResourceId"], "RestApiId": made["id"]})


def _changed_rest_api(work: Work, api: str, old: Json, props: Json) -> Made:
    client = work.client("apigateway")
    if body := api_document(work, props):
        client.put_rest_api(restApiId=api, mode=props.get("Mode", "overwrite"), body=body)
    before, wanted = old.get("BinaryMediaTypes") or [], props.get("BinaryMediaTypes") or []
    changes = _patches(old, props, _API_PATHS)
    changes += _map_patches(dict.fromkeys(before, ""), dict.fromkeys(wanted, ""), "/binaryMediaTypes")
    if changes:
        client.update_rest_api(restApiId=api, patchOperations=changes)
    _retag(work, api, old, props)
    return Made(api, work.before)


def _retag(work: Work, api: str, old: Json, props: Json) -> None:
    client, arn = work.client("apigateway"), f"arn:aws:apigateway:{work.region}::/restapis/{api}"
    retag(
        old, props, lambda tags: client.tag_resource(resourceArn=arn, tags=tags),
        lambda keys: client.untag_resource(resourceArn=arn, tagKeys=keys),
    )  # fmt: skip


def _account(work: Work, props: Json) -> Made:
    changes = [{"op": "replace", "path": "/cloudwatchRoleArn", "value": props.get("CloudWatchRoleArn", "")}]
    work.client("apigateway").update_account(patchOperations=changes)
    return Made(work.name, {"Id": work.name})


# ---- resources and methods -------------------------------------------------------------------------------------------


def _resource(work: Work, props: Json) -> Made:
    made = work.client("apigateway").create_resource(**_camel(props))
    return Made(made["id"], {"ResourceId": made["id"]})


_METHOD = (
    "ApiKeyRequired", "AuthorizationScopes", "AuthorizerId", "RequestParameters", "RequestModels", "RequestValidatorId",
    "OperationName",
)  # fmt: skip


def _flags(given: Json | None) -> dict[str, bool]:
    """Whether each parameter is required, which templates may say in words."""
    return {name: _text(value) == "true" for name, value in (given or {}).items()}


def _place(props: Json) -> Json:
    return _camel(only(props, "RestApiId", "ResourceId", "HttpMethod"))


def _method(work: Work, props: Json) -> Made:
    client, place = work.client("apigateway"), _place(props)
    kind = props.get("AuthorizationType", "NONE")
    given = {**_camel(only(props, *_METHOD)), "requestParameters": _flags(props.get("RequestParameters"))}
    client.put_method(**place, authorizationType=kind, **given)
    for response in props.get("MethodResponses") or ():
        flags = _flags(response.get("ResponseParameters"))
        client.put_method_response(**place, **{**_camel(response), "responseParameters": flags})
    if integration := props.get("Integration"):
        client.put_integration(**place, **_camel({k: v for k, v in integration.items() if k != "IntegrationResponses"}))
        for response in integration.get("IntegrationResponses") or ():
            client.put_integration_response(**place, **_camel(response))
    return Made(f"{work.stack[:4]}-{work.logical[:5]}-{work.name[-12:]}")


def _changed_method(work: Work, physical: str, old: Json, props: Json) -> Made:
    """Said anew: what is deployed is a copy, which this does not touch."""
    _no_method(work, physical, old)
    _method(work, props)
    return Made(physical, work.before)


def _no_method(work: Work, physical: str, props: Json) -> None:
    gone(work.client("apigateway").delete_method, **_place(props))


# ---- deployments and stages ------------------------------------------------------------------------------------------


def _deployment(work: Work, props: Json) -> Made:
    client, about = work.client("apigateway"), props.get("StageDescription") or {}
    given = _camel(only(props, "RestApiId", "StageName", "Description"))
    if "StageName" in props:
        given |= {"variables": about.get("Variables") or {}, "stageDescription": about.get("Description", "")}
    made = client.create_deployment(**given)
    if changes := _stage_patches({}, about) if "StageName" in props else []:
        client.update_stage(restApiId=props["RestApiId"], stageName=props["StageName"], patchOperations=changes)
    return Made(made["id"], {"DeploymentId": made["id"]})


def _no_deployment(work: Work, deployment: str, props: Json) -> None:
    client = work.client("apigateway")
    if name := props.get("StageName"):
        gone(client.delete_stage, restApiId=props["RestApiId"], stageName=name)
    gone(client.delete_deployment, restApiId=props["RestApiId"], deploymentId=deployment)


_STAGE_PATHS = {"Description": "/description", "TracingEnabled": "/tracingEnabled"}
_SETTINGS = {
    "ThrottlingRateLimit": "throttling/rateLimit", "ThrottlingBurstLimit": "throttling/burstLimit",
    "MetricsEnabled": "metrics/enabled", "LoggingLevel": "logging/loglevel", "DataTraceEnabled": "logging/dataTrace",
    "CachingEnabled": "caching/enabled",
}  # fmt: skip


def _settings(props: Json) -> Json:
    """The settings of a stage's methods, by the path that each has in patches; a deployment's stage has some of all."""
    found: Json = {f"/*/*/{path}": props[name] for name, path in _SETTINGS.items() if name in props}
    for setting in props.get("MethodSettings") or ():
        resource = setting.get("ResourcePath", "/*").lstrip("/").replace("/", "~1") or "~1"
        method = f"{resource}/{setting.get('HttpMethod', '*')}"
        found |= {f"/{method}/{path}": setting[name] for name, path in _SETTINGS.items() if name in setting}
    return found


def _stage_patches(old: Json, props: Json) -> list[Json]:
    logs = {"DestinationArn": "/accessLogSettings/destinationArn", "Format": "/accessLogSettings/format"}
    settings = _settings(props)
    return [
        *_patches(old, props, _STAGE_PATHS),
        *_map_patches(old.get("Variables") or {}, props.get("Variables") or {}, "/variables"),
        *_patches(old.get("AccessLogSetting") or {}, props.get("AccessLogSetting") or {}, logs),
        *_patches(_settings(old), settings, {path: path for path in settings}),
    ]


def _stage(work: Work, props: Json) -> Made:
    client = work.client("apigateway")
    given = _camel(only(props, "RestApiId", "StageName", "DeploymentId", "Description", "TracingEnabled", "Variables"))
    client.create_stage(**given)
    left = {k: v for k, v in props.items() if k in ("AccessLogSetting", "MethodSettings")}
    if changes := _stage_patches({}, left):
        client.update_stage(restApiId=props["RestApiId"], stageName=props["StageName"], patchOperations=changes)
    return Made(props["StageName"])


def _changed_stage(work: Work, name: str, old: Json, props: Json) -> Made:
    changes = [*_patches(old, props, {"DeploymentId": "/deploymentId"}), *_stage_patches(old, props)]
    if changes:
        work.client("apigateway").update_stage(restApiId=props["RestApiId"], stageName=name, patchOperations=changes)
    return Made(name)


def _no_stage(work: Work, name: str, props: Json) -> None:
    gone(work.client("apigateway").delete_stage, restApiId=props["RestApiId"], stageName=name)


# ---- the other parts of an API ---------------------------------------------------------------------------------------


def _part(
    thing: str, identifier: str, own: str, paths: dict[str, str], attribute: str = "", **defaults: Callable[[Work], str]
) -> Kind:
    """A part of a REST API that one call makes, one patches and one removes."""

    def made(work: Work, props: Json) -> Made:
        given = {**{name: make(work) for name, make in defaults.items()}, **_camel(props)}
        if "schema" in given:
            given["schema"] = text_of(given["schema"])
        found = getattr(work.client("apigateway"), f"create_{thing}")(**given)
        return Made(found[identifier], {attribute: found[identifier]} if attribute else {})

    def changed(work: Work, physical: str, old: Json, props: Json) -> Made:
        place = {"restApiId": props["RestApiId"], own: physical}
        if changes := _patches(old, props, paths):
            getattr(work.client("apigateway"), f"update_{thing}")(**place, patchOperations=changes)
        return Made(physical, work.before)

    def removed(work: Work, physical: str, props: Json) -> None:
        call = getattr(work.client("apigateway"), f"delete_{thing}")
        gone(call, restApiId=props["RestApiId"], **{own: physical})

    return Kind(made, removed, changed)


def _gateway_response(work: Work, props: Json) -> Made:
    work.client("apigateway").put_gateway_response(**_camel(props))
    return Made(f"{props['RestApiId']}|{props['ResponseType']}")


def _no_gateway_response(work: Work, physical: str, props: Json) -> None:
    client = work.client("apigateway")
    gone(client.delete_gateway_response, restApiId=props["RestApiId"], responseType=props["ResponseType"])


# ---- keys and plans --------------------------------------------------------------------------------------------------


def _key(work: Work, props: Json) -> Made:
    given = _camel(only(props, "Description", "Enabled", "Value", "CustomerId"))
    made = work.client("apigateway").create_api_key(name=props.get("Name", work.name), **given)
    return Made(made["id"], {"APIKeyId": made["id"]})


def _changed_key(work: Work, key: str, old: Json, props: Json) -> Made:
    paths = {"Description": "/description", "Enabled": "/enabled", "CustomerId": "/customerId"}
    if changes := _patches(old, props, paths):
        work.client("apigateway").update_api_key(apiKey=key, patchOperations=changes)
    return Made(key, work.before)


def _plan(work: Work, props: Json) -> Made:
    given = _camel(only(props, "Description"))
    given |= {k.lower(): _camel(props[k]) for k in ("Throttle", "Quota") if k in props}
    given["apiStages"] = [_camel(only(stage, "ApiId", "Stage")) for stage in props.get("ApiStages") or ()]
    made = work.client("apigateway").create_usage_plan(name=props.get("UsagePlanName", work.name), **given)
    return Made(made["id"], {"Id": made["id"]})


def _plan_stages(props: Json) -> list[str]:
    return [f"{stage['ApiId']}:{stage['Stage']}" for stage in props.get("ApiStages") or ()]


def _changed_plan(work: Work, plan: str, old: Json, props: Json) -> Made:
    before, wanted = _plan_stages(old), _plan_stages(props)
    changes = [
        *_patches(old, props, {"UsagePlanName": "/name", "Description": "/description"}),
        *({"op": "remove", "path": "/apiStages", "value": place} for place in before if place not in wanted),
        *({"op": "add", "path": "/apiStages", "value": place} for place in wanted if place not in before),
    ]
    for name in ("Throttle", "Quota"):
        if old.get(name) and not props.get(name):
            changes.append({"op": "remove", "path": f"/{name.lower()}"})
        else:
            changes += _map_patches(_camel(old.get(name) or {}), _camel(props.get(name) or {}), f"/{name.lower()}")
    if changes:
        work.client("apigateway").update_usage_plan(usagePlanId=plan, patchOperations=changes)
    return Made(plan, work.before)


def _no_plan(work: Work, plan: str, props: Json) -> None:
    client = work.client("apigateway")
    for place in _plan_stages(props):
        operation = {"op": "remove", "path": "/apiStages", "value": place}
        gone(client.update_usage_plan, usagePlanId=plan, patchOperations=[operation])
    gone(client.delete_usage_plan, usagePlanId=plan)


def _plan_key(work: Work, props: Json) -> Made:
    made = work.client("apigateway").create_usage_plan_key(**_camel(props))
    return Made(f"{made['id']}:{props['UsagePlanId']}", {"Id": made["id"]})


def _no_plan_key(work: Work, physical: str, props: Json) -> None:
    gone(work.client("apigateway").delete_usage_plan_key, usagePlanId=props["UsagePlanId"], keyId=props["KeyId"])


_AUTHORIZER = {
    "Name": "/name", "Type": "/type", "AuthorizerUri": "/authorizerUri", "AuthorizerCredentials": "/authorizerCredentials",
    "IdentitySource": "/identitySource", "IdentityValidationExpression": "/identityValidationExpression",
    "AuthorizerResultTtlInSeconds": "/authorizerResultTtlInSeconds",
}  # fmt: skip
_VALIDATOR = {
    "ValidateRequestBody": "/validateRequestBody",
    "ValidateRequestParameters": "/validateRequestParameters",
}

KINDS: dict[str, Kind] = {
    "AWS::ApiGateway::Account": Kind(_account, lambda w, i, p: None, lambda w, i, o, p: _account(w, p)),
    "AWS::ApiGateway::RestApi": Kind(
        _rest_api, lambda w, i, p: gone(w.client("apigateway").delete_rest_api, restApiId=i), _changed_rest_api,
        ("EndpointConfiguration",), ("EndpointAccessMode", "SecurityPolicy"),
    ),
    "AWS::ApiGateway::Resource": Kind(
        _resource,
        lambda w, i, p: gone(w.client("apigateway").delete_resource, restApiId=p["RestApiId"], resourceId=i),
    ),
    "AWS::ApiGateway::Method": Kind(_method, _no_method, _changed_method),
    "AWS::ApiGateway::Deployment": Kind(_deployment, _no_deployment, ignores=("DeploymentCanarySettings",)),
    "AWS::ApiGateway::Stage": Kind(
        _stage, _no_stage, _changed_stage, ignores=(
            "CacheClusterEnabled", "CacheClusterSize", "CanarySetting", "ClientCertificateId", "DocumentationVersion", "Tags",
        ),
    ),
    "AWS::ApiGateway::Authorizer": _part(
        "authorizer", "id", "authorizerId", _AUTHORIZER, "AuthorizerId", name=lambda work: work.name
    ),
    "AWS::ApiGateway::RequestValidator": _part(
        "request_validator", "id", "requestValidatorId", _VALIDATOR, "RequestValidatorId"
    ),
    "AWS::ApiGateway::Model": _part(
        "model", "name", "modelName", {"Schema": "/schema", "Description": "/description"},
        name=lambda work: "".join(c for c in work.name if c.isalnum()), contentType=lambda work: "application/json",
    ),
    "AWS::ApiGateway::GatewayResponse": Kind(
        _gateway_response, _no_gateway_response, lambda w, i, o, p: _gateway_response(w, p)
    ),
    "AWS::ApiGateway::ApiKey": Kind(
        _key, lambda w, i, p: gone(w.client("apigateway").delete_api_key, apiKey=i), _changed_key,
        ignores=("GenerateDistinctId", "StageKeys", "Tags"),
    ),
    "AWS::ApiGateway::UsagePlan": Kind(_plan, _no_plan, _changed_plan, ignores=("Tags",)),
    "AWS::ApiGateway::UsagePlanKey": Kind(_plan_key, _no_plan_key),
}  # fmt: skip
