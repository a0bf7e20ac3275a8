"""The calls that Terraform's AWS provider (5.100) makes for an API in front of a function, in its order and its forms."""

from __future__ import annotations

import json

import pytest
from botocore.exceptions import ClientError

from tests.platform import Platform

from .test_functions import archive


def test_apply_plan_update_destroy(platform: Platform, name: str) -> None:
    iam, functions, apis = (platform.client(s) for s in ("iam", "lambda", "apigatewayv2"))
    assert platform.client("sts").get_caller_identity()["Account"] == "000000000000"
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}], "Version": "2012-10-17"}  # fmt: skip
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust), MaxSessionDuration=3600, Path="/")["Role"]["Arn"]  # fmt: skip
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "logs:*", "Resource": "*"}]}
    iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=json.dumps(policy))
    api = apis.create_api(Name=name, ProtocolType="HTTP", CorsConfiguration={"AllowOrigins": ["*"]}, Tags={})["ApiId"]
    arn = functions.create_function(
        FunctionName=name, Role=role, Runtime="python3.11", Handler="index.handler", Publish=False, MemorySize=128,
        Code={"ZipFile": archive(index="def handler(e, c): return {}")}, Timeout=30, PackageType="Zip",
        Environment={"Variables": {"STAGE": "b"}},
    )["FunctionArn"]  # fmt: skip
    apis.create_stage(ApiId=api, StageName="prod", AutoDeploy=True, Tags={})
    functions.add_permission(
        FunctionName=arn, StatementId="AllowAPIGatewayInvoke", Action="lambda:InvokeFunction",
        Principal="apigateway.amazonaws.com", SourceArn=f"arn:aws:execute-api:us-east-1:000000000000:{api}/*/*",
    )  # fmt: skip
    invoke = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn}/invocations"
    integration = apis.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=invoke, IntegrationMethod="POST",
        ConnectionType="INTERNET", PayloadFormatVersion="2.0",
    )["IntegrationId"]  # fmt: skip
    route = apis.create_route(ApiId=api, RouteKey="POST /predict", Target=f"integrations/{integration}", ApiKeyRequired=False, AuthorizationType="NONE")["RouteId"]  # fmt: skip

    # the second plan reads everything back
    assert json.loads(json.dumps(iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"])) == trust
    assert iam.list_role_policies(RoleName=name)["PolicyNames"] == ["p"]
    assert iam.get_role_policy(RoleName=name, PolicyName="p")["PolicyDocument"] == policy
    assert iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"] == []
    found = functions.get_function(FunctionName=name)["Configuration"]
    assert (found["State"], found["LastUpdateStatus"]) == ("Active", "Successful")
    assert functions.list_versions_by_function(FunctionName=name, MaxItems=10000)["Versions"][0]["Version"] == "$LATEST"
    signing = functions.get_function_code_signing_config(FunctionName=name)
    assert signing["FunctionName"] == name and not signing.get("CodeSigningConfigArn")
    assert "AllowAPIGatewayInvoke" in functions.get_policy(FunctionName=arn)["Policy"]
    assert apis.get_api(ApiId=api)["CorsConfiguration"] == {"AllowOrigins": ["*"]}
    assert apis.get_integration(ApiId=api, IntegrationId=integration)["IntegrationUri"] == invoke
    assert apis.get_route(ApiId=api, RouteId=route)["Target"] == f"integrations/{integration}"
    assert "Tags" not in apis.get_stage(ApiId=api, StageName="prod")

    # in place: tags of a stage, a timeout, code
    stage = f"arn:aws:apigateway:us-east-1::/apis/{api}/stages/prod"
    apis.tag_resource(ResourceArn=stage, Tags={"team": "a", "old": "b"})
    apis.untag_resource(ResourceArn=stage, TagKeys=["old"])
    assert (
        apis.get_stage(ApiId=api, StageName="prod")["Tags"] == {"team": "a"} == apis.get_tags(ResourceArn=stage)["Tags"]
    )
    assert "Tags" not in apis.get_api(ApiId=api)
    apis.update_api(ApiId=api, CorsConfiguration={"AllowOrigins": ["https://example.com"]})
    functions.update_function_configuration(FunctionName=name, Timeout=20)
    functions.update_function_code(FunctionName=name, ZipFile=archive(index="def handler(e, c): return 1"))
    assert functions.get_function(FunctionName=name)["Configuration"]["Timeout"] == 20

    apis.delete_route(ApiId=api, RouteId=route)
    apis.delete_stage(ApiId=api, StageName="prod")
    functions.remove_permission(FunctionName=arn, StatementId="AllowAPIGatewayInvoke")
    with pytest.raises(ClientError) as gone:
        functions.get_policy(FunctionName=arn)
    assert gone.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    apis.delete_integration(ApiId=api, IntegrationId=integration)
    apis.delete_api(ApiId=api)
    functions.delete_function(FunctionName=name)
    assert iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"] == []
    iam.delete_role_policy(RoleName=name, PolicyName="p")
    iam.delete_role(RoleName=name)
