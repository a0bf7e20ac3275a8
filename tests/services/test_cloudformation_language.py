"""Templates that are more than a list of resources: SAM, loops, rules, stacks in stacks, resources of one's own."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.jobs import messages
from tests.platform import Platform, until

from .test_cloudformation import make, outputs, settled, why
from .test_http_apis import ask

ALL = ["CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"]
SAM = """
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters: {Greeting: {Type: String, Default: hello}}
Globals:
  Function: {Runtime: python3.12, Handler: index.handler, Timeout: 10, Environment: {Variables: {GREETING: !Ref Greeting}}}
Resources:
  Greeter:
    Type: AWS::Serverless::Function
    Properties:
      InlineCode: |
        import json, os
        def handler(event, context):
            told = {"greeting": os.environ["GREETING"], "path": event.get("rawPath") or event["path"]}
            return {"statusCode": 200, "body": json.dumps(told)}
      Policies: [AmazonS3ReadOnlyAccess, {Statement: [{Effect: Allow, Action: 'sagemaker:InvokeEndpoint', Resource: '*'}]}]
      Events:
        Rest: {Type: Api, Properties: {Path: "/greet/{name}", Method: get}}
        Http: {Type: HttpApi, Properties: {Path: /greet, Method: post}}
Outputs:
  Rest: {Value: !Ref ServerlessRestApi}
  Http: {Value: !Ref ServerlessHttpApi}
  Role: {Value: !GetAtt GreeterRole.Arn}
"""


def test_a_serverless_application(platform: Platform, name: str) -> None:
    with pytest.raises(ClientError, match=r"Requires capabilities : \[CAPABILITY_AUTO_EXPAND\]"):
        make(platform, name, SAM)
    with pytest.raises(ClientError, match=r"Requires capabilities : \[CAPABILITY_IAM\]"):
        make(platform, name, SAM, Capabilities=["CAPABILITY_AUTO_EXPAND"])
    found = make(platform, name, SAM, Capabilities=ALL)
    assert found["StackStatus"] == "CREATE_COMPLETE", why(platform, name)
    told = outputs(found)
    assert ask(platform, told["Rest"], "/Prod/greet/you")[2] == {"greeting": "hello", "path": "/greet/you"}
    assert json.loads(ask(platform, told["Http"], "/greet", "POST", "x")[2]) == {"greeting": "hello", "path": "/greet"}
    client = platform.client("cloudformation")
    assert client.get_template(StackName=name)["TemplateBody"] == SAM
    processed = client.get_template(StackName=name, TemplateStage="Processed")["TemplateBody"]
    types = {
        r["Type"] for r in (processed if isinstance(processed, dict) else json.loads(processed))["Resources"].values()
    }
    assert "AWS::Lambda::Function" in types and not any(t.startswith("AWS::Serverless") for t in types)
    with pytest.raises(ClientError, match="No updates are to be performed"):
        client.update_stack(StackName=name, UsePreviousTemplate=True, Capabilities=ALL)
    given = [{"ParameterKey": "Greeting", "ParameterValue": "good day"}]
    client.update_stack(StackName=name, UsePreviousTemplate=True, Parameters=given, Capabilities=ALL)
    assert settled(platform, name)["StackStatus"] == "UPDATE_COMPLETE", why(platform, name)
    assert ask(platform, told["Rest"], "/Prod/greet/you")[2]["greeting"] == "good day"
    client.delete_stack(StackName=name)
    assert settled(platform, found["StackId"])["StackStatus"] == "DELETE_COMPLETE", why(platform, found["StackId"])


LOOPS = """
Transform: AWS::LanguageExtensions
Parameters: {Names: {Type: CommaDelimitedList, Default: 'north,south-1'}}
Mappings: {Days: {north: {Kept: '7'}}}
Resources:
  Fn::ForEach::Groups:
    - Name
    - !Ref Names
    - Group&{Name}:
        Type: AWS::Logs::LogGroup
        Properties:
          LogGroupName: !Sub '/STACK/${Name}'
          RetentionInDays: !FindInMap [Days, !Ref Name, Kept, {DefaultValue: '30'}]
Outputs:
  Count: {Value: {'Fn::Length': !Ref Names}}
  Text: {Value: {'Fn::ToJsonString': {a: [1, !Ref 'AWS::Region']}}}
  Blocks: {Value: !Join [' ', !Cidr [10.0.0.0/16, 3, 8]]}
