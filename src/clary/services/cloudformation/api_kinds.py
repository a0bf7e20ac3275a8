"""Resources around functions and APIs that many templates have: layers, keys and plans, authorizers, models, policies."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from .kinds import Kind, Made, Work, camel, gone, only, typed

Json = dict[str, Any]


def _part(operation: str, identifier: str, *flags: str) -> Callable[[Work, Json], Made]:
    """A part of a REST API that one call makes."""

    def create(work: Work, props: Json) -> Made:
        made = getattr(work.client("apigateway"), operation)(**typed(camel(props), (), flags))
        return Made(made[identifier])

    return create


def _no_part(operation: str, own: str) -> Callable[[Work, str, Json], None]:
    def delete(work: Work, physical: str, props: Json) -> None:
        gone(getattr(work.client("apigateway"), operation), restApiId=props["RestApiId"], **{own: physical})

    return delete


def _authorizer(work: Work, props: Json) -> Made:
    given = typed(camel(props), ("authorizerResultTtlInSeconds",))
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
    given = camel(only(props, "RestApiId", "ResponseType", "StatusCode", "ResponseParameters", "ResponseTemplates"))
    if "statusCode" in given:
        given["statusCode"] = str(given["statusCode"])
    work.client("apigateway").put_gateway_response(**given)
    return Made(f"{props['RestApiId']}|{props['ResponseType']}")


def _no_gateway_response(work: Work, physical: str, props: Json) -> None:
    client = work.client("apigateway")
    gone(client.delete_gateway_response, restApiId=props["RestApiId"], responseType=props["ResponseType"])


def _api_key(work: Work, props: Json) -> Made:
    given = typed(camel(only(props, "Description", "Enabled", "Value")), (), ("enabled",))
    made = work.client("apigateway").create_api_key(name=props.get("Name", work.name), **given)
    return Made(made["id"], {"APIKeyId": made["id"]})


def _usage_plan(work: Work, props: Json) -> Made:
    given: Json = camel(only(props, "Description"))
    if throttle := props.get("Throttle"):
        given["throttle"] = typed(camel(throttle), ("burstLimit", "rateLimit"))
        if "rateLimit" in given["throttle"]:
            given["throttle"]["rateLimit"] = float(given["throttle"]["rateLimit"])
    if quota := props.get("Quota"):
        given["quota"] = typed(camel(quota), ("limit", "offset"))
    given["apiStages"] = [camel(stage) for stage in props.get("ApiStages") or ()]
    made = work.client("apigateway").create_usage_plan(name=props.get("UsagePlanName", work.name), **given)
    return Made(made["id"], {"Id": made["id"]})


def _no_usage_plan(work: Work, physical: str, props: Json) -> None:
    client = work.client("apigateway")
    for stage in props.get("ApiStages") or ():
        operation = {"op": "remove", "path": "/apiStages", "value": f"{stage['ApiId']}:{stage['Stage']}"}
        gone(client.update_usage_plan, usagePlanId=physical, patchOperations=[operation])
    gone(client.delete_usage_plan, usagePlanId=physical)


def _usage_plan_key(work: Work, props: Json) -> Made:
    made = work.client("apigateway").create_usage_plan_key(**camel(props))
    return Made(f"{made['id']}:{props['UsagePlanId']}", {"Id": made["id"]})


def _no_usage_plan_key(work: Work, physical: str, props: Json) -> None:
    gone(work.client("apigateway").delete_usage_plan_key, usagePlanId=props["UsagePlanId"], keyId=props["KeyId"])


def _layer(work: Work, props: Json) -> Made:
    given = only(props, "Description", "CompatibleRuntimes", "LicenseInfo", "Content", "CompatibleArchitectures")
    made = work.client("lambda").publish_layer_version(LayerName=props.get("LayerName", work.name), **given)
    return Made(made["LayerVersionArn"], {"LayerVersionArn": made["LayerVersionArn"]})


def _no_layer(work: Work, arn: str, props: Json) -> None:
    layer, _, version = arn.rpartition(":")
    if version.isdigit():
        gone(work.client("lambda").delete_layer_version, LayerName=layer, VersionNumber=int(version))


def _bucket_policy(work: Work, props: Json) -> Made:
    policy = props["PolicyDocument"]
    text = policy if isinstance(policy, str) else json.dumps(policy)
    work.client("s3").put_bucket_policy(Bucket=props["Bucket"], Policy=text)
    return Made(props["Bucket"])


def _user(work: Work, props: Json) -> Made:
    iam = work.client("iam")
    found = iam.create_user(UserName=work.name, **only(props, "Path", "PermissionsBoundary", "Tags"))["User"]
    for policy in props.get("Policies") or ():
        text = json.dumps(policy["PolicyDocument"])
        iam.put_user_policy(UserName=work.name, PolicyName=policy["PolicyName"], PolicyDocument=text)
    for arn in props.get("ManagedPolicyArns") or ():
        iam.attach_user_policy(UserName=work.name, PolicyArn=arn)
    return Made(work.name, {"Arn": found["Arn"]})


def _no_user(work: Work, name: str, props: Json) -> None:
    iam = work.client("iam")
    for policy in props.get("Policies") or ():
        gone(iam.delete_user_policy, UserName=name, PolicyName=policy["PolicyName"])
    for arn in props.get("ManagedPolicyArns") or ():
        gone(iam.detach_user_policy, UserName=name, PolicyArn=arn)
    gone(iam.delete_user, UserName=name)


def _access_key(work: Work, props: Json) -> Made:
    made = work.client("iam").create_access_key(UserName=props["UserName"])["AccessKey"]
    return Made(made["AccessKeyId"], {"SecretAccessKey": made["SecretAccessKey"]})


def _no_access_key(work: Work, physical: str, props: Json) -> None:
    gone(work.client("iam").delete_access_key, UserName=props["UserName"], AccessKeyId=physical)


def _url(work: Work, props: Json) -> Made:
    given = only(props, "AuthType", "Cors", "InvokeMode", "Qualifier")
    given["FunctionName"] = props["TargetFunctionArn"]
    made = work.client("lambda").create_function_url_config(**typed(given, ("MaxAge",), ("AllowCredentials",)))
    return Made(made["FunctionArn"], {"FunctionUrl": made["FunctionUrl"], "FunctionArn": made["FunctionArn"]})


def _no_url(work: Work, physical: str, props: Json) -> None:
    given = {"FunctionName": props["TargetFunctionArn"], **only(props, "Qualifier")}
    gone(work.client("lambda").delete_function_url_config, **given)


KINDS: dict[str, Kind] = {
    "AWS::ApiGateway::Authorizer": Kind(_authorizer, _no_part("delete_authorizer", "authorizerId")),
    "AWS::ApiGateway::RequestValidator": Kind(_part("create_request_validator", "id", "validateRequestBody", "validateRequestParameters"), _no_part("delete_request_validator", "requestValidatorId")),
    "AWS::ApiGateway::Model": Kind(_model, _no_part("delete_model", "modelName")),
    "AWS::ApiGateway::GatewayResponse": Kind(_gateway_response, _no_gateway_response, lambda w, i, o, p: _gateway_response(w, p), ("RestApiId", "ResponseType")),
    "AWS::ApiGateway::ApiKey": Kind(_api_key, lambda w, i, p: gone(w.client("apigateway").delete_api_key, apiKey=i)),
    "AWS::ApiGateway::UsagePlan": Kind(_usage_plan, _no_usage_plan),
    "AWS::ApiGateway::UsagePlanKey": Kind(_usage_plan_key, _no_usage_plan_key),
    "AWS::Lambda::LayerVersion": Kind(_layer, _no_layer),
    "AWS::Lambda::Url": Kind(_url, _no_url),
    "AWS::S3::BucketPolicy": Kind(_bucket_policy, lambda w, i, p: gone(w.client("s3").delete_bucket_policy, Bucket=i), lambda w, i, o, p: _bucket_policy(w, p), ("Bucket",)),
    "AWS::IAM::User": Kind(_user, _no_user, None, (), "UserName", 64),
    "AWS::IAM::AccessKey": Kind(_access_key, _no_access_key),
}  # fmt: skip
