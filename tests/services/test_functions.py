"""Lambda through boto3: functions that really run."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import http.client
import io
import json
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.jobs import ROLE, messages
from tests.platform import Gate, Platform, until


def archive(**files: str) -> bytes:
    """A zip archive; ``__`` in a name stands for ``/``."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, text in files.items():
            packed.writestr(name.replace("__", "/") + ".py", text)
    return out.getvalue()


def create(platform: Platform, name: str, source: str, **more: Any) -> Any:
    """A function of one module, ``index``."""
    client = platform.client("lambda")
    client.create_function(
        FunctionName=name, Role=ROLE, Code={"ZipFile": archive(index=source)},
        **{"Handler": "index.handler", "Runtime": "python3.12", "Timeout": 10, **more},
    )  # fmt: skip
    return client


def call(client: Any, name: str, event: Any = None, **more: Any) -> tuple[Any, dict[str, Any]]:
    answer = client.invoke(FunctionName=name, Payload=json.dumps(event), **more)
    text = answer["Payload"].read()
    return (json.loads(text) if text else None), answer


ECHO = """
import os, sys
print("loaded")
COUNT = 0
def handler(event, context):
    global COUNT
    COUNT += 1
    print("called with", event)
    return {
        "event": event, "count": COUNT, "pid": os.getpid(), "request": context.aws_request_id,
        "left": context.get_remaining_time_in_millis(), "arn": context.invoked_function_arn,
        "version": context.function_version, "memory": context.memory_limit_in_mb, "name": context.function_name,
        "env": {k: os.environ.get(k) for k in (
            "MINE", "AWS_REGION", "AWS_DEFAULT_REGION", "LAMBDA_TASK_ROOT", "_HANDLER", "AWS_LAMBDA_LOG_GROUP_NAME",
            "AWS_EXECUTION_ENV", "AWS_ENDPOINT_URL", "CLARY_RUNTIME_API", "CLARY_HOME",
        )},
        "cwd": os.getcwd(), "stream": context.log_stream_name,
    }
"""


def test_a_function_runs_and_stays_warm(platform: Platform, name: str) -> None:
    client = create(platform, name, ECHO, Environment={"Variables": {"MINE": "1"}}, MemorySize=256)
    client.get_waiter("function_active_v2").wait(FunctionName=name)
    first, answer = call(client, name, {"a": 1}, LogType="Tail")
    assert (answer["StatusCode"], answer["ExecutedVersion"], "FunctionError" in answer) == (200, "$LATEST", False)
    assert first["event"] == {"a": 1}
    assert first["arn"].endswith(f":function:{name}")
    assert (first["version"], first["memory"], first["name"], first["cwd"]) == ("$LATEST", "256", name, "/var/task")
    assert 0 < first["left"] <= 10_000
    env = first["env"]
    assert env["MINE"] == "1"
    assert env["AWS_REGION"] == env["AWS_DEFAULT_REGION"] == "us-east-1"
    assert (env["LAMBDA_TASK_ROOT"], env["_HANDLER"]) == ("/var/task", "index.handler")
    assert env["AWS_ENDPOINT_URL"].endswith(str(platform.port))
    assert (env["CLARY_RUNTIME_API"], env["CLARY_HOME"]) == (None, None)
    log = base64.b64decode(answer["LogResult"]).decode().splitlines()
    assert log[0] == f"START RequestId: {first['request']} Version: $LATEST"
    assert log[1] == "called with {'a': 1}"
    assert log[2] == f"END RequestId: {first['request']}"
    assert log[3].startswith(f"REPORT RequestId: {first['request']}\tDuration: ")
    assert "Memory Size: 256 MB" in log[3] and "Init Duration: " in log[3]
    second, answer = call(client, name, LogType="Tail")
    assert (second["pid"], second["count"]) == (first["pid"], 2)
    assert second["event"] is None
    assert b"Init Duration" not in base64.b64decode(answer["LogResult"])
    group = f"/aws/lambda/{name}"
    until(lambda: any("REPORT" in m for m in messages(platform, group, "20")), 10, "the log")
    logged = messages(platform, group, "20")
    assert logged[0].startswith("INIT_START Runtime Version: python:3.12")
    assert "loaded" in logged[1]
    assert any("\tMemory Size: 256 MB\t" in m for m in logged)
    assert first["stream"].startswith(time.strftime("%Y/%m/%d/[$LATEST]", time.gmtime()))

    def metrics() -> dict[str, float]:
        found = {}
        for metric in ("Invocations", "Errors", "Duration"):
            points = platform.client("cloudwatch").get_metric_statistics(
                Namespace="AWS/Lambda", MetricName=metric, Dimensions=[{"Name": "FunctionName", "Value": name}],
                StartTime=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5), EndTime=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1),
                Period=60, Statistics=["Sum"],
            )["Datapoints"]  # fmt: skip
            found[metric] = sum(p["Sum"] for p in points)
        return found

    until(lambda: metrics()["Invocations"] == 2, 10, "the metrics")
    assert metrics()["Errors"] == 0
    client.delete_function(FunctionName=name)
    with pytest.raises(ClientError, match="Function not found") as missing:
        call(client, name)
    assert missing.value.response["Error"]["Code"] == "ResourceNotFoundException"


