"""HTTP APIs: made through boto3, called by plain HTTP clients."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.jobs import deploy, messages, table
from tests.platform import Gate, Platform, until

from .test_functions import create

ECHO = "def handler(event, context): return event"
TELL = """
import json
def handler(event, context):
    told = json.loads(event.get("body") or "{}")
    if told.get("raise"): raise ValueError("on purpose")
    return told
"""


def ask(
    platform: Platform,
    api: str,
    path: str,
    method: str = "GET",
    body: bytes | str | None = None,
    by_host: bool = True,
    **headers: str,
) -> tuple[int, http.client.HTTPMessage, Any]:
    """Call a deployed API: by its host name, or by the path that needs no name."""
    connection = http.client.HTTPConnection("127.0.0.1", platform.port, timeout=30)
    try:
        sent = {k.replace("_", "-"): v for k, v in headers.items()}
        if by_host:
            sent["Host"] = f"{api}.execute-api.localhost:{platform.port}"
        connection.request(method, path if by_host else f"/_clary/execute-api/{api}{path}", body, sent)
        response = connection.getresponse()
        data = response.read()
        kind = response.headers.get("content-type", "")
        with contextlib.suppress(ValueError):
            return response.status, response.headers, json.loads(data) if "json" in kind else data
        return response.status, response.headers, data
    finally:
        connection.close()


def permit(platform: Platform, name: str, api: str, what: str = "*/*") -> None:
    platform.client("lambda").add_permission(
        FunctionName=name, StatementId=f"s{api}", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:us-east-1:000000000000:{api}/{what}",
    )  # fmt: skip


def arn_of(name: str) -> str:
    return f"arn:aws:lambda:us-east-1:000000000000:function:{name}"


def api_of(
    platform: Platform, name: str, *keys: str, version: str = "2.0", stage: str = "$default", **more: Any
) -> str:
    """An API whose routes all lead to one function."""
    client = platform.client("apigatewayv2")
    api = client.create_api(Name=name, ProtocolType="HTTP", **more)["ApiId"]
    uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn_of(name)}/invocations"
    made = client.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=uri, PayloadFormatVersion=version
    )
    for key in keys:
        client.create_route(ApiId=api, RouteKey=key, Target=f"integrations/{made['IntegrationId']}")
    client.create_stage(ApiId=api, StageName=stage, AutoDeploy=True, StageVariables={"color": "red"})
    return str(api)


def test_the_way_of_the_templates(platform: Platform, name: str) -> None:
    """Function, API, integration, route, deployment, stage, permission – in the order of a template."""
    create(platform, name, ECHO)
    client = platform.client("apigatewayv2")
    made = client.create_api(Name=name, ProtocolType="HTTP")
    api = made["ApiId"]
    assert made["ApiEndpoint"] == f"http://{api}.execute-api.localhost:{platform.port}"
    integration = client.create_integration(
        ApiId=api, IntegrationType="AWS_PROXY", IntegrationUri=arn_of(name), PayloadFormatVersion="2.0"
    )
    with pytest.raises(ClientError, match="At least one route is required"):
        client.create_deployment(ApiId=api)
    target = f"integrations/{integration['IntegrationId']}"
    route = client.create_route(ApiId=api, RouteKey="POST /predict", Target=target)
    deployment = client.create_deployment(ApiId=api)["DeploymentId"]
    client.create_stage(ApiId=api, StageName="prod", DeploymentId=deployment)
    assert ask(platform, api, "/prod/predict", "POST", "{}")[0] == 500  # nobody has let the API call the function
    permit(platform, name, api)
    for by_host in (True, False):
        status, headers, event = ask(
            platform, api, "/prod/predict?a=1&a=2", "POST", "1,2", by_host, Content_Type="text/csv", Cookie="x=1; y=2"
        )
        assert status == 200
        assert headers["apigw-requestid"]
        assert (event["version"], event["routeKey"], event["rawPath"]) == ("2.0", "POST /predict", "/prod/predict")
        assert (event["body"], event["isBase64Encoded"], event["cookies"]) == ("1,2", False, ["x=1", "y=2"])
        assert event["queryStringParameters"] == {"a": "1,2"}
        assert event["headers"]["content-type"] == "text/csv"
        context = event["requestContext"]
        assert (context["stage"], context["apiId"], context["http"]["method"]) == ("prod", api, "POST")
        assert context["http"]["sourceIp"] == "127.0.0.1"
        assert "pathParameters" not in event and "stageVariables" not in event
    for path, method in (("/prod/predict", "GET"), ("/prod/other", "POST"), ("/predict", "POST")):
        assert ask(platform, api, path, method)[::2] == (404, {"message": "Not Found"})
    client.delete_route(ApiId=api, RouteId=route["RouteId"])
    assert ask(platform, api, "/prod/predict", "POST")[0] == 200  # what was deployed stays
    client.delete_api(ApiId=api)
    assert ask(platform, api, "/prod/predict", "POST")[0] == 403
    with pytest.raises(ClientError, match="Invalid API identifier specified"):
        client.get_api(ApiId=api)


def test_routes_and_variables(platform: Platform, name: str) -> None:
    create(platform, name, ECHO)
    api = api_of(platform, name, "GET /a/{id}", "GET /a/fixed", "ANY /a/{rest+}", "$default", "ANY /b")
    permit(platform, name, api)
    platform.client("lambda").add_permission(
        FunctionName=name, StatementId="d", Action="lambda:InvokeFunction", Principal="apigateway.amazonaws.com",
        SourceArn=f"arn:aws:execute-api:us-east-1:000000000000:{api}/*/$default",
    )  # fmt: skip

    def route(path: str, method: str = "GET") -> tuple[str, dict[str, str] | None]:
        event = ask(platform, api, path, method)[2]
        assert event["stageVariables"] == {"color": "red"}
        return event["routeKey"], event.get("pathParameters")

    assert route("/a/7") == ("GET /a/{id}", {"id": "7"})
    assert route("/a/x%2Fy") == ("GET /a/{id}", {"id": "x/y"})
    assert route("/a/fixed") == ("GET /a/fixed", None)
    assert route("/a/7", "DELETE") == ("ANY /a/{rest+}", {"rest": "7"})
    assert route("/a/7/8") == ("ANY /a/{rest+}", {"rest": "7/8"})
    assert route("/b", "PATCH") == ("ANY /b", None)
    assert route("/b/") == ("$default", None)
    assert route("/") == ("$default", None)
    binary = ask(platform, api, "/b", "POST", b"\xff\x00", Content_Type="application/octet-stream")[2]
    assert (base64.b64decode(binary["body"]), binary["isBase64Encoded"]) == (b"\xff\x00", True)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_results_become_responses(platform: Platform, name: str, version: str) -> None:
    create(platform, name, TELL)
    api = api_of(platform, name, "POST /", version=version)
    permit(platform, name, api)

    def tell(result: Any) -> tuple[int, http.client.HTTPMessage, Any]:
        return ask(platform, api, "/", "POST", json.dumps(result), Content_Type="application/json")

    status, headers, body = tell(
        {"statusCode": "201", "headers": {"X-A": True, "content-type": "text/csv"}, "body": "1,2"}
    )
    assert (status, headers["x-a"], headers["content-type"], body) == (201, "true", "text/csv", b"1,2")
    encoded = base64.b64encode(b"\x00\xff").decode()
    assert (
        tell({"statusCode": 200, "headers": {"content-type": "image/x"}, "body": encoded, "isBase64Encoded": True})[2]
        == b"\x00\xff"
    )
    bad = (500, {"message": "Internal Server Error"})
    assert tell({"raise": True})[::2] == bad
    assert tell({"statusCode": "none"})[::2] == bad
    assert tell({"statusCode": 200, "body": {"not": "text"}})[::2] == bad
    split = tell({"statusCode": 200, "headers": {"x-a": "1\r\nx-evil: 2"}})[1]
    assert split["x-evil"] is None
    if version == "2.0":
        assert tell({"plain": [1]})[::2] == (200, {"plain": [1]})
        cookies = tell({"statusCode": 200, "cookies": ["a=1", "b=2"]})[1].get_all("set-cookie")
        assert cookies == ["a=1", "b=2"]
    else:
        status, headers, _ = tell({"statusCode": 200, "multiValueHeaders": {"X-B": ["1", "2"]}})
        assert headers.get_all("x-b") == ["1", "2"]


@pytest.mark.parametrize("kind", ["http", "rest"])
def test_a_function_that_is_too_slow_finishes_alone(platform: Platform, name: str, kind: str) -> None:
    """The gateway gives up; the function's process is given no other call before it is done with this one."""
    source = """
import json, os, time
def handler(event, context):
    if event["body"]: time.sleep(float(event["body"]))
    return {"statusCode": 200, "body": json.dumps([event["body"], os.getpid()])}
"""
    create(platform, name, source)
    if kind == "http":
        api, path, timed_out = api_of(platform, name, "POST /x"), "/x", (503, {"message": "Service Unavailable"})
        client = platform.client("apigatewayv2")
        (made,) = client.get_integrations(ApiId=api)["Items"]
        client.update_integration(ApiId=api, IntegrationId=made["IntegrationId"], TimeoutInMillis=500)
    else:
        client, path, timed_out = platform.client("apigateway"), "/s/", (504, {"message": "Endpoint request timed out"})
        rest = client.create_rest_api(name=name)
        names = {"restApiId": rest["id"], "resourceId": rest["rootResourceId"], "httpMethod": "POST"}
        uri = f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn_of(name)}/invocations"
        client.put_method(**names, authorizationType="NONE")
        client.put_integration(**names, type="AWS_PROXY", integrationHttpMethod="POST", uri=uri, timeoutInMillis=500)
        client.create_deployment(restApiId=rest["id"], stageName="s")
        api = rest["id"]
    permit(platform, name, api)
    until(lambda: ask(platform, api, path, "POST", "0", Content_Type="text/plain")[0] == 200, 10, "a warm function")
    assert ask(platform, api, path, "POST", "2.5", Content_Type="text/plain")[::2] == timed_out

    def answered() -> bool:
        status, _, body = ask(platform, api, path, "POST", "0.0", Content_Type="text/plain")
        assert status in (200, timed_out[0]), body
        found = body if isinstance(body, list) else json.loads(body) if status == 200 else ["", 0]
        assert found[0] in ("0.0", ""), "the answer of another call"
        return status == 200

    until(answered, 10, "another process answers")
    assert all(answered() for _ in range(10))


