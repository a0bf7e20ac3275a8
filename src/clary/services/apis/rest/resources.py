"""Resources of REST APIs: a tree of path parts."""

from __future__ import annotations

import re
from typing import Any

from ....provider.context import Context
from ....store.rows import Row
from ..errors import bad_request, conflict, not_found
from ..hosts import new_id
from . import rest
from .api import find, keep, paged

Json = dict[str, Any]
_PART = re.compile(r"^(?:[A-Za-z0-9._:\-+$%@~!&'()*,;=]+|\{[A-Za-z0-9._-]+\+?\})$")


def resource(row: Row, identifier: str) -> Json:
    """A resource; AWS's error when it is missing."""
    found: Json | None = row.private["resources"].get(identifier)
    if found is None:
        raise not_found("Invalid Resource identifier specified")
    return found


def keep_resource(ctx: Context, row: Row, made: Json) -> None:
    """Store a changed resource."""
    keep(ctx, row, resources={**row.private["resources"], made["id"]: made})


@rest.operation
def create_resource(ctx: Context, request: Json) -> Json:
    """A new part below a resource."""
    row = find(ctx, request["restApiId"])
    parent, part = resource(row, request["parentId"]), request["pathPart"]
    if not _PART.match(part):
        raise bad_request(
            "Resource's path part only allow a-zA-Z0-9._-: or a valid greedy path variable and curly braces at the "
            "beginning and the end."
        )
    if (above := parent["path"].rpartition("/")[2]).endswith("+}"):
        raise bad_request(f"Cannot create a child of a resource with a greedy path variable: {above}")
    siblings = [r for r in row.private["resources"].values() if r.get("parentId") == parent["id"]]
    if any(s["pathPart"] == part for s in siblings):
        raise conflict(f"Another resource with the same parent already has this name: {part}")
    if part.startswith("{") and (other := next((s for s in siblings if s["pathPart"].startswith("{")), None)):
        raise bad_request(
            f"A sibling ({other['pathPart']}) of this resource already has a variable path part -- only one is allowed"
        )
    made = {
        "id": new_id(6), "parentId": parent["id"], "pathPart": part, "path": f"{parent['path'].rstrip('/')}/{part}",
    }  # fmt: skip
    keep_resource(ctx, row, made)
    return made


@rest.operation
def get_resource(ctx: Context, request: Json) -> Json:
    """A resource."""
    return resource(find(ctx, request["restApiId"]), request["resourceId"])


@rest.operation
def get_resources(ctx: Context, request: Json) -> Json:
    """An API's resources, by path."""
    found = sorted(find(ctx, request["restApiId"]).private["resources"].values(), key=lambda r: str(r["path"]))
    if "methods" not in (request.get("embed") or ()):
        bare = [
            {**r, "resourceMethods": {m: {} for m in r["resourceMethods"]}} if "resourceMethods" in r else r
            for r in found
        ]
        return paged(bare, request)
    return paged(found, request)


@rest.operation
def delete_resource(ctx: Context, request: Json) -> None:
    """Remove a resource with all below it."""
    row = find(ctx, request["restApiId"])
    gone = resource(row, request["resourceId"])
    if "parentId" not in gone:
        raise bad_request("Root resource cannot be deleted")
    below = gone["path"] + "/"
    kept = {
        k: r for k, r in row.private["resources"].items() if k != gone["id"] and not str(r["path"]).startswith(below)
    }
    keep(ctx, row, resources=kept)