"""


def test_loops_and_the_newer_functions(platform: Platform, name: str) -> None:
    found = make(platform, name, LOOPS.replace("STACK", name), Capabilities=ALL)
    assert found["StackStatus"] == "CREATE_COMPLETE", why(platform, name)
    told = outputs(found)
    assert told == {"Count": "2", "Text": '{"a":[1,"us-east-1"]}', "Blocks": "10.0.0.0/24 10.0.1.0/24 10.0.2.0/24"}
    groups = platform.client("logs").describe_log_groups(logGroupNamePrefix=f"/{name}/")["logGroups"]
    assert {g["logGroupName"].rpartition("/")[2]: g["retentionInDays"] for g in groups} == {"north": 7, "south-1": 30}
    resources = platform.client("cloudformation").describe_stack_resources(StackName=name)["StackResources"]
    assert {r["LogicalResourceId"] for r in resources} == {"Groupnorth", "Groupsouth1"}


def test_stacks_in_stacks(platform: Platform, name: str) -> None:
    inner = {
        "Parameters": {"Days": {"Type": "Number"}},
        "Resources": {"Group": {"Type": "AWS::Logs::LogGroup", "Properties": {"LogGroupName": f"/{name}", "RetentionInDays": {"Ref": "Days"}}}},
        "Outputs": {"Name": {"Value": {"Ref": "Group"}}},
    }  # fmt: skip
    s3 = platform.client("s3")
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="inner.json", Body=json.dumps(inner))

    def outer(days: int) -> dict[str, Any]:
        address = f"https://s3.amazonaws.com/{name}/inner.json"
        nested = {
            "Type": "AWS::CloudFormation::Stack",
            "Properties": {"TemplateURL": address, "Parameters": {"Days": days}},
        }
        return {
            "Resources": {"Inner": nested},
            "Outputs": {"Name": {"Value": {"Fn::GetAtt": ["Inner", "Outputs.Name"]}}},
        }

    found = make(platform, name, outer(3))
    assert found["StackStatus"] == "CREATE_COMPLETE", why(platform, name)
    assert outputs(found) == {"Name": f"/{name}"}
    client = platform.client("cloudformation")
    client.update_stack(StackName=name, TemplateBody=json.dumps(outer(5)))
    assert settled(platform, name)["StackStatus"] == "UPDATE_COMPLETE", why(platform, name)
    (group,) = platform.client("logs").describe_log_groups(logGroupNamePrefix=f"/{name}")["logGroups"]
    assert group["retentionInDays"] == 5
    client.update_stack(StackName=name, TemplateBody=json.dumps(outer(4)))  # no number of days that logs take
    assert settled(platform, name)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE", why(platform, name)
    assert "Embedded stack" in why(platform, name)
    client.delete_stack(StackName=name)
    assert settled(platform, found["StackId"])["StackStatus"] == "DELETE_COMPLETE", why(platform, found["StackId"])
    assert not platform.client("logs").describe_log_groups(logGroupNamePrefix=f"/{name}")["logGroups"]


CUSTOM = """
Parameters: {Wanted: {Type: String}}
Resources:
  Role:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {Version: '2012-10-17', Statement: [{Effect: Allow, Principal: {Service: lambda.amazonaws.com}, Action: 'sts:AssumeRole'}]}
  Maker:
    Type: AWS::Lambda::Function
    Properties:
      Runtime: python3.12
      Handler: index.handler
      Role: !GetAtt Role.Arn
      Code:
        ZipFile: |
          import json, boto3, cfnresponse
          def handler(event, context):
              wanted = event["ResourceProperties"]["Wanted"]
              assert event["StackId"].count("/") == 2, event["StackId"]
              print("ASKED", event["RequestType"], json.dumps(event["ResourceProperties"]), flush=True)
              if wanted == "trouble" or (wanted == "stays" and event["RequestType"] == "Delete"):
                  cfnresponse.send(event, context, cfnresponse.FAILED, {}, reason="there is no such thing")
              else:
                  print("IS", event["RequestType"], event.get("PhysicalResourceId"), wanted, flush=True)
                  made = "made-2" if wanted == "another" else "made-1"
                  cfnresponse.send(event, context, cfnresponse.SUCCESS, {"Shout": wanted.upper()}, made)
  Thing:
    Type: Custom::Shout
    Properties: {ServiceToken: !GetAtt Maker.Arn, Wanted: !Ref Wanted, Count: 3, Yes: true}
Outputs:
  Shout: {Value: !GetAtt Thing.Shout}
  Id: {Value: !Ref Thing}
