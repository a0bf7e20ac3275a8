"""The resource types but for APIs and stacks: how each is made, changed and removed through the platform's own API.

Physical names, ``Ref`` and ``Fn::GetAtt`` are those of AWS's "Resource and property reference".
"""

from __future__ import annotations

import io
import json
import uuid
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from .kind import Failed, Kind, Made, Work, gone, only, typed

Json = dict[str, Any]


def _tags(props: Json) -> Json:
    return {"Tags": props["Tags"]} if props.get("Tags") else {}


def _tag_map(props: Json) -> Json:
    tags = props.get("Tags")
    if not tags:
        return {}
    return {"Tags": tags if isinstance(tags, dict) else {t["Key"]: t["Value"] for t in tags}}


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
    ("LifecycleConfiguration", "put_bucket_lifecycle_configuration", "LifecycleConfiguration"),
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
    if prop == "LifecycleConfiguration":
        return {"Rules": [_lifecycle_rule(rule) for rule in given.get("Rules") or ()]}
    flags = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    found: Json = typed(given, (), flags)
    return found


def _lifecycle_rule(given: Json) -> Json:
    """A rule of a bucket's lifecycle, in the spelling of the API."""
    rule: Json = typed(
        {k: given[k] for k in ("Status", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload") if k in given},
        ("NoncurrentDays", "NewerNoncurrentVersions", "DaysAfterInitiation"),
    )  # fmt: skip
    if "Id" in given:
        rule["ID"] = given["Id"]
    rule["Filter"] = {"Prefix": given.get("Prefix", "")}
    expiration = {
        "ExpirationInDays": "Days",
        "ExpirationDate": "Date",
        "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker",
    }
    if found := {api: given[name] for name, api in expiration.items() if name in given}:
        rule["Expiration"] = typed(found, ("Days",), ("ExpiredObjectDeleteMarker",))
    if "NoncurrentVersionExpirationInDays" in given:
        rule["NoncurrentVersionExpiration"] = {"NoncurrentDays": int(given["NoncurrentVersionExpirationInDays"])}
    transitions = given.get("Transitions") or ([given["Transition"]] if "Transition" in given else [])
    names = {"TransitionInDays": "Days", "TransitionDate": "Date"}
    if transitions:
        rule["Transitions"] = [typed({names.get(k, k): v for k, v in t.items()}, ("Days",)) for t in transitions]
    return rule


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


def _bucket_policy(work: Work, props: Json) -> Made:
    policy = props["PolicyDocument"]
    text = policy if isinstance(policy, str) else json.dumps(policy)
    work.client("s3").put_bucket_policy(Bucket=props["Bucket"], Policy=text)
    return Made(props["Bucket"])


def _repository(work: Work, props: Json) -> Made:
    given: Json = {
        "imageTagMutability": props.get("ImageTagMutability"), "encryptionConfiguration": _lower(props.get("EncryptionConfiguration")),
        "imageScanningConfiguration": typed(_lower(props.get("ImageScanningConfiguration")), (), ("scanOnPush",)),
    }  # fmt: skip
    ecr, wanted = work.client("ecr"), {k: v for k, v in given.items() if v}
    try:
        ecr.create_repository(repositoryName=work.name, **wanted, **_lower_tags(props))
    except ecr.exceptions.RepositoryAlreadyExistsException:
        if not work.before:
            raise
    return _repository_settings(work, work.name, {}, props)


def _lower(given: Json | None) -> Json:
    return {k[:1].lower() + k[1:]: v for k, v in (given or {}).items()}


def _lower_tags(props: Json) -> Json:
    return {"tags": props["Tags"]} if props.get("Tags") else {}


def _repository_settings(work: Work, name: str, old: Json, props: Json) -> Made:
    ecr = work.client("ecr")
    if policy := props.get("RepositoryPolicyText"):
        text = policy if isinstance(policy, str) else json.dumps(policy)
        ecr.set_repository_policy(repositoryName=name, policyText=text)
    if lifecycle := (props.get("LifecyclePolicy") or {}).get("LifecyclePolicyText"):
        ecr.put_lifecycle_policy(repositoryName=name, lifecyclePolicyText=lifecycle)
    if mutability := props.get("ImageTagMutability"):
        ecr.put_image_tag_mutability(repositoryName=name, imageTagMutability=mutability)
    (found,) = ecr.describe_repositories(repositoryNames=[name])["repositories"]
    return Made(name, {"Arn": found["repositoryArn"], "RepositoryUri": found["repositoryUri"]})


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


def _generated(work: Work, about: Json) -> str:
    """A secret's text with a random password, by itself or under a key of a template."""
    given = typed(about, ("PasswordLength",), ("ExcludeLowercase", "ExcludeUppercase", "ExcludeNumbers", "ExcludePunctuation", "IncludeSpace", "RequireEachIncludedType"))  # fmt: skip
    asked = {k: v for k, v in given.items() if k not in ("SecretStringTemplate", "GenerateStringKey")}
    text: str = work.client("secretsmanager").get_random_password(**asked)["RandomPassword"]
    if "GenerateStringKey" not in about:
        return text
    try:
        return json.dumps({**json.loads(about.get("SecretStringTemplate", "{}")), about["GenerateStringKey"]: text})
    except ValueError:
        raise Failed("Could not parse SecretStringTemplate JSON") from None


def _secret(work: Work, props: Json) -> Made:
    given = only(props, "Description", "KmsKeyId", "SecretString", "Tags")
    if "GenerateSecretString" in props:
        given["SecretString"] = _generated(work, props["GenerateSecretString"] or {})
    # the same token if this is tried again: then it is the secret that was made before
    token = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{work.stack_id}/{work.logical}/{work.name}"))
    client = work.client("secretsmanager")
    try:
        made = client.create_secret(Name=work.name, ClientRequestToken=token, **given)
    except client.exceptions.ResourceExistsException:
        made = client.describe_secret(SecretId=work.name)
        if token not in made.get("VersionIdsToStages", {}):
            raise
    return Made(made["ARN"], {"Id": made["ARN"]})


def _secret_update(work: Work, physical: str, old: Json, props: Json) -> Made:
    given = only(props, "Description", "KmsKeyId")
    if props.get("SecretString") != old.get("SecretString") and "SecretString" in props:
        given["SecretString"] = props["SecretString"]
    if (about := props.get("GenerateSecretString")) != old.get("GenerateSecretString") and about is not None:
        given["SecretString"] = _generated(work, about)
    work.client("secretsmanager").update_secret(SecretId=physical, **given)
    return Made(physical, {"Id": physical})


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


# ---- Lambda ----------------------------------------------------------------------------------------------------------

_FUNCTION = (
    "Role", "Handler", "Runtime", "Description", "Timeout", "MemorySize", "Environment", "Layers", "EphemeralStorage",
    "LoggingConfig", "TracingConfig", "DeadLetterConfig", "VpcConfig", "KMSKeyArn",
)  # fmt: skip


def _code(given: Json, runtime: str) -> Json:
    """A function's code; what stands in the template becomes an archive of one file."""
    if "ZipFile" not in given:
        return given
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        script = runtime.startswith("nodejs")
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
    given = typed(only(props, *_FUNCTION), ("Timeout", "MemorySize"))
    try:
        made = client.create_function(
            FunctionName=work.name,
            Code=_code(props["Code"], str(props.get("Runtime", ""))),
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
        client.update_function_code(FunctionName=name, **_code(props["Code"], str(props.get("Runtime", ""))))
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


def _layer(work: Work, props: Json) -> Made:
    given = only(props, "Description", "CompatibleRuntimes", "LicenseInfo", "Content", "CompatibleArchitectures")
    made = work.client("lambda").publish_layer_version(LayerName=props.get("LayerName", work.name), **given)
    return Made(made["LayerVersionArn"], {"LayerVersionArn": made["LayerVersionArn"]})


def _no_layer(work: Work, arn: str, props: Json) -> None:
    layer, _, version = arn.rpartition(":")
    if version.isdigit():
        gone(work.client("lambda").delete_layer_version, LayerName=layer, VersionNumber=int(version))


def _url(work: Work, props: Json) -> Made:
    given = only(props, "AuthType", "Cors", "InvokeMode", "Qualifier")
    given["FunctionName"] = props["TargetFunctionArn"]
    made = work.client("lambda").create_function_url_config(**typed(given, ("MaxAge",), ("AllowCredentials",)))
    return Made(made["FunctionArn"], {"FunctionUrl": made["FunctionUrl"], "FunctionArn": made["FunctionArn"]})


def _no_url(work: Work, physical: str, props: Json) -> None:
    given = {"FunctionName": props["TargetFunctionArn"], **only(props, "Qualifier")}
    gone(work.client("lambda").delete_function_url_config, **given)


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
    "AWS::ECR::Repository": Kind(_repository, lambda w, i, p: gone(w.client("ecr").delete_repository, repositoryName=i, force=True), _repository_settings, ("RepositoryName", "EncryptionConfiguration"), "RepositoryName", 256, True),
    "AWS::Logs::LogGroup": Kind(_log_group, lambda w, i, p: gone(w.client("logs").delete_log_group, logGroupName=i), _log_settings, ("LogGroupName",), "LogGroupName"),
    "AWS::SSM::Parameter": Kind(_parameter, lambda w, i, p: gone(w.client("ssm").delete_parameter, Name=i), lambda w, i, o, p: _parameter(w, p), ("Name", "Type"), "Name"),
    "AWS::SecretsManager::Secret": Kind(_secret, lambda w, i, p: gone(w.client("secretsmanager").delete_secret, SecretId=i, ForceDeleteWithoutRecovery=True), _secret_update, ("Name",), "Name"),
    "AWS::CloudWatch::Alarm": Kind(_alarm, lambda w, i, p: gone(w.client("cloudwatch").delete_alarms, AlarmNames=[i]), lambda w, i, o, p: _alarm(w, p), ("AlarmName",), "AlarmName"),
    "AWS::IAM::Role": Kind(_role, _no_role, _role_policies, ("RoleName", "Path"), "RoleName", 64),
    "AWS::IAM::Policy": Kind(_inline_policy, _no_inline_policy, lambda w, i, o, p: Made(i, {}) if _inline_policy(w, p) else Made(i), ("PolicyName", "Roles", "Users")),
    "AWS::IAM::ManagedPolicy": Kind(_managed_policy, _no_managed_policy, None, (), "ManagedPolicyName", 128),
    "AWS::Lambda::Function": Kind(_function, lambda w, i, p: gone(w.client("lambda").delete_function, FunctionName=i), _changed_function, ("FunctionName", "PackageType", "Architectures"), "FunctionName", 64),
    "AWS::Lambda::Permission": Kind(_permission, lambda w, i, p: gone(w.client("lambda").remove_permission, FunctionName=p["FunctionName"], StatementId=i)),
    "AWS::Lambda::Version": Kind(_version, lambda w, i, p: gone(w.client("lambda").delete_function, FunctionName=i)),
    "AWS::Lambda::Alias": Kind(_alias, lambda w, i, p: gone(w.client("lambda").delete_alias, FunctionName=p["FunctionName"], Name=p["Name"]), lambda w, i, o, p: _alias(w, p), ("Name", "FunctionName")),
    "AWS::Lambda::LayerVersion": Kind(_layer, _no_layer),
    "AWS::Lambda::Url": Kind(_url, _no_url),
    "AWS::S3::BucketPolicy": Kind(_bucket_policy, lambda w, i, p: gone(w.client("s3").delete_bucket_policy, Bucket=i), lambda w, i, o, p: _bucket_policy(w, p), ("Bucket",)),
    "AWS::IAM::User": Kind(_user, _no_user, None, (), "UserName", 64),
    "AWS::IAM::AccessKey": Kind(_access_key, _no_access_key),
    "AWS::SageMaker::Model": Kind(_sagemaker("create_model", "ModelName", "ModelArn"), _sagemaker_gone("delete_model", "ModelName"), None, (), "ModelName", 63),
    "AWS::SageMaker::EndpointConfig": Kind(_endpoint_config, _sagemaker_gone("delete_endpoint_config", "EndpointConfigName"), None, (), "EndpointConfigName", 63),
    "AWS::SageMaker::Endpoint": Kind(_endpoint, _no_endpoint, _changed_endpoint, ("EndpointName",), "EndpointName", 63, ready=_endpoint_ready),
    "AWS::ApplicationAutoScaling::ScalableTarget": Kind(_target, _no_target, lambda w, i, o, p: _target(w, p), ("ResourceId", "ScalableDimension", "ServiceNamespace")),
    "AWS::ApplicationAutoScaling::ScalingPolicy": Kind(_scaling_policy, _no_scaling_policy, lambda w, i, o, p: _scaling_policy(w, p), ("PolicyName",)),
}  # fmt: skip
