"""Functions in JavaScript, and responses that are streamed."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import zipfile
from typing import Any

import pytest

from tests.jobs import ROLE, messages
from tests.platform import Platform, until

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node.js here")


def archive(files: dict[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as made:
        for path, text in files.items():
            made.writestr(path, text)
    return packed.getvalue()


def create(platform: Platform, name: str, files: dict[str, str], handler: str = "index.handler", **more: Any) -> None:
    platform.client("lambda").create_function(
        FunctionName=name, Runtime="nodejs22.x", Role=ROLE, Handler=handler, Code={"ZipFile": archive(files)},
        **{"Timeout": 10, **more},
    )  # fmt: skip


def call(platform: Platform, name: str, event: Any = None, **more: Any) -> tuple[Any, str]:
    """What a function answered, and AWS's word when it failed."""
    payload = json.dumps(event).encode()
    answer = platform.client("lambda").invoke(FunctionName=name, Payload=payload, **more)
    return json.loads(answer["Payload"].read()), answer.get("FunctionError", "")


def test_handlers_of_all_kinds(platform: Platform, name: str) -> None:
    create(platform, f"{name}-a", {"index.mjs": """
        import os from "node:os";
        let calls = 0;
        export const handler = async (event, context) => {
          console.log("got", event);
          return { event, calls: ++calls, id: context.awsRequestId, left: context.getRemainingTimeInMillis() > 1000,
                   name: context.functionName, memory: context.memoryLimitInMB, region: process.env.AWS_REGION };
        };"""})  # fmt: skip
    for number in (1, 2):
        answer = platform.client("lambda").invoke(FunctionName=f"{name}-a", Payload=b'{"a":[1]}', LogType="Tail")
        found = json.loads(answer["Payload"].read())
        assert (found["event"], found["calls"], found["left"]) == ({"a": [1]}, number, True)
        assert (found["name"], found["memory"], found["region"]) == (f"{name}-a", "128", "us-east-1")
        assert found["id"] == answer["ResponseMetadata"]["RequestId"]

    def lines() -> str:
        return "\n".join(messages(platform, f"/aws/lambda/{name}-a", "2"))

    text = until(lambda: (t := lines()).count("REPORT") == 2 and t, 10, "the log")
    assert "INIT_START Runtime Version: nodejs:22.v1" in text and f"\t{found['id']}\tINFO\tgot {{ a: [ 1 ] }}" in text
    create(platform, f"{name}-b", {
        "lib/app.js": "exports.inner = { handler: (event, context, callback) => setTimeout(() => callback(null, require('./more').twice(event)), 20) };",
        "lib/more.js": "exports.twice = (n) => 2 * n;",
    }, "lib/app.inner.handler")  # fmt: skip
    assert call(platform, f"{name}-b", 21) == (42, "")
    create(platform, f"{name}-c", {
        "package.json": '{"type": "module"}', "index.js": "export function handler(event) { return undefined; }",
    })  # fmt: skip
    assert call(platform, f"{name}-c", {}) == (None, "")


def test_what_goes_wrong_is_told_as_aws_does(platform: Platform, name: str) -> None:
    for number, (files, kind, words) in enumerate([
        ({"index.js": "exports.handler = async () => { throw new TypeError('on purpose'); };"}, "TypeError", "on purpose"),
        ({"index.js": "exports.handler = (e, c, callback) => callback('words');"}, "string", "words"),
        ({"index.js": "exports.other = 1;"}, "Runtime.HandlerNotFound", "index.handler is undefined or not exported"),
        ({"other.js": ""}, "Runtime.ImportModuleError", "Cannot find module 'index'"),
        ({"index.js": "require('nothing');"}, "Runtime.ImportModuleError", "Cannot find module 'nothing'"),
        ({"index.js": "exports.handler = ("}, "Runtime.UserCodeSyntaxError", "SyntaxError"),
        ({"index.js": "exports.handler = async () => process.exit(3);"}, "Runtime.ExitError", "exit status 3"),
        ({"index.js": "exports.handler = async () => { setTimeout(() => { throw new Error('late'); }, 5); await new Promise((r) => setTimeout(r, 500)); };"}, "Error", "late"),
        ({"index.js": "exports.handler = async () => { Promise.reject(new Error('lost')); await new Promise((r) => setTimeout(r, 500)); };"}, "Runtime.UnhandledPromiseRejection", "lost"),
    ]):  # fmt: skip
        create(platform, f"{name}-{number}", files)
        found, error = call(platform, f"{name}-{number}", {})
        assert (error, found["errorType"]) == ("Unhandled", kind), found
        assert words in found["errorMessage"]
    create(
        platform,
        f"{name}-slow",
        {"index.js": "exports.handler = () => new Promise((r) => setTimeout(r, 60000));"},
        Timeout=1,
    )
    found, error = call(platform, f"{name}-slow", {})
    assert (error, found["errorType"]) == ("Unhandled", "Sandbox.Timedout")
    with pytest.raises(
        platform.client("lambda").exceptions.InvalidParameterValueException, match="does not serve java21"
    ):
        platform.client("lambda").create_function(
            FunctionName=f"{name}-j", Runtime="java21", Role=ROLE, Handler="x.y", Code={"ZipFile": archive({"a": ""})}
        )