"""


def test_resources_that_a_function_makes(platform: Platform, name: str) -> None:
    def given(wanted: str) -> list[dict[str, str]]:
        return [{"ParameterKey": "Wanted", "ParameterValue": wanted}]

    found = make(platform, name, CUSTOM, Parameters=given("loud"), Capabilities=ALL)
    assert found["StackStatus"] == "CREATE_COMPLETE", why(platform, name)
    assert outputs(found) == {"Shout": "LOUD", "Id": "made-1"}
    client = platform.client("cloudformation")
    client.update_stack(StackName=name, TemplateBody=CUSTOM, Parameters=given("louder"), Capabilities=ALL)
    assert outputs(settled(platform, name))["Shout"] == "LOUDER", why(platform, name)
    client.update_stack(StackName=name, TemplateBody=CUSTOM, Parameters=given("another"), Capabilities=ALL)
    assert outputs(settled(platform, name)) == {"Shout": "ANOTHER", "Id": "made-2"}, why(platform, name)
    function = client.describe_stack_resource(StackName=name, LogicalResourceId="Maker")["StackResourceDetail"]["PhysicalResourceId"]  # fmt: skip
    said = messages(platform, f"/aws/lambda/{function}", "")
    assert [s for s in said if s.startswith("IS Delete")] == ["IS Delete made-1 louder"]  # the one that it had before
    client.update_stack(StackName=name, TemplateBody=CUSTOM, Parameters=given("trouble"), Capabilities=ALL)
    assert settled(platform, name)["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "Message returned: there is no such thing" in why(platform, name)
    client.delete_stack(StackName=name)
    assert settled(platform, found["StackId"])["StackStatus"] == "DELETE_COMPLETE", why(platform, found["StackId"])


def test_a_resource_that_will_not_go_is_asked_again(platform: Platform, name: str) -> None:
    given = [{"ParameterKey": "Wanted", "ParameterValue": "stays"}]
    assert make(platform, name, CUSTOM, Parameters=given, Capabilities=ALL)["StackStatus"] == "CREATE_COMPLETE"
    client = platform.client("cloudformation")
    function = client.describe_stack_resource(StackName=name, LogicalResourceId="Maker")["StackResourceDetail"]["PhysicalResourceId"]  # fmt: skip
    for times in (1, 2):
        client.delete_stack(StackName=name)
        assert settled(platform, name)["StackStatus"] == "DELETE_FAILED"
        assert "Message returned: there is no such thing" in why(platform, name)
        until(lambda times=times: _asked(platform, function) == times)  # type: ignore[misc]


def _asked(platform: Platform, function: str) -> int:
    """How often a function was asked to remove something; its streams are called by dates."""
    return sum(m.startswith("ASKED Delete") for m in messages(platform, f"/aws/lambda/{function}", "20"))


GROUP = {"Resources": {"Group": {"Type": "AWS::Logs::LogGroup"}}}


@pytest.mark.parametrize(
    ("template", "words"),
    [
        ({**GROUP, "Transform": "AWS::Unknown-2020"}, "No transform named"),
        ({**GROUP, "Transform": "AWS::LanguageExtensions", "Outputs": {"Fn::ForEach::X": ["a"]}}, "Fn::ForEach::X must be"),
        ({"Transform": "AWS::Serverless-2016-10-31", "Resources": {"F": {"Type": "AWS::Serverless::Function", "Properties": {}}}}, "Resource with id .F. is invalid"),
        ({**GROUP, "Rules": {"Never": {"Assertions": [{"Assert": {"Fn::Contains": [["a", "b"], {"Ref": "P"}]}, "AssertDescription": "P is a or b"}]}}, "Parameters": {"P": {"Type": "String", "Default": "c"}}}, "P is a or b"),
        ({**GROUP, "Outputs": {"O": {"Value": {"Fn::Select": [0, {"Fn::Cidr": ["10.0.0.0/24", 9, 8]}]}}}}, None),
    ],
)  # fmt: skip
def test_bad_templates_are_refused_before_anything_is_made(
    sqlite_platform: Platform, name: str, template: Any, words: str | None
) -> None:
    if words is None:
        found = make(sqlite_platform, name, template)
        assert found["StackStatus"] == "ROLLBACK_COMPLETE"
        return
    with pytest.raises(ClientError, match=words):
        make(sqlite_platform, name, template, Capabilities=ALL)
    with pytest.raises(ClientError, match="does not exist"):
        sqlite_platform.client("cloudformation").describe_stacks(StackName=name)
