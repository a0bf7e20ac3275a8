"""Requests that once were a 5xx, or that were accepted and should not have been."""

from __future__ import annotations

import contextlib
import json
import time
from typing import Any

import cbor2
import pytest
from botocore.exceptions import ClientError

from tests.faults.test_hostile import signed
from tests.platform import Platform, until

_FORM = {"Content-Type": "application/x-www-form-urlencoded"}
_CBOR = {"Content-Type": "application/cbor", "Smithy-Protocol": "rpc-v2-cbor"}
_DEEP = "[" * 1000 + "]" * 1000
_METRIC = "/service/GraniteServiceVersion20100801/operation/"


def _json(target: str, body: Any) -> tuple[str, str, bytes, dict[str, str]]:
    text = body if isinstance(body, str) else json.dumps(body)
    return "POST", "/", text.encode(), {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.1"}


def _template(**parts: Any) -> bytes:
    from urllib.parse import quote

    document = {
        "Resources": {"Q": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": "a"}}},
        **parts,
    }
    return (
        b"Action=CreateStack&Version=2010-05-15&StackName=hostile&TemplateBody=" + quote(json.dumps(document)).encode()
    )


def _resource(value: Any) -> dict[str, Any]:
    return {"Q": {"Type": "AWS::SSM::Parameter", "Properties": {"Type": "String", "Value": value}}}


_LAUGHS: Any = "x"
for _ in range(24):
    _LAUGHS = {"Fn::Sub": ["${a}${a}", {"a": _LAUGHS}]}


@pytest.mark.parametrize(
    ("service", "request_", "code"),
    [
        ("apigateway", ("GET", "/v2/apis?maxResults=a", b"", {}), b"MaxResults must be a number"),
        ("apigateway", ("GET", "/v2/apis?nextToken=%C2%B2", b"", {}), b"pagination token is invalid"),
        ("apigateway", ("GET", "/restapis?position=%C2%B2", b"", {}), b"Invalid position"),
        ("apigateway", ("PATCH", "/account", b'{"patchOperations": [{}]}', {}), b"patchOperations.1.member.op"),
        ("apigateway", ("POST", "/usageplans", b'{"name": "a", "apiStages": [{}]}', {}), b"apiStages.1.member.apiId"),
        ("apigateway", ("POST", "/restapis?mode=import", b'{"swagger": "2.0", "paths": {"/a": {"get": 5}}}', {}), b"An object is needed where"),
        ("apigateway", ("POST", "/restapis?mode=import", b'{"swagger": "2.0", "paths": {"/a": {"get": {"security": [null]}}}}', {}), b"Invalid OpenAPI input"),
        ("logs", _json("Logs_20140328.DescribeLogStreams", {"logGroupName": "hostile-tokens", "nextToken": "²"}), b"nextToken is invalid"),
        ("apigateway", ("PUT", "/v2/apis", json.dumps({"body": '{"openapi": "3.0", "paths": {"/a": {"get": 5}}}'}).encode(), {}), b"An object is needed where"),
        ("cloudformation", ("POST", "/", _template() + b"&Parameters.member.1.ResolvedValue=x", _FORM), b"ValidationError"),
        ("cloudformation", ("POST", "/", _template(Resources=_resource({"Fn::Join": [1, 2]})), _FORM), b"every Fn::Join object requires two parameters"),
        ("cloudformation", ("POST", "/", _template(Resources=_resource({"Ref": [1]})), _FORM), b"every Ref object must have a single String value"),
        ("cloudformation", ("POST", "/", _template(Resources=_resource(_LAUGHS)), _FORM), b"more than 1048576 characters"),
        ("cloudformation", ("POST", "/", _template(Parameters={"P": 0.5}), _FORM), b"[/Parameters/P]"),
        ("cloudformation", ("POST", "/", _template(Outputs={"O": []}), _FORM), b"[/Outputs/O]"),
        ("secretsmanager", _json("secretsmanager.ListSecrets", {"Filters": [{}]}), b"filters.1.member.key"),
        ("secretsmanager", _json("secretsmanager.CreateSecret", {"Name": "a", "SecretString": "b", "Tags": [{}]}), b"tags.1.member.key"),
        ("ssm", _json("AmazonSSM.PutParameter", {"Name": "a", "Value": "b", "Type": "String", "AllowedPattern": "cron(* *)"}), b"InvalidAllowedPattern"),
        ("monitoring", ("POST", f"{_METRIC}GetMetricStatistics", cbor2.dumps({"Namespace": "a", "MetricName": "b", "StartTime": "x", "EndTime": "y", "Period": 60}), _CBOR), b"SerializationException"),
        ("monitoring", ("POST", f"{_METRIC}PutMetricData", cbor2.dumps({"Namespace": "a", "MetricData": [{"MetricName": "b", "Value": "c"}]}), _CBOR), b"SerializationException"),
        ("monitoring", ("POST", f"{_METRIC}PutMetricData", b"\xa1" + cbor2.dumps("Namespace") + b"\xd8\x23" + cbor2.dumps("(a+)+"), _CBOR), b"SerializationException"),
        ("monitoring", _json("GraniteServiceVersion20100801.GetMetricStatistics", {"Namespace": "a", "MetricName": "b", "StartTime": 1e18, "EndTime": 2e18, "Period": 60}), b"SerializationException"),
        ("monitoring", _json("GraniteServiceVersion20100801.PutMetricData", '{"Namespace": "a", "MetricData": [{"MetricName": "b", "Timestamp": ' + _DEEP + "}]}"), b"SerializationException"),
        ("monitoring", _json("GraniteServiceVersion20100801.PutMetricData", '{"Namespace": "a", "MetricData": [{"MetricName": "b", "Value": ' + _DEEP + "}]}"), b"SerializationException"),
        ("sagemaker", _json("SageMaker.ListTrainingJobs", {"MaxResults": 2**31}), b"SerializationException"),
        ("iam", ("POST", "/", b"Action=CreatePolicy&Version=2010-05-08&PolicyName=a&PolicyDocument=" + b'{"Statement":' + _DEEP.encode() + b"}", _FORM), b"MalformedPolicyDocument"),
        ("iam", ("POST", "/", b"Action=CreatePolicy&Version=2010-05-08&PolicyName=a&PolicyDocument=%7B%22Statement%22:%7B%22Effect%22:%22Allow%22,%22Action%22:true,%22Resource%22:%22*%22%7D%7D", _FORM), b"MalformedPolicyDocument"),
        ("iam", ("POST", "/", b"Action=TagRole&Version=2010-05-08&RoleName=a&Tags.member.%C2%B2.Key=b", _FORM), b"NoSuchEntity"),
    ],
)  # fmt: skip
def test_the_caller_is_told(platform: Platform, service: str, request_: Any, code: bytes) -> None:
    if service == "logs":
        with contextlib.suppress(ClientError):
            platform.client("logs").create_log_group(logGroupName="hostile-tokens")
    status, answer = signed(platform, request_[0], request_[1], request_[2], request_[3], service)
    assert 400 <= status < 500, (status, answer)
    assert code in answer


def test_an_operation_may_want_no_scheme(platform: Platform, name: str) -> None:
    operation = {"security": None, "x-amazon-apigateway-integration": {"type": "MOCK"}}
    document = {"swagger": "2.0", "info": {"title": name}, "paths": {"/a": {"get": operation}}}
    client = platform.client("apigateway")
    api = client.import_rest_api(body=json.dumps(document))["id"]
    (resource,) = (r["id"] for r in client.get_resources(restApiId=api)["items"] if r["path"] == "/a")
    assert client.get_method(restApiId=api, resourceId=resource, httpMethod="GET")["authorizationType"] == "NONE"


def test_a_deep_answer_of_a_mock_is_a_wrong_one(sqlite_platform: Platform, name: str) -> None:
    integration = {"type": "MOCK", "requestTemplates": {"application/json": '{"statusCode": ' + _DEEP + "}"}}
    document = {
        "swagger": "2.0",
        "info": {"title": name},
        "paths": {"/a": {"get": {"x-amazon-apigateway-integration": integration}}},
    }
    client = sqlite_platform.client("apigateway")
    api = client.import_rest_api(body=json.dumps(document))["id"]
    (resource,) = (r["id"] for r in client.get_resources(restApiId=api)["items"] if r["path"] == "/a")
    found = client.test_invoke_method(restApiId=api, resourceId=resource, httpMethod="GET")
    assert (found["status"], "Internal server error" in found["body"]) == (500, True)
    assert "RecursionError" not in sqlite_platform.log()


def test_a_wrong_page_token_of_tags_is_refused(sqlite_platform: Platform, name: str) -> None:
    client = sqlite_platform.client("sagemaker")
    container = {"Image": "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1"}
    role = "arn:aws:iam::000000000000:role/AmazonSageMaker-ExecutionRole"
    arn = client.create_model(ModelName=name, ExecutionRoleArn=role, PrimaryContainer=container)["ModelArn"]
    with pytest.raises(ClientError, match="ValidationException"):
        client.list_tags(ResourceArn=arn, NextToken="bHN3")


def test_documents_of_a_bucket_need_a_body(sqlite_platform: Platform, name: str) -> None:
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    for part in ("lifecycle", "cors", "tagging", "versioning", "encryption", "notification", "website", "logging"):
        status, answer = signed(sqlite_platform, "PUT", f"/{name}?{part}", b"", {}, "s3")
        assert status == 400, (part, answer)
        assert (b"MissingRequestBodyError" in answer) == (part == "lifecycle") or b"Member must not be null" in answer


def test_no_encoding_hides_a_document_type(sqlite_platform: Platform, name: str) -> None:
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    document = (
        "<!DOCTYPE a [<!ENTITY b 'c'>]><Tagging><TagSet><Tag><Key>&b;</Key><Value>v</Value></Tag></TagSet></Tagging>"
    )
    for body in (document.encode("utf-16"), b"<?xml version='1.0' encoding='cp037'?>" + document.encode("cp037")):
        status, answer = signed(sqlite_platform, "PUT", f"/{name}?tagging", body, {}, "s3")
        assert (status, b"MalformedXML" in answer) == (400, True), answer
    status, answer = signed(
        sqlite_platform, "PUT", f"/{name}?tagging", b"<?xml version='1.0' encoding='none'?><a/>", {}, "s3"
    )
    assert status == 400, answer


def test_bytes_that_are_no_text_in_a_header_are_refused(sqlite_platform: Platform, name: str) -> None:
    from tests.fuzz.connection import Connection
    from tests.fuzz.requests import Draft, Keys

    host = sqlite_platform.endpoint.removeprefix("http://")
    sqlite_platform.client("s3").create_bucket(Bucket=name)
    draft = Draft("", "s3", "PUT", f"/{name}/key", headers={"x-amz-meta-a": "\udcff", "x-amz-tagging": "\udcff"})
    connection = Connection(host.partition(":")[0], sqlite_platform.port, 10)
    answer = connection.ask(draft.signed(Keys(*sqlite_platform.root_key), host))
    connection.close()
    assert answer.status == 400, answer


# ---- what was accepted -------------------------------------------------------------------------------------------------


def test_a_patch_keeps_the_types_of_the_model(platform: Platform, name: str) -> None:
    client = platform.client("apigateway")
    api = client.create_rest_api(name=name)["id"]

    def patch(path: str, value: str, op: str = "replace") -> Any:
        return client.update_rest_api(restApiId=api, patchOperations=[{"op": op, "path": path, "value": value}])

    for path, value in (
        ("/minimumCompressionSize", "many"),
        ("/apiKeySource", "NOWHERE"),
        ("/endpointConfiguration/types", "x"),
    ):
        with pytest.raises(ClientError, match="BadRequestException"):
            patch(path, value)
    assert patch("/minimumCompressionSize", "10")["minimumCompressionSize"] == 10
    assert patch("/disableExecuteApiEndpoint", "true")["disableExecuteApiEndpoint"] is True
    assert client.get_rest_api(restApiId=api)["minimumCompressionSize"] == 10
    plan = client.create_usage_plan(name=name, quota={"limit": 5, "period": "DAY"})["id"]
    for path, value in (
        ("/quota/limit", "x"),
        ("/quota/limit/x", "1"),
        ("/throttle/rateLimit", "x"),
        ("/throttle", "x"),
    ):
        with pytest.raises(ClientError, match="BadRequestException"):
            client.update_usage_plan(
                usagePlanId=plan, patchOperations=[{"op": "replace", "path": path, "value": value}]
            )
    assert client.get_usage_plan(usagePlanId=plan)["quota"]["limit"] == 5


def test_the_first_part_of_an_object_without_parts_is_all_of_it(platform: Platform, name: str) -> None:
    s3 = platform.client("s3")
    s3.create_bucket(Bucket=name)
    for key, data in (("small", b"0123456789"), ("large", b"x" * 300_000), ("empty", b"")):
        s3.put_object(Bucket=name, Key=key, Body=data)
        found = s3.get_object(Bucket=name, Key=key, PartNumber=1)
        assert found["Body"].read() == data and "PartsCount" not in found
        assert s3.head_object(Bucket=name, Key=key, PartNumber=1)["ContentLength"] == len(data)
        with pytest.raises(ClientError, match="InvalidPartNumber"):
            s3.get_object(Bucket=name, Key=key, PartNumber=2)
    assert s3.get_object(Bucket=name, Key="small", PartNumber=1)["ContentRange"] == "bytes 0-9/10"


def test_parts_that_were_copied_keep_their_borders(sqlite_platform: Platform, name: str) -> None:
    s3 = sqlite_platform.client("s3")
    s3.create_bucket(Bucket=name)
    size = 5 << 20

    def upload(key: str, *parts: Any) -> None:
        made = s3.create_multipart_upload(Bucket=name, Key=key)["UploadId"]
        tags = []
        for number, part in enumerate(parts, 1):
            where = {"Bucket": name, "Key": key, "UploadId": made, "PartNumber": number}
            if isinstance(part, bytes):
                tags.append({"PartNumber": number, "ETag": s3.upload_part(**where, Body=part)["ETag"]})
            else:
                done = s3.upload_part_copy(
                    **where, CopySource={"Bucket": name, "Key": part[0]}, CopySourceRange=part[1]
                )
                tags.append({"PartNumber": number, "ETag": done["CopyPartResult"]["ETag"]})
        s3.complete_multipart_upload(Bucket=name, Key=key, UploadId=made, MultipartUpload={"Parts": tags})

    upload("source", b"a" * size, b"b" * size)
    upload("copied", ("source", f"bytes=10-{size * 2 - 1}"), b"end")
    first = s3.get_object(Bucket=name, Key="copied", PartNumber=1)
    assert (first["ContentLength"], first["PartsCount"]) == (size * 2 - 10, 2)
    assert s3.get_object(Bucket=name, Key="copied", PartNumber=2)["Body"].read() == b"end"


def test_a_delete_has_conditions(platform: Platform, name: str) -> None:
    s3 = platform.client("s3")
    s3.create_bucket(Bucket=name)
    tag = s3.put_object(Bucket=name, Key="a", Body=b"1")["ETag"]
    with pytest.raises(ClientError, match="PreconditionFailed"):
        s3.delete_object(Bucket=name, Key="a", IfMatch='"wrong"')
    found = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": "a", "ETag": '"wrong"'}, {"Key": "b"}]})
    assert [(e["Key"], e["Code"]) for e in found["Errors"]] == [("a", "PreconditionFailed")]
    assert [d["Key"] for d in found["Deleted"]] == ["b"]
    assert s3.head_object(Bucket=name, Key="a")["ETag"] == tag
    s3.delete_object(Bucket=name, Key="a", IfMatch=tag)
    with pytest.raises(ClientError, match="404"):
        s3.head_object(Bucket=name, Key="a")
    with pytest.raises(ClientError, match="NoSuchKey"):
        s3.delete_object(Bucket=name, Key="a", IfMatch="*")


def test_tags_of_rest_apis_stay_where_they_are_put(platform: Platform, name: str) -> None:
    client = platform.client("apigateway")
    made = client.create_rest_api(name=name, tags={"of": "api"})
    api, root = made["id"], made["rootResourceId"]
    client.put_method(restApiId=api, resourceId=root, httpMethod="GET", authorizationType="NONE")
    client.put_integration(restApiId=api, resourceId=root, httpMethod="GET", type="MOCK")
    deployment = client.create_deployment(restApiId=api)["id"]
    stage = client.create_stage(restApiId=api, stageName="s", deploymentId=deployment, tags={"of": "stage"})
    assert stage["tags"] == {"of": "stage"}
    base = "arn:aws:apigateway:us-east-1::"
    key = client.create_api_key(name=name, tags={"of": "key"})["id"]
    plan = client.create_usage_plan(name=name, tags={"of": "plan"})["id"]
    places = {
        f"/restapis/{api}": "api",
        f"/restapis/{api}/stages/s": "stage",
        f"/apikeys/{key}": "key",
        f"/usageplans/{plan}": "plan",
    }
    for path, told in places.items():
        client.tag_resource(resourceArn=base + path, tags={"more": told})
        assert client.get_tags(resourceArn=base + path)["tags"] == {"of": told, "more": told}
    assert client.get_stage(restApiId=api, stageName="s")["tags"] == {"of": "stage", "more": "stage"}
    assert client.get_api_key(apiKey=key)["tags"] == {"of": "key", "more": "key"}
    assert client.get_usage_plan(usagePlanId=plan)["tags"] == {"of": "plan", "more": "plan"}
    client.untag_resource(resourceArn=f"{base}/restapis/{api}/stages/s", tagKeys=["of"])
    assert client.get_stage(restApiId=api, stageName="s")["tags"] == {"more": "stage"}
    assert client.get_rest_api(restApiId=api)["tags"] == {"of": "api", "more": "api"}
    for path in (f"/restapis/{api}/stages/none", f"/restapis/{api}/resources/x", "/apikeys/none", "/vpclinks/none"):
        with pytest.raises(ClientError, match="NotFoundException"):
            client.tag_resource(resourceArn=base + path, tags={"a": "b"})


# ---- patterns and templates --------------------------------------------------------------------------------------------

_BOMB, _FUSE = "(a+)+$", "a" * 60 + "!"


def _lively(platform: Platform) -> None:
    began = time.monotonic()
    assert platform.page("/readyz")
    assert time.monotonic() - began < 20


def test_patterns_of_parameters_end(sqlite_platform: Platform, name: str) -> None:
    ssm, stacks = sqlite_platform.client("ssm"), sqlite_platform.client("cloudformation")
    began = time.monotonic()
    with pytest.raises(ClientError, match="ParameterPatternMismatchException"):
        ssm.put_parameter(Name=name, Value=_FUSE, Type="String", AllowedPattern=_BOMB)
    with pytest.raises(ClientError, match="must match pattern"):
        document = {"Parameters": {"P": {"Type": "String", "AllowedPattern": _BOMB}}, "Resources": _resource("a")}
        parameters = [{"ParameterKey": "P", "ParameterValue": _FUSE}]
        stacks.create_stack(StackName=name, TemplateBody=json.dumps(document), Parameters=parameters)
    assert time.monotonic() - began < 20
    ahead = r"^(?=.*[A-Z])(?=.*\d).{8,}$"  # passwords: what the linear engine lacks runs elsewhere
    ssm.put_parameter(Name=name, Value="Passw0rd1", Type="String", AllowedPattern=ahead)
    with pytest.raises(ClientError, match="ParameterPatternMismatchException"):
        ssm.put_parameter(Name=name, Value="password1", Type="String", AllowedPattern=ahead, Overwrite=True)
    with pytest.raises(ClientError, match="InvalidAllowedPatternException"):
        ssm.put_parameter(Name=name, Value=_FUSE, Type="String", AllowedPattern=rf"(?=a){_BOMB}", Overwrite=True)
    _lively(sqlite_platform)


def test_metric_patterns_that_cannot_run_are_refused(sqlite_platform: Platform, name: str) -> None:
    from tests.jobs import bucket, job

    where = bucket(sqlite_platform, name)
    asked = job(name, where)
    for pattern in ("(?<=loss=)([0-9.]+)", "("):
        asked["AlgorithmSpecification"]["MetricDefinitions"] = [{"Name": "loss", "Regex": pattern}]
        with pytest.raises(ClientError, match="Invalid Regex of the metric loss"):
            sqlite_platform.client("sagemaker").create_training_job(**asked)


def _mock(platform: Platform, name: str, template: str, **method: Any) -> str:
    client = platform.client("apigateway")
    made = client.create_rest_api(name=name)
    where = {"restApiId": made["id"], "resourceId": made["rootResourceId"], "httpMethod": "POST"}
    if "schema" in method:
        client.create_model(restApiId=made["id"], name="M", contentType="application/json", schema=method.pop("schema"))
        check = client.create_request_validator(restApiId=made["id"], name="v", validateRequestBody=True)["id"]
        method |= {"requestModels": {"application/json": "M"}, "requestValidatorId": check}
    client.put_method(**where, authorizationType="NONE", **method)
    client.put_method_response(**where, statusCode="200")
    client.put_integration(**where, type="MOCK", requestTemplates={"application/json": '{"statusCode": 200}'})
    client.put_integration_response(**where, statusCode="200", responseTemplates={"application/json": template})
    client.create_deployment(restApiId=made["id"], stageName="s")
    return f"/_clary/execute-api/{made['id']}/s"


def _post(platform: Platform, path: str, body: bytes) -> tuple[int, bytes]:
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=60)
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def test_patterns_of_models_end(sqlite_platform: Platform, name: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "pattern": _BOMB}}}
    path = _mock(sqlite_platform, name, "ok", schema=json.dumps(schema))
    began = time.monotonic()
    assert _post(sqlite_platform, path, json.dumps({"a": _FUSE}).encode())[0] == 400
    assert time.monotonic() - began < 20
    assert _post(sqlite_platform, path, b'{"a": "aaa"}') == (200, b"ok")


