"""REST APIs: made through boto3, called by plain HTTP clients."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.jobs import ROLE, csv, deploy, table
from tests.platform import Platform, until

from .test_functions import create
from .test_http_apis import ECHO, TELL, arn_of, ask, backend, permit


def uri_of(name: str) -> str:
    return f"arn:aws:apigateway:us-east-1:lambda:path/2015-03-31/functions/{arn_of(name)}/invocations"


class Api:
    """A REST API under construction."""

    def __init__(self, platform: Platform, name: str, **more: Any):
        self.platform = platform
        self.client = platform.client("apigateway")
        made = self.client.create_rest_api(name=name, **more)
        self.id: str = made["id"]
        self.ids = {"/": made["rootResourceId"]}

    def resource(self, path: str) -> str:
        """The id of a path, made with all above it."""
        if path not in self.ids:
            above, _, part = path.rpartition("/")
            made = self.client.create_resource(restApiId=self.id, parentId=self.resource(above or "/"), pathPart=part)
            assert made["path"] == path
            self.ids[path] = made["id"]
        return self.ids[path]

    def method(self, path: str, verb: str, integration: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A method with its integration; what names it."""
        names = {"restApiId": self.id, "resourceId": self.resource(path), "httpMethod": verb}
        self.client.put_method(**names, **{"authorizationType": "NONE", **more})
        self.client.put_integration(**names, **integration)
        return names

    def proxy(self, path: str, verb: str, name: str, **more: Any) -> dict[str, Any]:
        return self.method(
            path, verb, {"type": "AWS_PROXY", "integrationHttpMethod": "POST", "uri": uri_of(name)}, **more
        )

    def respond(self, names: dict[str, Any], status: str = "200", declared: Any = None, **rule: Any) -> None:
        """A response of a method, and how the integration's becomes it."""
        self.client.put_method_response(**names, statusCode=status, responseParameters=declared or {})
        self.client.put_integration_response(**names, statusCode=status, **rule)

    def deploy(self, stage: str = "prod", **more: Any) -> None:
        self.client.create_deployment(restApiId=self.id, stageName=stage, **more)

    def ask(self, path: str, *given: Any, **headers: str) -> Any:
        return ask(self.platform, self.id, path, *given, **headers)


def test_the_way_of_the_console(platform: Platform, name: str) -> None:
    """Resource, POST method to a function, deployment to a stage: a lab's steps."""
    create(platform, name, ECHO)
    api = Api(platform, name)
    names = api.proxy("/predict", "POST", name)
    assert api.client.get_method(**names)["methodIntegration"]["uri"] == uri_of(name)
    api.deploy(variables={"color": "red"})
    assert api.ask("/prod/predict", "POST", "{}")[0] == 500  # nobody has let the API call the function
    permit(platform, name, api.id)
    malformed = api.ask("/prod/predict", "POST", "{}")
    assert malformed[::2] == (502, {"message": "Internal server error"})  # an event is no response
    create(platform, f"{name}-e", "import json\ndef handler(e, c): return {'body': json.dumps(e), 'statusCode': 201}")
    permit(platform, f"{name}-e", api.id)
    api.proxy("/x/{id}/{rest+}", "ANY", f"{name}-e")
    assert api.ask("/prod/x/1/2", "GET")[::2] == (403, {"message": "Missing Authentication Token"})  # not deployed yet
    api.deploy()
    status, headers, event = api.ask("/prod/x/1/a/b?q=1&q=2", "PUT", "1,2", Content_Type="text/csv", X_Mine="m")
    assert (status, headers["content-type"]) == (201, "application/json")
    assert headers["x-amzn-requestid"] and headers["x-amz-apigw-id"]
    assert (event["resource"], event["path"], event["httpMethod"]) == ("/x/{id}/{rest+}", "/x/1/a/b", "PUT")
    assert event["pathParameters"] == {"id": "1", "rest": "a/b"}
    assert (event["queryStringParameters"], event["multiValueQueryStringParameters"]) == ({"q": "2"}, {"q": ["1", "2"]})
    assert (event["headers"]["Content-Type"], event["headers"]["X-Mine"]) == ("text/csv", "m")
    assert (event["body"], event["isBase64Encoded"], event["stageVariables"]) == ("1,2", False, {"color": "red"})
    context = event["requestContext"]
    assert (context["stage"], context["path"], context["apiId"]) == ("prod", "/prod/x/1/a/b", api.id)
    assert context["identity"]["sourceIp"] == "127.0.0.1"
    assert api.ask("/none/predict", "POST")[::2] == (403, {"message": "Forbidden"})
    status, headers, body = api.ask("/prod/predict", "GET")
    assert (status, body) == (403, {"message": "Missing Authentication Token"})
    assert headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"

    def metrics() -> float:
        found = platform.client("cloudwatch").get_metric_statistics(
            Namespace="AWS/ApiGateway", MetricName="4XXError", Dimensions=[{"Name": "ApiName", "Value": name}, {"Name": "Stage", "Value": "prod"}],
            StartTime=dt.datetime.now(dt.UTC) - dt.timedelta(minutes=5), EndTime=dt.datetime.now(dt.UTC) + dt.timedelta(minutes=1),
            Period=60, Statistics=["Sum"],
        )["Datapoints"]  # fmt: skip
        return float(sum(p["Sum"] for p in found))

    until(lambda: metrics() == 2, 10, "the API's metrics")
    api.client.delete_rest_api(restApiId=api.id)
    assert api.ask("/prod/predict", "POST")[0] == 403


