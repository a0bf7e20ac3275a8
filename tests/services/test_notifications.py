"""S3 tells Lambda functions what happens to a bucket's objects."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.platform import Platform, until

from .test_cloudformation import make, why
from .test_functions import create

TELLS = """
import json
def handler(event, context):
    for record in event.get("Records", []):
        item = record["s3"]["object"]
        print("TOLD", json.dumps([record["eventName"], item["key"], item.get("size"), record["s3"]["configurationId"]]))
"""


def told(platform: Platform, name: str) -> list[Any]:
    logs = platform.client("logs")
    try:
        events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}", filterPattern="TOLD")["events"]
    except logs.exceptions.ResourceNotFoundException:
        return []
    return sorted(json.loads(e["message"].split("TOLD ")[1]) for e in events)


def rule(arn: str, events: list[str], prefix: str = "", suffix: str = "", **more: Any) -> dict[str, Any]:
    rules = [{"Name": n, "Value": v} for n, v in (("prefix", prefix), ("suffix", suffix)) if v]
    return {"LambdaFunctionArn": arn, "Events": events, "Filter": {"Key": {"FilterRules": rules}}, **more}


def configure(platform: Platform, name: str, *rules: dict[str, Any], **more: Any) -> None:
    wanted = {"LambdaFunctionConfigurations": list(rules)}
    platform.client("s3").put_bucket_notification_configuration(
        Bucket=name, NotificationConfiguration=wanted, **more
    )  # fmt: skip


def ready(platform: Platform, name: str) -> str:
    """A bucket, and a function that it may call."""
    platform.client("s3").create_bucket(Bucket=name)
    client = create(platform, name, TELLS)
    client.add_permission(
        FunctionName=name, StatementId="s3", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn=f"arn:aws:s3:::{name}",
    )  # fmt: skip
    arn: str = client.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    return arn


def test_functions_are_told(platform: Platform, name: str) -> None:
    arn, s3 = ready(platform, name), platform.client("s3")
    configure(
        platform, name, rule(arn, ["s3:ObjectCreated:*"], "in/", ".csv", Id="made"), rule(arn, ["s3:ObjectRemoved:*"], Id="gone")
    )  # fmt: skip
    shown = s3.get_bucket_notification_configuration(Bucket=name)["LambdaFunctionConfigurations"]
    assert [r["Id"] for r in shown] == ["made", "gone"]
    s3.put_object(Bucket=name, Key="in/a b.csv", Body=b"1,2")
    s3.put_object(Bucket=name, Key="in/a.txt", Body=b"not told")
    s3.put_object(Bucket=name, Key="out/a.csv", Body=b"not told")
    s3.copy_object(Bucket=name, Key="in/copy.csv", CopySource=f"{name}/out/a.csv")
    upload = s3.create_multipart_upload(Bucket=name, Key="in/parts.csv")["UploadId"]
    place = {"Bucket": name, "Key": "in/parts.csv", "UploadId": upload}
    etag = s3.upload_part(**place, PartNumber=1, Body=b"x" * 20_000)["ETag"]
    s3.complete_multipart_upload(**place, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    s3.delete_object(Bucket=name, Key="in/a.txt")
    s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "out/a.csv"}, {"Key": "never there"}]})
    wanted = [
        ["ObjectCreated:CompleteMultipartUpload", "in/parts.csv", 20_000, "made"],
        ["ObjectCreated:Copy", "in/copy.csv", 8, "made"],
        ["ObjectCreated:Put", "in/a+b.csv", 3, "made"],
        ["ObjectRemoved:Delete", "in/a.txt", None, "gone"],
        ["ObjectRemoved:Delete", "out/a.csv", None, "gone"],
    ]
    until(lambda: len(told(platform, name)) >= len(wanted), what="the function was told")
    assert told(platform, name) == wanted
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    s3.delete_object(Bucket=name, Key="in/copy.csv")
    until(lambda: len(told(platform, name)) > len(wanted), what="the marker was told of")
    assert ["ObjectRemoved:DeleteMarkerCreated", "in/copy.csv", None, "gone"] in told(platform, name)
    configure(platform, name)
    assert "LambdaFunctionConfigurations" not in s3.get_bucket_notification_configuration(Bucket=name)


def test_what_cannot_be_is_refused(platform: Platform, name: str) -> None:
    arn, made = ready(platform, name), ["s3:ObjectCreated:*"]
    other = f"{arn}-not-there"
    s3 = platform.client("s3")
    for rules, words in (
        ([rule(other, made)], "Unable to validate the following destination configurations"),
        ([rule(arn, made, "a"), rule(arn, ["s3:ObjectCreated:Put"], "a/b")], "ambiguously defined"),
        ([rule(arn, ["s3:ObjectRestore:*"])], r"The event 's3:ObjectRestore:\*' is not supported"),
        ([rule(arn, made, Id="x"), rule(arn, ["s3:ObjectRemoved:*"], Id="x")], "Same ID"),
    ):
        with pytest.raises(ClientError, match=words) as failure:
            configure(platform, name, *rules)
        assert failure.value.response["Error"]["Code"] == "InvalidArgument"
    configure(platform, name, rule(other, made), SkipDestinationValidation=True)
    configure(platform, name, rule(arn, made, "a", ".x"), rule(arn, made, "a", ".y"))
    queue = {"QueueConfigurations": [{"QueueArn": "arn:aws:sqs:us-east-1:123456789012:q", "Events": made}]}
    with pytest.raises(ClientError, match="Clary has no SQS"):
        s3.put_bucket_notification_configuration(Bucket=name, NotificationConfiguration=queue)
    platform.client("lambda").remove_permission(FunctionName=name, StatementId="s3")
    with pytest.raises(ClientError, match="Unable to validate") as failure:
        configure(platform, name, rule(arn, made))
    assert "Not authorized to invoke function" in str(failure.value.response["Error"])


def test_a_stack_ties_a_bucket_to_a_function(platform: Platform, name: str) -> None:
    """The order that people write: function, permission, then the bucket that depends on it."""
    resources: dict[str, Any] = {
        "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}}},
        "Function": {"Type": "AWS::Lambda::Function", "Properties": {"FunctionName": name, "Runtime": "python3.12", "Handler": "index.handler", "Role": {"Fn::GetAtt": "Role.Arn"}, "Code": {"ZipFile": TELLS}}},
        "Permission": {"Type": "AWS::Lambda::Permission", "Properties": {"FunctionName": {"Ref": "Function"}, "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com", "SourceAccount": {"Ref": "AWS::AccountId"}, "SourceArn": f"arn:aws:s3:::{name}"}},
        "Bucket": {"Type": "AWS::S3::Bucket", "DependsOn": "Permission", "Properties": {"BucketName": name, "NotificationConfiguration": {"LambdaConfigurations": [{"Event": "s3:ObjectCreated:Put", "Function": {"Fn::GetAtt": "Function.Arn"}, "Filter": {"S3Key": {"Rules": [{"Name": "suffix", "Value": ".csv"}]}}}]}}},
    }  # fmt: skip
    stack = make(platform, name, {"Resources": resources}, Capabilities=["CAPABILITY_IAM"])
    assert stack["StackStatus"] == "CREATE_COMPLETE", why(platform, name)
    platform.client("s3").put_object(Bucket=name, Key="x.csv", Body=b"1")
    until(lambda: told(platform, name), what="the function was told")


def test_no_event_is_lost_with_control(own_platform: Platform, name: str) -> None:
    """Whatever was acknowledged is told of, although control dies right after it."""
    arn = ready(own_platform, name)
    configure(own_platform, name, rule(arn, ["s3:ObjectCreated:*"], Id="m"))
    s3 = own_platform.client("s3")
    for number in range(5):
        s3.put_object(Bucket=name, Key=str(number), Body=b"x")
    own_platform.kill("clary.server")
    until(lambda: {t[1] for t in told(own_platform, name)} >= set("01234") if _back(own_platform) else False)


def _back(platform: Platform) -> bool:
    try:
        return bool(platform.client("logs").describe_log_groups())
    except (BotoCoreError, ClientError):  # control is away
        return False