STREAMING = """
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.fail === "first") throw new Error("before a word");
  stream.setContentType("text/plain");
  for (let i = 0; i < 3; i++) {
    stream.write(`part ${i}\\n`);
    await new Promise((done) => setTimeout(done, 150));
    if (event.fail === "later" && i == 1) throw new Error("half way");
  }
  stream.end();
});
"""


def streamed(platform: Platform, name: str, event: Any) -> tuple[list[bytes], dict[str, Any], str]:
    answer = platform.client("lambda").invoke_with_response_stream(
        FunctionName=name, Payload=json.dumps(event), LogType="Tail"
    )
    parts, last = [], {}
    for found in answer["EventStream"]:
        if "PayloadChunk" in found:
            parts.append(found["PayloadChunk"]["Payload"])
        else:
            last = found["InvokeComplete"]
    return parts, last, answer["ResponseStreamContentType"]


def test_responses_are_streamed(platform: Platform, name: str) -> None:
    create(platform, name, {"index.js": STREAMING})
    parts, last, kind = streamed(platform, name, {})
    assert (parts, kind) == ([b"part 0\n", b"part 1\n", b"part 2\n"], "text/plain")
    assert "ErrorCode" not in last and last["LogResult"]
    parts, last, _ = streamed(platform, name, {"fail": "later"})
    assert parts == [b"part 0\n", b"part 1\n"]
    assert last["ErrorCode"] == "Unhandled" and "half way" in last["ErrorDetails"]
    parts, last, _ = streamed(platform, name, {"fail": "first"})
    assert not parts and "before a word" in last["ErrorDetails"]
    assert (
        platform.client("lambda").invoke(FunctionName=name, Payload=b"{}")["Payload"].read()
        == b"part 0\npart 1\npart 2\n"
    )
    create(platform, f"{name}-whole", {"index.js": "exports.handler = async () => ({ a: 1 });"})
    assert streamed(platform, f"{name}-whole", {})[::2] == ([b'{"a":1}'], "application/json")


def test_a_url_streams(platform: Platform, name: str) -> None:
    source = """
    exports.handler = awslambda.streamifyResponse(async (event, stream) => {
      const told = { statusCode: 201, headers: { "content-type": "text/event-stream", "x-mine": event.rawPath }, cookies: ["a=1"] };
      const out = awslambda.HttpResponseStream.from(stream, told);
      out.write("first");
      await new Promise((done) => setTimeout(done, 400));
      out.end("last");
    });"""
    create(platform, name, {"index.js": source})
    client = platform.client("lambda")
    url = client.create_function_url_config(FunctionName=name, AuthType="NONE", InvokeMode="RESPONSE_STREAM")
    assert url["InvokeMode"] == "RESPONSE_STREAM"
    client.add_permission(
        FunctionName=name, StatementId="u", Action="lambda:InvokeFunctionUrl", Principal="*", FunctionUrlAuthType="NONE"
    )
    identifier = url["FunctionUrl"].partition("//")[2].partition(".")[0]
    connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=20)
    connection.request("GET", f"/_clary/lambda-url/{identifier}/here?x=1")
    response = connection.getresponse()
    assert (response.status, response.headers["x-mine"], response.headers["set-cookie"]) == (201, "/here", "a=1")
    assert response.headers["content-type"] == "text/event-stream"
    assert response.read1() == b"first"  # while the function still runs
    assert response.read() == b"last"
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)

    def status() -> int:
        connection.request("GET", f"/_clary/lambda-url/{identifier}/")
        response = connection.getresponse()
        response.read()
        return response.status

    until(lambda: status() == 429, 10, "no call is taken any more")
    with pytest.raises(client.exceptions.TooManyRequestsException):
        client.invoke_with_response_stream(FunctionName=name)
    connection.close()


def test_inline_code_of_templates(platform: Platform, name: str) -> None:
    source = """
    const response = require("cfn-response");
    exports.handler = (event, context) => response.send(event, context, response.SUCCESS, { Twice: 2 * event.ResourceProperties.Value }, "mine");
    """
    function = {
        "Runtime": "nodejs22.x",
        "Role": ROLE,
        "Handler": "index.handler",
        "Timeout": 10,
        "Code": {"ZipFile": source},
    }
    template = {
        "Resources": {
            "F": {"Type": "AWS::Lambda::Function", "Properties": function},
            "C": {"Type": "Custom::Twice", "Properties": {"ServiceToken": {"Fn::GetAtt": ["F", "Arn"]}, "Value": 4}},
        },
        "Outputs": {"Twice": {"Value": {"Fn::GetAtt": ["C", "Twice"]}}},
    }
    client = platform.client("cloudformation")
    client.create_stack(StackName=name, TemplateBody=json.dumps(template))
    client.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    assert client.describe_stacks(StackName=name)["Stacks"][0]["Outputs"][0]["OutputValue"] == "8"
    client.delete_stack(StackName=name)
    client.get_waiter("stack_delete_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
