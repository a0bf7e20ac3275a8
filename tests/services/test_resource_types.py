"""Every resource type of stacks: made, changed in place, brought back, removed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.platform import Platform, until

from .test_cloudformation import make, outputs, settled, why

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}


def policy(action: str) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": action, "Resource": "*"}]}


def update(platform: Platform, name: str, resources: dict[str, Any], **more: Any) -> dict[str, Any]:
    client = platform.client("cloudformation")
    body = json.dumps({"Resources": resources})
    client.update_stack(StackName=name, TemplateBody=body, Capabilities=["CAPABILITY_NAMED_IAM"], **more)
    return settled(platform, name)


def physical(platform: Platform, name: str) -> dict[str, str]:
    found = platform.client("cloudformation").describe_stack_resources(StackName=name)["StackResources"]
    return {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in found}


def resource(kind: str, **props: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{kind}", "Properties": props}


def stays(platform: Platform, name: str, first: dict[str, Any], then: dict[str, Any]) -> dict[str, str]:
    """A stack is made, and changed without anything being made anew; its resources."""
    made = make(platform, name, {"Resources": first}, Capabilities=["CAPABILITY_NAMED_IAM"])
    assert made["StackStatus"] == "CREATE_COMPLETE", why(platform, name)
    before = physical(platform, name)
    changed = update(platform, name, {**first, **then})
    assert changed["StackStatus"] == "UPDATE_COMPLETE", why(platform, name)
    assert physical(platform, name) == before
    return before


def remove(platform: Platform, name: str) -> None:
    client = platform.client("cloudformation")
    identifier = client.describe_stacks(StackName=name)["Stacks"][0]["StackId"]
    client.delete_stack(StackName=name)
    assert settled(platform, identifier)["StackStatus"] == "DELETE_COMPLETE", why(platform, identifier)


def test_buckets_and_repositories(platform: Platform, name: str) -> None:
    kept = {
        "Id": "k", "Status": "Enabled", "Prefix": "p/", "TagFilters": [{"Key": "t", "Value": "v"}], "ObjectSizeGreaterThan": "9",
        "NoncurrentVersionTransitions": [{"StorageClass": "GLACIER", "TransitionInDays": "3"}],
    }  # fmt: skip
    rules = {"CorsRules": [{"AllowedMethods": ["GET"], "AllowedOrigins": ["*"], "MaxAge": "60"}]}
    found = stays(
        platform, name,
        {
            "Bucket": resource(
                "S3::Bucket", CorsConfiguration=rules, WebsiteConfiguration={"IndexDocument": "i.html"},
                VersioningConfiguration={"Status": "Enabled"}, Tags=[{"Key": "a", "Value": "1"}],
                LifecycleConfiguration={"Rules": [{"Id": "old", "Status": "Enabled", "ExpirationInDays": "7"}]},
            ),
            "Kept": resource("S3::Bucket", LifecycleConfiguration={"Rules": [kept]}),
            "Repository": resource("ECR::Repository", ImageTagMutability="IMMUTABLE", RepositoryPolicyText=policy("ecr:*")),
        },
        {
            "Bucket": resource("S3::Bucket", Tags=[{"Key": "b", "Value": "2"}]),
            "Repository": resource("ECR::Repository", Tags=[{"Key": "c", "Value": "3"}]),
        },
    )  # fmt: skip
    s3, bucket = platform.client("s3"), found["Bucket"]
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=found["Kept"])["Rules"]
    wanted = {"Prefix": "p/", "Tags": [{"Key": "t", "Value": "v"}], "ObjectSizeGreaterThan": 9}
    assert rule["Filter"]["And"] == wanted
    assert rule["NoncurrentVersionTransitions"] == [{"NoncurrentDays": 3, "StorageClass": "GLACIER"}]
    assert s3.get_bucket_tagging(Bucket=bucket)["TagSet"] == [{"Key": "b", "Value": "2"}]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Suspended"
    for operation in ("get_bucket_cors", "get_bucket_website", "get_bucket_lifecycle_configuration"):
        with pytest.raises(s3.exceptions.ClientError, match=r"does not exist|does not have|CORS"):
            getattr(s3, operation)(Bucket=bucket)
    ecr = platform.client("ecr")
    (repository,) = ecr.describe_repositories(repositoryNames=[found["Repository"]])["repositories"]
    assert repository["imageTagMutability"] == "MUTABLE"
    assert ecr.list_tags_for_resource(resourceArn=repository["repositoryArn"])["tags"] == [{"Key": "c", "Value": "3"}]
    with pytest.raises(ecr.exceptions.RepositoryPolicyNotFoundException):
        ecr.get_repository_policy(repositoryName=found["Repository"])
    remove(platform, name)


def test_roles_users_and_policies(platform: Platform, name: str) -> None:
    role = resource("IAM::Role", AssumeRolePolicyDocument=TRUST, Policies=[{"PolicyName": "p", "PolicyDocument": policy("s3:*")}])  # fmt: skip
    other = {
        "Profile": resource("IAM::InstanceProfile", Roles=[{"Ref": "Role"}]),
        "Key": resource("IAM::AccessKey", UserName={"Ref": "User"}),
    }
    found = stays(
        platform, name,
        {
            "Role": role, "User": resource("IAM::User", UserName=name), **other,
            "Managed": resource("IAM::ManagedPolicy", PolicyDocument=policy("s3:Get*"), Roles=[{"Ref": "Role"}]),
            "Inline": resource("IAM::Policy", PolicyName="in", PolicyDocument=policy("s3:List*"), Roles=[{"Ref": "Role"}]),
            "Single": resource("IAM::RolePolicy", PolicyName="one", RoleName={"Ref": "Role"}, PolicyDocument=policy("a:*")),
        },
        {
            "Role": resource("IAM::Role", AssumeRolePolicyDocument=TRUST, Description="now", MaxSessionDuration="7200"),
            "User": resource("IAM::User", UserName=name, Policies=[{"PolicyName": "p", "PolicyDocument": policy("s3:*")}]),
            "Key": resource("IAM::AccessKey", UserName={"Ref": "User"}, Status="Inactive"),
            "Managed": resource("IAM::ManagedPolicy", PolicyDocument=policy("s3:Put*"), Users=[{"Ref": "User"}]),
            "Inline": resource("IAM::Policy", PolicyName="in", PolicyDocument=policy("s3:List*"), Users=[{"Ref": "User"}]),
            "Single": resource("IAM::RolePolicy", PolicyName="one", RoleName={"Ref": "Role"}, PolicyDocument=policy("b:*")),
        },
    )  # fmt: skip
    iam = platform.client("iam")
    assert iam.list_role_policies(RoleName=found["Role"])["PolicyNames"] == ["one"]
    assert iam.list_attached_role_policies(RoleName=found["Role"])["AttachedPolicies"] == []
    told = iam.get_role(RoleName=found["Role"])["Role"]
    assert (told["Description"], told["MaxSessionDuration"]) == ("now", 7200)
    assert sorted(iam.list_user_policies(UserName=name)["PolicyNames"]) == ["in", "p"]
    version = iam.get_policy(PolicyArn=found["Managed"])["Policy"]["DefaultVersionId"]
    document = iam.get_policy_version(PolicyArn=found["Managed"], VersionId=version)["PolicyVersion"]["Document"]
    assert document["Statement"][0]["Action"] == "s3:Put*"
    assert [k["Status"] for k in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]] == ["Inactive"]
    remove(platform, name)
    with pytest.raises(iam.exceptions.NoSuchEntityException):
        iam.get_user(UserName=name)


def function(**more: Any) -> dict[str, Any]:
    code = {"ZipFile": "def handler(event, context): return 1"}
    given = {"Code": code, "Role": {"Fn::GetAtt": "Role.Arn"}, "Runtime": "python3.12", "Handler": "index.handler"}
    return resource("Lambda::Function", **{**given, **more})


def test_functions(platform: Platform, name: str) -> None:
    role = {"Role": resource("IAM::Role", AssumeRolePolicyDocument=TRUST)}
    url = {"TargetFunctionArn": {"Ref": "Function"}}
    calls = {"FunctionName": {"Ref": "Function"}, "Qualifier": "$LATEST"}
    alias = {"FunctionName": {"Ref": "Function"}, "FunctionVersion": "$LATEST", "Name": "live"}
    found = stays(
        platform, name,
        {
            **role,
            "Function": function(
                Timeout="9", Environment={"Variables": {"AA": 1}}, ReservedConcurrentExecutions="2", SnapStart={"ApplyOn": "None"},
            ),
            "Url": resource("Lambda::Url", AuthType="NONE", **url),
            "Calls": resource("Lambda::EventInvokeConfig", MaximumRetryAttempts="1", **calls),
            "Alias": resource("Lambda::Alias", **alias),
        },
        {
            "Function": function(MemorySize=256, Tags=[{"Key": "t", "Value": "v"}]),
            "Url": resource("Lambda::Url", AuthType="AWS_IAM", **url),
            "Calls": resource("Lambda::EventInvokeConfig", MaximumRetryAttempts="0", **calls),
            "Alias": resource("Lambda::Alias", **alias, Description="now"),
        },
    )  # fmt: skip
    client = platform.client("lambda")
    told = client.get_function(FunctionName=found["Function"])
    assert told["Configuration"]["Timeout"] == 3 and told["Configuration"]["MemorySize"] == 256
    assert told["Configuration"].get("Environment", {}).get("Variables", {}) == {}
    assert told["Tags"] == {"t": "v"} and "Concurrency" not in told
    assert client.get_function_url_config(FunctionName=found["Function"])["AuthType"] == "AWS_IAM"
    configured = client.get_function_event_invoke_config(FunctionName=found["Function"], Qualifier="$LATEST")
    assert configured["MaximumRetryAttempts"] == 0
    assert client.get_alias(FunctionName=found["Function"], Name="live")["Description"] == "now"
    assert "Function CREATE_COMPLETE Clary takes and does not act on: SnapStart" in why(platform, name)
    remove(platform, name)


def method(text: str, **more: Any) -> dict[str, Any]:
    answer = {"StatusCode": 200, "ResponseTemplates": {"application/json": json.dumps({"said": text})}}
    integration = {
        "Type": "MOCK",
        "RequestTemplates": {"application/json": '{"statusCode": 200}'},
        "IntegrationResponses": [answer],
    }
    place = {"RestApiId": {"Ref": "Api"}, "ResourceId": {"Ref": "Resource"}, "HttpMethod": "GET"}
    return resource(
        "ApiGateway::Method", **place, Integration=integration, MethodResponses=[{"StatusCode": "200"}], **more
    )


def test_a_rest_api(platform: Platform, name: str) -> None:
    api = {"RestApiId": {"Ref": "Api"}}
    deployed = {"DependsOn": "Method"}
    stage = {**api, "StageName": "v", "DeploymentId": {"Ref": "Deployment"}}
    quota = {"Limit": "100", "Period": "DAY"}
    places = [{"ApiId": {"Ref": "Api"}, "Stage": {"Ref": "Stage"}}]
    found = stays(
        platform, name,
        {
            "Account": resource("ApiGateway::Account", CloudWatchRoleArn="arn:aws:iam::123456789012:role/x"),
            "Api": resource("ApiGateway::RestApi", Name=name, BinaryMediaTypes=["image/png"]),
            "Resource": resource("ApiGateway::Resource", **api, ParentId={"Fn::GetAtt": "Api.RootResourceId"}, PathPart="p"),
            "Method": method("one"),
            "Model": resource("ApiGateway::Model", **api, Name="M", Schema={"type": "object"}),
            "Check": resource("ApiGateway::RequestValidator", **api, Name="c", ValidateRequestBody="true"),
            "Deployment": {**resource("ApiGateway::Deployment", **api), **deployed},
            "Another": {**resource("ApiGateway::Deployment", **api, StageName="w", StageDescription={"ThrottlingBurstLimit": "3"}), **deployed},
            "Stage": resource("ApiGateway::Stage", **stage, Variables={"v": "1"}),
            "Key": resource("ApiGateway::ApiKey", Enabled="true"),
            "Plan": resource("ApiGateway::UsagePlan", ApiStages=places, Quota=quota, Throttle={"RateLimit": "5"}),
            "Member": resource("ApiGateway::UsagePlanKey", KeyId={"Ref": "Key"}, KeyType="API_KEY", UsagePlanId={"Ref": "Plan"}),
        },
        {
            "Api": resource("ApiGateway::RestApi", Name=name, Description="now", BinaryMediaTypes=["audio/*"]),
            "Method": method("two", ApiKeyRequired="true"),
            "Model": resource("ApiGateway::Model", **api, Name="M", Schema={"type": "array"}),
            "Check": resource("ApiGateway::RequestValidator", **api, Name="c", ValidateRequestBody="false"),
            "Stage": resource(
                "ApiGateway::Stage", **stage, MethodSettings=[{"ResourcePath": "/*", "HttpMethod": "*", "ThrottlingBurstLimit": "7"}]
            ),
            "Key": resource("ApiGateway::ApiKey", Enabled="false"),
            "Plan": resource("ApiGateway::UsagePlan", Quota={**quota, "Limit": 200}),
        },
    )  # fmt: skip
    client, its = platform.client("apigateway"), {"restApiId": found["Api"]}
    told = client.get_rest_api(**its)
    assert (told["description"], told["binaryMediaTypes"]) == ("now", ["audio/*"])
    kept = client.get_method(**its, resourceId=found["Resource"], httpMethod="GET")
    assert kept["apiKeyRequired"] and "two" in json.dumps(kept["methodIntegration"])
    assert json.loads(client.get_model(**its, modelName="M")["schema"]) == {"type": "array"}
    assert not client.get_request_validator(**its, requestValidatorId=found["Check"])["validateRequestBody"]
    assert client.get_stage(**its, stageName="w")["methodSettings"]["*/*"]["throttlingBurstLimit"] == 3
    shown = client.get_stage(**its, stageName="v")
    assert shown.get("variables", {}) == {} and shown["methodSettings"]["*/*"]["throttlingBurstLimit"] == 7
    assert not client.get_api_key(apiKey=found["Key"])["enabled"]
    plan = client.get_usage_plan(usagePlanId=found["Plan"])
    assert plan["apiStages"] == [] and plan["quota"]["limit"] == 200 and "throttle" not in plan
    assert client.get_account()["cloudwatchRoleArn"] == "arn:aws:iam::123456789012:role/x"
    remove(platform, name)


def test_logs_parameters_alarms(platform: Platform, name: str) -> None:
    group = {"LogGroupName": f"/{name}"}
    metric = {"Namespace": "n", "MetricName": "m", "Statistic": "Sum", "ComparisonOperator": "GreaterThanThreshold"}
    alarm = {"AlarmName": f"{name}-one", "Period": "60", "EvaluationPeriods": "1", **metric}
    found = stays(
        platform, name,
        {
            "Group": resource("Logs::LogGroup", **group, RetentionInDays="7", Tags=[{"Key": "a", "Value": "1"}]),
            "Stream": resource("Logs::LogStream", LogGroupName={"Ref": "Group"}, LogStreamName="s"),
            "Parameter": resource("SSM::Parameter", Type="String", Value="1", Name=f"/{name}/p", Tags={"a": "1"}),
            "Alarm": resource("CloudWatch::Alarm", **alarm, Threshold="1.5"),
            "Both": resource("CloudWatch::CompositeAlarm", AlarmName=f"{name}-all", AlarmRule=f"ALARM({name}-one)"),
            "Secret": resource("SecretsManager::Secret", Name=name, GenerateSecretString={"PasswordLength": "12"}),
            "Policy": resource("SecretsManager::ResourcePolicy", SecretId={"Ref": "Secret"}, ResourcePolicy=policy("a:*")),
        },
        {
            "Group": resource("Logs::LogGroup", **group, Tags=[{"Key": "b", "Value": "2"}]),
            "Parameter": resource("SSM::Parameter", Type="String", Value="2", Name=f"/{name}/p", Tags={"b": "2"}),
            "Alarm": resource("CloudWatch::Alarm", **alarm, Threshold="2.5"),
            "Secret": resource("SecretsManager::Secret", Name=name, Description="now", GenerateSecretString={"PasswordLength": "12"}),
        },
    )  # fmt: skip
    logs, ssm = platform.client("logs"), platform.client("ssm")
    (shown,) = logs.describe_log_groups(logGroupNamePrefix=f"/{name}")["logGroups"]
    assert "retentionInDays" not in shown
    assert logs.list_tags_for_resource(resourceArn=shown["arn"].removesuffix(":*"))["tags"] == {"b": "2"}
    assert ssm.get_parameter(Name=f"/{name}/p")["Parameter"]["Value"] == "2"
    tags = ssm.list_tags_for_resource(ResourceType="Parameter", ResourceId=f"/{name}/p")["TagList"]
    assert tags == [{"Key": "b", "Value": "2"}]
    alarms = platform.client("cloudwatch").describe_alarms(
        AlarmNamePrefix=name, AlarmTypes=["MetricAlarm", "CompositeAlarm"]
    )
    assert [a["Threshold"] for a in alarms["MetricAlarms"]] == [2.5] and len(alarms["CompositeAlarms"]) == 1
    secret = platform.client("secretsmanager").describe_secret(SecretId=found["Secret"])
    assert secret["Description"] == "now"
    remove(platform, name)


def test_an_endpoint_with_its_scaling(platform: Platform, name: str, model_data: str) -> None:
    image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
    container = {"Image": image, "ModelDataUrl": model_data, "Environment": {"N": 1}}
    role = f"arn:aws:iam::{platform.client('sts').get_caller_identity()['Account']}:role/{name}"
    variant = {
        "VariantName": "v",
        "InstanceType": "ml.m5.large",
        "InitialInstanceCount": "1",
        "InitialVariantWeight": "1",
    }
    place = {
        "ServiceNamespace": "sagemaker", "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "ResourceId": {"Fn::Sub": "endpoint/${Endpoint.EndpointName}/variant/v"}, "RoleARN": role,
    }  # fmt: skip

    def action(name: str) -> dict[str, Any]:
        target = {"MinCapacity": "1", "MaxCapacity": "2"}
        return {"ScheduledActionName": name, "Schedule": "cron(0 9 * * ? *)", "ScalableTargetAction": target}

    first = {
        "Model": resource("SageMaker::Model", ExecutionRoleArn=role, PrimaryContainer=container),
        "Config": resource(
            "SageMaker::EndpointConfig", ProductionVariants=[{**variant, "ModelName": {"Fn::GetAtt": "Model.ModelName"}}]
        ),
        "Endpoint": resource(
            "SageMaker::Endpoint", EndpointName=name, EndpointConfigName={"Fn::GetAtt": "Config.EndpointConfigName"}
        ),
        "Target": resource(
            "ApplicationAutoScaling::ScalableTarget", **place, MinCapacity="1", MaxCapacity="1", ScheduledActions=[action("a")]
        ),
    }  # fmt: skip
    first["Endpoint"]["Properties"]["Tags"] = [{"Key": "own", "Value": "1"}]
    then = {
        "Target": resource(
            "ApplicationAutoScaling::ScalableTarget", **place, MinCapacity="1", MaxCapacity="2", ScheduledActions=[action("b")]
        ),
    }  # fmt: skip
    found = stays(platform, name, first, then)
    scaling = platform.client("application-autoscaling")
    (target,) = scaling.describe_scalable_targets(
        ServiceNamespace="sagemaker", ResourceIds=[f"endpoint/{name}/variant/v"]
    )["ScalableTargets"]
    assert target["MaxCapacity"] == 2
    actions = scaling.describe_scheduled_actions(ServiceNamespace="sagemaker", ResourceId=f"endpoint/{name}/variant/v")
    assert [a["ScheduledActionName"] for a in actions["ScheduledActions"]] == ["b"]
    client = platform.client("sagemaker")
    update(platform, name, {**first, **then}, Tags=[{"Key": "team", "Value": "x"}, {"Key": "own", "Value": "2"}])
    tags = client.list_tags(ResourceArn=found["Endpoint"])["Tags"]
    assert sorted((t["Key"], t["Value"]) for t in tags) == [("own", "1"), ("team", "x")]
    shown = platform.client("cloudformation").describe_stacks(StackName=name)["Stacks"][0]["Tags"]
    assert sorted(t["Key"] for t in shown) == ["own", "team"]
    broken = {**first, **then, "Bad": resource("Logs::LogGroup", Retention=7)}
    failed = update(platform, name, broken, Tags=[{"Key": "team", "Value": "y"}])
    assert failed["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", why(platform, name)
    assert sorted((t["Key"], t["Value"]) for t in failed["Tags"]) == [("own", "2"), ("team", "x")]
    tags = client.list_tags(ResourceArn=found["Endpoint"])["Tags"]
    assert sorted((t["Key"], t["Value"]) for t in tags) == [("own", "1"), ("team", "x")]
    remove(platform, name)
    assert client.list_endpoints(NameContains=name)["Endpoints"] == []


def test_an_endpoint_that_is_being_made_goes_with_its_stack(platform: Platform, name: str, model_data: str) -> None:
    image = "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"
    role = f"arn:aws:iam::{platform.client('sts').get_caller_identity()['Account']}:role/{name}"
    variant = {"VariantName": "v", "InstanceType": "ml.m5.large", "InitialInstanceCount": 1, "InitialVariantWeight": 1}
    resources = {
        "Model": resource("SageMaker::Model", ExecutionRoleArn=role, PrimaryContainer={"Image": image, "ModelDataUrl": model_data}),
        "Config": resource(
            "SageMaker::EndpointConfig", ProductionVariants=[{**variant, "ModelName": {"Fn::GetAtt": "Model.ModelName"}}]
        ),
        "Endpoint": resource("SageMaker::Endpoint", EndpointConfigName={"Fn::GetAtt": "Config.EndpointConfigName"}),
    }  # fmt: skip
    client = platform.client("cloudformation")
    made = client.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    until(lambda: "Endpoint CREATE_IN_PROGRESS Resource creation Initiated" in why(platform, name), what="it is begun")
    client.delete_stack(StackName=name)
    assert settled(platform, made["StackId"])["StackStatus"] == "DELETE_COMPLETE", why(platform, made["StackId"])
    assert platform.client("sagemaker").list_endpoints(NameContains=f"{name}-")["Endpoints"] == []


def test_what_a_type_does_not_have_is_refused(platform: Platform, name: str) -> None:
    made = make(platform, name, {"Resources": {"Group": resource("Logs::LogGroup", Retention=7)}})
    assert made["StackStatus"] == "ROLLBACK_COMPLETE"
    words = "Group CREATE_FAILED Property validation failure: [Encountered unsupported properties in {/}: [Retention]]"
    assert words in why(platform, name)
    assert outputs(made) == {}
