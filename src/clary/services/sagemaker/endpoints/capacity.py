"""What Application Auto Scaling changes: a variant's instance count, an inference component's copy count."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ....store.database import Transaction
from ....store.rows import Row

Json = dict[str, Any]
VARIANT = "sagemaker:variant:DesiredInstanceCount"
COMPONENT = "sagemaker:inference-component:DesiredCopyCount"
_VARIANT = re.compile(r"^endpoint/([A-Za-z0-9-]+)/variant/([A-Za-z0-9-]+)$")
_COMPONENT = re.compile(r"^inference-component/([A-Za-z0-9-]+)$")


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many instances or copies something should have, how many are ready, and whether that can be changed now."""

    desired: int
    ready: int
    settled: bool
    least: int = 1  # it cannot have fewer


def dimensions(dimension: str, resource: str) -> Json | None:
    """The metric dimensions of a resource id; None when it is not one of the scalable dimension."""
    if dimension == VARIANT and (found := _VARIANT.match(resource)):
        return {"EndpointName": found[1], "VariantName": found[2]}
    if dimension == COMPONENT and (found := _COMPONENT.match(resource)):
        return {"InferenceComponentName": found[1]}
    return None


def read(tx: Transaction, account: str, region: str, resource: str) -> Capacity | None:
    """The capacity of a resource id; None when there is no such resource."""
    if found := _COMPONENT.match(resource):
        return _copies(tx.rows.get("InferenceComponent", account, region, found[1]))
    named = _VARIANT.match(resource)
    row = tx.rows.get("Endpoint", account, region, named[1]) if named else None
    if named is None or row is None or _leaves(row):
        return None
    for shown in row.status.get("ProductionVariants", ()):
        if shown["VariantName"] == named[2]:
            settled = row.state == "InService" and not row.wish
            least = 0 if "async" in (row.private.get("current") or {}) else 1  # requests wait in a queue
            return Capacity(_desired(row, named[2]), shown.get("CurrentInstanceCount", 0), settled, least)
    return None


def _leaves(row: Row) -> bool:
    return row.state == "Deleting" or "delete" in row.wish


def _copies(row: Row | None) -> Capacity | None:
    if row is None or _leaves(row):
        return None
    counts = row.status["RuntimeConfig"]
    desired = int(row.wish.get("scale", {}).get("copies", counts["DesiredCopyCount"]))
    return Capacity(desired, counts["CurrentCopyCount"], row.state == "InService" and not row.wish, least=0)


def _desired(row: Row, variant: str) -> int:
    asked = row.wish.get("scale", {}).get(variant, {}).get("Count")
    counts = {v["VariantName"]: v["Count"] for v in (row.private.get("current") or {}).get("variants", ())}
    return int(asked if asked is not None else counts.get(variant, 0))


def write(tx: Transaction, account: str, region: str, resource: str, count: int) -> bool:
    """Ask for another capacity; False when that cannot be taken now."""
    component, variant = _COMPONENT.match(resource), _VARIANT.match(resource)
    if component:
        row, member = tx.rows.get("InferenceComponent", account, region, component[1]), "InferenceComponentStatus"
    else:
        row, member = tx.rows.get("Endpoint", account, region, variant[1] if variant else ""), "EndpointStatus"
    if row is None or row.state != "InService" or row.wish or row.private.get("current") is None:
        return False
    row = tx.rows.save(row, status={**row.status, member: "Updating"}, state="Updating")
    tx.rows.wish(row, scale={"copies": count} if component else {variant[2] if variant else "": {"Count": count}})
    return True
