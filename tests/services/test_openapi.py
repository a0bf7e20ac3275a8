"""APIs from OpenAPI documents, imported by boto3 and called by plain HTTP clients."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from botocore.exceptions import ClientError

from tests.platform import Platform

from .test_functions import create
from .test_http_apis import ECHO, arn_of, ask, permit
from .test_rest_apis import uri_of

TOLD = "import json\ndef handler(event, context): return {'statusCode': 200, 'body': json.dumps(event['httpMethod'] + event['path'])}"  # fmt: skip
ALLOWS = """
def handler(event, context):
    effect = "Allow" if event["authorizationToken"] == "yes" else "Deny"
    statement = {"Action": "execute-api:Invoke", "Effect": effect, "Resource": event["methodArn"]}
    return {"principalId": "p", "policyDocument": {"Version": "2012-10-17", "Statement": [statement]}}
"""


def petstore(name: str) -> dict[str, Any]:
    """A Swagger document with most of API Gateway's extensions."""
    proxy = {"type": "aws_proxy", "httpMethod": "POST", "uri": uri_of(name), "passthroughBehavior": "when_no_match"}
    mock = {
        "type": "mock", "requestTemplates": {"application/json": '{"statusCode": $input.params("code")}'},
        "responses": {
            "default": {"statusCode": "200", "responseTemplates": {"application/json": '{"state": "up"}'}},
            "4\\d\\d": {"statusCode": "404", "responseParameters": {"method.response.header.X-Why": "'gone'"}},
        },
    }  # fmt: skip
    return {
        "swagger": "2.0", "info": {"title": name, "version": "7", "description": "pets"},
        "x-amazon-apigateway-binary-media-types": ["image/png"],
        "x-amazon-apigateway-request-validators": {"body": {"validateRequestBody": True, "validateRequestParameters": True}},
        "x-amazon-apigateway-gateway-responses": {
            "BAD_REQUEST_BODY": {"statusCode": 422, "responseTemplates": {"application/json": '{"wrong": "body"}'}}
        },
        "securityDefinitions": {
            "token": {
                "type": "apiKey", "name": "X-Token", "in": "header", "x-amazon-apigateway-authtype": "custom",
                "x-amazon-apigateway-authorizer": {"type": "token", "authorizerUri": uri_of(f"{name}-a"), "authorizerResultTtlInSeconds": 0},
            },
            "key": {"type": "apiKey", "name": "x-api-key", "in": "header"},
            "signed": {"type": "apiKey", "name": "Authorization", "in": "header", "x-amazon-apigateway-authtype": "awsSigv4"},
        },
        "definitions": {
            "Pet": {"type": "object", "required": ["name"], "properties": {"name": {"$ref": "#/definitions/Name"}}},
            "Name": {"type": "string", "minLength": 2},
        },
        "paths": {
            "/pets": {
                "post": {
                    "operationId": "addPet", "x-amazon-apigateway-request-validator": "body",
                    "parameters": [
                        {"in": "body", "name": "pet", "schema": {"$ref": "#/definitions/Pet"}},
                        {"in": "query", "name": "dry", "required": True, "type": "string"},
                    ],
                    "responses": {"200": {"description": "ok"}}, "x-amazon-apigateway-integration": proxy,
                },
            },
            "/pets/{id}": {"x-amazon-apigateway-any-method": {"x-amazon-apigateway-integration": proxy}},
            "/state": {
                "get": {
                    "parameters": [{"in": "query", "name": "code", "type": "string"}],
                    "responses": {"404": {"headers": {"X-Why": {"type": "string"}}}},
                    "x-amazon-apigateway-integration": mock,
                },
            },
            "/secret": {"get": {"security": [{"token": []}], "x-amazon-apigateway-integration": proxy}},
            "/keyed": {"get": {"security": [{"key": []}], "x-amazon-apigateway-integration": proxy}},
            "/signed": {"get": {"security": [{"signed": []}], "x-amazon-apigateway-integration": proxy}},
        },
    }  # fmt: skip


