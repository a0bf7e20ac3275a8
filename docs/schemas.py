"""Write the shapes of the resource types that stacks may hold, out of the schemas that AWS publishes, or check them.

python docs/schemas.py             write
python docs/schemas.py --check     fail when they are stale

The schemas come with cfn-lint, which comes with the SAM command line in the clients' environment ``.envs/sam``.
What is kept: properties, their types, which are required, and which make a new resource when they change.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from clary.services.cloudformation.catalogue import names

ROOT = Path(__file__).parent.parent
TARGET = ROOT / "src/clary/services/cloudformation/schemas.json"
_KEPT = ("type", "required", "$ref", "additionalProperties")
_BY_NAME = ("properties", "patternProperties", "definitions")
_UNCHECKED = ("AWS::CDK::Metadata", "AWS::CloudFormation::CustomResource", "AWS::CloudFormation::WaitConditionHandle")


def published(folder: Path) -> dict[str, Any]:
    """Every resource type's schema, by type."""
    index = json.loads((folder / "providers" / "us-east-1.json").read_text())
    return {
        name: json.loads((folder / "resources" / f"{index[name]}.json").read_text())
        for name in names()
        if name not in _UNCHECKED
    }


def reduced(schema: Any) -> Any:
    """A schema, or part of one, without all that is not kept."""
    found = {key: schema[key] for key in _KEPT if key in schema and not isinstance(schema[key], dict)}
    if {"string", "number", "boolean"} <= set(found.get("type", ())):
        found["type"] = "string"  # what may be written as any scalar, and is a text
    for key in _BY_NAME:
        if schema.get(key):
            found[key] = {name: reduced(part) for name, part in schema[key].items()}
    if isinstance(schema.get("items"), dict):
        found["items"] = reduced(schema["items"])
    return found


def shape(schema: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a resource type."""
    fixed = {path.split("/")[2] for path in schema.get("createOnlyProperties", ()) if path.count("/") == 2}
    given = set(schema["properties"])
    read_only = {path.split("/")[2] for path in schema.get("readOnlyProperties", ()) if path.count("/") == 2}
    return {**reduced(schema), "fixed": sorted(fixed & given), "read_only": sorted((read_only & given) - fixed)}


def main() -> None:
    """Write, or check."""
    (folder,) = ROOT.glob(".envs/sam/lib/python*/site-packages/cfnlint/data/schemas")
    lines = [
        f"{json.dumps(name)}: {json.dumps(shape(schema), sort_keys=True, separators=(',', ':'))}"
        for name, schema in sorted(published(folder).items())
    ]
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    if "--check" not in sys.argv:
        TARGET.write_text(text)
    elif TARGET.read_text() != text:
        sys.exit(f"{TARGET.relative_to(ROOT)} is stale: python docs/schemas.py")


if __name__ == "__main__":
    main()
