"""The routing table: who may call, which endpoint has which replicas. Published by control, read by the front.

A table is immutable and replaced whole. It lies in a file, so a front that starts while control is away still serves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Replica:
    """One instance that answers predictions: a process, or one for each container of a pipeline."""

    id: str
    socket: str  # the path of its (first) process's Unix socket
    more: tuple[str, ...] = ()  # those of the other containers, in order
    lanes: tuple[int, ...] = ()  # which of its processes, counted from 0, take many requests at once


@dataclass(frozen=True, slots=True)
class Variant:
    """One production variant: its share of the traffic and the replicas that are ready."""

    name: str
    weight: float
    replicas: tuple[Replica, ...]
    containers: tuple[str, ...] = ("primary",)  # their names, in the order in which a request goes through them
    random: bool = False  # any replica, rather than the one with the least to do
    shadow: bool = False  # gets copies of requests; nobody waits for its answers
    direct: bool = False  # a request names the one container that it goes to
    serverless: int = 0  # requests that it takes at once; its instances come and go with them
    library: str = ""  # the name of its fleet, where a request names the model that it is for
    component: str = ""  # the name of the inference component whose copies these are
    copies: int = 0  # that the component should have
    provisioned: int = 0  # of ``serverless``: requests for which instances are kept
    prefix: int = 0  # bytes of a body: requests that begin alike go to one replica
    threshold: int = 0  # unless it has so many under way


@dataclass(frozen=True, slots=True)
class Capture:
    """What is captured of an endpoint's requests, and where to."""

    target: str  # an S3 prefix
    percent: float
    input: bool
    output: bool
    csv: tuple[str, ...] = ()  # content types that are kept as text
    json: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint that is in service."""

    account: str
    region: str
    name: str
    variants: tuple[Variant, ...]
    capture: Capture | None = None
    id: str = ""  # by which control knows it
    asynchronous: bool = False  # it takes no requests here
    config: str = ""  # while a deployment moves traffic: the configuration that these variants are of
    successor: Endpoint | None = None  # the fleet that traffic moves to
    share: float = 0.0  # of the requests that the successor gets
    components: tuple[Variant, ...] | None = None  # what requests name, where the variants run no models themselves


@dataclass(frozen=True, slots=True)
class Key:
    """A long-term access key."""

    id: str
    secret: str
    account: str


@dataclass(frozen=True, slots=True)
class Table:
    """Everything a front needs to serve without asking anybody."""

    account: str = ""
    open: bool = False
    seal: str = ""  # hex of the key that opens session tokens
    keys: tuple[Key, ...] = ()
    endpoints: tuple[Endpoint, ...] = field(default=())
    region: str = ""  # the platform's own, where it is none of AWS's
    hosts: str = ""  # host names that open mode allows beside the usual ones

    def dump(self) -> bytes:
        """The table as it is stored."""
        return orjson.dumps(self)

    @classmethod
    def load(cls, data: bytes) -> Table:
        """A table from its stored form."""
        raw: Json = orjson.loads(data)
        return cls(
            raw["account"], raw["open"], raw["seal"], tuple(Key(**k) for k in raw["keys"]),
            tuple(_endpoint(e) for e in raw["endpoints"]), raw.get("region", ""), raw.get("hosts", ""),
        )  # fmt: skip


def _endpoint(raw: Json) -> Endpoint:
    variants = tuple(_variant(v) for v in raw["variants"])
    rule = raw.get("capture")
    capture = Capture(**{**rule, "csv": tuple(rule["csv"]), "json": tuple(rule["json"])}) if rule else None
    successor = _endpoint(raw["successor"]) if raw.get("successor") else None
    components = tuple(_variant(v) for v in raw["components"]) if raw.get("components") is not None else None
    return Endpoint(
        raw["account"], raw["region"], raw["name"], variants, capture, raw.get("id", ""),
        raw.get("asynchronous", False), raw.get("config", ""), successor, raw.get("share", 0.0), components,
    )  # fmt: skip


def _variant(raw: Json) -> Variant:
    replicas = tuple(
        Replica(r["id"], r["socket"], tuple(r["more"]), tuple(r.get("lanes", ()))) for r in raw["replicas"]
    )
    return Variant(**{**raw, "replicas": replicas, "containers": tuple(raw["containers"])})


def write(path: Path, table: Table) -> None:
    """Replace the stored table in one step; only its owner can read it, as it holds secrets."""
    aside = path.with_suffix(".new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(table.dump())
    os.rename(aside, path)


def read(path: Path) -> Table:
    """The stored table; an empty one when there is none."""
    try:
        return Table.load(path.read_bytes())
    except FileNotFoundError:
        return Table()