def test_code_is_had_by_a_link(platform: Platform, name: str) -> None:
    data = archive(index="def handler(event, context): return 1")
    client = create(platform, name, "def handler(event, context): return 1")
    layer = client.publish_layer_version(LayerName=name, Content={"ZipFile": data})
    found = client.get_layer_version(LayerName=name, VersionNumber=layer["Version"])
    for link in (client.get_function(FunctionName=name)["Code"]["Location"], found["Content"]["Location"]):
        with urlopen(link, timeout=10) as answer, zipfile.ZipFile(io.BytesIO(answer.read())) as packed:
            assert packed.read("index.py") == b"def handler(event, context): return 1"
        with pytest.raises(HTTPError, match="403"):
            urlopen(link[:-4] + "AAAA", timeout=10)


FAULTS = """
import json, os, sys, time
def handler(event, context):
    match event:
        case "raise": raise ValueError("on purpose")
        case "exit": sys.exit(3)
        case "exit0": os._exit(0)
        case "sleep": time.sleep(60)
        case "object": return object()
        case "large": return "x" * 7_000_000
        case "nan": return float("nan")
        case "print": print("y" * 100_000); return "printed"
        case "memory": return len(bytearray(2 << 30))
    return "fine"
"""


def test_faults_are_told_in_awss_words(platform: Platform, name: str) -> None:
    client = create(platform, name, FAULTS, Timeout=1)
    assert call(client, name, "")[0] == "fine"

    def fault(event: str) -> dict[str, Any]:
        found, answer = call(client, name, event, LogType="Tail")
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        assert isinstance(found, dict)
        return {**found, "log": base64.b64decode(answer["LogResult"]).decode()}

    raised = fault("raise")
    assert (raised["errorType"], raised["errorMessage"]) == ("ValueError", "on purpose")
    assert raised["stackTrace"][-1].startswith('  File "/var/task/index.py", line 5, in handler')
    assert "[ERROR] ValueError: on purpose" in raised["log"]
    request = raised["requestId"]
    assert f"RequestId: {request}" in raised["log"]
    for event, words in (
        ("exit", "Runtime exited with error: exit status 3"), ("exit0", "Runtime exited without providing a reason"),
    ):  # fmt: skip
        ended = fault(event)
        assert (ended["errorType"], ended["errorMessage"].partition("Error: ")[2]) == ("Runtime.ExitError", words)
    began = time.monotonic()
    slow = fault("sleep")
    assert time.monotonic() - began < 8
    assert slow["errorType"] == "Sandbox.Timedout"
    assert slow["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")
    assert "Task timed out after 1.00 seconds" in slow["log"]
    assert fault("object")["errorType"] == "Runtime.MarshalError"
    assert fault("large")["errorType"] == "Function.ResponseSizeTooLarge"
    assert call(client, name, "print")[0] == "printed"
    assert call(client, name, "")[0] == "fine"  # each fault left the next call alone
    client.update_function_configuration(FunctionName=name, Timeout=30)
    assert fault("memory")["errorType"] in ("MemoryError", "Runtime.ExitError")


@pytest.mark.parametrize(
    ("source", "handler", "kind", "words"),
    [
        ("import nowhere", "index.handler", "Runtime.ImportModuleError", "Unable to import module 'index'"),
        ("def other(e, c): pass", "index.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'index'"),
        ("def handler(e, c):\n  return (", "index.handler", "Runtime.UserCodeSyntaxError", "Syntax error in module 'index'"),
        ("x = 1", "index", "Runtime.MalformedHandlerName", "Bad handler 'index'"),
        ("raise KeyError('at import')", "index.handler", "KeyError", "at import"),
    ],
)  # fmt: skip
def test_a_handler_that_does_not_load_says_why(
    sqlite_platform: Platform, name: str, source: str, handler: str, kind: str, words: str
) -> None:
    client = create(sqlite_platform, name, source, Handler=handler)
    for _ in range(2):
        found, answer = call(client, name)
        assert answer["FunctionError"] == "Unhandled"
        assert found["errorType"] == kind
        assert words in found["errorMessage"]


