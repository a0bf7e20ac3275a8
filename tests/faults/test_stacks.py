"""Control dies at any sync of the disk while a stack is made or changed: nothing is made twice, nothing is left."""

from __future__ import annotations

import json
import os
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.jobs import ROLE
from tests.platform import Platform, started, until

from .injection import SYNC, Faults

DEATHS = int(os.environ.get("CLARY_STACK_DEATHS", "4"))
CODE = "def handler(event, context): return 1"
TRUST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}  # fmt: skip


def _ref(name: str, attribute: str = "") -> Any:
    return {"Fn::GetAtt": [name, attribute]} if attribute else {"Ref": name}


def template(number: int) -> str:
    """Resources whose identifiers are given, made and chosen by the service; some need several calls."""
    named: dict[str, tuple[str, dict[str, Any]]] = {
        "Parameter": ("AWS::SSM::Parameter", {"Type": "String", "Value": f"v{number}", "Name": "/given/parameter"}),
        "Secret": ("AWS::SecretsManager::Secret", {"SecretString": f"s{number}"}),
        "Role": ("AWS::IAM::Role", {"AssumeRolePolicyDocument": TRUST, "ManagedPolicyArns": ["arn:aws:iam::aws:policy/ReadOnlyAccess"]}),
        "User": ("AWS::IAM::User", {"UserName": "given-user"}),
        "Key": ("AWS::IAM::AccessKey", {"UserName": _ref("User")}),
        "Bucket": ("AWS::S3::Bucket", {"VersioningConfiguration": {"Status": "Enabled"}}),
        "Function": ("AWS::Lambda::Function", {"FunctionName": "given-function", "Runtime": "python3.12", "Role": ROLE, "Handler": "index.handler", "Code": {"ZipFile": CODE}, "Description": str(number)}),
        "Version": ("AWS::Lambda::Version", {"FunctionName": _ref("Function")}),
        "Api": ("AWS::ApiGatewayV2::Api", {"Name": f"h{number}", "ProtocolType": "HTTP"}),
        "Integration": ("AWS::ApiGatewayV2::Integration", {"ApiId": _ref("Api"), "IntegrationType": "AWS_PROXY", "IntegrationUri": _ref("Function", "Arn"), "PayloadFormatVersion": "2.0"}),
        "Route": ("AWS::ApiGatewayV2::Route", {"ApiId": _ref("Api"), "RouteKey": "GET /", "Target": {"Fn::Sub": "integrations/${Integration}"}}),
        "Rest": ("AWS::ApiGateway::RestApi", {"Name": f"r{number}"}),
        "Path": ("AWS::ApiGateway::Resource", {"RestApiId": _ref("Rest"), "ParentId": _ref("Rest", "RootResourceId"), "PathPart": "p"}),
        "Method": ("AWS::ApiGateway::Method", {"RestApiId": _ref("Rest"), "ResourceId": _ref("Path"), "HttpMethod": "GET", "AuthorizationType": "NONE", "Integration": {"Type": "MOCK"}}),
        "Deployment": ("AWS::ApiGateway::Deployment", {"RestApiId": _ref("Rest"), "StageName": "s"}),
        "ApiKey": ("AWS::ApiGateway::ApiKey", {"Enabled": True}),
        "Plan": ("AWS::ApiGateway::UsagePlan", {"UsagePlanName": "p"}),
        "PlanKey": ("AWS::ApiGateway::UsagePlanKey", {"KeyId": _ref("ApiKey"), "KeyType": "API_KEY", "UsagePlanId": _ref("Plan")}),
    }  # fmt: skip
    resources: dict[str, Any] = {n: {"Type": kind, "Properties": props} for n, (kind, props) in named.items()}
    resources["Deployment"]["DependsOn"] = "Method"
    return json.dumps({"Resources": resources})


@pytest.fixture(scope="module")
def dying(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Platform, Faults]]:
    """A platform whose control can be made to die."""
    import tempfile

    home = Path(tempfile.mkdtemp(prefix="clary-test-"))
    faults = Faults(home)
    with started(home, **faults.environment) as platform:
        yield platform, faults


def _rows(platform: Platform) -> list[tuple[str, str]]:
    """Every resource of the account but what a first start makes and what is left of deleted stacks."""
    with sqlite3.connect(f"file:{platform.home}/clary.db?mode=ro", uri=True) as database:
        rows = database.execute("select kind, name from resource").fetchall()
        keys = database.execute("select 'AccessKeyRow', id from access_key where user_name is not null").fetchall()
        buckets = database.execute("select 'BucketRow', name from s3_bucket where account <> 'aws'").fetchall()
    kept = [r for r in rows if r[0] not in ("DeletedStack",) and r[1] != "AmazonSageMaker-ExecutionRole"]
    return sorted([*kept, *keys, *buckets])


