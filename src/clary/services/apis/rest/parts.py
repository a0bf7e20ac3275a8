"""Authorizers, request validators, models and gateway responses of REST APIs."""

from __future__ import annotations

import re
from typing import Any

import orjson

from ....provider.context import Context
from ....store.rows import Row
from ..errors import bad_request, check_pattern, conflict, not_found
from ..functions import arn_of
from ..hosts import new_id
from . import rest
from .api import find, keep, paged
from .patches import patched

Json = dict[str, Any]
DEFAULTS = {
    "ACCESS_DENIED": 403, "API_CONFIGURATION_ERROR": 500, "AUTHORIZER_CONFIGURATION_ERROR": 500,
    "AUTHORIZER_FAILURE": 500, "BAD_REQUEST_BODY": 400, "BAD_REQUEST_PARAMETERS": 400, "DEFAULT_4XX": None,
    "DEFAULT_5XX": None, "EXPIRED_TOKEN": 403, "INTEGRATION_FAILURE": 504, "INTEGRATION_TIMEOUT": 504,
    "INVALID_API_KEY": 403, "INVALID_SIGNATURE": 403, "MISSING_AUTHENTICATION_TOKEN": 403, "QUOTA_EXCEEDED": 429,
    "REQUEST_TOO_LARGE": 413, "RESOURCE_NOT_FOUND": 404, "THROTTLED": 429, "UNAUTHORIZED": 401,
    "UNSUPPORTED_MEDIA_TYPE": 415, "WAF_FILTERED": 403,
}  # fmt: skip
TEMPLATE = '{"message":$context.error.messageString}'


def _part(row: Row, kind: str, name: str, what: str) -> Json:
    found: Json | None = row.private[kind].get(name)
    if found is None:
        raise not_found(f"Invalid {what} identifier specified")
    return found


def _put(ctx: Context, row: Row, kind: str, name: str, made: Json | None) -> None:
    keep(ctx, row, **{kind: {k: v for k, v in {**row.private[kind], name: made}.items() if v is not None}})


def _given(request: Json) -> Json:
    return {k: v for k, v in request.items() if k != "restApiId"}


POOL = re.compile(r"arn:aws[a-z-]*:cognito-idp:(?P<region>[a-z0-9-]+):\d{12}:userpool/(?P<id>[A-Za-z0-9_-]+)")


# ---- authorizers ---------------------------------------------------------------------------------------------------


def _check_authorizer(authorizer: Json) -> None:
    if not 0 <= authorizer["authorizerResultTtlInSeconds"] <= 3600:
        raise bad_request("AuthorizerResultTtlInSeconds must be between 0 and 3600.")
    check_pattern("identityValidationExpression", authorizer.get("identityValidationExpression"))
    if authorizer["type"] == "COGNITO_USER_POOLS":
        pools = authorizer.get("providerARNs") or []
        if not pools or not all(POOL.fullmatch(arn) for arn in pools):
            raise bad_request(
                "Invalid Cognito User Pool ARN: an authorizer of type COGNITO_USER_POOLS needs providerARNs."
            )
        if not authorizer.get("identitySource"):
            raise bad_request("Authorizer type COGNITO_USER_POOLS requires an identitySource")
        return
    if arn_of(authorizer.get("authorizerUri", "")) is None:
        raise bad_request("Invalid Authorizer URI: it must name a Lambda function.")


@rest.operation
def create_authorizer(ctx: Context, request: Json) -> Json:
    """Who decides who may call: a function, or the user pools that made a token."""
    row = find(ctx, request["restApiId"])
    kind = "cognito_user_pools" if request["type"] == "COGNITO_USER_POOLS" else "custom"
    made = {"authorizerResultTtlInSeconds": 300, "authType": kind, **_given(request), "id": new_id(6)}
    _check_authorizer(made)
    _put(ctx, row, "authorizers", made["id"], made)
    return made


@rest.operation
def get_authorizer(ctx: Context, request: Json) -> Json:
    """An authorizer."""
    return _part(find(ctx, request["restApiId"]), "authorizers", request["authorizerId"], "Authorizer")


@rest.operation
def get_authorizers(ctx: Context, request: Json) -> Json:
    """An API's authorizers."""
    return paged(list(find(ctx, request["restApiId"]).private["authorizers"].values()), request)


@rest.operation
def update_authorizer(ctx: Context, request: Json) -> Json:
    """Change an authorizer."""
    row = find(ctx, request["restApiId"])
    before = _part(row, "authorizers", request["authorizerId"], "Authorizer")
    paths = (
        "/name", "/type", "/authorizerUri", "/authorizerCredentials", "/identitySource", "/identityValidationExpression",
        "/authorizerResultTtlInSeconds", "/providerARNs",
    )  # fmt: skip
    made = patched(before, request.get("patchOperations"), paths, "Authorizer")
    _check_authorizer(made)
    _put(ctx, row, "authorizers", made["id"], made)
    return made


@rest.operation
def delete_authorizer(ctx: Context, request: Json) -> None:
    """Remove an authorizer that no method uses."""
    row = find(ctx, request["restApiId"])
    _part(row, "authorizers", request["authorizerId"], "Authorizer")
    methods = (m for r in row.private["resources"].values() for m in r.get("resourceMethods", {}).values())
    if any(m.get("authorizerId") == request["authorizerId"] for m in methods):
        raise conflict("Cannot delete Authorizer, is referenced in methods")
    _put(ctx, row, "authorizers", request["authorizerId"], None)


