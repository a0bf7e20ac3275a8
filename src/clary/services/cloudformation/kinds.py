"""The resource types: how each is made, changed and removed through the platform's own API.

Physical names, ``Ref`` and ``Fn::GetAtt`` are those of AWS's "Resource and property reference".
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

Json = dict[str, Any]


class Failed(Exception):
    """A resource that could not be made; the text is its status reason."""


class Later(Exception):
    """A resource that is still being removed: ask again, with these attributes. No thread waits for it."""

    def __init__(self, attributes: Json):
        super().__init__("it is still being removed")
        self.attributes = attributes


@dataclass(frozen=True, slots=True)
class Work:
    """What a resource's handlers work with."""

    client: Callable[[str], Any]  # a boto3 client of the stack's identity
    account: str
    region: str
    stack: str
    logical: str
    name: str  # the physical name that it has or should have
    type: str = ""  # as the template says it
    before: Json = field(default_factory=dict)  # the attributes that it has


@dataclass(frozen=True, slots=True)
class Made:
    """A resource that is there: its physical id (what ``Ref`` gives), and what ``Fn::GetAtt`` gives."""

    id: str
    attributes: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Kind:
    """A resource type."""

    create: Callable[[Work, Json], Made]
    delete: Callable[[Work, str, Json], None]
    update: Callable[[Work, str, Json, Json], Made] | None = None  # None: a change makes a new one
    fixed: tuple[str, ...] = ()  # properties whose change makes a new one
    named: str = ""  # the property that names it; without one a name is made
    limit: int = 255  # characters of such a name
    lower: bool = False
    ready: Callable[[Work, str], Made | None] | None = None  # as it is once it has settled; Failed when it has failed


def gone(call: Callable[..., Any], **params: Any) -> None:
    """Remove something; what is not there any more is gone as well."""
    try:
        call(**params)
    except ClientError as error:
        code, text = error.response["Error"]["Code"], error.response["Error"]["Message"]
        if not (
            "NotFound" in code
            or "NoSuch" in code
            or "Could not find" in text
            or "does not exist" in text
            or code == "404"
        ):
            raise


def _tags(props: Json) -> Json:
    return {"Tags": props["Tags"]} if props.get("Tags") else {}


def _tag_map(props: Json) -> Json:
    tags = props.get("Tags")
    if not tags:
        return {}
    return {"Tags": tags if isinstance(tags, dict) else {t["Key"]: t["Value"] for t in tags}}


def only(props: Json, *names: str) -> Json:
    return {n: props[n] for n in names if n in props}


def typed(value: Any, numbers: tuple[str, ...] = (), flags: tuple[str, ...] = ()) -> Any:
    """Scalars that templates give as texts, in the types that the API takes."""
    if isinstance(value, dict):
        found = {k: typed(v, numbers, flags) for k, v in value.items()}
        for name in numbers:
            if isinstance(found.get(name), str):
                found[name] = float(found[name]) if "." in found[name] else int(found[name])
        for name in flags:
            if isinstance(found.get(name), str):
                found[name] = found[name].lower() == "true"
        return found
    return [typed(v, numbers, flags) for v in value] if isinstance(value, list) else value


# ---- S3, logs, parameters, alarms ------------------------------------------------------------------------------------


def _bucket(work: Work, props: Json) -> Made:
    s3 = work.client("s3")
    place = {} if work.region == "us-east-1" else {"CreateBucketConfiguration": {"LocationConstraint": work.region}}
    try:
        s3.create_bucket(Bucket=work.name, **place)
    except ClientError as error:
        if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
            raise
    return _bucket_settings(work, work.name, {}, props)


_BUCKET_DOCUMENTS = (
    ("PublicAccessBlockConfiguration", "put_public_access_block", "PublicAccessBlockConfiguration"),
    ("BucketEncryption", "put_bucket_encryption", "ServerSideEncryptionConfiguration"),
    ("OwnershipControls", "put_bucket_ownership_controls", "OwnershipControls"),
    ("CorsConfiguration", "put_bucket_cors", "CORSConfiguration"),
)


