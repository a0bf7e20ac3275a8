"""Two accounts on one platform: what a service does for one never reads, writes or runs what the other owns."""

from __future__ import annotations

import http.client
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.jobs import IMAGE, ROLE, bucket, channel, csv, job, serve_model, settled, table, train
from tests.platform import Platform, started, until

from . import test_cloudformation as stacks
from .test_ecr import pushed
from .test_endpoints import pack
from .test_functions import archive, call, create
from .test_http_apis import ask
from .test_training import script

OWNER, STRANGER = "222222222222", "111111111111"
FOREIGN_ROLE = f"arn:aws:iam::{OWNER}:role/theirs"
WHO = "import boto3\ndef handler(event, context): return boto3.client('sts').get_caller_identity()['Account']"
SCRIPT = "print('ran', flush=True)"
TEMPLATE = json.dumps(
    {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "v"}}}}
)
VAULT = "vault"
FUNCTION = f"arn:aws:lambda:us-east-1:{OWNER}:function:theirs"


class Account(Platform):
    """A platform as one account sees it."""

    key: tuple[str, str]

    @classmethod
    def of(cls, platform: Platform, key: tuple[str, str]) -> Account:
        """The platform, with an account's key."""
        found = cls(platform.home, platform.environment, platform.endpoint, platform.port, platform.clients)
        found.key = key
        return found

    def client(self, service: str, key: tuple[str, str] | None = None, **options: Any) -> Any:
        """A client with the account's key."""
        return super().client(service, key or self.key, **{"aws_session_token": None, **options})


@dataclass(frozen=True)
class Border:
    """The account that owns everything of worth, and the one that tries to reach it."""

    owner: Account
    stranger: Account


@pytest.fixture(scope="module", params=["verified", "open"])
def border(request: pytest.FixtureRequest) -> Iterator[Border]:
    """Both accounts on a platform that verifies signatures, and on one that does not."""
    home = Path(tempfile.mkdtemp(prefix="clary-test-"))
    if request.param == "open":
        with started(home, "--open", CLARY_ACCOUNT=OWNER) as platform:
            yield _filled(Account.of(platform, (OWNER, "any")), Account.of(platform, (STRANGER, "any")))
        return
    with started(home, CLARY_ACCOUNT=STRANGER) as platform:
        strangers_key = platform.root_key
        platform.down()
        platform.environment["CLARY_ACCOUNT"] = OWNER
        platform.up()
        yield _filled(Account.of(platform, platform.root_key), Account.of(platform, strangers_key))