def test_what_is_refused(platform: Platform, name: str) -> None:
    client = create(platform, name, ECHO)

    def code(expected: str, words: str, function: Any, **params: Any) -> None:
        with pytest.raises(ClientError, match=words) as refused:
            function(**params)
        assert refused.value.response["Error"]["Code"] == expected

    base = {"Role": ROLE, "Handler": "index.handler", "Runtime": "python3.12", "Code": {"ZipFile": archive(index=ECHO)}}
    new = {**base, "FunctionName": f"{name}-x"}
    invalid = "InvalidParameterValueException"
    code("ResourceConflictException", "already exist", client.create_function, **{**base, "FunctionName": name})
    code(invalid, "Could not unzip", client.create_function, **{**new, "Code": {"ZipFile": b"no zip"}})
    code(invalid, "NoSuchBucket", client.create_function, **{**new, "Code": {"S3Bucket": "none-there", "S3Key": "k"}})
    code(
        invalid,
        "container images",
        client.create_function,
        **{**new, "Code": {"ImageUri": "x"}, "PackageType": "Image"},
    )
    code(invalid, "does not serve ruby3.3", client.create_function, **{**new, "Runtime": "ruby3.3"})
    code(
        invalid, "Reserved keys used in this request: AWS_REGION", client.create_function,
        **{**new, "Environment": {"Variables": {"AWS_REGION": "x"}}},
    )  # fmt: skip
    code(invalid, "4096 bytes", client.create_function, **{**new, "Environment": {"Variables": {"AA": "x" * 5000}}})
    code("ValidationException", "'timeout'", client.create_function, **{**new, "Timeout": 901})
    evil = io.BytesIO()
    with zipfile.ZipFile(evil, "w") as packed:
        packed.writestr("../evil.py", "x")
    code(invalid, "leads outside", client.create_function, **{**new, "Code": {"ZipFile": evil.getvalue()}})
    code(
        "InvalidRequestContentException",
        "Could not parse request body into json",
        client.invoke,
        FunctionName=name,
        Payload=b"{",
    )
    code("RequestTooLargeException", "too large", client.invoke, FunctionName=name, Payload=json.dumps("x" * 6_300_000))
    code("ResourceNotFoundException", "Function not found: arn:aws:lambda", client.invoke, FunctionName=f"{name}:9")
    code(invalid, "does not match the specified qualifier", client.invoke, FunctionName=f"{name}:1", Qualifier="2")
    code(
        "PreconditionFailedException",
        "Revision Id",
        client.update_function_configuration,
        FunctionName=name,
        RevisionId="x",
    )
    assert client.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    assert not list((platform.home / "functions").glob(".new-*"))


def test_changes_take_effect_at_once(platform: Platform, name: str) -> None:
    client = create(platform, name, "def handler(e, c): return 'one'")
    assert call(client, name)[0] == "one"
    data = archive(index="import os\ndef handler(e, c): return ['two', os.environ.get('VV')]")
    changed = client.update_function_code(FunctionName=name, ZipFile=data)
    assert changed["LastUpdateStatus"] == "InProgress"
    assert changed["CodeSha256"] == base64.b64encode(hashlib.sha256(data).digest()).decode()
    client.get_waiter("function_updated_v2").wait(FunctionName=name)
    assert call(client, name)[0] == ["two", None]
    client.update_function_configuration(FunctionName=name, Environment={"Variables": {"VV": "v"}}, Timeout=7)
    assert call(client, name)[0] == ["two", "v"]
    found = client.get_function(FunctionName=name)["Configuration"]
    assert (found["Timeout"], found["State"], found["LastUpdateStatus"]) == (7, "Active", "Successful")
    bucket = f"{name}-code"
    platform.client("s3").create_bucket(Bucket=bucket)
    platform.client("s3").put_object(Bucket=bucket, Key="f.zip", Body=archive(index="def handler(e, c): return 3"))
    client.update_function_code(FunctionName=name, S3Bucket=bucket, S3Key="f.zip")
    assert call(client, name)[0] == 3
    assert [f["FunctionName"] for f in client.list_functions()["Functions"] if f["FunctionName"] == name] == [name]
    arn = found["FunctionArn"]
    client.tag_resource(Resource=arn, Tags={"a": "b", "c": "d"})
    client.untag_resource(Resource=arn, TagKeys=["c"])
    assert client.list_tags(Resource=arn)["Tags"] == {"a": "b"}


