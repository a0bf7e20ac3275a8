"""What Application Auto Scaling changes: a variant's instances or provisioned concurrency, a component's copies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ....store.database import Transaction
from ....store.rows import Row

Json = dict[str, Any]
VARIANT = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED = "sagemaker:variant:DesiredProvisionedConcurrency"
COMPONENT = "sagemaker:inference-component:DesiredCopyCount"
DIMENSIONS = (VARIANT, PROVISIONED, COMPONENT)
_VARIANT = re.compile(r"^endpoint/([A-Za-z0-9-]+)/variant/([A-Za-z0-9-]+)$")
_COMPONENT = re.compile(r"^inference-component/([A-Za-z0-9-]+)$")


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many instances, copies or kept requests something should have, how many are ready, and whether that can be changed now."""

    desired: int
    ready: int
    settled: bool
    least: int = 1  # it cannot have fewer


def dimensions(dimension: str, resource: str) -> Json | None:
    """The metric dimensions of a resource id; None when it is not one of the scalable dimension."""
    if dimension in (VARIANT, PROVISIONED) and (found := _VARIANT.match(resource)):
        return {"EndpointName": found[1], "VariantName": found[2]}
    if dimension == COMPONENT and (found := _COMPONENT.match(resource)):
        return {"InferenceComponentName": found[1]}
    return None


def read(tx: Transaction, account: str, region: str, resource: str, dimension: str) -> Capacity | None:
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
            if dimension == PROVISIONED:
                return _provisioned(row, named[2], settled)
            least = 0 if "async" in (row.private.get("current") or {}) else 1  # requests wait in a queue
            return Capacity(_desired(row, named[2]), shown.get("CurrentInstanceCount", 0), settled, least)
    return None


def _provisioned(row: Row, variant: str, settled: bool) -> Capacity | None:
    """Of a serverless variant that has provisioned concurrency, which it then always has."""
    config = _serverless(row, variant)
    if not config.get("ProvisionedConcurrency"):
        return None
    ready = int(config["ProvisionedConcurrency"])
    asked = row.wish.get("scale", {}).get(variant, {}).get("Serverless") or config
    return Capacity(int(asked["ProvisionedConcurrency"]), ready if settled else 0, settled)


def _serverless(row: Row, variant: str) -> Json:
    """A variant's serverless configuration; empty when it has none."""
    found = {v["VariantName"]: v.get("Serverless") for v in (row.private.get("current") or {}).get("variants", ())}
    return found.get(variant) or {}


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


def write(tx: Transaction, account: str, region: str, resource: str, dimension: str, count: int) -> bool:
    """Ask for another capacity; False when that cannot be taken now."""
    component, variant = _COMPONENT.match(resource), _VARIANT.match(resource)
    if component:
        row, member = tx.rows.get("InferenceComponent", account, region, component[1]), "InferenceComponentStatus"
    else:
        row, member = tx.rows.get("Endpoint", account, region, variant[1] if variant else ""), "EndpointStatus"
    if row is None or row.state != "InService" or row.wish or row.private.get("current") is None:
        return False
    name = variant[2] if variant else ""
    scale: Json = {"copies": count} if component else {name: {"Count": count}}
    if dimension == PROVISIONED:
        config = _serverless(row, name)
        if not config.get("ProvisionedConcurrency"):
            return False
        scale = {name: {"Serverless": {**config, "ProvisionedConcurrency": min(count, int(config["MaxConcurrency"]))}}}
    row = tx.rows.save(row, status={**row.status, member: "Updating"}, state="Updating")
    tx.rows.wish(row, scale=scale)
    return True