def test_browsers_may_call(platform: Platform, name: str) -> None:
    create(
        platform,
        name,
        "def handler(e, c): return {'statusCode': 200, 'headers': {'access-control-allow-origin': 'wrong'}}",
    )
    cors = {
        "AllowOrigins": ["https://a.example", "https://*.b.example"], "AllowMethods": ["POST"],
        "AllowHeaders": ["content-type"], "MaxAge": 60,
    }  # fmt: skip
    api = api_of(platform, name, "POST /x", CorsConfiguration=cors)
    permit(platform, name, api)
    asked = {"Origin": "https://a.example", "Access_Control_Request_Method": "POST"}
    status, headers, _ = ask(platform, api, "/x", "OPTIONS", **asked)
    assert (status, headers["access-control-allow-origin"]) == (204, "https://a.example")
    assert (headers["access-control-allow-methods"], headers["access-control-max-age"]) == ("POST", "60")
    status, headers, _ = ask(platform, api, "/x", "OPTIONS", **{**asked, "Origin": "https://evil.example"})
    assert (status, headers["access-control-allow-origin"]) == (204, None)
    _, headers, _ = ask(platform, api, "/x", "POST", Origin="https://c.b.example")
    assert headers.get_all("access-control-allow-origin") == ["https://c.b.example"]
    assert ask(platform, api, "/x", "POST")[1]["access-control-allow-origin"] is None
    with pytest.raises(ClientError, match="AllowCredentials"):
        platform.client("apigatewayv2").update_api(
            ApiId=api, CorsConfiguration={"AllowOrigins": ["*"], "AllowCredentials": True}
        )