def test_results_of_functions(platform: Platform, name: str) -> None:
    create(platform, name, TELL)
    api = Api(platform, name, binaryMediaTypes=["image/*"])
    api.proxy("/", "POST", name)
    api.deploy()
    permit(platform, name, api.id)

    def tell(result: Any, **headers: str) -> Any:
        return api.ask("/prod/", "POST", json.dumps(result), Content_Type="application/json", **headers)

    status, headers, _ = tell({"statusCode": "202", "headers": {"X-A": True}, "multiValueHeaders": {"X-B": ["1", "2"]}})
    assert (status, headers["x-a"], headers.get_all("x-b")) == (202, "true", ["1", "2"])
    png = {
        "statusCode": 200,
        "headers": {"Content-Type": "image/png"},
        "body": base64.b64encode(b"\x89P").decode(),
        "isBase64Encoded": True,
    }
    assert tell(png, Accept="image/png")[2] == b"\x89P"
    for bad in ({"raise": True}, {"statusCode": "x"}, {"unknown": 1}, {"statusCode": 200, "body": {}}, {}):
        assert tell(bad)[::2] == (502, {"message": "Internal server error"}), bad


def test_mappings_of_a_function(platform: Platform, name: str) -> None:
    """The integration type AWS: without templates bodies go through, with them they are rewritten, errors are chosen."""
    source = """
def handler(event, context):
    if event.get("fail"): raise Exception("Bad: " + event["fail"])
    return {"got": event}
"""
    create(platform, name, source)
    api = Api(platform, name)
    function = {"type": "AWS", "integrationHttpMethod": "POST", "uri": uri_of(name)}
    plain = api.method("/plain", "POST", function)
    api.respond(plain)
    request = """
#set($rows = $input.path('$.rows'))
{"csv": "#foreach($row in $rows)$row[0],$row[1]#if($foreach.hasNext);#end#end", "n": $rows.size(), "who": "$input.params('who')",
 "stage": "$context.stage", "color": "$stageVariables.color", "quoted": "$util.escapeJavaScript($input.path('$.text'))",
 "fail": "$!input.path('$.fail')", "raw": $input.json('$.rows')}
"""
    mapped = api.method(
        "/mapped/{who}",
        "POST",
        {**function, "requestTemplates": {"application/json": request}, "passthroughBehavior": "NEVER"},
    )
    api.respond(
        mapped, declared={"method.response.header.X-N": True, "method.response.header.X-Fixed": True},
        responseTemplates={"application/json": '{"n": $input.json(\'$.got.n\'), "csv": $input.json("$.got.csv")}'},
        responseParameters={
            "method.response.header.X-N": "integration.response.body.got.n", "method.response.header.X-Fixed": "'yes'",
        },
    )  # fmt: skip
    api.respond(
        mapped, "400", selectionPattern="Bad: .*",
        responseTemplates={"application/json": "#set($context.responseOverride.status = 418){\"said\": $input.json('$.errorMessage')}"},
    )  # fmt: skip
    api.deploy(variables={"color": "red"})
    permit(platform, name, api.id)
    assert api.ask("/prod/plain", "POST", '{"a": 1}')[::2] == (200, {"got": {"a": 1}})
    body = json.dumps({"rows": [[1, 2], [3, 4]], "text": 'say "x"'})
    status, headers, found = api.ask("/prod/mapped/me", "POST", body, Content_Type="application/json")
    assert (status, found) == (200, {"n": 2, "csv": "1,2;3,4"})
    assert (headers["x-n"], headers["x-fixed"]) == ("2", "yes")
    status, _, found = api.ask("/prod/mapped/me", "POST", json.dumps({"rows": [], "fail": "no"}))
    assert (status, found) == (418, {"said": "Bad: no"})
    assert api.ask("/prod/mapped/me", "POST", "x", Content_Type="text/csv")[::2] == (
        415,
        {"message": "Unsupported Media Type"},
    )


