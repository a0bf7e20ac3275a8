"""The resource types of API Gateway, both versions.

Physical names, ``Ref`` and ``Fn::GetAtt`` are those of AWS's "Resource and property reference".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .kind import Kind, Made, Work, gone, only, typed

Json = dict[str, Any]


# ---- HTTP APIs -------------------------------------------------------------------------------------------------------


def _http(
    operation: str, identifier: str, attributes: Callable[[Work, Json], Json] = lambda work, made: {}
) -> Callable[[Work, Json], Made]:
    def create(work: Work, props: Json) -> Made:
        numbers, flags = (
            ("TimeoutInMillis", "ThrottlingBurstLimit", "ThrottlingRateLimit", "MaxAge"),
            ("AutoDeploy", "AllowCredentials"),
        )
        made = getattr(work.client("apigatewayv2"), operation)(**typed(props, numbers, flags))
        return Made(made[identifier], attributes(work, made))

    return create


def _http_update(
    operation: str, identifier: str, own: str, attributes: Callable[[Work, Json], Json] = lambda work, made: {}
) -> Any:
    def update(work: Work, physical: str, old: Json, props: Json) -> Made:
        given = {k: v for k, v in props.items() if k not in ("Tags", "ProtocolType")}
        made = getattr(work.client("apigatewayv2"), operation)(
            **typed({**given, own: physical}, ("TimeoutInMillis",), ("AutoDeploy",))
        )
        return Made(made[identifier], attributes(work, made))

    return update


def _http_gone(operation: str, own: str) -> Any:
    def delete(work: Work, physical: str, props: Json) -> None:
        gone(getattr(work.client("apigatewayv2"), operation), **{**only(props, "ApiId"), own: physical})

    return delete


def _domain_attributes(work: Work, made: Json) -> Json:
    first = made["DomainNameConfigurations"][0] if made["DomainNameConfigurations"] else {}
    return {
        "RegionalDomainName": first.get("ApiGatewayDomainName"), "RegionalHostedZoneId": first.get("HostedZoneId"),
        "DomainNameArn": f"arn:aws:apigateway:{work.region}::/domainnames/{made['DomainName']}",
    }  # fmt: skip


def _no_mapping(work: Work, physical: str, props: Json) -> None:
    gone(work.client("apigatewayv2").delete_api_mapping, DomainName=props["DomainName"], ApiMappingId=physical)


def _http_api(work: Work, props: Json) -> Made:
    if not (body := _document(work, props, "BodyS3Location")):
        return _http("create_api", "ApiId", _http_api_attributes)(work, props)
    client = work.client("apigatewayv2")
    made = client.import_api(Body=body)
    if more := typed(
        only(props, "Name", "Description", "CorsConfiguration", "Version"), ("MaxAge",), ("AllowCredentials",)
    ):
        client.update_api(ApiId=made["ApiId"], **more)
    return Made(made["ApiId"], _http_api_attributes(work, made))


def _changed_http_api(work: Work, physical: str, old: Json, props: Json) -> Made:
    if not (body := _document(work, props, "BodyS3Location")):
        made: Made = _http_update("update_api", "ApiId", "ApiId", _http_api_attributes)(work, physical, old, props)
        return made
    work.client("apigatewayv2").reimport_api(ApiId=physical, Body=body)
    return Made(physical, work.before)


def _http_api_attributes(work: Work, made: Json) -> Json:
    return {"ApiEndpoint": made["ApiEndpoint"], "ApiId": made["ApiId"]}


def _camel(value: Any) -> Any:
    """Members in the spelling of API Gateway's first version."""
    if isinstance(value, dict):
        return {
            (k[:1].lower() + k[1:] if k[:1].isupper() and "." not in k and "/" not in k else k): v
            for k, v in value.items()
        }
    return value


