"""A line for each request of a stage, and methods that are tried before they are deployed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from clary.services.apis.access_log import line
from tests.jobs import messages
from tests.platform import Platform, until

from .test_functions import create
from .test_http_apis import ECHO, api_of, ask, permit
from .test_rest_apis import Api

GROUP = "arn:aws:logs:us-east-1:000000000000:log-group:"
TELL = """
import json
def handler(event, context):
    return {"statusCode": 201, "headers": {"X-Mine": "m"}, "body": json.dumps([event["pathParameters"], event["body"], event["stageVariables"]])}
"""


def logged(platform: Platform, group: str, count: int) -> list[Any]:
    """The lines of a group, once there are so many."""
    return until(
        lambda: (found := messages(platform, group, "")) and len(found) == count and list(map(json.loads, found))
    )


def test_http_apis_write_a_line_for_each_request(platform: Platform, name: str) -> None:
    create(platform, name, ECHO)
    api = api_of(platform, name, "GET /x")
    permit(platform, name, api)
    client = platform.client("apigatewayv2")
    names = ("requestId", "routeKey", "status", "httpMethod", "path", "identity.sourceIp", "identity.userAgent", "stage",
             "error.message", "integrationStatus", "domainPrefix", "none.such")  # fmt: skip
    settings = {
        "DestinationArn": GROUP + name, "Format": json.dumps({n: f"$context.{n}" for n in (*names, "responseLength", "integrationLatency")})
    }  # fmt: skip
    client.update_stage(ApiId=api, StageName="$default", AccessLogSettings=settings)
    assert client.get_stage(ApiId=api, StageName="$default")["AccessLogSettings"] == settings
    _, headers, _ = ask(platform, api, "/x?q=1", User_Agent='a "quoted" one')
    assert ask(platform, api, "/none")[0] == 404
    good, bad = sorted(logged(platform, name, 2), key=lambda found: found["status"])
    assert good["requestId"] == headers["apigw-requestid"]
    assert [good[n] for n in names[1:]] == [
        "GET /x",
        "200",
        "GET",
        "/x",
        "127.0.0.1",
        'a "quoted" one',
        "$default",
        "-",
        "200",
        api,
        "-",
    ]
    assert int(good["responseLength"]) > 100 and int(good["integrationLatency"]) >= 0
    assert (bad["status"], bad["routeKey"], bad["error.message"], bad["integrationStatus"]) == (
        "404",
        "-",
        "Not Found",
        "-",
    )
    client.delete_access_log_settings(ApiId=api, StageName="$default")
    for wrong in ({"DestinationArn": "arn:aws:firehose:us-east-1:000000000000:deliverystream/x"}, {"Format": "a\nb"}):
        with pytest.raises(ClientError, match=r"Invalid ARN specified|single line"):
            client.update_stage(ApiId=api, StageName="$default", AccessLogSettings=wrong)


def test_rest_apis_do_so_too(platform: Platform, name: str) -> None:
    create(platform, name, TELL)
    api = Api(platform, name)
    api.proxy("/x/{id}", "POST", name)
    permit(platform, name, api.id)
    api.deploy()
    told = json.dumps(
        {n: f"$context.{n}" for n in ("resourcePath", "status", "error.responseType", "stage", "requestTimeEpoch")}
    )
    api.client.update_stage(restApiId=api.id, stageName="prod", patchOperations=[
        {"op": "replace", "path": "/accessLogSettings/destinationArn", "value": GROUP + name},
        {"op": "replace", "path": "/accessLogSettings/format", "value": told},
    ])  # fmt: skip
    assert api.client.get_stage(restApiId=api.id, stageName="prod")["accessLogSettings"]["format"] == told
    until(lambda: api.ask("/prod/x/1", "POST", "{}")[0] == 201)
    assert api.ask("/prod/y", "GET")[0] == 403
    good, bad = sorted(logged(platform, name, 2), key=lambda found: found["status"])
    assert [good[n] for n in ("resourcePath", "status", "error.responseType", "stage")] == [
        "/x/{id}",
        "201",
        "-",
        "prod",
    ]
    assert good["requestTimeEpoch"].isdigit()
    assert (bad["status"], bad["error.responseType"]) == ("403", "MISSING_AUTHENTICATION_TOKEN")


def test_a_method_is_tried_before_it_is_deployed(platform: Platform, name: str) -> None:
    create(platform, name, TELL)
    api = Api(platform, name)
    names = api.proxy("/x/{id}", "POST", name, authorizationType="AWS_IAM", apiKeyRequired=True)
    asked = {**names, "pathWithQueryString": "/x/7?q=1", "body": "hello", "stageVariables": {"color": "red"}}
    found = api.client.test_invoke_method(**asked)
    assert found["status"] == 500 and "Execution failed" in found["log"]  # nobody has let the API call the function
    permit(platform, name, api.id)
    found = api.client.test_invoke_method(**asked)
    assert (found["status"], found["headers"]["X-Mine"]) == (201, "m")
    assert json.loads(found["body"]) == [{"id": "7"}, "hello", {"color": "red"}]
    assert "Method completed with status: 201" in found["log"] and "Resource Path: /x/7" in found["log"]
    assert found["latency"] >= 0
    with pytest.raises(ClientError, match="Invalid Method identifier specified"):
        api.client.test_invoke_method(**{**names, "httpMethod": "PUT"})


@given(st.text(), st.text())
def test_no_value_breaks_out_of_its_text(agent: str, path: str) -> None:
    format = '{"agent": "$context.identity.userAgent", "path": "$context.path"}'
    found = json.loads(line(format, {"identity": {"userAgent": agent}, "path": path}))
    assert found == {"agent": agent or "-", "path": path or "-"}
