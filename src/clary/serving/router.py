"""Chooses a variant and a replica for a request. Built from a table; links to replicas outlive tables."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterable
from hashlib import sha256
from itertools import accumulate
from zlib import crc32

from .capture import Gathered
from .lanes import Lanes
from .link import Link, Pace
from .meter import Meter, MeterKey, Meters
from .table import Capture, Endpoint, Replica, Table, Variant
from .waiting import Gauge

Links = dict[Replica, Link]
_BUSY = 8
"""Requests under way from which a replica that has a model loaded may be passed by."""


class LiveVariant:
    """A variant with its links."""

    __slots__ = (
        "captures",
        "captures_turn",
        "component",
        "containers",
        "copies",
        "counts",
        "direct",
        "key",
        "library",
        "links",
        "meter",
        "name",
        "name_header",
        "pipeline",
        "prefix",
        "provisioned",
        "random",
        "running",
        "serverless",
        "threshold",
        "turn",
    )

    def __init__(self, endpoint: Endpoint, variant: Variant, links: list[Link], running: Gauge, counts: dict[int, int]):
        self.name = variant.name
        self.counts = counts  # of its answers, by status
        self.meter: Meter | None = None  # of the turn
        self.turn = -1
        self.captures: Gathered | None = None  # what was captured in its turn
        self.captures_turn = -1
        self.containers = variant.containers
        self.links = links
        self.random = variant.random
        self.prefix, self.threshold = variant.prefix, variant.threshold
        self.direct = variant.direct
        self.library = variant.library
        self.component = variant.component
        self.copies = variant.copies
        self.serverless = variant.serverless
        self.provisioned = variant.provisioned
        self.running = running  # what is under way, of a serverless variant
        self.pipeline = len(variant.containers) > 1
        self.name_header = variant.name.encode()
        self.key: MeterKey = (  # under which its requests are counted
            endpoint.account, endpoint.region, endpoint.name, variant.name, endpoint.config, variant.component,
        )  # fmt: skip

    def pick(self) -> Link | None:
        """The link with the least under way; None when no replica is alive."""
        if self.random or self.pipeline:
            alive = [link for link in self.links if link.alive and all(more.alive for more in link.more)]
            if self.pipeline and not self.random:
                return min(alive, key=lambda link: link.outstanding, default=None)
            return random.choice(alive) if alive else None
        best: Link | None = None
        for link in self.links:
            if link.alive and (best is None or link.outstanding < best.outstanding):
                if link.outstanding == 0:
                    return link
                best = link
        return best

    def pick_for(self, model: str) -> Link | None:
        """As ``pick``, but a model's requests go to one replica, which has it loaded, unless that has much to do."""
        alive = [link for link in self.links if link.alive]
        if len(alive) < 2:
            return alive[0] if alive else None
        home = alive[crc32(model.encode()) % len(alive)]
        least = min(alive, key=lambda link: link.outstanding)
        return least if home.outstanding > 2 * least.outstanding + _BUSY else home

    def pick_alike(self, body: bytes) -> Link | None:
        """As ``pick``, but bodies that begin alike go to one replica while that has few under way, then to the next one.

        Each replica has a rank of its own for a beginning (rendezvous hashing): when one comes or goes, only what
        belongs to that one moves.
        """
        alive = [link for link in self.links if link.alive and all(more.alive for more in link.more)]
        free = [link for link in alive if link.outstanding < self.threshold]
        if not free or len(alive) < 2:
            return min(alive, key=lambda link: link.outstanding, default=None)
        beginning = b"%d " % crc32(body[: self.prefix])
        return max(free, key=lambda link: sha256(beginning + link.replica.id.encode()).digest())


class LiveEndpoint:
    """An endpoint ready to route. A shadow variant gets its weight over the production variants' weight of requests."""

    __slots__ = (
        "_cumulative",
        "_only",
        "_weighted",
        "account",
        "asynchronous",
        "beside",
        "by_name",
        "capture",
        "components",
        "config",
        "id",
        "name",
        "region",
        "shadow",
        "shadowed",
        "share",
    )

    def __init__(
        self,
        account: str,
        region: str,
        name: str,
        variants: list[tuple[LiveVariant, float]],
        shadow: tuple[LiveVariant, float] | None = None,
        capture: Capture | None = None,
        config: str = "",
        uid: str = "",
        asynchronous: bool = False,
    ):
        self.account = account
        self.region = region
        self.name = name
        self.by_name = {v.name: v for v, _ in variants}
        self._weighted = [v for v, w in variants if w > 0]
        self._cumulative = list(accumulate([w for _, w in variants if w > 0]))
        self._only = self._weighted[0] if len(self._weighted) == 1 else None
        self.capture = capture
        self.config = config
        self.id = uid
        self.asynchronous = asynchronous
        self.components: dict[str, LiveVariant] | None = None  # by name, where requests name one
        self.beside: LiveEndpoint | None = None  # the other fleet of a deployment that moves traffic
        self.share = 0.0  # what the other fleet gets
        self.shadow = shadow[0] if shadow else None
        self.shadowed = shadow[1] / (sum(w for _, w in variants) or 1.0) if shadow else 0.0

    def targets(self) -> Iterable[LiveVariant]:
        """Everything that requests go to: variants, or the components that are on them."""
        return self.by_name.values() if self.components is None else self.components.values()

    def choose(self) -> LiveVariant | None:
        """A variant by weight; None when every weight is zero."""
        if self._only is not None:
            return self._only
        if not self._weighted:
            return None
        at, last = random.random() * self._cumulative[-1], len(self._weighted) - 1
        for number in range(last):
            if at < self._cumulative[number]:
                return self._weighted[number]
        return self._weighted[last]


