"""Tells the fronts what to serve: writes the routing table, pokes them, waits until they have taken it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ....provider.platform import Platform
from ....serving.table import Capture, Endpoint, Key, Replica, Table, Variant, write
from ....store.rows import Row
from .. import fleet
from .library import name_of

Json = dict[str, Any]
log = logging.getLogger(__name__)
_PAUSE_SECONDS = 1.0
_SERVING = ("Launching", "Baking", "RollingBack", "Activating", "InService", "Scaling")


@dataclass(slots=True)
class Publisher:
    """Publishes tables. One publication at a time; a front that does not answer in time is not waited for."""

    platform: Platform
    path: Path
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _fronts: list[socket.socket] = field(default_factory=list)
    _stale: asyncio.Event = field(default_factory=asyncio.Event)

    def connected(self, channel: socket.socket) -> None:
        """A front has connected; it read the table by itself and is poked at the next change."""
        self._fronts.append(channel)
        with contextlib.suppress(OSError):
            channel.send(b"T")

    def gone(self, channel: socket.socket) -> None:
        """A front has gone."""
        with contextlib.suppress(ValueError):
            self._fronts.remove(channel)

    def changed(self) -> None:
        """Publish soon; call it from the event loop."""
        self._stale.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While the block runs, publish after each change, and again until it succeeds."""
        task = asyncio.create_task(self._follow())
        try:
            yield
        finally:
            task.cancel()

    async def _follow(self) -> None:
        while True:
            await self._stale.wait()
            self._stale.clear()
            try:
                await self.publish()
            except Exception:  # the disk may be full, the database away: what changed is still to be published
                log.exception("publishing the routing table failed")
                self._stale.set()
                await asyncio.sleep(_PAUSE_SECONDS)

    async def publish(self, timeout: float = 2.0) -> None:
        """Write the present table and have it taken."""
        async with self._lock:
            table = await asyncio.to_thread(self._build)
            await asyncio.to_thread(write, self.path, table)
            for channel in list(self._fronts):
                acknowledged: asyncio.Event = asyncio.Event()
                self.platform.services["acknowledgements"][channel] = acknowledged
                with contextlib.suppress(OSError, TimeoutError):
                    channel.send(b"T")
                    await asyncio.wait_for(acknowledged.wait(), timeout)

    def _build(self) -> Table:
        with self.platform.database.read() as tx:
            rows = tx.rows.list("Endpoint")
            components = tx.rows.list("InferenceComponent")
        keyring, settings = self.platform.keyring, self.platform.settings
        of: dict[tuple[str, str, str], list[Row]] = {}
        for component in components:
            of.setdefault((component.account, component.region, component.spec["EndpointName"]), []).append(component)
        endpoints = [
            replace(e, components=self._components(row, of.get((row.account, row.region, row.name), [])))
            for row in rows
            if (e := self._endpoint(row)) is not None
        ]
        keys = tuple(Key(c.access_key, c.secret, c.account) for c in keyring.keys().values())
        return Table(
            settings.account, settings.open, keyring.seal.key.hex(), keys, tuple(endpoints), settings.region, settings.hosts
        )  # fmt: skip

    def _endpoint(self, row: Row) -> Endpoint | None:
        current = row.private.get("current")
        if current is None or row.private.get("phase") not in _SERVING:
            return None
        under_way = row.private.get("deployment")
        share = under_way["share"] if under_way else 0.0
        if not share:
            return self._serving(row, current)
        return replace(
            self._serving(row, current, current["config"]), share=share,
            successor=self._serving(row, row.private["next"], row.private["next"]["config"]),
        )  # fmt: skip

    def _components(self, row: Row, components: list[Row]) -> tuple[Variant, ...] | None:
        """The inference components of an endpoint; None where its variants run models."""
        variants = {v["VariantName"]: v for v in row.private["current"]["variants"] if fleet.empty(v)}
        if not variants:
            return None
        return tuple(
            self._component(c, variants[c.spec["VariantName"]])
            for c in components
            if c.private.get("current") and c.private.get("phase") in _SERVING and c.spec["VariantName"] in variants
        )

    def _component(self, row: Row, host: Json) -> Variant:
        """A component as one target: while an update moves on, its copies of both kinds."""
        under_way = row.private.get("deployment") or {}
        serving = [row.private["current"], *([row.private["next"]] if under_way.get("share") else [])]
        replicas = tuple(
            Replica(
                f"{row.uid}-{its['number']}-{slot.folder.name}",
                str(slot.socket),
                lanes=(0,) if fleet.image_of(its, slot) else (),
            )
            for its in serving
            for (slot,) in fleet.instances(self.platform, row, its)
            if fleet.ready(its, (slot,))
        )
        return Variant(
            host["VariantName"], host["Weight"], replicas, random=host.get("Routing") == "RANDOM", component=row.name,
            copies=row.private["copies"], prefix=_prefix(host, "PrefixLength"),
            threshold=_prefix(host, "ConcurrencyThreshold"),
        )  # fmt: skip

    def _serving(self, row: Row, serving: Json, config: str = "") -> Endpoint:
        """An endpoint as one of its fleets serves it."""
        by_variant: dict[str, list[Replica]] = {v["VariantName"]: [] for v in serving["variants"]}
        for parts in fleet.instances(self.platform, row, serving):
            if fleet.ready(serving, parts):
                first, *more = parts
                name = first.variant["VariantName"]
                sockets = tuple(str(slot.socket) for slot in more)
                lanes = tuple(s.part for s in parts if fleet.image_of(serving, s))
                by_variant[name].append(Replica(f"{row.uid}-{first.folder.name}", str(first.socket), sockets, lanes))
        variants = tuple(
            Variant(
                v["VariantName"], v["Weight"], tuple(by_variant[v["VariantName"]]),
                tuple(c["ContainerHostname"] for c in v["Containers"]), v.get("Routing") == "RANDOM",
                v.get("Shadow", False), v["Direct"], (v.get("Serverless") or {}).get("MaxConcurrency", 0),
                name_of(row, serving) if fleet.multi_model(v) else "",
                provisioned=(v.get("Serverless") or {}).get("ProvisionedConcurrency") or 0, prefix=_prefix(v, "PrefixLength"),
                threshold=_prefix(v, "ConcurrencyThreshold"),
            )
            for v in serving["variants"]
        )  # fmt: skip
        return Endpoint(
            row.account,
            row.region,
            row.name,
            variants,
            _capture(serving.get("capture")),
            row.uid,
            "async" in serving,
            config,
        )


