"""Secrets through boto3, and what templates make of them."""

from __future__ import annotations

import json
import sqlite3
import string
import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clary.provider.errors import AwsError
from clary.services.secretsmanager import password
from tests.platform import Platform
from tests.services.test_ssm import code

LABELS = st.lists(st.sampled_from(["AWSCURRENT", "AWSPENDING", "a", "b"]), min_size=1, max_size=3, unique=True)


def test_a_secret_has_a_current_and_a_previous_value(platform: Platform, name: str) -> None:
    client = platform.client("secretsmanager")
    made = client.create_secret(
        Name=f"{name}/db", Description="d", SecretString="one", Tags=[{"Key": "team", "Value": "a"}]
    )
    assert made["ARN"].startswith(f"arn:aws:secretsmanager:us-east-1:000000000000:secret:{name}/db-")
    for identifier in (f"{name}/db", made["ARN"], made["ARN"][:-7]):
        found = client.get_secret_value(SecretId=identifier)
        assert (found["SecretString"], found["VersionId"], found["VersionStages"]) == (
            "one",
            made["VersionId"],
            ["AWSCURRENT"],
        )
    put = client.put_secret_value(SecretId=f"{name}/db", SecretBinary=b"\x00two")
    assert put["VersionStages"] == ["AWSCURRENT"]
    assert client.get_secret_value(SecretId=f"{name}/db")["SecretBinary"] == b"\x00two"
    assert client.get_secret_value(SecretId=f"{name}/db", VersionStage="AWSPREVIOUS")["SecretString"] == "one"
    client.update_secret(SecretId=f"{name}/db", SecretString="three", Description="other")
    found = client.describe_secret(SecretId=f"{name}/db")
    assert found["Description"] == "other" and found["Tags"] == [{"Key": "team", "Value": "a"}]
    assert sorted(found["VersionIdsToStages"].values()) == [["AWSCURRENT"], ["AWSPREVIOUS"]]
    assert len(client.list_secret_version_ids(SecretId=f"{name}/db", IncludeDeprecated=True)["Versions"]) == 3
    assert len(client.list_secret_version_ids(SecretId=f"{name}/db")["Versions"]) == 2
    listed = client.list_secrets(Filters=[{"Key": "name", "Values": [f"{name}/"]}])["SecretList"]
    assert [s["Name"] for s in listed] == [f"{name}/db"]
    values = client.batch_get_secret_value(SecretIdList=[f"{name}/db", f"{name}/none"])
    assert values["SecretValues"][0]["SecretString"] == "three"
    assert values["Errors"][0]["ErrorCode"] == "ResourceNotFoundException"


def test_labels_move_as_they_are_told(platform: Platform, name: str) -> None:
    client = platform.client("secretsmanager")
    first = client.create_secret(Name=name, SecretString="1")["VersionId"]
    pending = client.put_secret_value(SecretId=name, SecretString="2", VersionStages=["AWSPENDING"])["VersionId"]
    assert client.get_secret_value(SecretId=name)["SecretString"] == "1"
    move = {"SecretId": name, "VersionStage": "AWSCURRENT", "MoveToVersionId": pending}
    error, words = code(client.update_secret_version_stage, **move)
    assert error == "InvalidParameterException" and first in words
    client.update_secret_version_stage(**move, RemoveFromVersionId=first)
    assert client.get_secret_value(SecretId=name)["VersionStages"] == ["AWSPENDING", "AWSCURRENT"]
    assert client.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")["SecretString"] == "1"
    client.update_secret_version_stage(SecretId=name, VersionStage="AWSPENDING", RemoveFromVersionId=pending)
    assert client.get_secret_value(SecretId=name, VersionId=pending)["VersionStages"] == ["AWSCURRENT"]


def test_what_is_refused(platform: Platform, name: str) -> None:
    client = platform.client("secretsmanager")
    error, words = code(client.get_secret_value, SecretId=name)
    assert (error, words) == ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
    token = str(uuid.uuid4())
    made = client.create_secret(Name=name, SecretString="1", ClientRequestToken=token)
    assert client.create_secret(Name=name, SecretString="1", ClientRequestToken=token)["ARN"] == made["ARN"]
    error, words = code(client.create_secret, Name=name, SecretString="2")
    assert (error, words) == (
        "ResourceExistsException",
        f"The operation failed because the secret {name} already exists.",
    )
    error, words = code(client.put_secret_value, SecretId=name, SecretString="2", ClientRequestToken=token)
    assert error == "ResourceExistsException" and token in words
    error, words = code(client.get_secret_value, SecretId=name, VersionStage="none")
    assert words == "Secrets Manager can't find the specified secret value for staging label: none"
    assert code(client.put_secret_value, SecretId=name)[0] == "InvalidParameterException"
    assert code(client.put_secret_value, SecretId=name, SecretString="x" * 65537)[0] in (
        "InvalidParameterException",
        "ValidationException",
    )
    assert code(client.delete_secret, SecretId=name, RecoveryWindowInDays=3)[0] == "InvalidParameterException"
    assert code(client.create_secret, Name=f"{name} no")[0] == "ValidationException"
    client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    error, words = code(client.get_secret_value, SecretId=name)
    assert error == "InvalidRequestException" and "marked for deletion" in words
    assert code(client.create_secret, Name=name, SecretString="2")[0] == "InvalidRequestException"
    assert client.describe_secret(SecretId=name)["DeletedDate"]
    client.restore_secret(SecretId=name)
    assert client.get_secret_value(SecretId=name)["SecretString"] == "1"
    client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    assert code(client.describe_secret, SecretId=name)[0] == "ResourceNotFoundException"
    client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def test_values_are_not_on_disk_as_they_are(sqlite_platform: Platform, name: str) -> None:
    secret = f"do-not-tell-{name}"
    sqlite_platform.client("secretsmanager").create_secret(Name=name, SecretString=secret)
    with sqlite3.connect(f"file:{sqlite_platform.home / 'clary.db'}?mode=ro", uri=True) as database:
        (row,) = database.execute("select private from resource where kind = 'Secret' and name = ?", (name,))
    assert secret not in row[0] and "Value" in row[0]
    assert secret not in sqlite_platform.log()