def test_an_endpoint_without_a_function(platform: Platform, name: str, model_data: str) -> None:
    deploy(platform, name, model_data)
    api = Api(platform, name)
    for slashes, path in (("/", "/one"), ("//", "/two")):
        integration = {
            "type": "AWS", "integrationHttpMethod": "POST", "credentials": ROLE,
            "uri": f"arn:aws:apigateway:us-east-1:runtime.sagemaker:path{slashes}endpoints/{name}/invocations",
            "requestParameters": {"integration.request.header.Content-Type": "'text/csv'"},
        }  # fmt: skip
        api.respond(api.method(path, "POST", integration))
    api.deploy()
    row = csv(table()[:1, 1:])
    for path in ("/prod/one", "/prod/two"):
        status, _, body = api.ask(path, "POST", row, Content_Type="text/csv")
        assert status == 200
        assert 0 <= float(body) <= 1


def test_mocks_and_cross_origin(platform: Platform, name: str) -> None:
    api = Api(platform, name)
    names = api.method("/x", "OPTIONS", {"type": "MOCK", "requestTemplates": {"application/json": "{statusCode: 200}"}})
    allow = {
        "method.response.header.Access-Control-Allow-Origin": "'*'",
        "method.response.header.Access-Control-Allow-Methods": "'POST,OPTIONS'",
    }
    api.respond(names, declared=dict.fromkeys(allow, False), responseParameters=allow)
    api.client.put_gateway_response(
        restApiId=api.id, responseType="DEFAULT_4XX",
        responseParameters={"gatewayresponse.header.Access-Control-Allow-Origin": "'*'"},
        responseTemplates={"application/json": '{"oops": $context.error.messageString}'},
    )  # fmt: skip
    api.deploy()
    status, headers, _ = api.ask("/prod/x", "OPTIONS")
    assert (status, headers["access-control-allow-origin"]) == (200, "*")
    assert headers["access-control-allow-methods"] == "POST,OPTIONS"
    status, headers, body = api.ask("/prod/none")
    assert (status, headers["access-control-allow-origin"]) == (403, "*")
    assert body == {"oops": "Missing Authentication Token"}