def test_versions_and_aliases(platform: Platform, name: str) -> None:
    source = "def handler(e, c): return [%d, c.function_version, c.invoked_function_arn.rpartition(':')[2]]"
    client = create(platform, name, source % 1)
    one = client.publish_version(FunctionName=name, Description="first")
    assert (one["Version"], one["FunctionArn"].endswith(f"{name}:1")) == ("1", True)
    assert client.publish_version(FunctionName=name, Description="first")["Version"] == "1"
    client.update_function_code(FunctionName=name, ZipFile=archive(index=source % 2))
    assert client.publish_version(FunctionName=name)["Version"] == "2"
    assert call(client, name, Qualifier="1")[0] == [1, "1", "1"]
    assert call(client, f"{name}:2")[0] == [2, "2", "2"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert call(client, name, Qualifier="live")[0] == [1, "1", "live"]
    client.update_alias(
        FunctionName=name, Name="live", FunctionVersion="1", RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}}
    )
    assert {call(client, name, Qualifier="live")[0][0] for _ in range(40)} == {1, 2}
    with pytest.raises(ClientError, match="cannot be deleted because the following aliases"):
        client.delete_function(FunctionName=name, Qualifier="1")
    versions = client.list_versions_by_function(FunctionName=name)["Versions"]
    assert [v["Version"] for v in versions] == ["$LATEST", "1", "2"]
    assert [a["Name"] for a in client.list_aliases(FunctionName=name)["Aliases"]] == ["live"]
    client.delete_alias(FunctionName=name, Name="live")
    with pytest.raises(ClientError, match="Cannot find alias arn"):
        client.get_alias(FunctionName=name, Name="live")
    client.delete_function(FunctionName=name, Qualifier="1")
    with pytest.raises(ClientError, match="Function not found"):
        call(client, name, Qualifier="1")


def test_asynchronous_calls_are_repeated_and_forwarded(platform: Platform, name: str) -> None:
    source = "import os\ndef handler(e, c):\n    print('ran', c.aws_request_id)\n    if e == 'bad': raise ValueError('again')\n    return 'done'"
    client = create(platform, name, source)
    told = create(platform, f"{name}-told", "import json\ndef handler(e, c): print('TOLD', json.dumps(e))")
    arn = told.get_function(FunctionName=f"{name}-told")["Configuration"]["FunctionArn"]
    destination = {"OnSuccess": {"Destination": arn}, "OnFailure": {"Destination": arn}}
    client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1, DestinationConfig=destination)

    def records() -> list[dict[str, Any]]:
        found = messages(platform, f"/aws/lambda/{name}-told", "20")
        return [json.loads(m.partition("TOLD ")[2]) for m in found if "TOLD" in m]

    assert client.invoke(FunctionName=name, InvocationType="Event", Payload=b'"good"')["StatusCode"] == 202
    until(lambda: len(records()) == 1, 20, "the outcome of the good call")
    (good,) = records()
    assert (good["requestContext"]["condition"], good["requestPayload"], good["responsePayload"]) == (
        "Success",
        "good",
        "done",
    )
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b'"bad"')
    until(lambda: len(records()) == 2, 30, "the outcome of the bad call")
    bad = records()[1]
    assert (bad["requestContext"]["condition"], bad["requestContext"]["approximateInvokeCount"]) == (
        "RetriesExhausted",
        2,
    )
    assert (bad["responseContext"]["functionError"], bad["responsePayload"]["errorMessage"]) == ("Unhandled", "again")
    request = bad["requestContext"]["requestId"]
    until(
        lambda: sum(m == f"ran {request}" for m in messages(platform, f"/aws/lambda/{name}", "20")) == 2,
        10,
        "both tries",
    )