def _rest_api(work: Work, props: Json) -> Made:
    given = {
        k: v for k, v in _camel(props).items() if k in ("name", "description", "binaryMediaTypes", "apiKeySourceType")
    }
    client = work.client("apigateway")
    if kinds := (props.get("EndpointConfiguration") or {}).get("Types"):
        given["endpointConfiguration"] = {"types": kinds}
    if body := _document(work, props, "BodyS3Location"):
        more = {"parameters": props["Parameters"]} if props.get("Parameters") else {}
        made = client.import_rest_api(body=body, **more)
        if changes := [
            {"op": "replace", "path": f"/{k}", "value": given[k]} for k in ("name", "description") if k in given
        ]:
            client.update_rest_api(restApiId=made["id"], patchOperations=changes)
    else:
        made = client.create_rest_api(**given)
    return Made(made["id"], {"RootResourceId": made["rootResourceId"], "RestApiId": made["id"]})


def _document(work: Work, props: Json, location: str) -> str:
    """The OpenAPI document of an API, from the template or from S3; empty when it has none."""
    if body := props.get("Body"):
        return body if isinstance(body, str) else json.dumps(body)
    if place := props.get(location):
        found = work.client("s3").get_object(Bucket=place["Bucket"], Key=place["Key"])["Body"].read()
        return str(found.decode())
    return ""


def _changed_rest_api(work: Work, physical: str, old: Json, props: Json) -> Made:
    client = work.client("apigateway")
    if body := _document(work, props, "BodyS3Location"):
        client.put_rest_api(restApiId=physical, mode=props.get("Mode", "overwrite"), body=body)
    changes = [
        {"op": "replace", "path": f"/{k.lower()}", "value": props[k]}
        for k in ("Name", "Description")
        if k in props and props[k] != old.get(k)
    ]
    if changes:
        client.update_rest_api(restApiId=physical, patchOperations=changes)
    return Made(physical, work.before)


def _rest_resource(work: Work, props: Json) -> Made:
    made = work.client("apigateway").create_resource(
        restApiId=props["RestApiId"], parentId=props["ParentId"], pathPart=props["PathPart"]
    )
    return Made(made["id"], {"ResourceId": made["id"]})


def _rest_method(work: Work, props: Json) -> Made:
    client = work.client("apigateway")
    names = {"restApiId": props["RestApiId"], "resourceId": props["ResourceId"], "httpMethod": props["HttpMethod"]}
    own = (
        "ApiKeyRequired",
        "AuthorizationScopes",
        "AuthorizerId",
        "RequestParameters",
        "RequestModels",
        "RequestValidatorId",
        "OperationName",
    )
    given = typed(_camel(only(props, *own)), (), ("apiKeyRequired",))
    client.put_method(**names, authorizationType=props.get("AuthorizationType", "NONE"), **given)
    for response in props.get("MethodResponses") or ():
        told = {**_camel(response), "statusCode": str(response["StatusCode"])}
        told["responseParameters"] = {
            k: str(v).lower() == "true" for k, v in (told.get("responseParameters") or {}).items()
        }
        client.put_method_response(**names, **told)
    if integration := props.get("Integration"):
        responses = integration.get("IntegrationResponses") or ()
        told = typed(
            _camel({k: v for k, v in integration.items() if k != "IntegrationResponses"}), ("timeoutInMillis",)
        )
        client.put_integration(**names, **told)
        for response in responses:
            client.put_integration_response(**names, **{**_camel(response), "statusCode": str(response["StatusCode"])})
    return Made(f"{work.stack[:4]}-{work.logical[:5]}-{work.name[-12:]}")


def _no_rest_method(work: Work, physical: str, props: Json) -> None:
    gone(
        work.client("apigateway").delete_method,
        restApiId=props["RestApiId"],
        resourceId=props["ResourceId"],
        httpMethod=props["HttpMethod"],
    )


def _rest_deployment(work: Work, props: Json) -> Made:
    given = _camel(only(props, "RestApiId", "StageName", "Description"))
    made = work.client("apigateway").create_deployment(**given)
    return Made(made["id"], {"DeploymentId": made["id"]})


def _no_rest_deployment(work: Work, physical: str, props: Json) -> None:
    client = work.client("apigateway")
    if name := props.get("StageName"):
        gone(client.delete_stage, restApiId=props["RestApiId"], stageName=name)
    gone(client.delete_deployment, restApiId=props["RestApiId"], deploymentId=physical)


def _rest_stage(work: Work, props: Json) -> Made:
    work.client("apigateway").create_stage(
        **_camel(only(props, "RestApiId", "StageName", "DeploymentId", "Description", "Variables"))
    )
    return Made(props["StageName"])