def test_a_function_decides_who_may_call(platform: Platform, name: str) -> None:
    create(platform, name, ECHO)
    source = """
def handler(event, context):
    assert event["type"] == "REQUEST" and event["routeArn"].endswith("/GET/x"), event
    if event["identitySource"] == ["raise"]: raise ValueError("no")
    return {"isAuthorized": event["identitySource"] == ["good"], "context": {"user": "u1"}}
"""
    create(platform, f"{name}-auth", source)
    api = api_of(platform, name, "GET /x")
    permit(platform, name, api)
    permit(platform, f"{name}-auth", api, "authorizers/*")
    client = platform.client("apigatewayv2")
    made = client.create_authorizer(
        ApiId=api, Name="a", AuthorizerType="REQUEST", AuthorizerUri=arn_of(f"{name}-auth"), EnableSimpleResponses=True,
        IdentitySource=["$request.header.X-Token"], AuthorizerPayloadFormatVersion="2.0", AuthorizerResultTtlInSeconds=300,
    )  # fmt: skip
    (route,) = client.get_routes(ApiId=api)["Items"]
    client.update_route(
        ApiId=api, RouteId=route["RouteId"], AuthorizationType="CUSTOM", AuthorizerId=made["AuthorizerId"]
    )
    assert ask(platform, api, "/x")[::2] == (401, {"message": "Unauthorized"})
    assert ask(platform, api, "/x", X_Token="bad")[::2] == (403, {"message": "Forbidden"})
    assert ask(platform, api, "/x", X_Token="raise")[0] == 500
    for _ in range(2):
        status, _, event = ask(platform, api, "/x", X_Token="good")
        assert (status, event["requestContext"]["authorizer"]) == (200, {"lambda": {"user": "u1"}})
    calls = platform.client("cloudwatch").get_metric_statistics
    window = {
        "StartTime": dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5),
        "EndTime": dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1),
    }
    asked = {"Period": 60, "Statistics": ["Sum"], **window}

    def count(namespace: str, metric: str, dimension: str, value: str) -> float:
        found = calls(Namespace=namespace, MetricName=metric, Dimensions=[{"Name": dimension, "Value": value}], **asked)
        return float(sum(p["Sum"] for p in found["Datapoints"]))

    until(lambda: count("AWS/Lambda", "Invocations", "FunctionName", f"{name}-auth") == 3, 10, "decisions are kept")
    until(lambda: count("AWS/ApiGateway", "4xx", "ApiId", api) == 2, 10, "the API's metrics")


