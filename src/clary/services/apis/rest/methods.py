"""Methods of REST APIs: who may call them, what they lead to, and what comes back."""

from __future__ import annotations

import re
from typing import Any

from ....provider.context import Context
from ....store.rows import Row
from ..errors import bad_request, check_pattern, conflict, not_found
from ..functions import arn_of
from . import rest
from .api import find
from .patches import patched
from .resources import keep_resource, resource

Json = dict[str, Any]
VERBS = ("ANY", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT")
_NAMES = ("restApiId", "resourceId", "httpMethod")
SERVICE_URI = re.compile(
    r"^arn:aws[a-z-]*:apigateway:[a-z0-9-]+:(?P<service>[a-z0-9.-]+):(?P<kind>path|action)/(?P<path>.*)$"
)


def method_of(row: Row, request: Json) -> tuple[Json, Json]:
    """A resource and one of its methods."""
    its = resource(row, request["resourceId"])
    found = its.get("resourceMethods", {}).get(request["httpMethod"])
    if found is None:
        raise not_found("Invalid Method identifier specified")
    return its, found


def _keep(ctx: Context, row: Row, its: Json, name: str, method: Json | None) -> None:
    methods = {k: v for k, v in {**its.get("resourceMethods", {}), name: method}.items() if v is not None}
    kept = {k: v for k, v in its.items() if k != "resourceMethods"}
    keep_resource(ctx, row, {**kept, "resourceMethods": methods} if methods else kept)


def _given(request: Json) -> Json:
    return {k: v for k, v in request.items() if k not in _NAMES}


@rest.operation
def put_method(ctx: Context, request: Json) -> Json:
    """A new method of a resource."""
    row, name = find(ctx, request["restApiId"]), request["httpMethod"]
    its = resource(row, request["resourceId"])
    if name not in VERBS:
        raise bad_request(f"Invalid HttpMethod specified. Valid options are {','.join(VERBS)}")
    if name in its.get("resourceMethods", {}):
        raise conflict("Method already exists for this resource")
    method = {"httpMethod": name, "apiKeyRequired": False, **_given(request)}
    _check(row, method)
    _keep(ctx, row, its, name, method)
    return method


def _check(row: Row, method: Json) -> None:
    kind = method["authorizationType"]
    if kind not in ("NONE", "AWS_IAM", "CUSTOM", "COGNITO_USER_POOLS"):
        raise bad_request(
            f"Invalid authorization type {kind}: NONE, AWS_IAM, CUSTOM and COGNITO_USER_POOLS are the ones there are."
        )
    if kind in ("CUSTOM", "COGNITO_USER_POOLS"):
        authorizer = row.private["authorizers"].get(method.get("authorizerId"))
        if authorizer is None or (authorizer["type"] == "COGNITO_USER_POOLS") != (kind == "COGNITO_USER_POOLS"):
            raise bad_request(
                f"Invalid authorizer ID specified. Setting the authorization type to {kind} requires a valid authorizer."
            )
    if (validator := method.get("requestValidatorId")) and validator not in row.private["validators"]:
        raise bad_request("Invalid Request Validator identifier specified")
    for model in (method.get("requestModels") or {}).values():
        if model not in row.private["models"]:
            raise bad_request(f"Invalid model identifier specified: {model}")


@rest.operation
def get_method(ctx: Context, request: Json) -> Json:
    """A method."""
    return method_of(find(ctx, request["restApiId"]), request)[1]


@rest.operation
def update_method(ctx: Context, request: Json) -> Json:
    """Change a method."""
    row = find(ctx, request["restApiId"])
    its, method = method_of(row, request)
    paths = (
        "/apiKeyRequired", "/authorizationType", "/authorizationScopes", "/authorizerId", "/operationName", "/requestValidatorId",
        "/requestParameters/", "/requestModels/", "/authorizationScopes",
    )  # fmt: skip
    method = patched(method, request.get("patchOperations"), paths, "Method")
    _check(row, method)
    _keep(ctx, row, its, request["httpMethod"], method)
    return method


@rest.operation
def delete_method(ctx: Context, request: Json) -> None:
    """Remove a method."""
    row = find(ctx, request["restApiId"])
    its, _ = method_of(row, request)
    _keep(ctx, row, its, request["httpMethod"], None)


# ---- integrations --------------------------------------------------------------------------------------------------


@rest.operation
def put_integration(ctx: Context, request: Json) -> Json:
    """What a method leads to."""
    row = find(ctx, request["restApiId"])
    its, method = method_of(row, request)
    given = _given(request)
    verb = given.pop("integrationHttpMethod", None)
    integration: Json = {
        "passthroughBehavior": "WHEN_NO_MATCH", "timeoutInMillis": 29000, "cacheNamespace": its["id"],
        "cacheKeyParameters": [], **given,
    }  # fmt: skip
    if verb:
        integration["httpMethod"] = verb
    check_integration(integration)
    if "integrationResponses" in method.get("methodIntegration", {}):
        integration["integrationResponses"] = method["methodIntegration"]["integrationResponses"]
    _keep(ctx, row, its, request["httpMethod"], {**method, "methodIntegration": integration})
    return integration


def check_integration(integration: Json) -> None:
    """Refuse what could not be called."""
    kind, uri = integration["type"], integration.get("uri", "")
    if kind not in ("MOCK", "HTTP", "HTTP_PROXY", "AWS", "AWS_PROXY"):
        raise bad_request(f"Invalid integration type {kind}.")
    if integration.get("connectionType", "INTERNET") != "INTERNET":
        raise bad_request("Clary does not serve VPC links yet; connectionType must be INTERNET.")
    if kind != "MOCK" and not integration.get("httpMethod"):
        raise bad_request("Enumeration value for HttpMethod must be non-empty")
    if kind.startswith("HTTP") and not re.match(r"^https?://", uri):
        raise bad_request("Invalid HTTP endpoint specified for URI")
    if kind.startswith("AWS"):
        found = SERVICE_URI.match(uri)
        if found is None:
            raise bad_request("AWS ARN for integration must contain path or action")
        served = ("lambda",) if kind == "AWS_PROXY" else ("lambda", "runtime.sagemaker")
        if found["service"] not in served:
            raise bad_request(
                f"Clary integrates REST APIs with {' and '.join(served)}; {found['service']} is not served yet."
            )
        if found["service"] == "lambda" and arn_of(uri) is None and "${stageVariables" not in uri:
            raise bad_request("Invalid function ARN or invalid uri")


def _integration(row: Row, request: Json) -> tuple[Json, Json, Json]:
    its, method = method_of(row, request)
    if (found := method.get("methodIntegration")) is None:
        raise not_found("Invalid Integration identifier specified")
    return its, method, found


@rest.operation
def get_integration(ctx: Context, request: Json) -> Json:
    """What a method leads to."""
    return _integration(find(ctx, request["restApiId"]), request)[2]


@rest.operation
def update_integration(ctx: Context, request: Json) -> Json:
    """Change what a method leads to."""
    row = find(ctx, request["restApiId"])
    its, method, integration = _integration(row, request)
    paths = (
        "/httpMethod", "/uri", "/passthroughBehavior", "/timeoutInMillis", "/credentials", "/contentHandling",
        "/requestParameters/", "/requestTemplates/", "/cacheNamespace", "/connectionType", "/type",
    )  # fmt: skip
    integration = patched(integration, request.get("patchOperations"), paths, "Integration")
    check_integration(integration)
    _keep(ctx, row, its, request["httpMethod"], {**method, "methodIntegration": integration})
    return integration


@rest.operation
def delete_integration(ctx: Context, request: Json) -> None:
    """Lead a method nowhere."""
    row = find(ctx, request["restApiId"])
    its, method, _ = _integration(row, request)
    _keep(ctx, row, its, request["httpMethod"], {k: v for k, v in method.items() if k != "methodIntegration"})


# ---- responses -----------------------------------------------------------------------------------------------------


@rest.operation
def put_method_response(ctx: Context, request: Json) -> Json:
    """A status that a method may answer with."""
    row = find(ctx, request["restApiId"])
    its, method = method_of(row, request)
    responses = method.get("methodResponses", {})
    if request["statusCode"] in responses:
        raise conflict("Response already exists for this resource")
    made = _given(request)
    _keep(
        ctx, row, its, request["httpMethod"], {**method, "methodResponses": {**responses, request["statusCode"]: made}}
    )
    return made


def _method_response(row: Row, request: Json) -> tuple[Json, Json, Json]:
    its, method = method_of(row, request)
    if (found := method.get("methodResponses", {}).get(request["statusCode"])) is None:
        raise not_found("Invalid Response status code specified")
    return its, method, found


@rest.operation
def get_method_response(ctx: Context, request: Json) -> Json:
    """A status that a method may answer with."""
    return _method_response(find(ctx, request["restApiId"]), request)[2]


@rest.operation
def delete_method_response(ctx: Context, request: Json) -> None:
    """Remove a status."""
    row = find(ctx, request["restApiId"])
    its, method, _ = _method_response(row, request)
    kept = {k: v for k, v in method["methodResponses"].items() if k != request["statusCode"]}
    _keep(ctx, row, its, request["httpMethod"], {**method, "methodResponses": kept})


@rest.operation
def put_integration_response(ctx: Context, request: Json) -> Json:
    """How an answer of the integration becomes one of the method."""
    row = find(ctx, request["restApiId"])
    its, method, integration = _integration(row, request)
    if request["statusCode"] not in method.get("methodResponses", {}):
        raise not_found("Invalid Response status code specified")
    made = _given(request)
    check_pattern("selectionPattern", made.get("selectionPattern"))
    responses = {**integration.get("integrationResponses", {}), request["statusCode"]: made}
    changed = {**method, "methodIntegration": {**integration, "integrationResponses": responses}}
    _keep(ctx, row, its, request["httpMethod"], changed)
    return made


def _integration_response(row: Row, request: Json) -> tuple[Json, Json, Json, Json]:
    its, method, integration = _integration(row, request)
    if (found := integration.get("integrationResponses", {}).get(request["statusCode"])) is None:
        raise not_found("Invalid Response status code specified")
    return its, method, integration, found


@rest.operation
def get_integration_response(ctx: Context, request: Json) -> Json:
    """How an answer becomes one of the method."""
    return _integration_response(find(ctx, request["restApiId"]), request)[3]


@rest.operation
def delete_integration_response(ctx: Context, request: Json) -> None:
    """Remove such a rule."""
    row = find(ctx, request["restApiId"])
    its, method, integration, _ = _integration_response(row, request)
    kept = {k: v for k, v in integration["integrationResponses"].items() if k != request["statusCode"]}
    changed = {**method, "methodIntegration": {**integration, "integrationResponses": kept}}
    _keep(ctx, row, its, request["httpMethod"], changed)