def _filled(owner: Account, stranger: Account) -> Border:
    """The owner's bucket, function, image, parameter, secret and role; the stranger's model and bucket."""
    s3 = owner.client("s3")
    bucket(owner, VAULT)
    script(owner, VAULT, SCRIPT)
    pack(owner, VAULT, "model.tar.gz", model=b"x")
    for key, body in {
        "template.json": TEMPLATE.encode(), "code.zip": archive(index=WHO), "rows.csv": csv(table()[:3, 1:]),
        "api.json": b'{"openapi":"3.0.1","info":{"title":"t","version":"1"},"paths":{}}', "many/m.tar.gz": b"x",
    }.items():  # fmt: skip
        s3.put_object(Bucket=VAULT, Key=key, Body=body)
    create(owner, "theirs", WHO)
    owner.client("ssm").put_parameter(Name="theirs", Value="hidden", Type="String")
    owner.client("secretsmanager").create_secret(Name="theirs", SecretString="hidden")
    owner.client("iam").create_role(RoleName="theirs", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": []}))  # fmt: skip
    layer = owner.client("lambda").publish_layer_version(LayerName="theirs", Content={"ZipFile": archive(m="x = 1")})
    assert layer["LayerVersionArn"].startswith(f"arn:aws:lambda:us-east-1:{OWNER}:")
    owner.client("ecr").create_repository(repositoryName="theirs")
    pushed(owner, "theirs")
    bucket(stranger, "own")
    own = train(stranger, job("own", "own"))
    assert own["TrainingJobStatus"] == "Completed", own.get("FailureReason")
    data = own["ModelArtifacts"]["S3ModelArtifacts"]
    container = {"Image": IMAGE, "ModelDataUrl": data}
    stranger.client("sagemaker").create_model(ModelName="own", ExecutionRoleArn=ROLE, PrimaryContainer=container)
    return Border(owner, stranger)


def refused(call: Callable[..., Any], **params: Any) -> str:
    """Why a call is refused."""
    with pytest.raises(ClientError) as error:
        call(**params)
    told = error.value.response["Error"]
    return f"{told['Code']}: {told['Message']}"


def trained(who: Account, name: str, **changes: Any) -> str:
    """Why a job failed."""
    found = train(who, job(name, "own", **changes))
    assert found["TrainingJobStatus"] == "Failed", found
    return str(found["FailureReason"])


def _input(uri: str, kind: str = "S3Prefix", **more: Any) -> dict[str, Any]:
    return {"InputDataConfig": [channel("train", uri, source={"S3DataType": kind}, **more)]}


def _manifest(who: Account) -> str:
    body = json.dumps([{"prefix": f"s3://{VAULT}/"}, "rows.csv"])
    who.client("s3").put_object(Bucket="own", Key="m.json", Body=body)
    return "s3://own/m.json"


def _augmented(who: Account) -> dict[str, Any]:
    line = json.dumps({"a-ref": f"s3://{VAULT}/rows.csv"})
    who.client("s3").put_object(Bucket="own", Key="a.jsonl", Body=line)
    more = {"AttributeNames": ["a-ref"], "S3DataType": "AugmentedManifestFile"}
    return {"InputDataConfig": [{**channel("train", "s3://own/a.jsonl", source=more), "InputMode": "Pipe"}]}


def _source(bucket: str) -> dict[str, str]:
    return {"sagemaker_program": '"main.py"', "sagemaker_submit_directory": f'"s3://{bucket}/code/sourcedir.tar.gz"'}


def _part(who: Account) -> str:
    s3 = who.client("s3")
    upload = s3.create_multipart_upload(Bucket="own", Key="copied")["UploadId"]
    place = {"Bucket": "own", "Key": "copied", "UploadId": upload, "PartNumber": 1}
    return refused(s3.upload_part_copy, **place, CopySource=f"{VAULT}/rows.csv")


def _endpoint(who: Account, name: str, data: str, **container: Any) -> str:
    sagemaker = who.client("sagemaker")
    given = {"Image": IMAGE, "ModelDataUrl": data, **container}
    sagemaker.create_model(
        ModelName=name, ExecutionRoleArn=ROLE, PrimaryContainer={k: v for k, v in given.items() if v}
    )
    variant = {"VariantName": "a", "ModelName": name, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    found = settled(who, name)
    sagemaker.delete_endpoint(EndpointName=name)
    assert found["EndpointStatus"] == "Failed"
    return str(found["FailureReason"])


def _prefix(who: Account) -> str:
    source = {"S3Uri": f"s3://{VAULT}/many/", "S3DataType": "S3Prefix", "CompressionType": "None"}
    return _endpoint(who, "prefix", "", ModelDataSource={"S3DataSource": source})


def _code_of_model(who: Account) -> str:
    place = {"SAGEMAKER_PROGRAM": "main.py", "SAGEMAKER_SUBMIT_DIRECTORY": f"s3://{VAULT}/code/sourcedir.tar.gz"}
    return _endpoint(who, "submitted", "", Environment=place)


def _of_many(who: Account) -> str:
    sagemaker = who.client("sagemaker")
    many = {"Image": IMAGE, "ModelDataUrl": f"s3://{VAULT}/many/", "Mode": "MultiModel"}
    sagemaker.create_model(ModelName="many", ExecutionRoleArn=ROLE, PrimaryContainer=many)
    serve_model(who, "many")
    runtime = who.client("sagemaker-runtime")
    text = refused(runtime.invoke_endpoint, EndpointName="many", TargetModel="m.tar.gz", ContentType="text/csv", Body=b"1")  # fmt: skip
    sagemaker.delete_endpoint(EndpointName="many")
    assert "Failed to download model data" in text  # AWS's words for what a role may not read
    return f"AccessDenied: {text}"


def _transformed(who: Account, name: str, source: str, target: str) -> str:
    sagemaker = who.client("sagemaker")
    sagemaker.create_transform_job(
        TransformJobName=name, ModelName="own",
        TransformInput={"DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": source}}, "ContentType": "text/csv"},
        TransformOutput={"S3OutputPath": target}, TransformResources={"InstanceType": "ml.m5.large", "InstanceCount": 1},
    )  # fmt: skip
    describe = lambda: sagemaker.describe_transform_job(TransformJobName=name)  # noqa: E731
    until(lambda: describe()["TransformJobStatus"] != "InProgress", what="the transform job ends")
    found = describe()
    assert found["TransformJobStatus"] == "Failed", found
    return str(found["FailureReason"])