def _changed_rest_stage(work: Work, physical: str, old: Json, props: Json) -> Made:
    operations = [{"op": "replace", "path": "/deploymentId", "value": props["DeploymentId"]}]
    operations += [
        {"op": "replace", "path": f"/variables/{k}", "value": str(v)} for k, v in (props.get("Variables") or {}).items()
    ]
    work.client("apigateway").update_stage(restApiId=props["RestApiId"], stageName=physical, patchOperations=operations)
    return Made(physical)


# ---- the other parts of REST APIs ------------------------------------------------------------------------------------


def _part(operation: str, identifier: str, *flags: str) -> Callable[[Work, Json], Made]:
    """A part of a REST API that one call makes."""

    def create(work: Work, props: Json) -> Made:
        made = getattr(work.client("apigateway"), operation)(**typed(_camel(props), (), flags))
        return Made(made[identifier])

    return create


def _no_part(operation: str, own: str) -> Callable[[Work, str, Json], None]:
    def delete(work: Work, physical: str, props: Json) -> None:
        gone(getattr(work.client("apigateway"), operation), restApiId=props["RestApiId"], **{own: physical})

    return delete


def _authorizer(work: Work, props: Json) -> Made:
    given = typed(_camel(props), ("authorizerResultTtlInSeconds",))
    made = work.client("apigateway").create_authorizer(**{"name": work.name, **given})
    return Made(made["id"], {"AuthorizerId": made["id"]})


def _model(work: Work, props: Json) -> Made:
    schema = props.get("Schema", {})
    text = schema if isinstance(schema, str) else json.dumps(schema)
    name = "".join(c for c in work.name if c.isalnum())
    made = work.client("apigateway").create_model(
        restApiId=props["RestApiId"], name=props.get("Name", name), contentType=props.get("ContentType", "application/json"),
        schema=text,
    )  # fmt: skip
    return Made(made["name"])


def _gateway_response(work: Work, props: Json) -> Made:
    given = _camel(only(props, "RestApiId", "ResponseType", "StatusCode", "ResponseParameters", "ResponseTemplates"))
    if "statusCode" in given:
        given["statusCode"] = str(given["statusCode"])
    work.client("apigateway").put_gateway_response(**given)
    return Made(f"{props['RestApiId']}|{props['ResponseType']}")


def _no_gateway_response(work: Work, physical: str, props: Json) -> None:
    client = work.client("apigateway")
    gone(client.delete_gateway_response, restApiId=props["RestApiId"], responseType=props["ResponseType"])


def _api_key(work: Work, props: Json) -> Made:
    given = typed(_camel(only(props, "Description", "Enabled", "Value")), (), ("enabled",))
    made = work.client("apigateway").create_api_key(name=props.get("Name", work.name), **given)
    return Made(made["id"], {"APIKeyId": made["id"]})


def _usage_plan(work: Work, props: Json) -> Made:
    given: Json = _camel(only(props, "Description"))
    if throttle := props.get("Throttle"):
        given["throttle"] = typed(_camel(throttle), ("burstLimit", "rateLimit"))
        if "rateLimit" in given["throttle"]:
            given["throttle"]["rateLimit"] = float(given["throttle"]["rateLimit"])
    if quota := props.get("Quota"):
        given["quota"] = typed(_camel(quota), ("limit", "offset"))
    given["apiStages"] = [_camel(stage) for stage in props.get("ApiStages") or ()]
    made = work.client("apigateway").create_usage_plan(name=props.get("UsagePlanName", work.name), **given)
    return Made(made["id"], {"Id": made["id"]})


def _no_usage_plan(work: Work, physical: str, props: Json) -> None:
    client = work.client("apigateway")
    for stage in props.get("ApiStages") or ():
        operation = {"op": "remove", "path": "/apiStages", "value": f"{stage['ApiId']}:{stage['Stage']}"}
        gone(client.update_usage_plan, usagePlanId=physical, patchOperations=[operation])
    gone(client.delete_usage_plan, usagePlanId=physical)