def test_a_rest_api_from_a_document(platform: Platform, name: str) -> None:
    create(platform, name, TOLD)
    create(platform, f"{name}-a", ALLOWS)
    client = platform.client("apigateway")
    made = client.import_rest_api(
        body=json.dumps(petstore(name)), parameters={"endpointConfigurationTypes": "REGIONAL"}
    )
    assert (made["name"], made["version"], made["binaryMediaTypes"]) == (name, "7", ["image/png"])
    assert made["endpointConfiguration"]["types"] == ["REGIONAL"]
    api = made["id"]
    permit(platform, name, api)
    permit(platform, f"{name}-a", api)
    client.create_deployment(restApiId=api, stageName="v1")

    def call(path: str, *given: Any, **headers: str) -> tuple[int, Any]:
        status, _, body = ask(platform, api, f"/v1{path}", *given, **headers)
        return status, json.loads(body) if isinstance(body, bytes) and status == 200 else body

    assert call("/pets?dry=1", "POST", '{"name": "Rex"}', Content_Type="application/json") == (200, "POST/pets")
    assert call("/pets?dry=1", "POST", '{"name": "R"}', Content_Type="application/json") == (422, {"wrong": "body"})
    assert call("/pets", "POST", '{"name": "Rex"}', Content_Type="application/json")[0] == 400
    assert call("/pets/7", "DELETE") == (200, "DELETE/pets/7")
    assert call("/state?code=200") == (200, {"state": "up"})
    status, headers, _ = ask(platform, api, "/v1/state?code=404")
    assert (status, headers["X-Why"]) == (404, "gone")
    assert call("/secret", X_Token="yes")[0] == 200 and call("/secret", X_Token="no")[0] == 403
    assert call("/secret")[0] == 401
    assert call("/keyed")[0] == 403 and call("/signed")[0] == 403


def test_a_document_is_merged_or_takes_the_place(platform: Platform, name: str) -> None:
    create(platform, name, TOLD)
    client = platform.client("apigateway")
    api = client.import_rest_api(
        body=json.dumps({**petstore(name), "paths": {"/a": petstore(name)["paths"]["/state"]}})
    )["id"]
    more = {
        **petstore(name),
        "paths": {"/b": petstore(name)["paths"]["/state"], "/a": petstore(name)["paths"]["/pets/{id}"]},
    }
    client.put_rest_api(restApiId=api, mode="merge", body=json.dumps(more))
    found = {r["path"]: sorted(r.get("resourceMethods", {})) for r in client.get_resources(restApiId=api)["items"]}
    assert found == {"/": [], "/a": ["ANY", "GET"], "/b": ["GET"]}
    only = {"openapi": "3.0.1", "info": {"title": "other"}, "paths": {"/c": {"get": {"x-amazon-apigateway-integration": {"type": "MOCK"}}}}}  # fmt: skip
    made = client.put_rest_api(restApiId=api, mode="overwrite", body=json.dumps(only))
    assert (made["id"], made["name"]) == (api, "other")
    assert {r["path"] for r in client.get_resources(restApiId=api)["items"]} == {"/", "/c"}
    assert client.get_authorizers(restApiId=api)["items"] == []


YAML = """
openapi: 3.0.1
info: {{title: {name}, version: "1.0"}}
x-amazon-apigateway-cors: {{allowOrigins: ["*"], allowMethods: [GET], maxAge: 60}}
paths:
  /hello/{{who}}:
    get: {{operationId: hello, x-amazon-apigateway-integration: {{$ref: "#/components/x-amazon-apigateway-integrations/f"}}}}
  /$default:
    x-amazon-apigateway-any-method: {{x-amazon-apigateway-integration: {{$ref: "#/components/x-amazon-apigateway-integrations/f"}}}}
components:
  x-amazon-apigateway-integrations:
    f: {{type: aws_proxy, httpMethod: POST, uri: "{uri}", payloadFormatVersion: "2.0"}}
"""


