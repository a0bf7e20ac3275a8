"""OpenAPI documents (2.0 and 3.x) as far as both kinds of API read them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from ...faults import whole_import
from ...wire import bounded
from ..outline import MAP, SCALAR, TEXT, TEXTS, each, every, having, maybe, problem_finder
from .errors import bad_request

Json = dict[str, Any]
VERBS = ("get", "put", "post", "delete", "options", "head", "patch")
ANY = "x-amazon-apigateway-any-method"
AUTHORIZER = "x-amazon-apigateway-authorizer"
MAX_BYTES = 6 << 20
_DEEPEST = 20
_MOST_VALUES = 200_000

_SECURITY = every({"type": "object", "additionalProperties": TEXTS})
_document_problem = problem_finder(
    having(
        named={
            "info": maybe(having(title=TEXT, description=TEXT, version=SCALAR)), "paths": MAP, "definitions": MAP, "security": _SECURITY,
            "securityDefinitions": MAP, "components": maybe(having(schemas=MAP, securitySchemes=MAP)),
            "x-amazon-apigateway-request-validators": each(MAP), "x-amazon-apigateway-gateway-responses": each(MAP),
            "x-amazon-apigateway-cors": MAP, "x-amazon-apigateway-api-key-source": TEXT, "x-amazon-apigateway-request-validator": TEXT,
            "x-amazon-apigateway-binary-media-types": TEXTS,
            "x-amazon-apigateway-minimum-compression-size": {"type": ["integer", "null"]},
        }
    )
)  # fmt: skip
_path_problem = problem_finder(having(parameters=every(MAP)))
_operation_problem = problem_finder(
    having(
        named={
            "parameters": every(MAP), "responses": each(MAP), "requestBody": MAP, "security": _SECURITY, "operationId": TEXT,
            "x-amazon-apigateway-auth": MAP, "x-amazon-apigateway-integration": MAP, "x-amazon-apigateway-request-validator": TEXT,
        }
    )
)  # fmt: skip
_integration_problem = problem_finder(having(responses=each({"type": "object"})))
_scheme_problem = problem_finder(
    having(
        named={
            "type": TEXT, "name": TEXT, "x-amazon-apigateway-authtype": TEXT,
            AUTHORIZER: maybe(having(identitySource=TEXT, jwtConfiguration=maybe(having(issuer=TEXT, audience=TEXTS)))),
        }
    )
)  # fmt: skip
_parameter_problem = problem_finder(
    having(("name", "in"), {"name": {"type": "string"}, "in": {"type": "string"}, "schema": MAP})
)


def parse(body: bytes | str) -> Json:
    """A document, from JSON or YAML; AWS's error when it is none."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    if len(text) > MAX_BYTES:
        raise bad_request(f"Invalid OpenAPI input: it has more than {MAX_BYTES >> 20} MB.")
    with whole_import():
        import yaml

    try:
        found = bounded.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
        bounded.check_depth(found, _MOST_VALUES)
    except (ValueError, yaml.YAMLError, RecursionError, AttributeError, TypeError) as error:  # PyYAML's on odd tags
        raise bad_request(f"Invalid OpenAPI input. {type(error).__name__}: {str(error)[:200]}") from None
    if not isinstance(found, dict) or not (found.get("swagger") or found.get("openapi")):
        raise bad_request("Invalid OpenAPI input. It has neither the member swagger nor openapi.")
    _check(found, _document_problem)
    return found


def _check(value: Any, problem: Callable[[Any], str | None]) -> None:
    if text := problem(value):
        raise bad_request(f"Invalid OpenAPI input. {text}")


def text(document: Json, yaml: bool) -> str:
    """A document written down."""
    if not yaml:
        return json.dumps(document, indent=2) + "\n"
    with whole_import():
        import yaml as written

    class Plain(written.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    found: str = written.dump(document, Dumper=Plain, sort_keys=False)
    return found


def follow(document: Json, value: Any) -> Json | None:
    """The object that a ``$ref`` inside the document stands for, or the value itself; None for none."""
    for _ in range(_DEEPEST):
        if value is not None and not isinstance(value, dict):
            raise bad_request(f"Invalid OpenAPI input. An object is needed where {str(value)[:100]!r} is.")
        if value is None or "$ref" not in value:
            return value
        reference = str(value["$ref"])
        value = document
        for part in reference.removeprefix("#/").split("/"):
            part = part.replace("~1", "/").replace("~0", "~")
            if not reference.startswith("#/") or not isinstance(value, dict) or part not in value:
                raise bad_request(f"Invalid OpenAPI input. Nothing is at {reference}.")
            value = value[part]
    raise bad_request("Invalid OpenAPI input. Its references go in circles.")


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    """Path, method (or ANY) and description of every operation; a path's parameters are among each operation's."""
    for path, found in (document.get("paths") or {}).items():
        its = follow(document, found) or {}
        _check(its, _path_problem)
        shared = its.get("parameters") or []
        for verb in (*VERBS, ANY):
            if verb in its:
                operation = follow(document, its[verb]) or {}
                _check(operation, _operation_problem)
                whole = {**operation, "parameters": [*shared, *(operation.get("parameters") or [])]}
                yield str(path), "ANY" if verb == ANY else verb.upper(), whole


def schemes(document: Json) -> dict[str, Json]:
    """The ways to say who calls, by name."""
    found = document.get("securityDefinitions") or (document.get("components") or {}).get("securitySchemes") or {}
    schemes = {name: follow(document, scheme) or {} for name, scheme in found.items()}
    for scheme in schemes.values():
        _check(scheme, _scheme_problem)
    return schemes


def parameter(document: Json, value: Any) -> Json:
    """A parameter, with its name and its place."""
    found = follow(document, value) or {}
    _check(found, _parameter_problem)
    return found


def wanted(document: Json, operation: Json) -> list[tuple[str, list[str]]]:
    """The names of the schemes that an operation wants, each with its scopes."""
    security = (operation if "security" in operation else document).get("security") or []
    return [(name, list(scopes or ())) for choice in security for name, scopes in choice.items()]


def integration(document: Json, operation: Json) -> Json | None:
    """What an operation leads to."""
    found = follow(document, operation.get("x-amazon-apigateway-integration"))
    _check(found or {}, _integration_problem)
    return found