def test_signed_calls_and_limits(platform: Platform, name: str) -> None:
    create(platform, name, ECHO)
    api = api_of(platform, name, "GET /iam", "GET /slow")
    permit(platform, name, api)
    client = platform.client("apigatewayv2")
    routes = {r["RouteKey"]: r["RouteId"] for r in client.get_routes(ApiId=api)["Items"]}
    client.update_route(ApiId=api, RouteId=routes["GET /iam"], AuthorizationType="AWS_IAM")
    assert ask(platform, api, "/iam")[::2] == (403, {"message": "Forbidden"})
    host = f"{api}.execute-api.localhost:{platform.port}"
    request = AWSRequest("GET", f"http://{host}/iam", headers={"Host": host})
    SigV4Auth(Credentials(*platform.root_key), "execute-api", "us-east-1").add_auth(request)
    signed = {k.replace("-", "_"): v for k, v in request.headers.items() if k != "Host"}
    assert ask(platform, api, "/iam", **signed)[0] == 200
    client.update_stage(
        ApiId=api, StageName="$default",
        RouteSettings={"GET /slow": {"ThrottlingRateLimit": 0.01, "ThrottlingBurstLimit": 2}},
    )  # fmt: skip
    found = [ask(platform, api, "/slow")[::2] for _ in range(4)]
    assert [status for status, _ in found] == [200, 200, 429, 429]
    assert found[-1][1] == {"message": "Too Many Requests"}