class Router:
    """The endpoints of the present table."""

    def __init__(self, lost: Callable[[str], None], found: Callable[[], None]):
        self._lost = lost
        self._found = found
        self._links: Links = {}
        self._pace = Pace(max(1, (os.cpu_count() or 2) - 1))
        self._running: dict[tuple[str, str], Gauge] = {}
        self.counts: dict[tuple[str, str], dict[int, int]] = {}
        """Of each endpoint's variants, how many answers had each status, since the front began."""
        self._endpoints: dict[tuple[str, str, str], LiveEndpoint] = {}

    def replace(self, table: Table) -> None:
        """Route by a new table: links that it keeps are kept, the others finish what they have and close."""
        links: Links = {}
        endpoints: dict[tuple[str, str, str], LiveEndpoint] = {}
        for endpoint in table.endpoints:
            live = self._live(endpoint, links)
            if endpoint.components is not None:
                live.components = {
                    c.component: LiveVariant(
                        endpoint,
                        c,
                        [self._instance(r, links) for r in c.replicas],
                        Gauge(),
                        self.counts_of(endpoint.name, c.name),
                    )
                    for c in endpoint.components
                }
            if endpoint.successor is not None:
                other = self._live(endpoint.successor, links)
                live.beside, live.share, other.beside = other, endpoint.share, live
            endpoints[endpoint.account, endpoint.region, endpoint.name] = live
        for replica, link in self._links.items():
            if links.get(replica) is not link:
                link.close()
        self._links, self._endpoints = links, endpoints
        present = {e.id for e in endpoints.values()}
        self._running = {key: gauge for key, gauge in self._running.items() if key[0] in present}

    def counts_of(self, endpoint: str, variant: str) -> dict[int, int]:
        """Where answers are counted; the names are empty of what a request did not come to."""
        return self.counts.setdefault((endpoint, variant), {})

    def _live(self, endpoint: Endpoint, links: Links) -> LiveEndpoint:
        """An endpoint with links to its replicas, which are put among ``links``."""
        variants: list[tuple[LiveVariant, float]] = []
        shadow: tuple[LiveVariant, float] | None = None
        for variant in endpoint.variants:
            own = [self._instance(replica, links) for replica in variant.replicas]
            gauge = self._running.setdefault((endpoint.id, variant.name), Gauge()) if variant.serverless else Gauge()
            live = LiveVariant(endpoint, variant, own, gauge, self.counts_of(endpoint.name, variant.name))
            if variant.shadow:
                shadow = live, variant.weight
            else:
                variants.append((live, variant.weight))
        return LiveEndpoint(
            endpoint.account,
            endpoint.region,
            endpoint.name,
            variants,
            shadow,
            endpoint.capture,
            endpoint.config,
            endpoint.id,
            endpoint.asynchronous,
        )

    def _instance(self, replica: Replica, links: Links) -> Link:
        """The link to an instance's first process, with those to its others."""
        first = self._link(replica, links)
        more = [
            self._link(Replica(f"{replica.id}/{n}", path, lanes=(0,) if n in replica.lanes else ()), links)
            for n, path in enumerate(replica.more, 1)
        ]
        first.more = tuple(more)
        return first

    def _link(self, replica: Replica, links: Links) -> Link:
        link = self._links.get(replica)
        if link is None or not link.alive:
            kind = Lanes if 0 in replica.lanes else Link
            link = kind(replica, self._lost, self._found, self._pace, known_good=link is None)
        links[replica] = link
        return link

    def sample(self, meters: Meters) -> None:
        """Note how many requests each instance, or copy of a component, has under way just now."""
        for found in self._endpoints.values():
            for endpoint in (found, found.beside):
                if endpoint is None:
                    continue
                for variant in endpoint.targets():
                    under_way, key = sum(link.outstanding for link in variant.links), variant.key
                    if under_way or meters.counts(key):
                        meters.of(key).concurrent.append(under_way / (len(variant.links) or 1))
                        if variant.provisioned:
                            meters.of(key).provisioned.append((variant.running.under_way, variant.provisioned))

    def libraries(self) -> set[str]:
        """The fleets that serve many models."""
        every = [e for found in self._endpoints.values() for e in (found, found.beside) if e is not None]
        return {v.library for e in every for v in e.by_name.values() if v.library}

    def find(self, account: str, region: str, name: str) -> LiveEndpoint | None:
        """An endpoint, or None; while a deployment moves traffic, one of its two fleets by their shares."""
        found = self._endpoints.get((account, region, name))
        if found is not None and found.share and random.random() < found.share:
            return found.beside
        return found