def _bucket_document(prop: str, given: Json) -> Json:
    """A bucket's configuration in the spelling of the API."""
    if prop == "BucketEncryption":
        rules = [
            {
                {"ServerSideEncryptionByDefault": "ApplyServerSideEncryptionByDefault"}.get(k, k): v
                for k, v in rule.items()
            }
            for rule in given.get("ServerSideEncryptionConfiguration") or ()
        ]
        return {"Rules": typed(rules, (), ("BucketKeyEnabled",))}
    if prop == "CorsConfiguration":
        return {
            "CORSRules": [
                {
                    {"MaxAge": "MaxAgeSeconds", "Id": "ID", "ExposedHeaders": "ExposeHeaders"}.get(k, k): v
                    for k, v in r.items()
                }
                for r in given["CorsRules"]
            ]
        }
    flags = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    found: Json = typed(given, (), flags)
    return found


def _bucket_settings(work: Work, name: str, old: Json, props: Json) -> Made:
    s3 = work.client("s3")
    for prop, operation, member in _BUCKET_DOCUMENTS:
        if given := props.get(prop):
            getattr(s3, operation)(Bucket=name, **{member: _bucket_document(prop, given)})
    if versioning := props.get("VersioningConfiguration"):
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration=versioning)
    if props.get("Tags"):
        s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": props["Tags"]})
    host = f"{name}.s3.amazonaws.com"
    return Made(
        name,
        {
            "Arn": f"arn:aws:s3:::{name}",
            "DomainName": host,
            "RegionalDomainName": f"{name}.s3.{work.region}.amazonaws.com",
        },
    )


def _log_group(work: Work, props: Json) -> Made:
    logs = work.client("logs")
    try:
        logs.create_log_group(logGroupName=work.name)
    except logs.exceptions.ResourceAlreadyExistsException:
        raise Failed(f"{work.name} already exists in stack or outside of it") from None
    return _log_settings(work, work.name, {}, props)


def _log_settings(work: Work, name: str, old: Json, props: Json) -> Made:
    if days := props.get("RetentionInDays"):
        work.client("logs").put_retention_policy(logGroupName=name, retentionInDays=int(days))
    return Made(name, {"Arn": f"arn:aws:logs:{work.region}:{work.account}:log-group:{name}:*"})


def _parameter(work: Work, props: Json) -> Made:
    given = only(props, "Type", "Value", "Description", "Tier", "AllowedPattern", "DataType", "Policies")
    work.client("ssm").put_parameter(
        Name=work.name, **{**given, "Value": str(given["Value"])}, Overwrite=bool(work.before)
    )
    return Made(work.name, {"Type": props["Type"], "Value": str(props["Value"])})


def _alarm(work: Work, props: Json) -> Made:
    given = {k: v for k, v in props.items() if k not in ("AlarmName",)}
    numbers = ("Threshold", "Period", "EvaluationPeriods", "DatapointsToAlarm")
    given = typed(given, numbers, ("ActionsEnabled",))
    if "Threshold" in given:
        given["Threshold"] = float(given["Threshold"])
    work.client("cloudwatch").put_metric_alarm(AlarmName=work.name, **given)
    return Made(work.name, {"Arn": f"arn:aws:cloudwatch:{work.region}:{work.account}:alarm:{work.name}"})


# ---- IAM -------------------------------------------------------------------------------------------------------------


def _role(work: Work, props: Json) -> Made:
    iam = work.client("iam")
    given = only(props, "Path", "Description", "MaxSessionDuration", "PermissionsBoundary", "Tags")
    try:
        iam.create_role(
            RoleName=work.name, AssumeRolePolicyDocument=json.dumps(props["AssumeRolePolicyDocument"]),
            **typed(given, ("MaxSessionDuration",)),
        )  # fmt: skip
    except iam.exceptions.EntityAlreadyExistsException:
        raise Failed(f"{work.name} already exists in stack or outside of it") from None
    return _role_policies(work, work.name, {}, props)