FLAGS = ("ExcludeLowercase", "ExcludeUppercase", "ExcludeNumbers", "ExcludePunctuation", "IncludeSpace", "RequireEachIncludedType")  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    st.fixed_dictionaries({}, optional={flag: st.booleans() for flag in FLAGS}),
    st.integers(1, 40), st.text(string.ascii_lowercase + string.digits, max_size=36),
)  # fmt: skip
def test_passwords_are_as_they_were_asked_for(asked: dict[str, Any], length: int, excluded: str) -> None:
    try:
        found = password({**asked, "PasswordLength": length, "ExcludeCharacters": excluded})
    except AwsError as error:
        assert error.code == "InvalidParameterException"
        return
    assert len(found) == length and not set(found) & set(excluded)
    kinds = {
        "ExcludeLowercase": string.ascii_lowercase, "ExcludeUppercase": string.ascii_uppercase,
        "ExcludeNumbers": string.digits, "ExcludePunctuation": string.punctuation,
    }  # fmt: skip
    for flag, text in kinds.items():
        left = set(text) - set(excluded)
        if asked.get(flag):
            assert not set(found) & set(text)
        elif left and asked.get("RequireEachIncludedType", True):
            assert set(found) & left
    assert (" " in found) <= bool(asked.get("IncludeSpace"))


TEMPLATE = """
Parameters: {Length: {Type: Number, Default: "20"}, Note: {Type: String, Default: first}}
Resources:
  Login:
    Type: AWS::SecretsManager::Secret
    Properties:
      Description: !Ref Note
      GenerateSecretString:
        SecretStringTemplate: '{"username": "admin"}'
        GenerateStringKey: password
        PasswordLength: !Ref Length
        ExcludePunctuation: true
  Plain:
    Type: AWS::SSM::Parameter
    Properties: {Type: String, Value: !Sub "{{resolve:secretsmanager:${Login}:SecretString:username}}"}
  Whole:
    Type: AWS::SSM::Parameter
    Properties: {Type: String, Value: "{{resolve:secretsmanager:NAME}}"}
Outputs:
  Arn: {Value: !Ref Login}
  Plain: {Value: !Ref Plain}
  Whole: {Value: !Ref Whole}
"""


def test_templates_make_secrets_and_read_them(platform: Platform, name: str) -> None:
    client, ssm, stacks = (platform.client(s) for s in ("secretsmanager", "ssm", "cloudformation"))
    client.create_secret(Name=name, SecretString="outside")
    body = TEMPLATE.replace("NAME", name)
    stacks.create_stack(StackName=name, TemplateBody=body)
    stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.2})
    told = stacks.describe_stacks(StackName=name)["Stacks"][0]
    found = {o["OutputKey"]: o["OutputValue"] for o in told["Outputs"]}
    assert ssm.get_parameter(Name=found["Plain"])["Parameter"]["Value"] == "admin"
    assert ssm.get_parameter(Name=found["Whole"])["Parameter"]["Value"] == "outside"
    value = json.loads(client.get_secret_value(SecretId=found["Arn"])["SecretString"])
    assert value["username"] == "admin" and len(value["password"]) == 20 and value["password"].isalnum()
    note = [{"ParameterKey": "Note", "ParameterValue": "second"}]
    stacks.update_stack(StackName=name, TemplateBody=body, Parameters=note)
    stacks.get_waiter("stack_update_complete").wait(StackName=name, WaiterConfig={"Delay": 0.2})
    assert client.describe_secret(SecretId=found["Arn"])["Description"] == "second"
    assert json.loads(client.get_secret_value(SecretId=found["Arn"])["SecretString"]) == value
    stacks.delete_stack(StackName=name)
    stacks.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 0.2})
    assert code(client.describe_secret, SecretId=found["Arn"])[0] == "ResourceNotFoundException"


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("NAME-none", "can't find the specified secret"), ("NAME:SecretString:key", "no JSON object with the key key"),
        ("NAME:SecretBinary", "SecretString is the only part"), ("NAME:SecretString::none", "staging label: none"),
    ],
)  # fmt: skip
def test_references_that_cannot_be_resolved(sqlite_platform: Platform, name: str, reference: str, told: str) -> None:
    sqlite_platform.client("secretsmanager").create_secret(Name=name, SecretString="text")
    stacks = sqlite_platform.client("cloudformation")
    properties = {"Type": "String", "Value": f"{{{{resolve:secretsmanager:{reference.replace('NAME', name)}}}}}"}
    body = {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": properties}}}
    stacks.create_stack(StackName=name, TemplateBody=json.dumps(body), OnFailure="DELETE")
    with pytest.raises(Exception, match="Waiter StackCreateComplete failed"):
        stacks.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 0.2})
    stack = next(s["StackId"] for s in stacks.list_stacks()["StackSummaries"] if s["StackName"] == name)
    events = stacks.describe_stack_events(StackName=stack)["StackEvents"]
    assert any(told in e.get("ResourceStatusReason", "") for e in events), events