# ---- validators ----------------------------------------------------------------------------------------------------


@rest.operation
def create_request_validator(ctx: Context, request: Json) -> Json:
    """What is checked of requests before anything is called."""
    row = find(ctx, request["restApiId"])
    made = {"validateRequestBody": False, "validateRequestParameters": False, **_given(request), "id": new_id(6)}
    _put(ctx, row, "validators", made["id"], made)
    return made


@rest.operation
def get_request_validator(ctx: Context, request: Json) -> Json:
    """A validator."""
    return _part(find(ctx, request["restApiId"]), "validators", request["requestValidatorId"], "Request Validator")


@rest.operation
def get_request_validators(ctx: Context, request: Json) -> Json:
    """An API's validators."""
    return paged(list(find(ctx, request["restApiId"]).private["validators"].values()), request)


@rest.operation
def update_request_validator(ctx: Context, request: Json) -> Json:
    """Change a validator."""
    row = find(ctx, request["restApiId"])
    before = _part(row, "validators", request["requestValidatorId"], "Request Validator")
    paths = ("/name", "/validateRequestBody", "/validateRequestParameters")
    made = patched(before, request.get("patchOperations"), paths, "RequestValidator")
    _put(ctx, row, "validators", made["id"], made)
    return made


@rest.operation
def delete_request_validator(ctx: Context, request: Json) -> None:
    """Remove a validator."""
    row = find(ctx, request["restApiId"])
    _part(row, "validators", request["requestValidatorId"], "Request Validator")
    _put(ctx, row, "validators", request["requestValidatorId"], None)


# ---- models --------------------------------------------------------------------------------------------------------


@rest.operation
def create_model(ctx: Context, request: Json) -> Json:
    """A JSON schema that bodies are checked against."""
    row = find(ctx, request["restApiId"])
    if request["name"] in row.private["models"]:
        raise conflict("Model name already exists for this REST API")
    _check_model(request)
    made = {**_given(request), "id": new_id(6)}
    _put(ctx, row, "models", made["name"], made)
    return made


@rest.operation
def get_model(ctx: Context, request: Json) -> Json:
    """A model."""
    return _part(find(ctx, request["restApiId"]), "models", request["modelName"], "Model")


@rest.operation
def get_models(ctx: Context, request: Json) -> Json:
    """An API's models."""
    return paged(list(find(ctx, request["restApiId"]).private["models"].values()), request)


@rest.operation
def update_model(ctx: Context, request: Json) -> Json:
    """Change a model's schema or description."""
    row = find(ctx, request["restApiId"])
    before = _part(row, "models", request["modelName"], "Model")
    made = patched(before, request.get("patchOperations"), ("/schema", "/description"), "Model")
    _check_model(made)
    _put(ctx, row, "models", made["name"], made)
    return made


def _check_model(model: Json) -> None:
    try:
        orjson.loads(model.get("schema") or "{}")
    except ValueError as error:
        raise bad_request(f"Invalid model schema specified. {error}") from None


@rest.operation
def delete_model(ctx: Context, request: Json) -> None:
    """Remove a model."""
    row = find(ctx, request["restApiId"])
    _part(row, "models", request["modelName"], "Model")
    _put(ctx, row, "models", request["modelName"], None)


# ---- gateway responses -----------------------------------------------------------------------------------------------


def gateway_response(row_private: Json, kind: str) -> Json:
    """What the gateway says in a case of its own: as the API has it, else its default for the class, else AWS's."""
    own: Json = row_private["responses"]
    status = DEFAULTS[kind]
    default = own.get("DEFAULT_5XX" if (status or 0) >= 500 else "DEFAULT_4XX")
    base: Json = {"responseType": kind, "responseParameters": {}, "responseTemplates": {"application/json": TEMPLATE}}
    if status is not None:
        base["statusCode"] = str(status)
    if kind in own:
        return {**base, **own[kind], "defaultResponse": False}
    if default is not None and status is not None:
        return {**base, **{k: v for k, v in default.items() if k != "responseType"}, "defaultResponse": False}
    return {**base, "defaultResponse": True}


@rest.operation
def put_gateway_response(ctx: Context, request: Json) -> Json:
    """Say something else in one of the gateway's own cases."""
    row = find(ctx, request["restApiId"])
    made = {"responseParameters": {}, "responseTemplates": {"application/json": TEMPLATE}, **_given(request)}
    _put(ctx, row, "responses", request["responseType"], made)
    return {**gateway_response({"responses": {request["responseType"]: made}}, request["responseType"])}


@rest.operation
def get_gateway_response(ctx: Context, request: Json) -> Json:
    """What the gateway says in a case."""
    return gateway_response(find(ctx, request["restApiId"]).private, request["responseType"])


@rest.operation
def get_gateway_responses(ctx: Context, request: Json) -> Json:
    """What the gateway says in each case."""
    row = find(ctx, request["restApiId"])
    return {"items": [gateway_response(row.private, kind) for kind in sorted(DEFAULTS)]}


@rest.operation
def delete_gateway_response(ctx: Context, request: Json) -> None:
    """Say the default again."""
    row = find(ctx, request["restApiId"])
    if request["responseType"] not in row.private["responses"]:
        raise not_found("Gateway response type not defined on api")
    _put(ctx, row, "responses", request["responseType"], None)