def test_an_http_api_from_a_document(platform: Platform, name: str) -> None:
    create(platform, name, ECHO)
    client = platform.client("apigatewayv2")
    made = client.import_api(Body=YAML.format(name=name, uri=arn_of(name)))
    api = made["ApiId"]
    assert made["Name"] == name and made["CorsConfiguration"]["MaxAge"] == 60
    client.create_stage(ApiId=api, StageName="$default", AutoDeploy=True)
    permit(platform, name, api)
    assert ask(platform, api, "/hello/you")[2]["routeKey"] == "GET /hello/{who}"
    assert ask(platform, api, "/anything", "POST", "x")[2]["routeKey"] == "$default"
    document = json.dumps({"openapi": "3.0.1", "info": {"title": "again"}, "paths": {"/x": {"put": {"x-amazon-apigateway-integration": {"type": "http_proxy", "httpMethod": "PUT", "uri": "http://127.0.0.1:9/"}}}}})  # fmt: skip
    assert client.reimport_api(ApiId=api, Body=document)["Name"] == "again"
    assert [r["RouteKey"] for r in client.get_routes(ApiId=api)["Items"]] == ["PUT /x"]
    assert ask(platform, api, "/hello/you")[0] == 404


@pytest.mark.parametrize(("kind", "accepts"), [("swagger", "application/json"), ("oas30", "application/yaml")])
def test_an_exported_rest_api_is_the_same_when_it_is_imported(
    sqlite_platform: Platform, name: str, kind: str, accepts: str
) -> None:
    platform = sqlite_platform
    create(platform, name, TOLD)
    create(platform, f"{name}-a", ALLOWS)
    client = platform.client("apigateway")

    def exported(api: str, extensions: str = "apigateway") -> tuple[dict[str, Any], Any]:
        client.create_deployment(restApiId=api, stageName="v1")
        found = client.get_export(
            restApiId=api, stageName="v1", exportType=kind, accepts=accepts, parameters={"extensions": extensions}
        )
        assert found["contentType"] == accepts and f"{kind}.{accepts[12:]}" in found["contentDisposition"]
        text = found["body"].read()
        document = json.loads(text) if accepts.endswith("json") else yaml.safe_load(text)
        return {k: v for k, v in document.items() if k not in ("host", "servers")}, text

    first = client.import_rest_api(body=json.dumps(petstore(name)))["id"]
    document, text = exported(first)
    second = client.import_rest_api(body=text)["id"]
    assert exported(second)[0] == document
    assert document["info"] == {"title": name, "version": "7", "description": "pets"}
    assert document["paths"]["/secret"]["get"]["security"] == [{"token": []}]
    for api in (first, second):
        permit(platform, name, api)
        permit(platform, f"{name}-a", api)
        got = [
            ask(platform, api, f"/v1{path}", *given, **{"Content_Type": "application/json", **headers})[::2]
            for path, given, headers in (
                ("/pets?dry=1", ("POST", '{"name": "R"}'), {}), ("/pets", ("POST", '{"name": "Rex"}'), {}),
                ("/pets/7", ("DELETE",), {}), ("/state?code=200", (), {}), ("/secret", (), {"X_Token": "yes"}),
                ("/secret", (), {"X_Token": "no"}), ("/keyed", (), {}), ("/signed", (), {}),
            )
        ]  # fmt: skip
        assert [status for status, _ in got] == [422, 400, 200, 200, 200, 403, 403, 403]
    bare = exported(first, "")[0]
    assert "integration" not in json.dumps(bare["paths"]) and "token" not in json.dumps(
        bare.get("securityDefinitions", {})
    )