@pytest.mark.parametrize(
    "template",
    [
        "#set($a='xxxxxxxxxx')" + "#set($a=$a+$a)" * 40 + "$a",
        "#foreach($i in [1..999])#foreach($j in [1..999])#foreach($k in [1..999])x#end#end#end",
        "#set($a='" + "a" * 60 + "!')$a.replaceAll('(a+)+b','')",
        "#set($a=9)" + "#set($a=$a*$a)" * 40 + "$a",
        "#macro(a)#a()#end#a()",
    ],
    ids=["doubling", "loops", "pattern", "numbers", "recursion"],
)  # fmt: skip
def test_templates_have_budgets(sqlite_platform: Platform, name: str, template: str) -> None:
    path = _mock(sqlite_platform, name, template)
    began = time.monotonic()
    assert _post(sqlite_platform, path, b"{}") == (500, b'{"message":"Internal server error"}')
    assert time.monotonic() - began < 60
    _lively(sqlite_platform)
    good = _mock(sqlite_platform, f"{name}-good", "$context.httpMethod")
    assert until(lambda: _post(sqlite_platform, good, b"{}") == (200, b"POST"), 30)


def test_patterns_that_cannot_run_are_refused_when_they_are_written(sqlite_platform: Platform, name: str) -> None:
    client = sqlite_platform.client("apigateway")
    made = client.create_rest_api(name=name)
    where = {"restApiId": made["id"], "resourceId": made["rootResourceId"], "httpMethod": "GET"}
    client.put_method(**where, authorizationType="NONE")
    client.put_method_response(**where, statusCode="200")
    client.put_integration(**where, type="MOCK")
    with pytest.raises(ClientError, match=r"Invalid selectionPattern specified.*look-around"):
        client.put_integration_response(**where, statusCode="200", selectionPattern="(?!ok).*")
