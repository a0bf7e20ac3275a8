"""What an endpoint's instances offer to inference components, and who has which part of it.

Each component keeps its claims – the instance of each of its copies – in its row; what is free follows from them all.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ....provider.platform import Platform
from ....store.database import Transaction
from ....store.rows import Row
from .. import fleet as fleets
from ..instances import instance
from .placement import Room, place

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Claim:
    """The instances that a component's copies got; where some got none, why, and whether waiting may help."""

    instances: list[int]
    shortage: str = ""
    waits: bool = False
    endpoint: str = ""  # its status


def of_endpoint(tx: Transaction, endpoint: Row) -> list[Row]:
    """The components of an endpoint."""
    every = tx.rows.list("InferenceComponent", endpoint.account, endpoint.region)
    return [r for r in every if r.spec["EndpointName"] == endpoint.name]


def variant_of(endpoint: Row, name: str | None) -> Json | None:
    """The endpoint's variant of that name, or its only one; None when there is none or it runs a model of its own."""
    fleet = endpoint.private.get("current") or endpoint.private.get("next") or {}
    found = [v for v in fleet.get("variants", ()) if fleets.empty(v) and name in (None, v["VariantName"])]
    return found[0] if found else None


def specification(row: Row) -> Json:
    """What a component's copies are of: an update that failed has not changed it."""
    fleet = row.private.get("current") or row.private.get("next") or {}
    return dict(fleet.get("specification") or row.spec["Specification"])


def need(specification: Json) -> Room:
    """What a copy needs."""
    wanted = specification["ComputeResourceRequirements"]
    return Room(
        wanted.get("NumberOfCpuCoresRequired", 0.0), wanted["MinMemoryRequiredInMb"],
        wanted.get("NumberOfAcceleratorDevicesRequired", 0.0),
    )  # fmt: skip


def size(variant: Json) -> Room:
    """What one of a variant's instances has."""
    kind = instance(variant["InstanceType"])
    return Room(kind.cores, kind.memory_bytes >> 20, kind.accelerators)


def claim(tx: Transaction, row: Row, private: Json, wanted_of: Json, copies: int) -> Claim:
    """Find an instance for each copy and record it; what others claim at the same time is seen or waited for."""
    endpoint = tx.rows.get("Endpoint", row.account, row.region, row.spec["EndpointName"])
    if endpoint is None or endpoint.state in ("Failed", "Deleting"):
        return Claim([], f"The endpoint {row.spec['EndpointName']} is not in service.")
    variant = variant_of(endpoint, row.spec["VariantName"])
    if endpoint.private.get("current") is None or variant is None:
        return Claim([], "The endpoint is not in service yet.", waits=True, endpoint=endpoint.state)
    free = [size(variant)] * variant["Count"]
    for other in of_endpoint(tx, endpoint):
        if other.uid != row.uid and other.spec["VariantName"] == variant["VariantName"]:
            free = _taken(free, other.private.get("claims", ()), need(specification(other)))
    wanted = need(wanted_of)
    strategy = (wanted_of.get("SchedulingConfig") or {}).get("PlacementStrategy", "SPREAD")
    placed = place(free, wanted, private.get("claims", []), copies, strategy == "BINPACK")
    private["claims"], private["short"] = placed, copies - len(placed)
    fresh = tx.rows.get(*row.key)
    if fresh is not None and any(fresh.private.get(k) != private[k] for k in ("claims", "short")):
        tx.rows.save(
            fresh, private={**fresh.private, "claims": placed, "short": private["short"]}, modified=fresh.modified
        )
    if len(placed) == copies:
        return Claim(placed, endpoint=endpoint.state)
    text = (
        f"The instances of variant {variant['VariantName']} ({variant['Count']} x {variant['InstanceType']}) have room "
        f"for {len(placed)} of {copies} copies: a copy needs {wanted.cores:g} cores, {wanted.memory:g} MB of memory and "
        f"{wanted.accelerators:g} accelerators, an instance has {_words(size(variant))}."
    )
    fits = size(variant).holds(wanted)
    return Claim(placed, text, waits=fits and variant["Count"] < most(variant), endpoint=endpoint.state)


def _words(room: Room) -> str:
    return f"{room.cores:g}, {room.memory:g} and {room.accelerators:g}"


def _taken(free: list[Room], claims: Iterable[int], wanted: Room) -> list[Room]:
    left = list(free)
    for number in claims:
        if number < len(left):
            left[number] = left[number].without(wanted)
    return left


def most(variant: Json) -> int:
    """The most instances that the platform gives a variant by itself; 0 where it does not."""
    managed = variant.get("Managed") or {}
    return int(managed.get("MaxInstanceCount", 0)) if managed.get("Status") == "ENABLED" else 0


def used(tx: Transaction, endpoint: Row, variant: str) -> int:
    """How many of a variant's instances are needed for the copies that are placed on them."""
    claims = [
        number
        for component in of_endpoint(tx, endpoint)
        if component.spec["VariantName"] == variant
        for number in component.private.get("claims", ())
    ]
    return max(claims, default=-1) + 1


def counts(platform: Platform, endpoint: Row) -> dict[str, Json]:
    """Other instance counts for variants with managed instance scaling: one more for copies without a place, fewer
    where the last ones hold none.
    """
    found: dict[str, Json] = {}
    with platform.database.read() as tx:
        components = of_endpoint(tx, endpoint)
        for variant in endpoint.private["current"]["variants"]:
            if not (limit := most(variant)):
                continue
            name, count = variant["VariantName"], variant["Count"]
            short = any(c.private.get("short") for c in components if c.spec["VariantName"] == name)
            needed = max(used(tx, endpoint, name), variant["Managed"].get("MinInstanceCount", 1))
            wanted = min(count + 1, limit) if short else min(count, max(needed, 0))
            if wanted != count:
                found[name] = {"Count": wanted}
    return found