def test_keys_and_plans(platform: Platform, name: str) -> None:
    create(platform, name, "def handler(e, c): return {'body': e['requestContext']['identity']['apiKey']}")
    api = Api(platform, name)
    api.proxy("/x", "GET", name, apiKeyRequired=True)
    api.deploy()
    permit(platform, name, api.id)
    client = api.client
    key = client.create_api_key(name=name, enabled=True)
    assert api.ask("/prod/x", "GET", X_Api_Key=key["value"])[::2] == (403, {"message": "Forbidden"})  # in no plan
    plan = client.create_usage_plan(
        name=name, apiStages=[{"apiId": api.id, "stage": "prod"}], quota={"limit": 3, "period": "DAY"},
        throttle={"rateLimit": 100, "burstLimit": 100},
    )  # fmt: skip
    client.create_usage_plan_key(usagePlanId=plan["id"], keyId=key["id"], keyType="API_KEY")
    assert api.ask("/prod/x")[0] == 403
    assert [api.ask("/prod/x", "GET", X_Api_Key=key["value"])[0] for _ in range(4)] == [200, 200, 200, 429]
    status, headers, body = api.ask("/prod/x", "GET", X_Api_Key=key["value"])
    assert (status, body, headers["x-amzn-errortype"]) == (429, {"message": "Limit Exceeded"}, "LimitExceededException")
    assert "value" not in client.get_api_key(apiKey=key["id"])
    assert client.get_api_key(apiKey=key["id"], includeValue=True)["value"] == key["value"]
    client.update_api_key(apiKey=key["id"], patchOperations=[{"op": "replace", "path": "/enabled", "value": "false"}])
    assert api.ask("/prod/x", "GET", X_Api_Key=key["value"])[0] == 403


def test_requests_are_checked_first(platform: Platform, name: str) -> None:
    create(platform, name, "def handler(e, c): return {'body': 'fine'}")
    api = Api(platform, name)
    schema = {"type": "object", "required": ["rows"], "properties": {"rows": {"type": "array"}}}
    api.client.create_model(restApiId=api.id, name="Rows", contentType="application/json", schema=json.dumps(schema))
    validator = api.client.create_request_validator(
        restApiId=api.id, name="v", validateRequestBody=True, validateRequestParameters=True
    )
    api.proxy(
        "/x", "POST", name, requestValidatorId=validator["id"], requestModels={"application/json": "Rows"},
        requestParameters={"method.request.querystring.who": True, "method.request.header.X-A": True},
    )  # fmt: skip
    api.deploy()
    permit(platform, name, api.id)
    missing = {"message": "Missing required request parameters: [who, X-A]"}
    assert api.ask("/prod/x", "POST", "{}")[::2] == (400, missing)
    assert api.ask("/prod/x?who=me", "POST", "{}", X_A="1")[::2] == (400, {"message": "Invalid request body"})
    assert api.ask("/prod/x?who=me", "POST", '{"rows": []}', X_A="1")[0] == 200


def test_authorizers(platform: Platform, name: str) -> None:
    create(
        platform, name, "import json\ndef handler(e, c): return {'body': json.dumps(e['requestContext']['authorizer'])}"
    )
    source = """
def handler(event, context):
    token = event["authorizationToken"]
    if token == "raise": raise Exception("Unauthorized")
    if token == "junk": return {"nothing": 1}
    effect = "Allow" if token == "good" else "Deny"
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"].rpartition("/")[0] + "/*"}
    return {"principalId": "u1", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}, "context": {"n": 7}}
"""
    create(platform, f"{name}-auth", source)
    api = Api(platform, name)
    permit(platform, name, api.id)
    permit(platform, f"{name}-auth", api.id, "authorizers/*")
    made = api.client.create_authorizer(
        restApiId=api.id, name="a", type="TOKEN", authorizerUri=uri_of(f"{name}-auth"), authorizerResultTtlInSeconds=60,
        identitySource="method.request.header.Authorization", identityValidationExpression="[a-z]+",
    )  # fmt: skip
    api.proxy("/x", "GET", name, authorizationType="CUSTOM", authorizerId=made["id"])
    api.proxy("/signed", "GET", name, authorizationType="AWS_IAM")
    api.deploy()
    status, _, body = api.ask("/prod/x", "GET", Authorization="good")
    assert (status, body["principalId"], body["n"]) == (200, "u1", "7")
    for token, found in (
        ("bad", (403, "User is not authorized to access this resource with an explicit deny")), ("raise", (401, "Unauthorized")),
        ("NOT", (401, "Unauthorized")), ("junk", (500, "Internal server error")), ("", (401, "Unauthorized")),
    ):  # fmt: skip
        status, _, body = api.ask("/prod/x", "GET", Authorization=token)
        assert (status, body["message"]) == found
    assert api.ask("/prod/signed")[::2] == (403, {"message": "Missing Authentication Token"})