def _prefix(variant: Json, member: str) -> int:
    """How requests are told apart where those that begin alike go to one replica; 0 elsewhere."""
    return int((variant.get("Prefix") or {}).get(member, 0))


def _capture(config: Json | None) -> Capture | None:
    if config is None or not config.get("EnableCapture"):
        return None
    modes = {o["CaptureMode"] for o in config["CaptureOptions"]}
    kinds = config.get("CaptureContentTypeHeader") or {}
    return Capture(
        config["DestinationS3Uri"], config["InitialSamplingPercentage"], bool(modes & {"Input", "InputAndOutput"}),
        bool(modes & {"Output", "InputAndOutput"}), tuple(kinds.get("CsvContentTypes", ())),
        tuple(kinds.get("JsonContentTypes", ())),
    )  # fmt: skip


def signature(row_private: Json) -> str:
    """What the front should know of an endpoint, as one text: when it changes, the table must be published."""
    current = row_private.get("current")
    if current is None or row_private.get("phase") not in _SERVING:
        return ""
    under_way = row_private.get("deployment") or {}
    parts = [_fleet_signature(current), *([str(row_private["copies"])] if "copies" in row_private else [])]
    if share := under_way.get("share"):
        parts.append(f"{share}:{_fleet_signature(row_private['next'])}")
    return "|".join(parts)


def _fleet_signature(serving: Json) -> str:
    ready = sorted(f"{k}.{s['attempt']}" for k, s in serving["slots"].items() if s.get("ready"))
    weights = [
        f"{v['VariantName']}={v['Weight']}/{config.get('MaxConcurrency')}/{config.get('ProvisionedConcurrency')}"
        for v in serving["variants"]
        for config in (v.get("Serverless") or {},)
    ]
    return f"{serving['number']}:{','.join(ready)}:{','.join(weights)}"
