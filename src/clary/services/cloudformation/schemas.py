"""What resource types look like: which properties they have, of which types, and which make a new resource.

``schemas.json`` holds what AWS publishes of it, written by ``docs/schemas.py``. The texts of failures are CloudFormation's.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from .kind import Failed

Json = dict[str, Any]
_FILE = Path(__file__).with_name("schemas.json")
_CLASSES: dict[str, tuple[type, ...]] = {
    "string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,), "array": (list,), "object": (dict,),
}  # fmt: skip


@cache
def _schemas() -> Json:
    found: Json = json.loads(_FILE.read_text())
    return found


def fixed(type_name: str) -> frozenset[str]:
    """The properties whose change makes a new resource."""
    return frozenset(_schemas().get(type_name, {}).get("fixed", ()))


def properties(type_name: str) -> frozenset[str]:
    """What a type may be given; nothing for types that are not checked."""
    return frozenset(_schemas().get(type_name, {}).get("properties", ()))


def tagged(type_name: str, props: Json, tags: list[Json]) -> Json:
    """Properties with a stack's tags, for types that have tags; the resource's own come first."""
    shape = _schemas().get(type_name, {}).get("properties", {}).get("Tags")
    if shape is None or not tags:
        return props
    given = props.get("Tags")
    if shape.get("type") == "object":
        return {**props, "Tags": {**{t["Key"]: t["Value"] for t in tags}, **(given or {})}}
    own = {t.get("Key") for t in given or ()}
    return {**props, "Tags": [*(given or ()), *(t for t in tags if t["Key"] not in own)]}


def checked(type_name: str, props: Json) -> Json:
    """Properties in the types that the API takes, whatever scalars the template wrote; Failed says all that is wrong."""
    schema = _schemas().get(type_name)
    if schema is None:
        return props
    problems: list[str] = []
    found: Json = _checked(schema, schema, props, "/", problems)
    if problems:
        raise Failed(f"Property validation failure: [{', '.join(problems)}]")
    return found


def coerced(type_name: str, props: Json) -> Json:
    """Properties in the types that the API takes, as far as they can be."""
    schema = _schemas().get(type_name)
    found: Json = props if schema is None else _checked(schema, schema, props, "/", [])
    return found


def _checked(root: Json, schema: Json, value: Any, path: str, problems: list[str]) -> Any:
    while "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    if (wanted := schema.get("type")) is not None:
        wanted = [wanted] if isinstance(wanted, str) else wanted
        if not any(_is(value, name) for name in wanted):
            converted = [found for name in wanted if (found := _converted(value, name)) is not None]
            if not converted:
                problems.append(f"Value of property {{{path}}} does not match type {{{wanted[0].capitalize()}}}")
                return value
            value = converted[0]
    if isinstance(value, dict):
        return _members(root, schema, value, path, problems)
    if isinstance(value, list) and "items" in schema:
        return [_checked(root, schema["items"], each, _below(path, str(i)), problems) for i, each in enumerate(value)]
    return value


def _members(root: Json, schema: Json, value: Json, path: str, problems: list[str]) -> Json:
    """An object's members; those of a map are of one kind, and objects without named members are free."""
    known, free = schema.get("properties", {}), next(iter(schema.get("patternProperties", {}).values()), None)
    problems.extend(
        f"The property {{{_below(path, name)}}} is required" for name in schema.get("required", ()) if name not in value
    )
    unknown = [name for name in value if name not in known]
    if unknown and known and free is None and schema.get("additionalProperties") is False:
        problems.append(f"Encountered unsupported properties in {{{path}}}: [{', '.join(unknown)}]")
    return {
        name: _checked(root, known.get(name, free or {}), each, _below(path, name), problems)
        for name, each in value.items()
    }


def _below(path: str, name: str) -> str:
    return f"{path.rstrip('/')}/{name}"


def _is(value: Any, name: str) -> bool:
    return isinstance(value, _CLASSES[name]) and (name == "boolean" or not isinstance(value, bool))


def _converted(value: Any, name: str) -> Any:
    """A scalar in another scalar type, as CloudFormation converts them; None where it does not."""
    if name == "string" and isinstance(value, bool):
        return str(value).lower()
    if name == "string" and isinstance(value, int | float):
        return str(value)
    if name == "boolean" and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if name in ("integer", "number") and isinstance(value, str):
        for read in (int, float) if name == "number" else (int,):
            try:
                return read(value)
            except ValueError:
                continue
    if name == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    return None