def test_other_servers(platform: Platform, name: str) -> None:
    api = Api(platform, name)
    with backend() as url:
        api.method("/p/{rest+}", "ANY", {"type": "HTTP_PROXY", "integrationHttpMethod": "ANY", "uri": f"{url}/to/{{rest}}",
            "requestParameters": {"integration.request.path.rest": "method.request.path.rest"}}, requestParameters={"method.request.path.rest": True})  # fmt: skip
        names = api.method("/h", "POST", {"type": "HTTP", "integrationHttpMethod": "POST", "uri": f"{url}/fixed"})
        api.respond(names, "200", selectionPattern="2\\d\\d")
        api.deploy()
        assert api.ask("/prod/p/a/b?q=1", "POST", "data", X_Mine="m")[::2] == (203, ["/to/a/b?q=1", "data", "m"])
        assert api.ask("/prod/h", "POST", "data")[::2] == (200, ["/fixed", "data", None])
    assert api.ask("/prod/h", "POST", "data")[::2] == (504, {"message": "Network error communicating with endpoint"})


def test_what_is_refused(platform: Platform, name: str) -> None:
    api = Api(platform, name)
    client, root = api.client, api.ids["/"]

    def code(expected: str, words: str, call: Any, **params: Any) -> None:
        with pytest.raises(ClientError, match=words) as refused:
            call(restApiId=api.id, **params)
        assert refused.value.response["Error"]["Code"] == expected

    code("BadRequestException", "doesn't contain any methods", client.create_deployment)
    greedy = client.create_resource(restApiId=api.id, parentId=root, pathPart="{p+}")["id"]
    code("BadRequestException", "greedy path variable", client.create_resource, parentId=greedy, pathPart="x")
    code("ConflictException", "already has this name: {p", client.create_resource, parentId=root, pathPart="{p+}")
    code(
        "BadRequestException", "already has a variable path part", client.create_resource, parentId=root, pathPart="{q}"
    )
    code("BadRequestException", "path part only allow", client.create_resource, parentId=root, pathPart="a b")
    names = {"resourceId": root, "httpMethod": "GET"}
    code("NotFoundException", "Invalid Method identifier", client.get_method, **names)
    client.put_method(restApiId=api.id, **names, authorizationType="NONE")
    code("ConflictException", "Method already exists", client.put_method, **names, authorizationType="NONE")
    code("BadRequestException", "No integration defined", client.create_deployment)
    lambda_arn = "arn:aws:lambda:us-east-1:000000000000:function:f"
    code(
        "BadRequestException",
        "must contain path or action",
        client.put_integration,
        **names,
        type="AWS_PROXY",
        integrationHttpMethod="POST",
        uri=lambda_arn,
    )
    code(
        "BadRequestException",
        "dynamodb is not served yet",
        client.put_integration,
        **names,
        type="AWS",
        integrationHttpMethod="POST",
        uri="arn:aws:apigateway:us-east-1:dynamodb:action/PutItem",
    )
    operation = [{"op": "replace", "path": "/x", "value": "1"}]
    code(
        "BadRequestException",
        "Invalid patch path  '/x' specified for op 'replace'",
        client.update_rest_api,
        patchOperations=operation,
    )
    with pytest.raises(ClientError, match="Invalid API identifier specified 000000000000:nothere000"):
        client.get_rest_api(restApiId="nothere000")
    client.put_integration(restApiId=api.id, **names, type="MOCK")
    client.create_deployment(restApiId=api.id, stageName="s")
    (deployment,) = client.get_deployments(restApiId=api.id)["items"]
    code("BadRequestException", "Active stages pointing", client.delete_deployment, deploymentId=deployment["id"])