def _role_policies(work: Work, name: str, old: Json, props: Json) -> Made:
    iam = work.client("iam")
    if old and old.get("AssumeRolePolicyDocument") != props["AssumeRolePolicyDocument"]:
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(props["AssumeRolePolicyDocument"]))
    kept = {p["PolicyName"] for p in props.get("Policies") or ()}
    for policy in old.get("Policies") or ():
        if policy["PolicyName"] not in kept:
            gone(iam.delete_role_policy, RoleName=name, PolicyName=policy["PolicyName"])
    for policy in props.get("Policies") or ():
        iam.put_role_policy(
            RoleName=name, PolicyName=policy["PolicyName"], PolicyDocument=json.dumps(policy["PolicyDocument"])
        )
    wanted = set(props.get("ManagedPolicyArns") or ())
    for arn in set(old.get("ManagedPolicyArns") or ()) - wanted:
        gone(iam.detach_role_policy, RoleName=name, PolicyArn=arn)
    for arn in sorted(wanted):
        iam.attach_role_policy(RoleName=name, PolicyArn=arn)
    found = iam.get_role(RoleName=name)["Role"]
    return Made(name, {"Arn": found["Arn"], "RoleId": found["RoleId"]})


def _no_role(work: Work, name: str, props: Json) -> None:
    iam = work.client("iam")
    try:
        for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]:
            gone(iam.delete_role_policy, RoleName=name, PolicyName=policy)
        for policy in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]:
            gone(iam.detach_role_policy, RoleName=name, PolicyArn=policy["PolicyArn"])
    except iam.exceptions.NoSuchEntityException:
        return
    gone(iam.delete_role, RoleName=name)


def _inline_policy(work: Work, props: Json) -> Made:
    iam, name = work.client("iam"), props["PolicyName"]
    for role in props.get("Roles") or ():
        iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(props["PolicyDocument"]))
    for user in props.get("Users") or ():
        iam.put_user_policy(UserName=user, PolicyName=name, PolicyDocument=json.dumps(props["PolicyDocument"]))
    return Made(f"{work.stack[:4]}-{work.logical[:8]}-{name}"[:64], {})


def _no_inline_policy(work: Work, identifier: str, props: Json) -> None:
    iam = work.client("iam")
    for role in props.get("Roles") or ():
        gone(iam.delete_role_policy, RoleName=role, PolicyName=props["PolicyName"])
    for user in props.get("Users") or ():
        gone(iam.delete_user_policy, UserName=user, PolicyName=props["PolicyName"])


def _managed_policy(work: Work, props: Json) -> Made:
    iam = work.client("iam")
    made = iam.create_policy(
        PolicyName=work.name, PolicyDocument=json.dumps(props["PolicyDocument"]), **only(props, "Path", "Description")
    )["Policy"]
    for role in props.get("Roles") or ():
        iam.attach_role_policy(RoleName=role, PolicyArn=made["Arn"])
    return Made(made["Arn"], {"PolicyArn": made["Arn"]})


def _no_managed_policy(work: Work, arn: str, props: Json) -> None:
    iam = work.client("iam")
    arn = arn if arn.startswith("arn:") else f"arn:aws:iam::{work.account}:policy/{arn}"
    for role in props.get("Roles") or ():
        gone(iam.detach_role_policy, RoleName=role, PolicyArn=arn)
    gone(iam.delete_policy, PolicyArn=arn)


# ---- Lambda ----------------------------------------------------------------------------------------------------------

_FUNCTION = (
    "Role", "Handler", "Runtime", "Description", "Timeout", "MemorySize", "Environment", "Layers", "EphemeralStorage",
    "LoggingConfig", "TracingConfig", "DeadLetterConfig", "VpcConfig", "KMSKeyArn",
)  # fmt: skip