def test_concurrency(platform: Platform, name: str) -> None:
    with Gate() as gate, ThreadPoolExecutor(2) as threads:
        source = f"import os\ndef handler(e, c):\n    if e: {gate.code}\n    return os.getpid()"
        client = create(platform, name, source)
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
        assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 2}
        held = [threads.submit(call, client, name, 1) for _ in range(2)]
        gate.wait(2)
        for _ in range(2):
            with pytest.raises(ClientError, match="TooManyRequestsException") as failure:
                call(client, name, 0)
            assert failure.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
        gate.open()
        assert all(isinstance(one.result()[0], int) for one in held)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(ClientError, match="Rate Exceeded"):
        call(client, name, 0)
    client.delete_function_concurrency(FunctionName=name)
    assert isinstance(call(client, name, 0)[0], int)


def test_layers(platform: Platform, name: str) -> None:
    client = platform.client("lambda")
    made = [
        client.publish_layer_version(LayerName=f"{name}-{n}", Content={"ZipFile": archive(python__shared=f"VALUE = {n}", **{f"python__only{n}": "X = 1"})})
        for n in (1, 2)
    ]  # fmt: skip
    assert [m["Version"] for m in made] == [1, 1]
    arns = [m["LayerVersionArn"] for m in made]
    source = "import shared, only1, only2\ndef handler(e, c): return shared.VALUE"
    create(platform, name, source, Layers=arns)
    assert call(client, name)[0] == 2  # the later one lies on top
    assert [entry["Arn"] for entry in client.get_function_configuration(FunctionName=name)["Layers"]] == arns
    with pytest.raises(ClientError, match="does not exist"):
        client.update_function_configuration(FunctionName=name, Layers=[arns[0][:-1] + "9"])


def test_a_function_calls_the_platform_as_its_role(platform: Platform, name: str) -> None:
    source = """
import boto3
s3 = boto3.client("s3")
def handler(event, context):
    s3.put_object(Bucket=event, Key="k", Body=b"from a function")
    return boto3.client("sts").get_caller_identity()["Arn"]
"""
    platform.client("s3").create_bucket(Bucket=name)
    client = create(platform, name, source)
    found, answer = call(client, name, name)
    assert found.endswith(f"/{name}") and ":assumed-role/" in found, answer
    assert platform.client("s3").get_object(Bucket=name, Key="k")["Body"].read() == b"from a function"


def test_permissions(platform: Platform, name: str) -> None:
    client = create(platform, name, ECHO)
    with pytest.raises(ClientError, match="The resource you requested does not exist"):
        client.get_policy(FunctionName=name)
    given = {"StatementId": "api", "Action": "lambda:InvokeFunction", "Principal": "apigateway.amazonaws.com"}
    source = "arn:aws:execute-api:us-east-1:000000000000:abc/*/*"
    made = json.loads(client.add_permission(FunctionName=name, **given, SourceArn=source)["Statement"])
    assert made["Condition"] == {"ArnLike": {"AWS:SourceArn": source}}
    assert made["Principal"] == {"Service": "apigateway.amazonaws.com"}
    with pytest.raises(ClientError, match="already exists"):
        client.add_permission(FunctionName=name, **given)
    assert json.loads(client.get_policy(FunctionName=name)["Policy"])["Statement"] == [made]
    client.remove_permission(FunctionName=name, StatementId="api")
    with pytest.raises(ClientError, match="is not found in resource policy"):
        client.remove_permission(FunctionName=name, StatementId="api")


def test_calls_survive_control(sqlite_platform: Platform, name: str) -> None:
    """Control is killed: the next call runs, and what was queued is run."""

    platform = sqlite_platform
    client = create(platform, name, "def handler(e, c):\n    print('got', e)\n    return 'ok'")
    assert call(client, name)[0] == "ok"
    client.invoke(FunctionName=name, InvocationType="Event", Payload=b'"queued"')
    platform.kill("clary.server")

    def answers() -> bool:
        try:
            return bool(call(platform.client("lambda"), name)[0] == "ok")
        except BotoCoreError:  # control is away
            return False

    until(answers, 20, "a call after the restart")
    until(
        lambda: any("got queued" in m for m in messages(platform, f"/aws/lambda/{name}", "20")), 20, "the queued call"
    )


# ---- function URLs ---------------------------------------------------------------------------------------------------

TELLS = """
import json
def handler(event, context):
    told = json.loads(event.get("body") or "{}")
    if told.get("raise"): raise ValueError("on purpose")
    if told.get("plain"): return {"seen": event["rawPath"], "method": event["requestContext"]["http"]["method"]}
    return {"statusCode": 201, "headers": {"X-Own": "yes"}, "body": event["version"] + context.invoked_function_arn[-5:]}
"""


