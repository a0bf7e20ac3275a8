"""CloudFormation through boto3: stacks of real resources."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.jobs import ROLE, csv, deploy, predict, table
from tests.platform import Platform, until

from .test_http_apis import ask

ENDED = ("COMPLETE", "FAILED")


def settled(platform: Platform, stack: str) -> dict[str, Any]:
    """A stack that is not doing anything."""
    client = platform.client("cloudformation")
    while True:
        found: dict[str, Any] = client.describe_stacks(StackName=stack)["Stacks"][0]
        if found["StackStatus"].endswith(ENDED):
            return found


def make(platform: Platform, name: str, template: Any, **more: Any) -> dict[str, Any]:
    body = template if isinstance(template, str) else json.dumps(template)
    made = platform.client("cloudformation").create_stack(StackName=name, TemplateBody=body, **more)
    return settled(platform, made["StackId"])


def outputs(stack: dict[str, Any]) -> dict[str, str]:
    return {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}


def why(platform: Platform, name: str) -> str:
    events = platform.client("cloudformation").describe_stack_events(StackName=name)["StackEvents"]
    return "\n".join(
        f"{e['LogicalResourceId']} {e['ResourceStatus']} {e.get('ResourceStatusReason', '')}" for e in events
    )


API = """
Description: Expose an endpoint by an API and a function
Parameters:
  Endpoint: {Type: String}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument:
        Version: '2012-10-17'
        Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: sts:AssumeRole}]
      Policies:
        - PolicyName: invoke
          PolicyDocument:
            Version: '2012-10-17'
            Statement: [{Effect: Allow, Action: ['sagemaker:InvokeEndpoint'], Resource: '*'}]
  Function:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.11
      Role: !GetAtt Role.Arn
      Handler: index.handler
      Timeout: '30'
      Environment: {Variables: {WHO: !Ref AWS::StackName}}
      Code:
        ZipFile: |
          import boto3, json, os
          def handler(event, context):
              runtime = boto3.client("sagemaker-runtime")
              answer = runtime.invoke_endpoint(
                  EndpointName="{{resolve:ssm:/NAME/endpoint}}", ContentType="text/csv", Body=event.get("body", ""))
              return {"statusCode": 200, "headers": {"Content-Type": "application/json"},
                      "body": json.dumps({"prediction": answer["Body"].read().decode(), "who": os.environ["WHO"]})}
  Api:
    Type: AWS::ApiGatewayV2::Api
    Properties: {Name: !Sub '${AWS::StackName}-api', ProtocolType: HTTP}
  Route:
    Type: AWS::ApiGatewayV2::Route
    Properties:
      ApiId: !Ref Api
      RouteKey: POST /predict
      Target: !Join [/, [integrations, !Ref Integration]]
  Integration:
    Type: AWS::ApiGatewayV2::Integration
    Properties:
      ApiId: !Ref Api
      IntegrationType: AWS_PROXY
      IntegrationUri: !Sub arn:aws:apigateway:${AWS::Region}:lambda:path/2015-03-31/functions/${Function.Arn}/invocations
      PayloadFormatVersion: '2.0'
  Deployment:
    Type: AWS::ApiGatewayV2::Deployment
    DependsOn: [Route]
    Properties: {ApiId: !Ref Api}
  Stage:
    Type: AWS::ApiGatewayV2::Stage
    Properties: {ApiId: !Ref Api, DeploymentId: !Ref Deployment, StageName: prod}
  Permission:
    Type: AWS::Lambda::Permission
    Properties:
      FunctionName: !Ref Function
      Action: lambda:InvokeFunction
      Principal: apigateway.amazonaws.com
      SourceArn: !Sub arn:aws:execute-api:${AWS::Region}:${AWS::AccountId}:${Api}/*/*
Outputs:
  Api: {Value: !Ref Api}
  Function: {Value: !Ref Function, Export: {Name: !Sub '${AWS::StackName}-function'}}
"""


def test_an_endpoint_behind_an_api(platform: Platform, name: str, model_data: str) -> None:
    """The shape of the templates that people have: role, function, API, permission."""
    deploy(platform, name, model_data)
    client = platform.client("cloudformation")
    body = API.replace("NAME", name)
    asked = {"Parameters": [{"ParameterKey": "Endpoint", "ParameterValue": name}]}
    for given, words in (
        ({"Capabilities": ["CAPABILITY_IAM"]}, r"Parameters: \[Endpoint\] must have values"),
        (asked, r"Requires capabilities : \[CAPABILITY_IAM\]"),
        ({**asked, "Capabilities": ["CAPABILITY_IAM"]}, rf"Parameters: \[ssm:/{name}/endpoint\] cannot be found"),
    ):
        with pytest.raises(ClientError, match=words):
            client.create_stack(StackName=name, TemplateBody=body, **given)
    platform.client("ssm").put_parameter(Name=f"/{name}/endpoint", Value=name, Type="String")
    stack = make(platform, name, body, **asked, Capabilities=["CAPABILITY_IAM"])
    assert stack["StackStatus"] == "CREATE_COMPLETE", why(platform, name)
    api = outputs(stack)["Api"]
    row = csv(table()[:1, 1:]).decode().strip()
    status, _, answer = ask(platform, api, "/prod/predict", "POST", row, Content_Type="text/csv")
    assert (status, answer["who"]) == (200, name), answer
    assert float(answer["prediction"]) == pytest.approx(predict(platform, name, table()[:1, 1:])[0], rel=1e-6)
    resources = {r["LogicalResourceId"]: r for r in client.describe_stack_resources(StackName=name)["StackResources"]}
    assert {r["ResourceStatus"] for r in resources.values()} == {"CREATE_COMPLETE"}
    function = outputs(stack)["Function"]
    assert resources["Function"]["PhysicalResourceId"] == function
    assert function.startswith(f"{name}-Function-")
    with pytest.raises(ClientError, match="already exists"):
        client.create_stack(StackName=name, TemplateBody=body, **asked, Capabilities=["CAPABILITY_IAM"])
    with pytest.raises(ClientError, match="No updates are to be performed"):
        client.update_stack(StackName=name, TemplateBody=body, **asked, Capabilities=["CAPABILITY_IAM"])
    changed = body.replace("WHO: !Ref AWS::StackName", "WHO: changed").replace("Timeout: '30'", "Timeout: 20")
    client.update_stack(StackName=name, TemplateBody=changed, **asked, Capabilities=["CAPABILITY_IAM"])
    assert settled(platform, name)["StackStatus"] == "UPDATE_COMPLETE", why(platform, name)
    assert ask(platform, api, "/prod/predict", "POST", row, Content_Type="text/csv")[2]["who"] == "changed"
    user = {
        "Resources": {
            "P": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Type": "String", "Value": {"Fn::ImportValue": f"{name}-function"}},
            }
        }
    }
    assert make(platform, f"{name}-user", user)["StackStatus"] == "CREATE_COMPLETE", why(platform, f"{name}-user")
    with pytest.raises(ClientError, match="cannot be deleted as it is in use"):
        client.delete_stack(StackName=name)
    client.delete_stack(StackName=f"{name}-user")
    client.get_waiter("stack_delete_complete").wait(StackName=f"{name}-user", WaiterConfig={"Delay": 1})
    client.delete_stack(StackName=name)
    assert settled(platform, stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", why(platform, stack["StackId"])
    with pytest.raises(ClientError, match=f"Stack with id {name} does not exist"):
        client.describe_stacks(StackName=name)
    with pytest.raises(ClientError, match="Function not found"):
        platform.client("lambda").get_function(FunctionName=function)
    assert ask(platform, api, "/prod/predict", "POST", row)[0] == 403


def test_a_failure_is_rolled_back(platform: Platform, name: str) -> None:
    template: dict[str, Any] = {
        "Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket"},
            "Kept": {"Type": "AWS::Logs::LogGroup", "DependsOn": "Bucket", "Properties": {"LogGroupName": f"/{name}/x"}},
            "Bad": {"Type": "AWS::Lambda::Function", "DependsOn": "Kept", "Properties": {"Role": "none", "Code": {"ZipFile": "x"}, "Runtime": "python3.12", "Handler": "i.h"}},
        }
    }  # fmt: skip
    stack = make(platform, name, template)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    events = why(platform, name)
    assert "The following resource(s) failed to create: [Bad]. Rollback requested by user." in events
    assert "Bad CREATE_FAILED Resource handler returned message:" in events and "at 'role' failed to satisfy" in events
    assert not platform.client("logs").describe_log_groups(logGroupNamePrefix=f"/{name}/")["logGroups"]
    assert not [b for b in platform.client("s3").list_buckets()["Buckets"] if b["Name"].startswith(f"{name}-bucket")]
    client = platform.client("cloudformation")
    with pytest.raises(ClientError, match="is in ROLLBACK_COMPLETE state and can not be updated"):
        client.update_stack(StackName=name, TemplateBody=json.dumps(template))
    client.delete_stack(StackName=name)
    assert settled(platform, stack["StackId"])["StackStatus"] == "DELETE_COMPLETE"
    del template["Resources"]["Bad"]
    assert make(platform, name, template)["StackStatus"] == "CREATE_COMPLETE"
    template["Resources"]["Kept"]["Properties"]["RetentionInDays"] = 7
    template["Resources"]["New"] = {"Type": "AWS::S3::Bucket"}
    template["Resources"]["Bad"] = {
        "DependsOn": ["New", "Kept"],
        "Type": "AWS::Lambda::Permission",
        "Properties": {"FunctionName": "none", "Action": "lambda:InvokeFunction", "Principal": "*"},
    }
    client.update_stack(StackName=name, TemplateBody=json.dumps(template))
    assert settled(platform, name)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", why(platform, name)
    assert [r["LogicalResourceId"] for r in client.list_stack_resources(StackName=name)["StackResourceSummaries"]] == [
        "Bucket",
        "Kept",
    ]


def test_a_model_and_its_endpoint(platform: Platform, name: str, model_data: str) -> None:
    from tests.jobs import IMAGE

    def template(instances: int) -> dict[str, Any]:
        variant = {
            "VariantName": "A",
            "ModelName": {"Fn::GetAtt": ["Model", "ModelName"]},
            "InstanceType": "ml.m5.large",
            "InitialInstanceCount": str(instances),
            "InitialVariantWeight": 1,
        }
        return {
            "Resources": {
                "Model": {"Type": "AWS::SageMaker::Model", "Properties": {"ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": model_data}}},
                "Config": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": {"ProductionVariants": [variant]}},
                "Endpoint": {"Type": "AWS::SageMaker::Endpoint", "Properties": {"EndpointConfigName": {"Fn::GetAtt": ["Config", "EndpointConfigName"]}}},
            },
            "Outputs": {"Name": {"Value": {"Fn::GetAtt": ["Endpoint", "EndpointName"]}}, "Ref": {"Value": {"Ref": "Endpoint"}}},
        }  # fmt: skip

    stack = make(platform, name, template(1))
    assert stack["StackStatus"] == "CREATE_COMPLETE", why(platform, name)
    endpoint = outputs(stack)["Name"]
    assert outputs(stack)["Ref"].endswith(f":endpoint/{endpoint.lower()}")
    assert len(predict(platform, endpoint, table()[:2, 1:])) == 2
    client = platform.client("cloudformation")
    client.update_stack(StackName=name, TemplateBody=json.dumps(template(2)))
    found = settled(platform, name)
    assert found["StackStatus"] == "UPDATE_COMPLETE", why(platform, name)
    described = platform.client("sagemaker").describe_endpoint(EndpointName=endpoint)
    assert described["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    configs = platform.client("sagemaker").list_endpoint_configs(NameContains=f"{name}-Config")["EndpointConfigs"]
    assert len(configs) == 1  # the replaced one has gone
    client.delete_stack(StackName=name)
    assert settled(platform, stack["StackId"])["StackStatus"] == "DELETE_COMPLETE", why(platform, stack["StackId"])
    assert not platform.client("sagemaker").list_models(NameContains=name)["Models"]


def test_change_sets(platform: Platform, name: str) -> None:
    client = platform.client("cloudformation")
    one = {
        "Parameters": {"V": {"Type": "String", "Default": "1"}},
        "Resources": {
            "P": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Name": f"/{name}/p", "Type": "String", "Value": {"Ref": "V"}},
            }
        },
    }
    client.create_change_set(StackName=name, ChangeSetName="c1", ChangeSetType="CREATE", TemplateBody=json.dumps(one))
    assert client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "REVIEW_IN_PROGRESS"
    found = client.describe_change_set(StackName=name, ChangeSetName="c1")
    assert (found["Status"], found["ExecutionStatus"]) == ("CREATE_COMPLETE", "AVAILABLE")
    assert [c["ResourceChange"]["Action"] for c in found["Changes"]] == ["Add"]
    client.execute_change_set(StackName=name, ChangeSetName="c1")
    assert settled(platform, name)["StackStatus"] == "CREATE_COMPLETE", why(platform, name)
    client.create_change_set(StackName=name, ChangeSetName="c2", TemplateBody=json.dumps(one))
    nothing = client.describe_change_set(StackName=name, ChangeSetName="c2")
    assert nothing["Status"] == "FAILED"
    assert "The submitted information didn't contain changes." in nothing["StatusReason"]
    two = [{"ParameterKey": "V", "ParameterValue": "2"}]
    client.create_change_set(StackName=name, ChangeSetName="c3", UsePreviousTemplate=True, Parameters=two)
    (change,) = client.describe_change_set(StackName=name, ChangeSetName="c3")["Changes"]
    assert (change["ResourceChange"]["Action"], change["ResourceChange"]["Replacement"]) == ("Modify", "False")
    client.execute_change_set(StackName=name, ChangeSetName="c3")
    assert settled(platform, name)["StackStatus"] == "UPDATE_COMPLETE", why(platform, name)
    assert platform.client("ssm").get_parameter(Name=f"/{name}/p")["Parameter"]["Value"] == "2"
    with pytest.raises(ClientError, match="does not exist"):
        client.describe_change_set(StackName=name, ChangeSetName="c9")
    client.delete_change_set(StackName=name, ChangeSetName="c9")  # gone is gone


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ("{", "Template format error: JSON not well-formed"),
        ("a: [", "Template format error: YAML not well-formed"),
        ("Resources: {}", "At least one Resources member must be defined"),
        ("Resources: {A: {}}", r"\[/Resources/A\] Every Resources object must contain a Type member"),
        ("Resources: {A: {Type: 'AWS::No::Thing'}}", r"Unrecognized resource types: \[AWS::No::Thing\]"),
        ("Resources: {A: {Type: 'AWS::S3::Bucket', Properties: {BucketName: !Ref B}}}", r"Unresolved resource dependencies \[B\]"),
        ("Resources: {A: {Type: 'AWS::S3::Bucket', DependsOn: B}, B: {Type: 'AWS::S3::Bucket', DependsOn: A}}", r"Circular dependency between resources: \[A, B\]"),
        ("Resources: {A: {Type: 'AWS::S3::Bucket'}}\nOutputs: {O: {Value: !Ref X}}", r"Unresolved resource dependencies \[X\] in the Outputs block"),
        ("Resources: {A: {Type: 'AWS::S3::Bucket', Properties: {BucketName: !FindInMap [M, a, b]}}}", "Unable to get mapping for M::a::b"),
        ("Other: 1\nResources: {A: {Type: 'AWS::S3::Bucket'}}", r"Invalid template property or properties \[Other\]"),
    ],
)  # fmt: skip
def test_templates_that_cannot_be(sqlite_platform: Platform, name: str, template: str, words: str) -> None:
    with pytest.raises(ClientError, match=words) as refused:
        sqlite_platform.client("cloudformation").create_stack(StackName=name, TemplateBody=template)
    assert refused.value.response["Error"]["Code"] == "ValidationError"
    with pytest.raises(ClientError, match="does not exist"):
        sqlite_platform.client("cloudformation").describe_stacks(StackName=name)


def test_a_stack_survives_control(sqlite_platform: Platform, name: str) -> None:

    platform = sqlite_platform
    client = platform.client("cloudformation")
    resources = {
        f"B{i}": {
            "Type": "AWS::SSM::Parameter",
            "Properties": {"Type": "String", "Value": "v"},
            **({"DependsOn": f"B{i - 1}"} if i else {}),
        }
        for i in range(12)
    }
    client.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": resources}))
    platform.kill("clary.server")

    def done() -> bool:
        try:
            return bool(client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"] == "CREATE_COMPLETE")
        except (BotoCoreError, ClientError):  # control is away
            return False

    until(done, 60, "the stack")
    assert len(client.list_stack_resources(StackName=name)["StackResourceSummaries"]) == 12


def bad(retention: int) -> dict[str, Any]:
    """A group whose retention only 7 days, say, can be; and a bucket after it."""
    group = {"Type": "AWS::Logs::LogGroup", "Properties": {"RetentionInDays": retention}}
    return {"Resources": {"First": {"Type": "AWS::S3::Bucket"}, "Group": group}}


def test_a_failed_update_may_stay_and_be_undone_or_mended(platform: Platform, name: str) -> None:
    client = platform.client("cloudformation")
    assert make(platform, name, bad(7))["StackStatus"] == "CREATE_COMPLETE"
    for way in ("undone", "mended"):
        client.update_stack(StackName=name, TemplateBody=json.dumps(bad(8)), DisableRollback=True)
        assert settled(platform, name)["StackStatus"] == "UPDATE_FAILED"
        if way == "undone":
            client.rollback_stack(StackName=name)
            assert settled(platform, name)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
        else:
            client.update_stack(StackName=name, TemplateBody=json.dumps(bad(14)))
            assert settled(platform, name)["StackStatus"] == "UPDATE_COMPLETE", why(platform, name)
    for call in (client.rollback_stack, client.continue_update_rollback, client.cancel_update_stack):
        with pytest.raises(ClientError) as failure:
            call(StackName=name)
        assert failure.value.response["Error"]["Code"] == "ValidationError"
    assert make(platform, f"{name}-2", bad(8), OnFailure="DO_NOTHING")["StackStatus"] == "CREATE_FAILED"
    client.rollback_stack(StackName=f"{name}-2")
    assert settled(platform, f"{name}-2")["StackStatus"] == "ROLLBACK_COMPLETE"


SLOW = """
import cfnresponse, os, time
def handler(event, context):
    if event["RequestType"] == "Update" and event["ResourceProperties"]["Wait"] == "true":
        return  # nobody is ever told
    fails = event["ResourceProperties"].get("Fail") == event["RequestType"]
    cfnresponse.send(event, context, cfnresponse.FAILED if fails else cfnresponse.SUCCESS, {}, "mine")
"""


def custom(name: str, wait: bool, **more: Any) -> dict[str, Any]:
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}  # fmt: skip
    return {
        "Resources": {
            "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": trust}},
            "Function": {"Type": "AWS::Lambda::Function", "Properties": {"Runtime": "python3.12", "Handler": "index.handler", "Role": {"Fn::GetAtt": "Role.Arn"}, "Code": {"ZipFile": SLOW}}},
            "Mine": {"Type": "Custom::Mine", "Properties": {"ServiceToken": {"Fn::GetAtt": "Function.Arn"}, "Wait": wait, **more}},
        }
    }  # fmt: skip


def test_an_update_is_cancelled_and_going_back_goes_on(platform: Platform, name: str) -> None:
    client, allowed = platform.client("cloudformation"), {"Capabilities": ["CAPABILITY_IAM"]}
    assert make(platform, name, custom(name, False), **allowed)["StackStatus"] == "CREATE_COMPLETE", why(platform, name)
    client.update_stack(StackName=name, TemplateBody=json.dumps(custom(name, True)), **allowed)
    until(lambda: "Mine UPDATE_IN_PROGRESS" in why(platform, name), what="the update waits for the function")
    client.cancel_update_stack(StackName=name)
    assert settled(platform, name)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", why(platform, name)
    assert "UPDATE_ROLLBACK_IN_PROGRESS User Initiated" in why(platform, name)
    # neither the update nor going back from it works: then it goes on without that resource
    broken = custom(name, False, Fail="Update")
    assert make(platform, f"{name}-2", broken, **allowed)["StackStatus"] == "CREATE_COMPLETE"
    changed = custom(name, False, Fail="Update", More=1)
    client.update_stack(StackName=f"{name}-2", TemplateBody=json.dumps(changed), **allowed)
    settled_as = settled(platform, f"{name}-2")["StackStatus"]
    assert settled_as == "UPDATE_ROLLBACK_FAILED", why(platform, f"{name}-2")
    client.continue_update_rollback(StackName=f"{name}-2")
    assert settled(platform, f"{name}-2")["StackStatus"] == "UPDATE_ROLLBACK_FAILED"
    client.continue_update_rollback(StackName=f"{name}-2", ResourcesToSkip=["Mine"])
    assert settled(platform, f"{name}-2")["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
