"""Signatures are verified, in the words of each protocol; IAM and STS keep what they are told."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.platform import Platform, until

TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "sagemaker.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)
ALLOW = json.dumps(
    {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "arn:aws:s3:::b/*"}]}
)


def refused(call: Any, **params: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as error:
        call(**params)
    answer = error.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


@pytest.mark.parametrize(
    ("service", "operation", "code", "status"),
    [
        ("sts", "get_caller_identity", "SignatureDoesNotMatch", 403),
        ("sagemaker", "list_endpoints", "InvalidSignatureException", 400),
        ("s3", "list_buckets", "SignatureDoesNotMatch", 403),
    ],
)
def test_a_wrong_secret_is_refused(platform: Platform, service: str, operation: str, code: str, status: int) -> None:
    key_id, _ = platform.root_key
    client = platform.client(service, (key_id, "wrong"))
    assert refused(getattr(client, operation))[:2] == (code, status)


@pytest.mark.parametrize(
    ("service", "operation", "code", "status"),
    [
        ("sts", "get_caller_identity", "InvalidClientTokenId", 403),
        ("sagemaker", "list_endpoints", "UnrecognizedClientException", 400),
        ("s3", "list_buckets", "InvalidAccessKeyId", 403),
    ],
)
def test_a_key_of_nobody_is_refused_with_a_hint(
    platform: Platform, service: str, operation: str, code: str, status: int
) -> None:
    client = platform.client(service, ("AKIAIOSFODNN7EXAMPLE", "secret"))
    found = refused(getattr(client, operation))
    assert found[:2] == (code, status)
    assert "clary env" in found[2]


def test_the_data_plane_refuses_too(platform: Platform) -> None:
    key_id, _ = platform.root_key
    invoke = {"EndpointName": "any", "Body": b"1", "ContentType": "text/csv"}
    runtime = platform.client("sagemaker-runtime", (key_id, "wrong"))
    assert refused(runtime.invoke_endpoint, **invoke)[:2] == ("InvalidSignatureException", 403)
    runtime = platform.client("sagemaker-runtime", ("AKIAIOSFODNN7EXAMPLE", "x"))
    assert refused(runtime.invoke_endpoint, **invoke)[:2] == ("UnrecognizedClientException", 403)
    code, status, text = refused(platform.client("sagemaker-runtime").invoke_endpoint, **invoke)
    assert (code, status, text) == ("ValidationError", 400, "Endpoint any of account 000000000000 not found.")


def test_old_signatures_have_expired(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    import datetime

    import botocore.auth
    import botocore.crt.auth

    past = datetime.datetime.now(datetime.UTC).replace(tzinfo=None) - datetime.timedelta(hours=1)
    for module in (botocore.auth, botocore.crt.auth):
        monkeypatch.setattr(module, "get_current_datetime", lambda remove_tzinfo=True: past)
    code, status, text = refused(platform.client("sagemaker").list_endpoints)
    assert (code, status) == ("InvalidSignatureException", 400)
    assert text.startswith("Signature expired: ") and text.endswith(" - 5 min.)")
    assert refused(platform.client("s3").list_buckets)[:2] == ("RequestTimeTooSkewed", 403)


def test_no_credentials_at_all(platform: Platform) -> None:
    request = urllib.request.Request(
        platform.endpoint, b"Action=ListUsers&Version=2010-05-08", {"Content-Type": "application/x-www-form-urlencoded"}
    )
    with pytest.raises(urllib.error.HTTPError) as error:
        urllib.request.urlopen(request)
    assert (error.value.code, b"MissingAuthenticationToken" in error.value.read()) == (403, True)


def test_root_and_role_are_told_apart(platform: Platform) -> None:
    assert platform.client("sts", platform.root_key).get_caller_identity()["Arn"] == "arn:aws:iam::000000000000:root"
    arn = platform.client("sts").get_caller_identity()["Arn"]
    assert arn == "arn:aws:sts::000000000000:assumed-role/AmazonSageMaker-ExecutionRole/SageMaker"


def test_users_have_keys_that_work_until_they_are_gone(platform: Platform, name: str) -> None:
    iam = platform.client("iam")
    user = iam.create_user(UserName=name, Path="/team/", Tags=[{"Key": "a", "Value": "b"}])["User"]
    assert user["Arn"] == f"arn:aws:iam::000000000000:user/team/{name}"
    assert refused(iam.create_user, UserName=name)[:2] == ("EntityAlreadyExists", 409)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    pair = key["AccessKeyId"], key["SecretAccessKey"]
    assert platform.client("sts", pair).get_caller_identity()["Arn"] == user["Arn"]
    runtime = platform.client("sagemaker-runtime", pair)
    invoke = {"EndpointName": "none", "Body": b"1", "ContentType": "text/csv"}
    until(lambda: refused(runtime.invoke_endpoint, **invoke)[0] == "ValidationError", 5, "the front knows the new key")
    iam.create_access_key(UserName=name)
    assert refused(iam.create_access_key, UserName=name)[0] == "LimitExceeded"
    assert refused(iam.delete_user, UserName=name)[0] == "DeleteConflict"
    for known in iam.list_access_keys(UserName=name)["AccessKeyMetadata"]:
        iam.delete_access_key(UserName=name, AccessKeyId=known["AccessKeyId"])
    assert refused(platform.client("sts", pair).get_caller_identity)[0] == "InvalidClientTokenId"
    until(
        lambda: refused(runtime.invoke_endpoint, **invoke)[0] == "UnrecognizedClientException",
        5,
        "the front forgets it",
    )
    iam.delete_user(UserName=name)
    assert refused(iam.get_user, UserName=name)[:2] == ("NoSuchEntity", 404)


def test_roles_keep_their_documents_and_policies(platform: Platform, name: str) -> None:
    iam = platform.client("iam")
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=TRUST, Description="d", MaxSessionDuration=7200)[
        "Role"
    ]
    assert "MaxSessionDuration" not in made
    role = iam.get_role(RoleName=name)["Role"]
    assert (role["AssumeRolePolicyDocument"], role["MaxSessionDuration"]) == (json.loads(TRUST), 7200)
    iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=ALLOW)
    assert iam.get_role_policy(RoleName=name, PolicyName="inline")["PolicyDocument"] == json.loads(ALLOW)
    policy = iam.create_policy(PolicyName=name, PolicyDocument=ALLOW)["Policy"]
    iam.attach_role_policy(RoleName=name, PolicyArn=policy["Arn"])
    iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    names = [p["PolicyName"] for p in iam.list_attached_role_policies(RoleName=name)["AttachedPolicies"]]
    assert names == [name, "AdministratorAccess"]
    code, _status, text = refused(iam.attach_role_policy, RoleName=name, PolicyArn="arn:aws:iam::aws:policy/Nope")
    assert (code, text) == ("NoSuchEntity", "Policy arn:aws:iam::aws:policy/Nope does not exist or is not attachable.")
    assert refused(iam.delete_role, RoleName=name)[2] == "Cannot delete entity, must detach all policies first."
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    assert iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"][0]["Roles"][0]["RoleName"] == name
    for arn in (policy["Arn"], "arn:aws:iam::aws:policy/AdministratorAccess"):
        iam.detach_role_policy(RoleName=name, PolicyArn=arn)
    iam.delete_role_policy(RoleName=name, PolicyName="inline")
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=name)
    iam.delete_instance_profile(InstanceProfileName=name)
    iam.delete_role(RoleName=name)
    iam.delete_policy(PolicyArn=policy["Arn"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "This policy contains invalid Json"),
        ("{}", "Syntax errors in policy."),
        (
            '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:Get"}]}',
            "Policy statement must contain resources.",
        ),
        (
            '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"Get","Resource":"*"}]}',
            "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.",
        ),
    ],
)
def test_malformed_documents(platform: Platform, name: str, text: str, words: str) -> None:
    found = refused(platform.client("iam").create_policy, PolicyName=name, PolicyDocument=text)
    assert found == ("MalformedPolicyDocument", 400, words)


def test_simulation_evaluates_the_policies(platform: Platform, name: str) -> None:
    iam = platform.client("iam")
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    iam.put_user_policy(UserName=name, PolicyName="p", PolicyDocument=ALLOW)
    found = iam.simulate_principal_policy(
        PolicySourceArn=arn, ActionNames=["s3:GetObject", "s3:PutObject"], ResourceArns=["arn:aws:s3:::b/k"]
    )["EvaluationResults"]
    assert [r["EvalDecision"] for r in found] == ["allowed", "implicitDeny"]


def test_assumed_roles_work_and_trust_decides(platform: Platform, name: str) -> None:
    iam = platform.client("iam")
    open_trust = TRUST.replace('{"Service": "sagemaker.amazonaws.com"}', '{"AWS": "arn:aws:iam::000000000000:root"}')
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=open_trust)["Role"]
    closed = iam.create_role(RoleName=f"{name}-closed", AssumeRolePolicyDocument=TRUST)["Role"]
    sts = platform.client("sts")
    got = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="me", DurationSeconds=900)
    assert got["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::000000000000:assumed-role/{name}/me"
    credentials = got["Credentials"]
    assert 880 < credentials["Expiration"].timestamp() - time.time() <= 900
    session = platform.client(
        "sts",
        (credentials["AccessKeyId"], credentials["SecretAccessKey"]),
        aws_session_token=credentials["SessionToken"],
    )
    assert session.get_caller_identity()["Arn"] == got["AssumedRoleUser"]["Arn"]
    assert refused(sts.assume_role, RoleArn=closed["Arn"], RoleSessionName="me")[0] == "AccessDenied"
    assert refused(sts.assume_role, RoleArn=role["Arn"] + "x", RoleSessionName="me")[0] == "AccessDenied"
    root = platform.client("sts", platform.root_key)
    assert (
        refused(root.assume_role, RoleArn=role["Arn"], RoleSessionName="me")[2]
        == "Roles may not be assumed by root accounts."
    )
    token = root.get_session_token()["Credentials"]["SessionToken"]
    assert token


def test_unknown_operations_are_named(platform: Platform) -> None:
    code, status, text = refused(platform.client("sagemaker").list_domains)
    assert (code, status) == ("UnknownOperationException", 400)
    assert "sagemaker:ListDomains" in text
    assert "dynamodb:ListTables" in refused(platform.client("dynamodb").list_tables)[2]
    assert refused(platform.client("iam").list_groups)[0] == "InvalidAction"
    assert "lambda:ListEventSourceMappings" in refused(platform.client("lambda").list_event_source_mappings)[2]
