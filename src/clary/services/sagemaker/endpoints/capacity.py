"""A variant's instance count, for those who change it from outside (Application Auto Scaling)."""

from __future__ import annotations

from dataclasses import dataclass

from ....store.database import Transaction
from ....store.rows import Row


@dataclass(frozen=True, slots=True)
class Capacity:
    """How many instances a variant should have, how many are ready, and whether that can be changed now."""

    desired: int
    ready: int
    settled: bool
    least: int = 1  # it cannot have fewer


def read(tx: Transaction, account: str, region: str, endpoint: str, variant: str) -> Capacity | None:
    """A variant's capacity; None when there is no such variant."""
    row = tx.rows.get("Endpoint", account, region, endpoint)
    if row is None or row.state == "Deleting" or "delete" in row.wish:
        return None
    for shown in row.status.get("ProductionVariants", ()):
        if shown["VariantName"] == variant:
            settled = row.state == "InService" and not row.wish
            least = 0 if "async" in (row.private.get("current") or {}) else 1  # requests wait in a queue
            return Capacity(_desired(row, variant), shown.get("CurrentInstanceCount", 0), settled, least)
    return None


def _desired(row: Row, variant: str) -> int:
    asked = row.wish.get("scale", {}).get(variant, {}).get("Count")
    counts = {v["VariantName"]: v["Count"] for v in (row.private.get("current") or {}).get("variants", ())}
    return int(asked if asked is not None else counts.get(variant, 0))


def write(tx: Transaction, account: str, region: str, endpoint: str, variant: str, count: int) -> bool:
    """Ask for another count; False when the endpoint cannot take it now."""
    row = tx.rows.get("Endpoint", account, region, endpoint)
    if row is None or row.state != "InService" or row.wish or row.private.get("current") is None:
        return False
    row = tx.rows.save(row, status={**row.status, "EndpointStatus": "Updating"}, state="Updating")
    tx.rows.wish(row, scale={variant: {"Count": count}})
    return True
