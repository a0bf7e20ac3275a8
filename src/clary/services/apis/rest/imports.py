"""REST APIs from OpenAPI documents, with API Gateway's extensions.

Source: the API Gateway developer guide, "OpenAPI extensions for API Gateway".
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ....provider.context import Context
from ....wire import bounded
from .. import openapi
from ..checked import called
from ..errors import bad_request
from . import rest
from .api import create_rest_api, find, keep, shown
from .methods import delete_method, put_integration, put_integration_response, put_method, put_method_response
from .parts import create_authorizer, create_model, create_request_validator, delete_model, put_gateway_response
from .resources import create_resource

Json = dict[str, Any]
_REFERENCE = re.compile(r'"#/definitions/([^"/]+)')
_PLACES = {"header": "header", "query": "querystring", "path": "path"}
_INTEGRATION = (
    "uri", "credentials", "requestParameters", "requestTemplates", "timeoutInMillis", "cacheNamespace",
    "cacheKeyParameters", "connectionType", "connectionId",
)  # fmt: skip


@rest.operation
def import_rest_api(ctx: Context, request: Json) -> Json:
    """A new API from a document."""
    document = openapi.parse(request["body"])
    given: Json = {"name": (document.get("info") or {}).get("title") or "Untitled", **_own(document)}
    if kinds := (request.get("parameters") or {}).get("endpointConfigurationTypes"):
        given["endpointConfiguration"] = {"types": kinds.split(","), "ipAddressType": "ipv4"}
    api = called(rest, create_rest_api, ctx, given)["id"]
    _Filler(ctx, api, document).fill()
    return shown(ctx, find(ctx, api))


@rest.operation
def put_rest_api(ctx: Context, request: Json) -> Json:
    """Merge a document into an API, or put it in the place of all that it does; deployments and stages stay."""
    document = openapi.parse(request["body"])
    row = find(ctx, request["restApiId"])
    spec = {**row.spec, **_own(document)}
    if request.get("mode", "merge") == "overwrite":
        root = row.spec["rootResourceId"]
        spec["name"] = (document.get("info") or {}).get("title") or row.spec["name"]
        models = {n: m for n, m in row.private["models"].items() if n in ("Empty", "Error")}
        row = keep(
            ctx, row, resources={root: {"id": root, "path": "/"}}, authorizers={}, validators={}, responses={},
            models=models,
        )  # fmt: skip
    ctx.tx.rows.save(row, spec=spec)
    _Filler(ctx, row.name, document).fill()
    return shown(ctx, find(ctx, row.name))


def _own(document: Json) -> Json:
    """What a document says of the API itself."""
    info = document.get("info") or {}
    found = {
        "description": info.get("description"), "version": str(info["version"]) if info.get("version") else None,
        "apiKeySource": document.get("x-amazon-apigateway-api-key-source"),
        "binaryMediaTypes": document.get("x-amazon-apigateway-binary-media-types"),
        "minimumCompressionSize": document.get("x-amazon-apigateway-minimum-compression-size"),
    }  # fmt: skip
    if policy := document.get("x-amazon-apigateway-policy"):
        found["policy"] = json.dumps(policy)
    return {k: v for k, v in found.items() if v is not None}


def _used(text: str, schemas: dict[str, str]) -> set[str]:
    """The other schemas that one refers to, directly or not."""
    found: set[str] = set()
    waiting = [text]
    while waiting:
        fresh = {n for n in _REFERENCE.findall(waiting.pop()) if n in schemas} - found
        found |= fresh
        waiting += [schemas[n] for n in fresh]
    return found


class _Filler:
    """Makes the parts of an API one by one, as a caller of the API would."""

    def __init__(self, ctx: Context, api: str, document: Json):
        self._ctx = ctx
        self._api = api
        self._document = document
        self._authorizers: dict[str, str] = {}
        self._validators: dict[str, str] = {}
        self._schemas: Json = document.get("definitions") or (document.get("components") or {}).get("schemas") or {}

    def _call(self, operation: Callable[[Context, Json], Any], **given: Any) -> Json:
        return called(rest, operation, self._ctx, {"restApiId": self._api, **given})

    def fill(self) -> None:
        """All of it."""
        self._models()
        for name, about in (self._document.get("x-amazon-apigateway-request-validators") or {}).items():
            self._validators[name] = self._call(create_request_validator, name=name, **about)["id"]
        for kind, about in (self._document.get("x-amazon-apigateway-gateway-responses") or {}).items():
            told = {**about, "statusCode": str(about["statusCode"])} if "statusCode" in about else dict(about)
            self._call(put_gateway_response, responseType=kind, **told)
        for name, scheme in openapi.schemes(self._document).items():
            if about := scheme.get(openapi.AUTHORIZER):
                self._authorizer(name, scheme, about)
        for path, verb, operation in openapi.operations(self._document):
            self._operation(path, verb, operation)

    def _models(self) -> None:
        schemas = {
            name: json.dumps(schema).replace("#/components/schemas/", "#/definitions/")
            for name, schema in self._schemas.items()
        }
        for name, text in schemas.items():
            if name in find(self._ctx, self._api).private["models"]:
                self._call(delete_model, modelName=name)
            schema = bounded.loads(text)
            if (used := _used(text, schemas)) and isinstance(schema, dict):
                schema = {**schema, "definitions": {n: bounded.loads(schemas[n]) for n in sorted(used)}}
            self._call(create_model, name=name, contentType="application/json", schema=json.dumps(schema))

    def _authorizer(self, name: str, scheme: Json, about: Json) -> None:
        given = {
            "name": name,
            "type": str(about.get("type", "")).upper(),
            **{k: v for k, v in about.items() if k != "type"},
        }
        if given["type"] in ("TOKEN", "COGNITO_USER_POOLS") and "identitySource" not in given:
            given["identitySource"] = f"method.request.header.{scheme.get('name', 'Authorization')}"
        self._authorizers[name] = self._call(create_authorizer, **given)["id"]

    def _resource(self, path: str) -> str:
        """The resource of a path, with those above it."""
        here: str = find(self._ctx, self._api).spec["rootResourceId"]
        for part in (p for p in path.split("/") if p):
            siblings = find(self._ctx, self._api).private["resources"].values()
            below = next((r["id"] for r in siblings if r.get("parentId") == here and r["pathPart"] == part), None)
            here = below or str(self._call(create_resource, parentId=here, pathPart=part)["id"])
        return here

    def _operation(self, path: str, verb: str, operation: Json) -> None:
        names = {"resourceId": self._resource(path), "httpMethod": verb}
        present = find(self._ctx, self._api).private["resources"][names["resourceId"]]
        if verb in present.get("resourceMethods", {}):
            self._call(delete_method, **names)
        self._call(put_method, **names, **self._access(operation), **self._takes(operation))
        for status, response in (operation.get("responses") or {}).items():
            if bounded.digits(str(status)):
                headers = (openapi.follow(self._document, response) or {}).get("headers") or {}
                given = {f"method.response.header.{name}": False for name in headers}
                self._call(put_method_response, **names, statusCode=str(status), responseParameters=given)
        if found := openapi.integration(self._document, operation):
            self._integration(names, found)

    def _access(self, operation: Json) -> Json:
        """Who may call."""
        found: Json = {"authorizationType": "NONE"}
        schemes = openapi.schemes(self._document)
        for name, scopes in openapi.wanted(self._document, operation):
            scheme = schemes.get(name) or {}
            if name in self._authorizers:
                identifier = self._authorizers[name]
                its = find(self._ctx, self._api).private["authorizers"][identifier]
                pools = its["type"] == "COGNITO_USER_POOLS"
                found |= {"authorizationType": "COGNITO_USER_POOLS" if pools else "CUSTOM", "authorizerId": identifier}
                if pools and scopes:
                    found["authorizationScopes"] = scopes
            elif scheme.get("x-amazon-apigateway-authtype", "").lower() == "awssigv4":
                found["authorizationType"] = "AWS_IAM"
            elif scheme.get("type") == "apiKey":
                found["apiKeyRequired"] = True
            else:
                raise bad_request(
                    f"Invalid OpenAPI input. The security scheme {name} is not one that API Gateway knows."
                )
        if (operation.get("x-amazon-apigateway-auth") or {}).get("type") == "AWS_IAM":
            found["authorizationType"] = "AWS_IAM"
        return found

    def _takes(self, operation: Json) -> Json:
        """What a request has to have."""
        parameters: Json = {}
        models: Json = {}
        for item in operation["parameters"]:
            about = openapi.parameter(self._document, item)
            if place := _PLACES.get(about.get("in", "")):
                parameters[f"method.request.{place}.{about['name']}"] = bool(about.get("required"))
            elif about.get("in") == "body":
                models |= self._model(about.get("schema") or {}, "application/json")
        body = openapi.follow(self._document, operation.get("requestBody")) or {}
        for kind, media in (body.get("content") or {}).items():
            models |= self._model((openapi.follow(self._document, media) or {}).get("schema") or {}, kind)
        found: Json = {"requestParameters": parameters, "requestModels": models}
        if operation.get("operationId"):
            found["operationName"] = operation["operationId"]
        default = self._document.get("x-amazon-apigateway-request-validator")
        if validator := operation.get("x-amazon-apigateway-request-validator", default):
            if validator not in self._validators:
                raise bad_request(f"Invalid OpenAPI input. The request validator {validator} is not defined.")
            found["requestValidatorId"] = self._validators[validator]
        return {k: v for k, v in found.items() if v not in ({}, None)}

    def _model(self, schema: Any, kind: str) -> Json:
        name = str(schema.get("$ref", "")).rpartition("/")[2] if isinstance(schema, dict) else ""
        return {kind: name} if name in self._schemas else {}

    def _integration(self, names: Json, found: Json) -> None:
        given: Json = {k: found[k] for k in _INTEGRATION if k in found}
        given["type"] = str(found.get("type", "")).upper()
        for name in ("passthroughBehavior", "contentHandling"):
            if name in found:
                given[name] = str(found[name]).upper()
        if "httpMethod" in found:
            given["integrationHttpMethod"] = str(found["httpMethod"]).upper()
        self._call(put_integration, **names, **given)
        for pattern, response in (found.get("responses") or {}).items():
            status = str(response.get("statusCode", "200"))
            its = find(self._ctx, self._api).private["resources"][names["resourceId"]]
            if status not in its["resourceMethods"][names["httpMethod"]].get("methodResponses", {}):
                self._call(put_method_response, **names, statusCode=status)
            told = {k: v for k, v in response.items() if k in ("responseParameters", "responseTemplates")}
            if "contentHandling" in response:
                told["contentHandling"] = str(response["contentHandling"]).upper()
            if pattern != "default":
                told["selectionPattern"] = pattern
            self._call(put_integration_response, **names, statusCode=status, **told)