def _asynchronous(who: Account) -> str:
    """An input of the owner's bucket, and results that should go there."""
    config = {"OutputConfig": {"S3OutputPath": f"s3://{VAULT}/out", "S3FailurePath": "s3://own/failed"}}
    s3, runtime = who.client("s3"), who.client("sagemaker-runtime")
    serve_model(who, "own", AsyncInferenceConfig=config)
    s3.put_object(Bucket="own", Key="rows.csv", Body=csv(table()[:3, 1:]))
    said = []
    for place in (f"s3://{VAULT}/rows.csv", "s3://own/rows.csv"):
        answer = runtime.invoke_endpoint_async(EndpointName="own", InputLocation=place, ContentType="text/csv")
        key = answer["FailureLocation"].removeprefix("s3://own/")
        until(lambda key=key: s3.list_objects_v2(Bucket="own", Prefix=key)["KeyCount"], what="the failure is stored")
        said.append(s3.get_object(Bucket="own", Key=key)["Body"].read().decode())
    _without_endpoint(who)
    assert "Failed to download" in said[0] and "Failed to store" in said[1], said
    assert all("AccessDenied" in text for text in said)
    return said[0]


def _without_endpoint(who: Account) -> None:
    """Delete the endpoint and its configuration, so that the next test can take the name."""
    sagemaker = who.client("sagemaker")
    sagemaker.delete_endpoint(EndpointName="own")
    sagemaker.delete_endpoint_config(EndpointConfigName="own")
    until(lambda: not sagemaker.list_endpoints(NameContains="own")["Endpoints"], what="the name is free")


def _captured(who: Account) -> str:
    modes = [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}]
    rule = {"EnableCapture": True, "InitialSamplingPercentage": 100, "DestinationS3Uri": f"s3://{VAULT}/captured", "CaptureOptions": modes}  # fmt: skip
    serve_model(who, "own", DataCaptureConfig=rule)
    runtime = who.client("sagemaker-runtime")
    runtime.invoke_endpoint(EndpointName="own", ContentType="text/csv", Body=csv(table()[:1, 1:]))
    until(lambda: "captured data of" in who.log(), what="the capture is refused")
    _without_endpoint(who)
    return next(line for line in who.log().splitlines() if "captured data of" in line).replace(
        "Forbidden", "AccessDenied"
    )


def _stack(who: Account, name: str, kind: str, **properties: Any) -> str:
    found = stacks.make(who, name, {"Resources": {"R": {"Type": kind, "Properties": properties}}})
    assert found["StackStatus"] == "ROLLBACK_COMPLETE", found
    return stacks.why(who, name)


def _destination(who: Account) -> str:
    """The outcome of an asynchronous call does not start a function of another account."""
    client = create(who, "sends", "def handler(event, context): return 1")
    client.put_function_event_invoke_config(
        FunctionName="sends", DestinationConfig={"OnSuccess": {"Destination": FUNCTION}}
    )
    client.invoke(FunctionName="sends", InvocationType="Event", Payload=b"{}")
    until(lambda: "outcome of a call cannot be sent" in who.log(), what="the outcome is dropped")
    line = next(line for line in who.log().splitlines() if "outcome of a call cannot be sent" in line)
    assert "no resource-based policy" in line
    return f"AccessDenied: {line}"


def _notified(who: Account) -> str:
    rules = [{"LambdaFunctionArn": FUNCTION, "Events": ["s3:ObjectCreated:*"]}]
    wanted = {"LambdaFunctionConfigurations": rules}
    text = refused(
        who.client("s3").put_bucket_notification_configuration, Bucket="own", NotificationConfiguration=wanted
    )
    assert "Unable to validate the following destination configurations" in text
    return f"AccessDenied: {text}"