def _code(given: Json) -> Json:
    """A function's code; what stands in the template becomes an archive of one file."""
    if "ZipFile" not in given:
        return given
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        entry = zipfile.ZipInfo("index.py", (1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o644 << 16
        packed.writestr(entry, given["ZipFile"])
        if "cfnresponse" in given["ZipFile"]:
            packed.writestr("cfnresponse.py", Path(__file__).with_name("cfnresponse.py").read_text())
    return {"ZipFile": out.getvalue()}


def _function(work: Work, props: Json) -> Made:
    client = work.client("lambda")
    given = typed(only(props, *_FUNCTION), ("Timeout", "MemorySize"))
    try:
        made = client.create_function(
            FunctionName=work.name,
            Code=_code(props["Code"]),
            **given,
            **only(props, "Architectures"),
            **_tag_map(props),
        )
    except client.exceptions.ResourceConflictException:
        raise Failed(f"{work.name} already exists in stack or outside of it") from None
    return _function_concurrency(work, made["FunctionArn"], props)


def _function_concurrency(work: Work, arn: str, props: Json) -> Made:
    if (reserved := props.get("ReservedConcurrentExecutions")) is not None:
        work.client("lambda").put_function_concurrency(
            FunctionName=work.name, ReservedConcurrentExecutions=int(reserved)
        )
    return Made(work.name, {"Arn": arn})


def _changed_function(work: Work, name: str, old: Json, props: Json) -> Made:
    client = work.client("lambda")
    if old.get("Code") != props["Code"]:
        client.update_function_code(FunctionName=name, **_code(props["Code"]))
    given = typed(only(props, *_FUNCTION), ("Timeout", "MemorySize"))
    return _function_concurrency(
        work, client.update_function_configuration(FunctionName=name, **given)["FunctionArn"], props
    )


def _permission(work: Work, props: Json) -> Made:
    given = {k: v for k, v in props.items() if k not in ("FunctionName",)}
    statement = f"{work.stack}-{work.logical}-{work.name[-12:]}"
    work.client("lambda").add_permission(FunctionName=props["FunctionName"], StatementId=statement[-100:], **given)
    return Made(statement[-100:])


def _version(work: Work, props: Json) -> Made:
    made = work.client("lambda").publish_version(**only(props, "FunctionName", "Description", "CodeSha256"))
    return Made(made["FunctionArn"], {"Version": made["Version"]})


def _alias(work: Work, props: Json) -> Made:
    routing = (props.get("RoutingConfig") or {}).get("AdditionalVersionWeights")
    more = (
        {
            "RoutingConfig": {
                "AdditionalVersionWeights": {w["FunctionVersion"]: float(w["FunctionWeight"]) for w in routing}
            }
        }
        if routing
        else {}
    )
    call = work.client("lambda").update_alias if work.before else work.client("lambda").create_alias
    made = call(**only(props, "FunctionName", "Name", "Description", "FunctionVersion"), **more)
    return Made(made["AliasArn"])


# ---- API Gateway -----------------------------------------------------------------------------------------------------


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


def camel(value: Any) -> Any:
    """Members in the spelling of API Gateway's first version."""
    if isinstance(value, dict):
        return {
            (k[:1].lower() + k[1:] if k[:1].isupper() and "." not in k and "/" not in k else k): v
            for k, v in value.items()
        }
    return value


def _rest_api(work: Work, props: Json) -> Made:
    given = {
        k: v for k, v in camel(props).items() if k in ("name", "description", "binaryMediaTypes", "apiKeySourceType")
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
        "AuthorizerId",
        "RequestParameters",
        "RequestModels",
        "RequestValidatorId",
        "OperationName",
    )
    given = typed(camel(only(props, *own)), (), ("apiKeyRequired",))
    client.put_method(**names, authorizationType=props.get("AuthorizationType", "NONE"), **given)
    for response in props.get("MethodResponses") or ():
        told = {**camel(response), "statusCode": str(response["StatusCode"])}
        told["responseParameters"] = {
            k: str(v).lower() == "true" for k, v in (told.get("responseParameters") or {}).items()
        }
        client.put_method_response(**names, **told)
    if integration := props.get("Integration"):
        responses = integration.get("IntegrationResponses") or ()
        told = typed(camel({k: v for k, v in integration.items() if k != "IntegrationResponses"}), ("timeoutInMillis",))
        client.put_integration(**names, **told)
        for response in responses:
            client.put_integration_response(**names, **{**camel(response), "statusCode": str(response["StatusCode"])})
    return Made(f"{work.stack[:4]}-{work.logical[:5]}-{work.name[-12:]}")


def _no_rest_method(work: Work, physical: str, props: Json) -> None:
    gone(
        work.client("apigateway").delete_method,
        restApiId=props["RestApiId"],
        resourceId=props["ResourceId"],
        httpMethod=props["HttpMethod"],
    )


def _rest_deployment(work: Work, props: Json) -> Made:
    given = camel(only(props, "RestApiId", "StageName", "Description"))
    made = work.client("apigateway").create_deployment(**given)
    return Made(made["id"], {"DeploymentId": made["id"]})


def _no_rest_deployment(work: Work, physical: str, props: Json) -> None:
    client = work.client("apigateway")
    if name := props.get("StageName"):
        gone(client.delete_stage, restApiId=props["RestApiId"], stageName=name)
    gone(client.delete_deployment, restApiId=props["RestApiId"], deploymentId=physical)


def _rest_stage(work: Work, props: Json) -> Made:
    work.client("apigateway").create_stage(
        **camel(only(props, "RestApiId", "StageName", "DeploymentId", "Description", "Variables"))
    )
    return Made(props["StageName"])


def _changed_rest_stage(work: Work, physical: str, old: Json, props: Json) -> Made:
    operations = [{"op": "replace", "path": "/deploymentId", "value": props["DeploymentId"]}]
    operations += [
        {"op": "replace", "path": f"/variables/{k}", "value": str(v)} for k, v in (props.get("Variables") or {}).items()
    ]
    work.client("apigateway").update_stage(restApiId=props["RestApiId"], stageName=physical, patchOperations=operations)
    return Made(physical)


# ---- SageMaker -------------------------------------------------------------------------------------------------------

_NUMBERS = (
    "InitialInstanceCount", "InitialVariantWeight", "MemorySizeInMB", "MaxConcurrency", "ProvisionedConcurrency",
    "InitialSamplingPercentage", "MinInstanceCount", "MaxInstanceCount", "ContainerStartupHealthCheckTimeoutInSeconds",
)  # fmt: skip
_FLAGS = ("EnableNetworkIsolation", "EnableCapture")


def _sagemaker(operation: str, member: str, arn: str) -> Callable[[Work, Json], Made]:
    def create(work: Work, props: Json) -> Made:
        made = getattr(work.client("sagemaker"), operation)(**{**typed(props, _NUMBERS, _FLAGS), member: work.name})
        return Made(made[arn], {member: work.name})

    return create


def _sagemaker_gone(operation: str, member: str) -> Callable[[Work, str, Json], None]:
    def delete(work: Work, physical: str, props: Json) -> None:
        gone(getattr(work.client("sagemaker"), operation), **{member: work.name})

    return delete


def _endpoint_ready(work: Work, physical: str) -> Made | None:
    found = work.client("sagemaker").describe_endpoint(EndpointName=work.name)
    if found["EndpointStatus"] == "Failed":
        raise Failed(found.get("FailureReason", "The endpoint failed."))
    return Made(physical, work.before) if found["EndpointStatus"] == "InService" else None


def _changed_endpoint(work: Work, physical: str, old: Json, props: Json) -> Made:
    name = props["EndpointConfigName"].rpartition("/")[2]
    work.client("sagemaker").update_endpoint(EndpointName=work.name, EndpointConfigName=name)
    return Made(physical, {"EndpointName": work.name})


def _endpoint(work: Work, props: Json) -> Made:
    given = {**props, "EndpointConfigName": props["EndpointConfigName"].rpartition("/")[2]}
    return _sagemaker("create_endpoint", "EndpointName", "EndpointArn")(work, only(given, "EndpointConfigName", "Tags"))


def _endpoint_config(work: Work, props: Json) -> Made:
    variants = [
        {**v, "ModelName": v["ModelName"].rpartition("/")[2]} if "ModelName" in v else v
        for v in props["ProductionVariants"]
    ]
    return _sagemaker("create_endpoint_config", "EndpointConfigName", "EndpointConfigArn")(
        work, {**props, "ProductionVariants": variants}
    )


def _no_endpoint(work: Work, physical: str, props: Json) -> None:
    client = work.client("sagemaker")
    gone(client.delete_endpoint, EndpointName=work.name)


# ---- auto scaling ----------------------------------------------------------------------------------------------------


def _target(work: Work, props: Json) -> Made:
    given = typed(
        only(
            props,
            "ServiceNamespace",
            "ResourceId",
            "ScalableDimension",
            "MinCapacity",
            "MaxCapacity",
            "RoleARN",
            "SuspendedState",
        ),
        ("MinCapacity", "MaxCapacity"),
    )
    work.client("application-autoscaling").register_scalable_target(**given)
    identifier = f"{props['ResourceId']}|{props['ScalableDimension']}|{props['ServiceNamespace']}"
    return Made(identifier, {"Id": identifier})


def _split_target(props: Json) -> Json:
    if "ScalingTargetId" in props:
        resource, dimension, namespace = props["ScalingTargetId"].split("|")
        return {"ResourceId": resource, "ScalableDimension": dimension, "ServiceNamespace": namespace}
    return only(props, "ResourceId", "ScalableDimension", "ServiceNamespace")


def _no_target(work: Work, physical: str, props: Json) -> None:
    gone(
        work.client("application-autoscaling").deregister_scalable_target,
        **_split_target({"ScalingTargetId": physical}),
    )


def _scaling_policy(work: Work, props: Json) -> Made:
    numbers = ("TargetValue", "ScaleInCooldown", "ScaleOutCooldown", "Cooldown", "ScalingAdjustment")
    given = typed(
        only(
            props,
            "PolicyName",
            "PolicyType",
            "TargetTrackingScalingPolicyConfiguration",
            "StepScalingPolicyConfiguration",
        ),
        numbers,
        ("DisableScaleIn",),
    )
    if config := given.get("TargetTrackingScalingPolicyConfiguration"):
        config["TargetValue"] = float(config["TargetValue"])
    made = work.client("application-autoscaling").put_scaling_policy(**_split_target(props), **given)
    return Made(made["PolicyARN"], {"Arn": made["PolicyARN"]})


def _no_scaling_policy(work: Work, physical: str, props: Json) -> None:
    gone(
        work.client("application-autoscaling").delete_scaling_policy,
        PolicyName=props["PolicyName"],
        **_split_target(props),
    )


KINDS: dict[str, Kind] = {
    "AWS::S3::Bucket": Kind(_bucket, lambda w, i, p: gone(w.client("s3").delete_bucket, Bucket=i), _bucket_settings, ("BucketName",), "BucketName", 63, True),
    "AWS::Logs::LogGroup": Kind(_log_group, lambda w, i, p: gone(w.client("logs").delete_log_group, logGroupName=i), _log_settings, ("LogGroupName",), "LogGroupName"),
    "AWS::SSM::Parameter": Kind(_parameter, lambda w, i, p: gone(w.client("ssm").delete_parameter, Name=i), lambda w, i, o, p: _parameter(w, p), ("Name", "Type"), "Name"),
    "AWS::CloudWatch::Alarm": Kind(_alarm, lambda w, i, p: gone(w.client("cloudwatch").delete_alarms, AlarmNames=[i]), lambda w, i, o, p: _alarm(w, p), ("AlarmName",), "AlarmName"),
    "AWS::IAM::Role": Kind(_role, _no_role, _role_policies, ("RoleName", "Path"), "RoleName", 64),
    "AWS::IAM::Policy": Kind(_inline_policy, _no_inline_policy, lambda w, i, o, p: Made(i, {}) if _inline_policy(w, p) else Made(i), ("PolicyName", "Roles", "Users")),
    "AWS::IAM::ManagedPolicy": Kind(_managed_policy, _no_managed_policy, None, (), "ManagedPolicyName", 128),
    "AWS::Lambda::Function": Kind(_function, lambda w, i, p: gone(w.client("lambda").delete_function, FunctionName=i), _changed_function, ("FunctionName", "PackageType", "Architectures"), "FunctionName", 64),
    "AWS::Lambda::Permission": Kind(_permission, lambda w, i, p: gone(w.client("lambda").remove_permission, FunctionName=p["FunctionName"], StatementId=i)),
    "AWS::Lambda::Version": Kind(_version, lambda w, i, p: gone(w.client("lambda").delete_function, FunctionName=i)),
    "AWS::Lambda::Alias": Kind(_alias, lambda w, i, p: gone(w.client("lambda").delete_alias, FunctionName=p["FunctionName"], Name=p["Name"]), lambda w, i, o, p: _alias(w, p), ("Name", "FunctionName")),
    "AWS::ApiGatewayV2::Api": Kind(_http_api, _http_gone("delete_api", "ApiId"), _changed_http_api, ("ProtocolType", "Target", "RouteKey")),
    "AWS::ApiGatewayV2::Route": Kind(_http("create_route", "RouteId"), _http_gone("delete_route", "RouteId"), _http_update("update_route", "RouteId", "RouteId"), ("ApiId",)),
    "AWS::ApiGatewayV2::Integration": Kind(_http("create_integration", "IntegrationId"), _http_gone("delete_integration", "IntegrationId"), _http_update("update_integration", "IntegrationId", "IntegrationId"), ("ApiId", "IntegrationType")),
    "AWS::ApiGatewayV2::Deployment": Kind(_http("create_deployment", "DeploymentId"), _http_gone("delete_deployment", "DeploymentId"), None, ("ApiId",)),
    "AWS::ApiGatewayV2::Stage": Kind(_http("create_stage", "StageName"), _http_gone("delete_stage", "StageName"), _http_update("update_stage", "StageName", "StageName"), ("ApiId", "StageName")),
    "AWS::ApiGatewayV2::Authorizer": Kind(_http("create_authorizer", "AuthorizerId"), _http_gone("delete_authorizer", "AuthorizerId"), _http_update("update_authorizer", "AuthorizerId", "AuthorizerId"), ("ApiId",)),
    "AWS::ApiGateway::RestApi": Kind(_rest_api, lambda w, i, p: gone(w.client("apigateway").delete_rest_api, restApiId=i), _changed_rest_api, ("BodyS3Location",)),
    "AWS::ApiGateway::Resource": Kind(_rest_resource, lambda w, i, p: gone(w.client("apigateway").delete_resource, restApiId=p["RestApiId"], resourceId=i)),
    "AWS::ApiGateway::Method": Kind(_rest_method, _no_rest_method),
    "AWS::ApiGateway::Deployment": Kind(_rest_deployment, _no_rest_deployment),
    "AWS::ApiGateway::Stage": Kind(_rest_stage, lambda w, i, p: gone(w.client("apigateway").delete_stage, restApiId=p["RestApiId"], stageName=i), _changed_rest_stage, ("RestApiId", "StageName")),
    "AWS::SageMaker::Model": Kind(_sagemaker("create_model", "ModelName", "ModelArn"), _sagemaker_gone("delete_model", "ModelName"), None, (), "ModelName", 63),
    "AWS::SageMaker::EndpointConfig": Kind(_endpoint_config, _sagemaker_gone("delete_endpoint_config", "EndpointConfigName"), None, (), "EndpointConfigName", 63),
    "AWS::SageMaker::Endpoint": Kind(_endpoint, _no_endpoint, _changed_endpoint, ("EndpointName",), "EndpointName", 63, ready=_endpoint_ready),
    "AWS::ApplicationAutoScaling::ScalableTarget": Kind(_target, _no_target, lambda w, i, o, p: _target(w, p), ("ResourceId", "ScalableDimension", "ServiceNamespace")),
    "AWS::ApplicationAutoScaling::ScalingPolicy": Kind(_scaling_policy, _no_scaling_policy, lambda w, i, o, p: _scaling_policy(w, p), ("PolicyName",)),
}  # fmt: skip
"""Every type that stacks may hold."""
