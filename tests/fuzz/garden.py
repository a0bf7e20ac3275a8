"""Resources that requests can be about: one of most kinds, under the name ``fuzz``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tests.platform import Platform

from .documents import ZIP
from .values import Known

_TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}  # fmt: skip


def plant(platform: Platform, known: Known) -> None:
    """Make what is not there; what answers name is learnt."""

    def call(make: Callable[[], Any]) -> Any:
        with contextlib.suppress(ClientError, BotoCoreError):
            found = make()
            known.read(json.dumps(found, default=str).encode())
            return found
        return {}

    def client(service: str) -> Any:
        return platform.client(service, platform.root_key)

    for name in (
        "name",
        "bucket",
        "key",
        "rolename",
        "username",
        "policyname",
        "functionname",
        "stackname",
        "secretid",
        "modelname",
    ):
        known.learn(name, "fuzz")
    s3, iam, functions, logs, watch = (client(s) for s in ("s3", "iam", "lambda", "logs", "cloudwatch"))
    call(lambda: s3.create_bucket(Bucket="fuzz"))
    call(lambda: s3.put_bucket_versioning(Bucket="fuzz", VersioningConfiguration={"Status": "Enabled"}))
    for key in ("fuzz", "a", "a/b"):
        call(lambda key=key: s3.put_object(Bucket="fuzz", Key=key, Body=b"a" * 100, Tagging="a=b"))
    call(lambda: s3.create_multipart_upload(Bucket="fuzz", Key="fuzz"))
    role = call(lambda: iam.create_role(RoleName="fuzz", AssumeRolePolicyDocument=json.dumps(_TRUST))).get("Role", {})
    call(lambda: iam.create_user(UserName="fuzz"))
    arn = role.get("Arn") or "arn:aws:iam::000000000000:role/fuzz"
    call(
        lambda: functions.create_function(
            FunctionName="fuzz", Runtime="python3.12", Handler="a.handler", Role=arn, Code={"ZipFile": ZIP}
        )
    )
    call(lambda: logs.create_log_group(logGroupName="fuzz"))
    call(lambda: logs.create_log_stream(logGroupName="fuzz", logStreamName="fuzz"))
    call(
        lambda: watch.put_metric_alarm(
            AlarmName="fuzz",
            Namespace="a",
            MetricName="b",
            Period=60,
            Statistic="Sum",
            EvaluationPeriods=1,
            Threshold=1,
            ComparisonOperator="GreaterThanThreshold",
        )
    )
    call(lambda: client("ssm").put_parameter(Name="fuzz", Value="a", Type="String"))
    call(lambda: client("secretsmanager").create_secret(Name="fuzz", SecretString="a"))
    call(lambda: client("ecr").create_repository(repositoryName="fuzz"))
    template = {"Resources": {"Q": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "a"}}}}
    call(lambda: client("cloudformation").create_stack(StackName="fuzz", TemplateBody=json.dumps(template)))
    sagemaker = client("sagemaker")
    call(
        lambda: sagemaker.create_model(
            ModelName="fuzz",
            ExecutionRoleArn=arn,
            PrimaryContainer={
                "Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1",
                "ModelDataUrl": "s3://fuzz/a",
            },
        )
    )
    call(
        lambda: sagemaker.create_endpoint_config(
            EndpointConfigName="fuzz",
            ProductionVariants=[
                {"VariantName": "a", "ModelName": "fuzz", "InitialInstanceCount": 1, "InstanceType": "ml.m5.large"}
            ],
        )
    )
    _apis(call, client("apigateway"), client("apigatewayv2"), known)


def _apis(call: Callable[..., Any], rest: Any, http: Any, known: Known) -> None:
    plan = call(lambda: rest.create_usage_plan(name="fuzz"))
    key = call(lambda: rest.create_api_key(name="fuzz", enabled=True))
    known.learn("usageplanid", plan.get("id", ""))
    known.learn("apikey", key.get("id", ""))
    made = call(lambda: rest.create_rest_api(name="fuzz"))
    if api := made.get("id"):
        known.learn("restapiid", api)
        inner = call(lambda: rest.create_resource(restApiId=api, parentId=made["rootResourceId"], pathPart="a"))["id"]
        known.learn("resourceid", inner)
        where = {"restApiId": api, "resourceId": inner, "httpMethod": "POST"}
        call(lambda: rest.put_method(**where, authorizationType="NONE"))
        call(lambda: rest.put_method_response(**where, statusCode="200"))
        template = {"application/json": '{"statusCode": 200}'}
        call(lambda: rest.put_integration(**where, type="MOCK", requestTemplates=template))
        out = {
            "application/json": "$input.json('$') $input.path('$.a') #foreach($i in $input.path('$'))x#end $util.urlEncode($input.body)"
        }
        call(lambda: rest.put_integration_response(**where, statusCode="200", responseTemplates=out))
        call(lambda: rest.create_deployment(restApiId=api, stageName="prod"))
        known.learn("stagename", "prod")
    if api := call(lambda: http.create_api(Name="fuzz", ProtocolType="HTTP")).get("ApiId"):
        known.learn("apiid", api)
        call(
            lambda: http.create_integration(
                ApiId=api, IntegrationType="HTTP_PROXY", IntegrationMethod="ANY", IntegrationUri="http://127.0.0.1:1/"
            )
        )
        call(lambda: http.create_stage(ApiId=api, StageName="prod", AutoDeploy=True))