def test_exports_that_cannot_be(sqlite_platform: Platform, name: str) -> None:
    client = sqlite_platform.client("apigateway")
    create(sqlite_platform, name, TOLD)
    api = client.import_rest_api(body=json.dumps({**petstore(name), "paths": {}}))["id"]
    with pytest.raises(ClientError, match="Invalid stage identifier"):
        client.get_export(restApiId=api, stageName="none", exportType="swagger")


@pytest.mark.parametrize("kind", ["JSON", "YAML"])
def test_an_exported_http_api_is_the_same_when_it_is_imported(sqlite_platform: Platform, name: str, kind: str) -> None:
    platform, client = sqlite_platform, sqlite_platform.client("apigatewayv2")
    create(platform, name, ECHO)
    api = client.import_api(Body=YAML.format(name=name, uri=arn_of(name)))["ApiId"]
    settings = {"Issuer": "https://issuer.example.com", "Audience": ["a", "b"]}
    authorizer = client.create_authorizer(
        ApiId=api, Name="tokens", AuthorizerType="JWT", IdentitySource=["$request.header.Authorization"],
        JwtConfiguration=settings,
    )["AuthorizerId"]  # fmt: skip
    (target,) = {r["Target"] for r in client.get_routes(ApiId=api)["Items"] if r["RouteKey"] == "$default"}
    client.create_route(
        ApiId=api, RouteKey="PUT /safe", Target=target, AuthorizationType="JWT", AuthorizerId=authorizer,
        AuthorizationScopes=["write"],
    )  # fmt: skip
    client.create_route(ApiId=api, RouteKey="GET /signed", Target=target, AuthorizationType="AWS_IAM")

    def exported(api: str, **more: Any) -> tuple[dict[str, Any], str]:
        text = client.export_api(ApiId=api, Specification="OAS30", OutputType=kind, **more)["body"].read().decode()
        document = json.loads(text) if kind == "JSON" else yaml.safe_load(text)
        return {k: v for k, v in document.items() if k != "servers"}, text

    document, text = exported(api)
    again = client.import_api(Body=text)["ApiId"]
    assert exported(again)[0] == document
    routes = {r["RouteKey"]: r for r in client.get_routes(ApiId=again)["Items"]}
    assert set(routes) == {"GET /hello/{who}", "$default", "PUT /safe", "GET /signed"}
    assert (
        routes["PUT /safe"]["AuthorizationScopes"] == ["write"]
        and routes["GET /signed"]["AuthorizationType"] == "AWS_IAM"
    )
    (copied,) = client.get_authorizers(ApiId=again)["Items"]
    assert copied["JwtConfiguration"] == settings
    client.create_stage(ApiId=again, StageName="$default", AutoDeploy=True)
    permit(platform, name, again)
    assert ask(platform, again, "/hello/you")[2]["routeKey"] == "GET /hello/{who}"
    assert "integration" not in exported(api, IncludeExtensions=False)[1]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("{", "JSONDecodeError"),
        ("a: [", "ParserError"),
        ("[1]", "neither the member swagger nor openapi"),
        ('{"openapi": "3.0.1", "paths": []}', "[/paths] [] is not of type"),
        ('{"openapi": "3.0.1", "paths": {"/a": {"get": {"security": [{"none": []}]}}}}', "none"),
        ('{"openapi": "3.0.1", "paths": {"/a": {"$ref": "#/paths/~1a"}}}', "circles"),
        ("openapi: 3.0.1\na: &a [1, 1, 1, 1, 1, 1, 1, 1]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d]\nf: [*e, *e, *e, *e, *e, *e, *e, *e]\n", "more than 200000 values"),
    ],
)  # fmt: skip
def test_bad_documents_are_the_callers_fault(sqlite_platform: Platform, body: str, told: str) -> None:
    client = sqlite_platform.client("apigateway")
    before = len(client.get_rest_apis(limit=500)["items"])
    with pytest.raises(ClientError) as refused:
        client.import_rest_api(body=body)
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert told in refused.value.response["Error"]["Message"]
    assert len(client.get_rest_apis(limit=500)["items"]) == before