def _ended(platform: Platform, name: str) -> str:
    client = platform.client("cloudformation")

    def look() -> str | None:
        try:
            found = client.describe_stacks(StackName=name)["Stacks"][0]["StackStatus"]
        except ClientError as error:
            if "does not exist" in str(error):
                return "GONE"
            assert _passing(error), error
            return None
        except BotoCoreError:
            return None
        return None if found.endswith("_IN_PROGRESS") else str(found)

    return str(until(look, 120, what=f"stack {name} settles"))


def _passing(error: ClientError) -> bool:
    """Whether an error is one of a control that has died."""
    return bool(error.response["ResponseMetadata"]["HTTPStatusCode"] >= 500)


def _ask(call: Any, **params: Any) -> None:
    """A call that is sent again until it is answered."""

    def sent() -> bool:
        try:
            call(**params)
        except BotoCoreError:
            return False
        except ClientError as error:
            if _passing(error):
                return False
            # it had acted, and its answer was lost
            assert any(w in str(error) for w in ("AlreadyExists", "already exists", "No updates", "cannot be called", "state and can not")), error  # fmt: skip
        return True

    until(sent, 60, what="the call is answered")


def _syncs(platform: Platform, faults: Faults, name: str) -> dict[str, int]:
    """How many syncs each of the steps takes when nothing dies."""
    client, found = platform.client("cloudformation"), {}
    for step, call in _STEPS.items():
        faults.kill_after(1 << 30)
        call(client, name)
        wanted = _ENDS[step]
        assert _ended(platform, name) in wanted
        found[step] = faults.counted
    faults.none()
    return found


_GIVEN = {"Capabilities": ["CAPABILITY_NAMED_IAM"]}
_STEPS: dict[str, Any] = {
    "create": lambda c, n: _ask(c.create_stack, StackName=n, TemplateBody=template(1), **_GIVEN),
    "update": lambda c, n: _ask(c.update_stack, StackName=n, TemplateBody=template(2), **_GIVEN),
    "delete": lambda c, n: _ask(c.delete_stack, StackName=n),
}
_ENDS = {"create": ("CREATE_COMPLETE",), "update": ("UPDATE_COMPLETE",), "delete": ("GONE",)}


def test_stacks_outlive_control_at_every_sync(dying: tuple[Platform, Faults], name: str) -> None:
    platform, faults = dying
    before = _rows(platform)
    syncs = _syncs(platform, faults, name)
    assert _rows(platform) == before
    seed = int(os.environ.get("CLARY_SEED", "1"))
    chosen = random.Random(seed).sample([(s, n) for s, most in syncs.items() for n in range(most)], DEATHS)
    for number, (step, passes) in enumerate(chosen):
        stack = f"{name}-{number}"
        client = platform.client("cloudformation")
        kinds: list[str] = []
        for each, call in _STEPS.items():
            if each == step:
                faults.kill_after(passes)
            call(client, stack)
            assert _ended(platform, stack) in _ENDS[each], (step, passes, each)
            faults.none()
            if each != "delete":
                kinds = sorted(kind for kind, _ in set(_rows(platform)) - set(before))
                assert kinds.count("CallRecord") == 0, (step, passes, each)
                assert len(kinds) == len(set(kinds)) and "Stack" in kinds, (step, passes, each, kinds)
        assert _rows(platform) == before, (step, passes)


def test_a_stack_that_is_deleted_after_a_death_leaves_nothing(dying: tuple[Platform, Faults], name: str) -> None:
    """The deletion comes before the interrupted step could be done again."""
    platform, faults = dying
    before = _rows(platform)
    client = platform.client("cloudformation")
    for number, passes in enumerate(range(3, 3 + 7 * (DEATHS // 2), 7)):
        faults.kill_after(passes)
        _ask(client.create_stack, StackName=f"{name}-{number}", TemplateBody=template(1), **_GIVEN)
        until(lambda: faults.failed, what="control dies")
        _ask(client.delete_stack, StackName=f"{name}-{number}")
        assert _ended(platform, f"{name}-{number}") == "GONE"
        faults.none()
        assert _rows(platform) == before, passes


def test_injection_reaches_control(dying: tuple[Platform, Faults]) -> None:
    platform, faults = dying
    with faults.injected(kinds=SYNC):
        platform.client("ssm").put_parameter(Name="/injected", Value="v", Type="String", Overwrite=True)
        assert faults.counted > 0 and faults.failed == 0
