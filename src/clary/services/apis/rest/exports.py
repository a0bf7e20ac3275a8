"""What a stage of a REST API serves, as an OpenAPI document that can be imported again.

Source: the API Gateway developer guide, "Export a REST API from API Gateway" and "OpenAPI extensions for API Gateway".
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from ....provider.context import Context
from .. import openapi
from ..errors import bad_request, not_found
from ..hosts import address
from . import rest
from .api import find

Json = dict[str, Any]
_PLACES = {"header": "header", "querystring": "query", "path": "path"}
_KINDS = ("swagger", "oas30")


@rest.operation
def get_export(ctx: Context, request: Json) -> Json:
    """A stage as a document in Swagger 2.0 or OpenAPI 3.0.1, in JSON or YAML."""
    row, kind = find(ctx, request["restApiId"]), request["exportType"]
    stage = row.private["stages"].get(request["stageName"])
    if stage is None:
        raise not_found("Invalid stage identifier specified")
    if kind not in _KINDS:
        raise bad_request(f"Unsupported export type '{kind}'. Must be one of: [{', '.join(_KINDS)}]")
    accepts = request.get("accepts") or "application/json"
    if accepts not in ("application/json", "application/yaml"):
        accepts = "application/json"
    wanted = {w for w in (request.get("parameters") or {}).get("extensions", "").split(",") if w}
    whole = "apigateway" in wanted
    writer = _Writer(
        row.private["deployments"][stage["deploymentId"]], kind == "oas30", whole or "integrations" in wanted,
        whole or "authorizers" in wanted,
    )  # fmt: skip
    document = writer.document(row.spec, address(ctx, row.name), f"/{request['stageName']}", whole)
    extension = accepts.rpartition("/")[2]
    name = f"{row.spec['name']}-{request['stageName']}-{kind}.{extension}".replace('"', "")
    return {
        "body": openapi.text(document, extension == "yaml").encode(), "contentType": accepts,
        "contentDisposition": f'attachment; filename="{name}"',
    }  # fmt: skip


class _Writer:
    """Writes one deployment."""

    def __init__(self, deployment: Json, newer: bool, integrations: bool, authorizers: bool):
        self._its = deployment
        self._newer = newer  # OpenAPI 3, not Swagger 2
        self._integrations = integrations
        self._authorizers = authorizers
        self._schemes: dict[str, Json] = {}

    def document(self, spec: Json, address: str, base: str, whole: bool) -> Json:
        """All of it. ``whole``: also what only API Gateway knows of the API itself."""
        paths: Json = {}
        for resource in sorted(self._its["resources"].values(), key=lambda r: r["path"]):
            for verb, method in sorted(resource.get("resourceMethods", {}).items()):
                name = openapi.ANY if verb == "ANY" else verb.lower()
                paths.setdefault(resource["path"], {})[name] = self._operation(method)
        made = datetime.fromtimestamp(self._its["createdDate"], UTC)
        info = {"title": spec["name"], "version": spec.get("version") or made.strftime("%Y-%m-%dT%H:%M:%SZ")}
        if spec.get("description"):
            info["description"] = spec["description"]
        models = {name: json.loads(self._schema(model["schema"])) for name, model in self._its["models"].items()}
        if self._newer:
            found: Json = {"openapi": "3.0.1", "info": info}
            found["servers"] = [{"url": f"{address}/{{basePath}}", "variables": {"basePath": {"default": base[1:]}}}]
            found["paths"] = paths
            found["components"] = {"schemas": models, **({"securitySchemes": self._schemes} if self._schemes else {})}
        else:
            scheme, _, host = address.partition("://")
            found = {
                "swagger": "2.0",
                "info": info,
                "host": host,
                "basePath": base,
                "schemes": [scheme],
                "paths": paths,
            }
            if self._schemes:
                found["securityDefinitions"] = self._schemes
            found["definitions"] = models
        return {**found, **self._extensions(spec, whole)}

    def _extensions(self, spec: Json, whole: bool) -> Json:
        found: Json = {}
        if self._its["responses"] and (whole or self._integrations):
            found["x-amazon-apigateway-gateway-responses"] = {
                kind: {k: v for k, v in about.items() if k in ("statusCode", "responseParameters", "responseTemplates")}
                for kind, about in self._its["responses"].items()
            }
        if self._its["validators"] and (whole or self._integrations):
            found["x-amazon-apigateway-request-validators"] = {
                v["name"]: {k: bool(v.get(k)) for k in ("validateRequestParameters", "validateRequestBody")}
                for v in self._its["validators"].values()
            }
        if whole:
            if spec.get("policy"):
                found["x-amazon-apigateway-policy"] = json.loads(spec["policy"])
            if spec.get("binaryMediaTypes"):
                found["x-amazon-apigateway-binary-media-types"] = spec["binaryMediaTypes"]
            if spec.get("apiKeySource") not in (None, "HEADER"):
                found["x-amazon-apigateway-api-key-source"] = spec["apiKeySource"]
        return found

    def _schema(self, text: str) -> str:
        return text.replace("#/definitions/", "#/components/schemas/") if self._newer else text

    def _model(self, name: str) -> Json:
        return {"$ref": f"#/{'components/schemas' if self._newer else 'definitions'}/{name}"}

    def _operation(self, method: Json) -> Json:
        found: Json = {}
        if method.get("operationName"):
            found["operationId"] = method["operationName"]
        self._takes(found, method)
        found["responses"] = {
            status: self._response(status, response)
            for status, response in sorted((method.get("methodResponses") or {}).items())
        }
        if security := self._security(method):
            found["security"] = security
        if validator := self._its["validators"].get(method.get("requestValidatorId")):
            found["x-amazon-apigateway-request-validator"] = validator["name"]
        if self._integrations:
            found["x-amazon-apigateway-integration"] = self._integration(method["methodIntegration"])
        return found

    def _takes(self, found: Json, method: Json) -> None:
        """Parameters and bodies."""
        parameters = []
        for place, required in sorted((method.get("requestParameters") or {}).items()):
            _, _, kind, name = place.split(".", 3)
            typed: Json = {"schema": {"type": "string"}} if self._newer else {"type": "string"}
            parameters.append({"name": name, "in": _PLACES[kind], "required": bool(required), **typed})
        models = method.get("requestModels") or {}
        if models and self._newer:
            found["requestBody"] = {
                "content": {kind: {"schema": self._model(name)} for kind, name in models.items()}, "required": True,
            }  # fmt: skip
        elif models:
            found["consumes"] = list(models)
            name = next(iter(models.values()))
            parameters.append({"in": "body", "name": name, "required": True, "schema": self._model(name)})
        if parameters:
            found["parameters"] = parameters

    def _response(self, status: str, response: Json) -> Json:
        found: Json = {"description": f"{status} response"}
        names = [place.rpartition(".")[2] for place in response.get("responseParameters") or {}]
        if names:
            typed: Json = {"schema": {"type": "string"}} if self._newer else {"type": "string"}
            found["headers"] = {name: typed for name in sorted(names)}
        models = response.get("responseModels") or {}
        if models and self._newer:
            found["content"] = {kind: {"schema": self._model(name)} for kind, name in models.items()}
        elif models:
            found["schema"] = self._model(next(iter(models.values())))
        return found

    def _security(self, method: Json) -> list[Json]:
        found: list[Json] = []
        kind = method["authorizationType"]
        if kind == "AWS_IAM":
            sigv4 = {"type": "apiKey", "name": "Authorization", "in": "header"}
            self._schemes["sigv4"] = {**sigv4, "x-amazon-apigateway-authtype": "awsSigv4"}
            found.append({"sigv4": []})
        elif (authorizer := self._its["authorizers"].get(method.get("authorizerId"))) and self._authorizers:
            found.append({authorizer["name"]: method.get("authorizationScopes") or []})
            self._schemes[authorizer["name"]] = _scheme(authorizer)
        if method.get("apiKeyRequired"):
            self._schemes["api_key"] = {"type": "apiKey", "name": "x-api-key", "in": "header"}
            found.append({"api_key": []})
        return found

    def _integration(self, integration: Json) -> Json:
        left_out = ("integrationResponses", "httpMethod", "cacheNamespace", "cacheKeyParameters")
        found = {k: v for k, v in integration.items() if k not in left_out and v not in (None, {}, [])}
        found["type"] = integration["type"].lower()
        if "httpMethod" in integration:
            found["httpMethod"] = integration["httpMethod"]
        if "passthroughBehavior" in found:
            found["passthroughBehavior"] = found["passthroughBehavior"].lower()
        if responses := integration.get("integrationResponses"):
            found["responses"] = {
                response.get("selectionPattern") or "default": {
                    k: v for k, v in response.items() if k != "selectionPattern" and v not in (None, {})
                }
                for response in responses.values()
            }
        return found


def _scheme(authorizer: Json) -> Json:
    kind = authorizer["type"].lower()
    source = authorizer.get("identitySource", "")
    name = source.rpartition("header.")[2] if source.count("header.") == 1 and "," not in source else "Unused"
    kept = (
        "authorizerUri", "authorizerCredentials", "authorizerResultTtlInSeconds", "identityValidationExpression",
        "providerARNs",
    )  # fmt: skip
    about = {"type": kind, **{k: authorizer[k] for k in kept if authorizer.get(k) is not None}}
    if kind == "request" and source:
        about["identitySource"] = source
    return {
        "type": "apiKey", "name": name, "in": "header", "x-amazon-apigateway-authtype": authorizer["authType"],
        openapi.AUTHORIZER: about,
    }  # fmt: skip