def _usage_plan_key(work: Work, props: Json) -> Made:
    made = work.client("apigateway").create_usage_plan_key(**_camel(props))
    return Made(f"{made['id']}:{props['UsagePlanId']}", {"Id": made["id"]})


def _no_usage_plan_key(work: Work, physical: str, props: Json) -> None:
    gone(work.client("apigateway").delete_usage_plan_key, usagePlanId=props["UsagePlanId"], keyId=props["KeyId"])


KINDS: dict[str, Kind] = {
    "AWS::ApiGatewayV2::Api": Kind(_http_api, _http_gone("delete_api", "ApiId"), _changed_http_api, ("ProtocolType", "Target", "RouteKey")),
    "AWS::ApiGatewayV2::Route": Kind(_http("create_route", "RouteId"), _http_gone("delete_route", "RouteId"), _http_update("update_route", "RouteId", "RouteId"), ("ApiId",)),
    "AWS::ApiGatewayV2::Integration": Kind(_http("create_integration", "IntegrationId"), _http_gone("delete_integration", "IntegrationId"), _http_update("update_integration", "IntegrationId", "IntegrationId"), ("ApiId", "IntegrationType")),
    "AWS::ApiGatewayV2::Deployment": Kind(_http("create_deployment", "DeploymentId"), _http_gone("delete_deployment", "DeploymentId"), None, ("ApiId",)),
    "AWS::ApiGatewayV2::Stage": Kind(_http("create_stage", "StageName"), _http_gone("delete_stage", "StageName"), _http_update("update_stage", "StageName", "StageName"), ("ApiId", "StageName")),
    "AWS::ApiGatewayV2::DomainName": Kind(_http("create_domain_name", "DomainName", _domain_attributes), _http_gone("delete_domain_name", "DomainName"), _http_update("update_domain_name", "DomainName", "DomainName", _domain_attributes), ("DomainName",)),
    "AWS::ApiGatewayV2::ApiMapping": Kind(_http("create_api_mapping", "ApiMappingId"), _no_mapping, _http_update("update_api_mapping", "ApiMappingId", "ApiMappingId"), ("DomainName",)),
    "AWS::ApiGatewayV2::Authorizer": Kind(_http("create_authorizer", "AuthorizerId"), _http_gone("delete_authorizer", "AuthorizerId"), _http_update("update_authorizer", "AuthorizerId", "AuthorizerId"), ("ApiId",)),
    "AWS::ApiGateway::RestApi": Kind(_rest_api, lambda w, i, p: gone(w.client("apigateway").delete_rest_api, restApiId=i), _changed_rest_api, ("BodyS3Location",)),
    "AWS::ApiGateway::Resource": Kind(_rest_resource, lambda w, i, p: gone(w.client("apigateway").delete_resource, restApiId=p["RestApiId"], resourceId=i)),
    "AWS::ApiGateway::Method": Kind(_rest_method, _no_rest_method),
    "AWS::ApiGateway::Deployment": Kind(_rest_deployment, _no_rest_deployment),
    "AWS::ApiGateway::Stage": Kind(_rest_stage, lambda w, i, p: gone(w.client("apigateway").delete_stage, restApiId=p["RestApiId"], stageName=i), _changed_rest_stage, ("RestApiId", "StageName")),
    "AWS::ApiGateway::Authorizer": Kind(_authorizer, _no_part("delete_authorizer", "authorizerId")),
    "AWS::ApiGateway::RequestValidator": Kind(_part("create_request_validator", "id", "validateRequestBody", "validateRequestParameters"), _no_part("delete_request_validator", "requestValidatorId")),
    "AWS::ApiGateway::Model": Kind(_model, _no_part("delete_model", "modelName")),
    "AWS::ApiGateway::GatewayResponse": Kind(_gateway_response, _no_gateway_response, lambda w, i, o, p: _gateway_response(w, p), ("RestApiId", "ResponseType")),
    "AWS::ApiGateway::ApiKey": Kind(_api_key, lambda w, i, p: gone(w.client("apigateway").delete_api_key, apiKey=i)),
    "AWS::ApiGateway::UsagePlan": Kind(_usage_plan, _no_usage_plan),
    "AWS::ApiGateway::UsagePlanKey": Kind(_usage_plan_key, _no_usage_plan_key),
}  # fmt: skip