def url_ask(
    platform: Platform, url: str, path: str = "/", method: str = "POST", body: str = "{}", **headers: str
) -> Any:
    """Call a function's URL, whose name need not resolve."""
    host = url.removeprefix("http://").rstrip("/")
    connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=30)
    try:
        connection.request(method, path, body, {"Host": host, **{k.replace("_", "-"): v for k, v in headers.items()}})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read().decode()
    finally:
        connection.close()


def test_a_function_has_an_address(platform: Platform, name: str) -> None:
    create(platform, name, TELLS)
    client = platform.client("lambda")
    made = client.create_function_url_config(FunctionName=name, AuthType="NONE", Cors={"AllowOrigins": ["https://x.example"], "AllowMethods": ["POST"]})  # fmt: skip
    url = made["FunctionUrl"]
    assert url.startswith("http://") and ".lambda-url.localhost:" in url
    status, _, body = url_ask(platform, url)
    assert status == 403 and json.loads(body)["Message"].startswith("Forbidden. For troubleshooting Function URL")
    client.add_permission(FunctionName=name, StatementId="url", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")  # fmt: skip
    status, headers, body = url_ask(platform, url, Origin="https://x.example")
    assert (status, headers["X-Own"], body) == (201, "yes", f"2.0{name[-5:]}")
    assert headers["access-control-allow-origin"] == "https://x.example"
    told = url_ask(platform, url, "/a/b?c=d", "PUT", '{"plain": 1}')
    assert told[0] == 200 and json.loads(told[2]) == {"seen": "/a/b", "method": "PUT"}
    assert url_ask(platform, url, body='{"raise": 1}')[0] == 502
    status, headers, _ = url_ask(platform, url, "/", "OPTIONS", "", Origin="https://x.example", Access_Control_Request_Method="POST")  # fmt: skip
    assert status == 200 and headers["access-control-allow-methods"] == "POST"
    identifier = url.removeprefix("http://").partition(".")[0]
    by_path = url_ask(platform, f"localhost:{platform.port}", f"/_clary/lambda-url/{identifier}/q", body='{"plain": 1}')
    assert json.loads(by_path[2])["seen"] == "/q"

    assert client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")["AuthType"] == "AWS_IAM"
    until(lambda: url_ask(platform, url)[0] == 403)
    with pytest.raises(ClientError, match="FunctionUrlConfig exists for this Lambda function"):
        client.create_function_url_config(FunctionName=name, AuthType="NONE")
    streaming = client.update_function_url_config(FunctionName=name, InvokeMode="RESPONSE_STREAM")
    assert streaming["InvokeMode"] == "RESPONSE_STREAM"
    assert client.update_function_url_config(FunctionName=name, InvokeMode="BUFFERED")["InvokeMode"] == "BUFFERED"
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    other = client.create_function_url_config(FunctionName=name, Qualifier="live", AuthType="NONE")
    client.add_permission(FunctionName=name, Qualifier="live", StatementId="u", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE")  # fmt: skip
    assert url_ask(platform, other["FunctionUrl"])[2] == "2.0:live"
    assert len(client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]) == 2
    client.delete_function_url_config(FunctionName=name, Qualifier="live")
    until(lambda: url_ask(platform, other["FunctionUrl"])[0] == 403)
    client.delete_function(FunctionName=name)
    with pytest.raises(ClientError, match="Function not found"):
        client.get_function_url_config(FunctionName=name)


UNRULY = """
import os, signal, sys, time
def handler(event, context):
    if event == "loud":
        for _ in range(30):
            print("x" * 1_000_000)
    if event == "forks":
        for _ in range(5):
            if os.fork() == 0:
                os.setsid()
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(600)
                os._exit(0)
    return "done"
"""


def test_handlers_that_print_megabytes_or_leave_processes_behind(sqlite_platform: Platform, name: str) -> None:
    before = set(sqlite_platform.pids())
    client = create(sqlite_platform, name, UNRULY, Timeout=30)
    for event in ("loud", "forks", "loud", "quiet"):
        answer, told = call(client, name, event)
        assert answer == "done" and "FunctionError" not in told
        if event == "forks":
            assert len(set(sqlite_platform.pids()) - before) >= 5
    group = f"/aws/lambda/{name}"
    until(lambda: any("x" * 1000 in m for m in messages(sqlite_platform, group, "")), what="its log")
    client.delete_function(FunctionName=name)
    until(lambda: not set(sqlite_platform.pids()) - before, what="the function's processes are gone")
