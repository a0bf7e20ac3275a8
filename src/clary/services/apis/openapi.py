"""OpenAPI documents (2.0 and 3.x) as far as both kinds of API read them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from .errors import bad_request

Json = dict[str, Any]
VERBS = ("get", "put", "post", "delete", "options", "head", "patch")
ANY = "x-amazon-apigateway-any-method"
AUTHORIZER = "x-amazon-apigateway-authorizer"
MAX_BYTES = 6 << 20
_DEEPEST = 20
_MOST_NODES = 200_000


def parse(body: bytes | str) -> Json:
    """A document, from JSON or YAML; AWS's error when it is none."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    if len(text) > MAX_BYTES:
        raise bad_request(f"Invalid OpenAPI input: it has more than {MAX_BYTES >> 20} MB.")
    import yaml

    try:
        found = json.loads(text) if text.lstrip().startswith("{") else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise bad_request(f"Invalid OpenAPI input. {type(error).__name__}: {str(error)[:200]}") from None
    _bound(found)
    if not isinstance(found, dict) or not (found.get("swagger") or found.get("openapi")):
        raise bad_request("Invalid OpenAPI input. It has neither the member swagger nor openapi.")
    if not isinstance(found.get("paths", {}), dict):
        raise bad_request("Invalid OpenAPI input. Its member paths is no object.")
    return found


def text(document: Json, yaml: bool) -> str:
    """A document written down."""
    if not yaml:
        return json.dumps(document, indent=2) + "\n"
    import yaml as written

    class Plain(written.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    found: str = written.dump(document, Dumper=Plain, sort_keys=False)
    return found


def _bound(value: Any) -> None:
    """Refuse documents that are small as YAML and endless with their aliases written out."""
    left, waiting = _MOST_NODES, [value]
    while waiting:
        here = waiting.pop()
        children = list(here.values()) if isinstance(here, dict) else here if isinstance(here, list) else ()
        left -= 1 + len(children)
        if left < 0:
            raise bad_request(f"Invalid OpenAPI input. It has more than {_MOST_NODES} values.")
        waiting.extend(children)


def follow(document: Json, value: Any) -> Any:
    """What a ``$ref`` inside the document stands for; anything else as it is."""
    for _ in range(_DEEPEST):
        if not isinstance(value, dict) or "$ref" not in value:
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
        its = follow(document, found)
        if not isinstance(its, dict):
            raise bad_request(f"Invalid OpenAPI input. The path {path} is no object.")
        shared = its.get("parameters") or []
        for verb in (*VERBS, ANY):
            if verb in its:
                operation = follow(document, its[verb]) or {}
                whole = {**operation, "parameters": [*shared, *(operation.get("parameters") or [])]}
                yield str(path), "ANY" if verb == ANY else verb.upper(), whole


def schemes(document: Json) -> dict[str, Json]:
    """The ways to say who calls, by name."""
    found = document.get("securityDefinitions") or (document.get("components") or {}).get("securitySchemes") or {}
    return {name: follow(document, scheme) for name, scheme in found.items()}


def wanted(document: Json, operation: Json) -> list[tuple[str, list[str]]]:
    """The names of the schemes that an operation wants, each with its scopes."""
    security = operation["security"] if "security" in operation else document.get("security") or []
    return [(name, list(scopes or ())) for choice in security for name, scopes in choice.items()]


def integration(document: Json, operation: Json) -> Json | None:
    """What an operation leads to."""
    found = follow(document, operation.get("x-amazon-apigateway-integration"))
    return found if isinstance(found, dict) else None