def _own_registry(who: Account) -> str:
    """A repository without a registry is the caller's own, never the first account's."""
    text = refused(
        who.client("sagemaker").create_training_job, **job("image-2", "own", AlgorithmSpecification=_image("theirs"))
    )
    assert "has no runtime for the image" in text
    return f"AccessDenied: {text}"


def _image(uri: str) -> dict[str, Any]:
    return {"TrainingImage": uri, "TrainingInputMode": "File"}


def _hidden(who: Account, reference: str) -> str:
    text = refused(
        who.client("cloudformation").create_stack, StackName="dynamic", TemplateBody=json.dumps(
            {"Resources": {"P": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": reference}}}}
        ),
    )  # fmt: skip
    assert "cannot be found" in text
    return f"AccessDenied: {text}"


def _secret(who: Account) -> str:
    arn = f"arn:aws:secretsmanager:us-east-1:{OWNER}:secret:theirs"
    text = _stack(who, "secret", "AWS::SSM::Parameter", Type="String", Value=f"{{{{resolve:secretsmanager:{arn}}}}}")
    assert "Could not resolve the dynamic reference to secret" in text and "hidden" not in text
    return f"AccessDenied: {text}"


CODE = {"S3Bucket": VAULT, "S3Key": "code.zip"}
URL = f"https://s3.amazonaws.com/{VAULT}/template.json"
LAYER = f"arn:aws:lambda:us-east-1:{OWNER}:layer:theirs:1"

TRIES: dict[str, Callable[[Account], str]] = {
    "s3 get": lambda who: refused(who.client("s3").get_object, Bucket=VAULT, Key="rows.csv"),
    "s3 put": lambda who: refused(who.client("s3").put_object, Bucket=VAULT, Key="new", Body=b"x"),
    "s3 list": lambda who: refused(who.client("s3").list_objects_v2, Bucket=VAULT),
    "s3 copy from": lambda who: refused(who.client("s3").copy_object, Bucket="own", Key="c", CopySource=f"{VAULT}/rows.csv"),
    "s3 copy to": lambda who: refused(who.client("s3").copy_object, Bucket=VAULT, Key="c", CopySource="own/train/part-0.csv"),
    "s3 copy a part": _part,
    "s3 notification": _notified,
    "create-stack template": lambda who: refused(who.client("cloudformation").create_stack, StackName="t", TemplateURL=URL),
    "validate template": lambda who: refused(who.client("cloudformation").validate_template, TemplateURL=URL),
    "template summary": lambda who: refused(who.client("cloudformation").get_template_summary, TemplateURL=URL),
    "change set template": lambda who: refused(who.client("cloudformation").create_change_set, StackName="t", ChangeSetName="c", ChangeSetType="CREATE", TemplateURL=URL),
    "stack's OpenAPI document": lambda who: _stack(who, "document", "AWS::ApiGateway::RestApi", BodyS3Location={"Bucket": VAULT, "Key": "api.json"}),
    "stack's code": lambda who: _stack(who, "code", "AWS::Lambda::Function", Code=CODE, Role=ROLE, Handler="index.handler", Runtime="python3.12"),
    "stack's parameter": lambda who: _hidden(who, "{{resolve:ssm:theirs}}"),
    "stack's secret": _secret,
    "stack's role": lambda who: refused(who.client("cloudformation").create_stack, StackName="t", TemplateBody=TEMPLATE, RoleARN=FOREIGN_ROLE),
    "function code": lambda who: refused(who.client("lambda").create_function, FunctionName="f", Role=ROLE, Code=CODE, Handler="index.handler", Runtime="python3.12"),
    "layer code": lambda who: refused(who.client("lambda").publish_layer_version, LayerName="l", Content=CODE),
    "function layer": lambda who: refused(who.client("lambda").create_function, FunctionName="f", Role=ROLE, Code={"ZipFile": archive(index=WHO)}, Handler="index.handler", Runtime="python3.12", Layers=[LAYER]),
    "function role": lambda who: refused(who.client("lambda").create_function, FunctionName="f", Role=FOREIGN_ROLE, Code={"ZipFile": archive(index=WHO)}, Handler="index.handler", Runtime="python3.12"),
    "function invoked": lambda who: refused(who.client("lambda").invoke, FunctionName=FUNCTION),
    "function described": lambda who: refused(who.client("lambda").get_function, FunctionName=FUNCTION),
    "function as destination": _destination,
    "training input": lambda who: trained(who, "input", **_input(f"s3://{VAULT}/train")),
    "training manifest": lambda who: trained(who, "manifest-1", **_input(f"s3://{VAULT}/api.json", "ManifestFile")),
    "training manifest's objects": lambda who: trained(who, "manifest-2", **_input(_manifest(who), "ManifestFile")),
    "training augmented manifest": lambda who: trained(who, "augmented", **_augmented(who)),
    "training source": lambda who: trained(who, "source", hyperparameters=_source(VAULT)),
    "training output": lambda who: trained(who, "output", OutputDataConfig={"S3OutputPath": f"s3://{VAULT}/stolen"}),
    "training checkpoints": lambda who: trained(who, "checkpoints", CheckpointConfig={"S3Uri": f"s3://{VAULT}/train"}),
    "training role": lambda who: refused(who.client("sagemaker").create_training_job, **job("role", "own", RoleArn=FOREIGN_ROLE)),
    "training image": lambda who: refused(who.client("sagemaker").create_training_job, **job("image", "own", AlgorithmSpecification=_image(f"{OWNER}.dkr.ecr.us-east-1.amazonaws.com/theirs"))).replace("does not grant", "AccessDenied"),
    "training image without registry": _own_registry,
    "model data": lambda who: _endpoint(who, "data", f"s3://{VAULT}/model.tar.gz"),
    "model data by prefix": _prefix,
    "model source": _code_of_model,
    "model of many": _of_many,
    "model role": lambda who: refused(who.client("sagemaker").create_model, ModelName="m", ExecutionRoleArn=FOREIGN_ROLE, PrimaryContainer={"Image": IMAGE}),
    "transform input": lambda who: _transformed(who, "tin", f"s3://{VAULT}/rows.csv", "s3://own/t"),
    "transform output": lambda who: _transformed(who, "tout", "s3://own/validation", f"s3://{VAULT}/t"),
    "asynchronous inference": _asynchronous,
    "data capture": _captured,
}  # fmt: skip


@pytest.mark.parametrize("name", TRIES)
def test_nothing_passes_the_border(border: Border, name: str) -> None:
    s3 = border.owner.client("s3")
    before = [(o["Key"], o["ETag"]) for o in s3.list_objects_v2(Bucket=VAULT)["Contents"]]
    text = TRIES[name](border.stranger)
    assert any(
        words in text for words in ("AccessDenied", "Access Denied", "Cross-account pass role is not allowed")
    ), text
    assert [(o["Key"], o["ETag"]) for o in s3.list_objects_v2(Bucket=VAULT)["Contents"]] == before


def test_processes_act_as_their_own_account(border: Border) -> None:
    for who, account in ((border.owner, OWNER), (border.stranger, STRANGER)):
        client = create(who, f"who-{account}", WHO)
        assert call(client, f"who-{account}")[0] == account


def test_stacks_act_as_their_own_account(border: Border) -> None:
    assert stacks.make(border.stranger, "whose", json.loads(TEMPLATE))["StackStatus"] == "CREATE_COMPLETE"
    (made,) = border.stranger.client("cloudformation").describe_stack_resources(StackName="whose")["StackResources"]
    name = made["PhysicalResourceId"]
    assert border.stranger.client("ssm").get_parameter(Name=name)["Parameter"]["Value"] == "v"
    assert "ParameterNotFound" in refused(border.owner.client("ssm").get_parameter, Name=name)


def test_an_assumed_role_acts_as_its_own_account(border: Border) -> None:
    trust = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Principal": {"AWS": STRANGER}, "Action": "sts:AssumeRole"}]}  # fmt: skip
    iam = border.stranger.client("iam")
    made = iam.create_role(RoleName="assumed", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    user = iam.create_user(UserName="u")["User"]["UserName"]
    key = iam.create_access_key(UserName=user)["AccessKey"]
    sts = border.stranger.client("sts", (key["AccessKeyId"], key["SecretAccessKey"]))
    given = sts.assume_role(RoleArn=made, RoleSessionName="session")["Credentials"]
    session = border.stranger.client(
        "sts", (given["AccessKeyId"], given["SecretAccessKey"]), aws_session_token=given["SessionToken"]
    )
    assert session.get_caller_identity()["Account"] == STRANGER


def test_apis_call_functions_of_other_accounts_as_their_policies_allow(border: Border) -> None:
    client = border.stranger.client("apigatewayv2")
    made = client.create_api(Name="reaches", ProtocolType="HTTP", Target=FUNCTION)
    api = made["ApiId"]
    assert ask(border.stranger, api, "/")[0] == 500
    source = f"arn:aws:execute-api:us-east-1:{STRANGER}:{api}/*"
    functions = border.owner.client("lambda")
    given = {"FunctionName": "theirs", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com"}
    functions.add_permission(**given, StatementId="api", SourceArn=source, SourceAccount=STRANGER)
    status, _, answer = ask(border.stranger, api, "/")
    assert (status, str(answer)) == (200, OWNER) or (status, answer) == (200, OWNER.encode()), answer
    functions.remove_permission(FunctionName="theirs", StatementId="api")


def test_a_function_may_be_invoked_by_an_account_that_its_policy_names(border: Border) -> None:
    functions, client = border.owner.client("lambda"), border.stranger.client("lambda")
    functions.add_permission(FunctionName="theirs", StatementId="account", Action="lambda:InvokeFunction", Principal=STRANGER)  # fmt: skip
    assert call(client, FUNCTION)[0] == OWNER
    functions.remove_permission(FunctionName="theirs", StatementId="account")
    assert "AccessDenied" in refused(client.invoke, FunctionName=FUNCTION)


def test_notifications_reach_functions_of_other_accounts_as_their_policies_allow(border: Border) -> None:
    functions, s3 = border.owner.client("lambda"), border.stranger.client("s3")
    given = {"FunctionName": "theirs", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}
    functions.add_permission(**given, StatementId="s3", SourceArn="arn:aws:s3:::own", SourceAccount=STRANGER)
    rules = [{"LambdaFunctionArn": FUNCTION, "Events": ["s3:ObjectCreated:*"]}]
    s3.put_bucket_notification_configuration(
        Bucket="own", NotificationConfiguration={"LambdaFunctionConfigurations": rules}
    )
    s3.put_bucket_notification_configuration(Bucket="own", NotificationConfiguration={})
    functions.remove_permission(FunctionName="theirs", StatementId="s3")


def test_signed_calls_of_other_accounts_do_not_pass_an_api(border: Border) -> None:
    create(border.owner, "answers", "def handler(event, context): return 'in'")
    client = border.owner.client("apigatewayv2")
    arn = f"arn:aws:lambda:us-east-1:{OWNER}:function:answers"
    api = client.create_api(Name="signed", ProtocolType="HTTP")["ApiId"]
    made = client.create_integration(ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn, PayloadFormatVersion="2.0")  # fmt: skip
    target = f"integrations/{made['IntegrationId']}"
    client.create_route(ApiId=api, RouteKey="GET /", Target=target, AuthorizationType="AWS_IAM")
    client.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    border.owner.client("lambda").add_permission(FunctionName="answers", StatementId="api", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com")  # fmt: skip
    url = border.owner.client("lambda").create_function_url_config(FunctionName="answers", AuthType="AWS_IAM")
    for service, host in (("execute-api", f"{api}.execute-api.localhost:{border.owner.port}"), ("lambda", url["FunctionUrl"].split("/")[2])):  # fmt: skip
        for who, wanted in ((border.owner, 200), (border.stranger, 403)):
            request = AWSRequest("GET", f"http://{host}/")
            SigV4Auth(Credentials(*who.key), service, "us-east-1").add_auth(request)
            connection = http.client.HTTPConnection("127.0.0.1", who.port, timeout=30)
            connection.request("GET", "/", headers={**dict(request.headers), "Host": host})
            status = connection.getresponse().status
            connection.close()
            assert status == wanted, (service, who.key[0])