@contextmanager
def backend() -> Iterator[str]:
    """A server that answers with what it was asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            told = json.dumps([self.path, body.decode(), self.headers.get("x-mine")]).encode()
            self.send_response(203)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(told)))
            self.end_headers()
            self.wfile.write(told)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def test_other_servers(platform: Platform, name: str) -> None:
    client = platform.client("apigatewayv2")
    api = client.create_api(Name=name, ProtocolType="HTTP")["ApiId"]
    client.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    with backend() as url:
        made = client.create_integration(
            ApiId=api, IntegrationType="HTTP_PROXY", IntegrationMethod="ANY", IntegrationUri=f"{url}/to/{{proxy}}",
            PayloadFormatVersion="1.0",
        )  # fmt: skip
        client.create_route(ApiId=api, RouteKey="ANY /x/{proxy+}", Target=f"integrations/{made['IntegrationId']}")
        found = ask(platform, api, "/x/a/b?q=1", "POST", "data", X_Mine="m")
        assert found[::2] == (203, ["/to/a/b?q=1", "data", "m"])
    assert ask(platform, api, "/x/a", "POST")[::2] == (503, {"message": "Service Unavailable"})
    for changes, words in (
        ({"IntegrationUri": "ftp://x"}, "valid HTTP endpoint"),
        ({"IntegrationType": "AWS_PROXY"}, "Invalid Integration URI"),
        ({"TimeoutInMillis": 30001}, "less than or equal to 30000"),
    ):
        with pytest.raises(ClientError, match=words):
            client.update_integration(ApiId=api, IntegrationId=made["IntegrationId"], **changes)
    with pytest.raises(ClientError, match="route key is not formatted"):
        client.create_route(ApiId=api, RouteKey="predict")


def test_from_browser_to_endpoint(platform: Platform, name: str, model_data: str) -> None:
    """The seeds' story: an API in front of a function in front of an endpoint; quick create makes the API."""
    deploy(platform, name, model_data)
    source = f"""
import boto3, json
runtime = boto3.client("sagemaker-runtime")
def handler(event, context):
    rows = json.loads(event["body"])["rows"]
    body = "\\n".join(",".join(map(str, row)) for row in rows)
    answer = runtime.invoke_endpoint(EndpointName="{name}", ContentType="text/csv", Body=body)
    return {{"statusCode": 200, "body": json.dumps({{"predictions": answer["Body"].read().decode().split()}})}}
"""
    create(platform, name, source)
    made = platform.client("apigatewayv2").create_api(Name=name, ProtocolType="HTTP", Target=arn_of(name))
    permit(platform, name, made["ApiId"], "*/$default")
    rows = table()[:3, 1:].tolist()
    status, _, body = ask(
        platform, made["ApiId"], "/any/path", "POST", json.dumps({"rows": rows}), Content_Type="application/json"
    )
    assert status == 200
    assert all(0 <= float(p) <= 1 for p in json.loads(body)["predictions"])


def test_a_client_that_leaves_before_its_answer_is_no_fault(platform: Platform, name: str) -> None:
    with Gate() as gate:
        create(platform, name, f"def handler(event, context):\n    {gate.code}\n    return 'late'")
        api = api_of(platform, name, f"GET /{name}")
        permit(platform, name, api)
        with socket.create_connection(("127.0.0.1", platform.port)) as client:
            client.sendall(f"GET /{name} HTTP/1.1\r\nHost: {api}.execute-api.localhost\r\n\r\n".encode())
            gate.wait(1)
        gate.open()
        until(
            lambda: any("REPORT" in m for m in messages(platform, f"/aws/lambda/{name}", "20")), what="the call is over"
        )
    assert f"/{name} broke off" not in platform.log()
