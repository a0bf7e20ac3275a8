"""The life of an endpoint. Pure.

    Launching → Activating → InService ⇄ Launching …      Launching → Failed (of a create)      any → Deleting → gone
    InService ⇄ Scaling (other weights and instance counts of the same fleet)
    Launching ⇄ Baking → Activating (an update in stages)      Launching | Baking → RollingBack → InService

A fleet is launched beside the one that serves; only when the front has taken it does the endpoint change its status.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

NEXT = {
    "Launching": {"Activating", "Baking", "RollingBack", "InService", "Failed", "Deleting"},
    "Baking": {"Launching", "Activating", "RollingBack", "Deleting"},
    "RollingBack": {"InService", "Deleting"},
    "Activating": {"InService", "Deleting"},
    "InService": {"Launching", "Scaling", "Deleting"},
    "Scaling": {"InService", "Deleting"},
    "Failed": {"Deleting"},
    "Deleting": set[str](),
}
"""Allowed transitions."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint, as far as decisions need it."""

    name: str
    phase: str = "Launching"
    serving: bool = False  # a fleet serves already: a launch is an update, not a create
    delete: bool = False
    update: bool = False
    scale: bool = False
    stages_left: int = 0  # of the deployment under way
    shifted: bool = False  # the next fleet has a part of the traffic already
    reason: str = ""

    def to(self, phase: str, reason: str = "") -> Endpoint:
        """The endpoint in another phase; ValueError when there is no such way."""
        if phase not in NEXT[self.phase]:
            raise ValueError(f"{self.name}: no way from {self.phase} to {phase}")
        return replace(self, phase=phase, reason=reason)

    @property
    def status(self) -> str:
        """AWS's word for the phase; what was asked for and waits to be taken up counts as begun."""
        if self.delete:
            return "Deleting"
        if self.phase == "InService" and (self.update or self.scale):
            return "Updating"
        if self.phase in ("Launching", "Activating"):
            return "Updating" if self.serving else "Creating"
        return "Updating" if self.phase in ("Scaling", "Baking") else self.phase


@dataclass(frozen=True, slots=True)
class Seen:
    """What is true now of the fleet that is launched, of the front, and of old fleets."""

    launch: str = "starting"  # starting, ready or failed
    launch_error: str = ""
    scaled: bool = False  # every instance that the present fleet should have is ready
    published: bool = False  # the front has taken what should be served now
    left: int = 0  # fleets that still have processes and should not
    baked: float = 0.0  # seconds until the present stage has baked
    trouble: str = ""  # why the deployment must be rolled back


@dataclass(frozen=True, slots=True)
class Step:
    """The endpoint as it is from now on, what to do, and when to look again."""

    endpoint: Endpoint
    do: tuple[str, ...] = ()
    again: float | None = None
    gone: bool = False


def step(endpoint: Endpoint, seen: Seen) -> Step:
    """What comes next."""
    if endpoint.delete and endpoint.phase != "Deleting":
        return Step(endpoint.to("Deleting"), again=0)
    if not seen.published:  # the front lets go of instances before they are ended
        return Step(endpoint, ("publish",), again=0)
    match endpoint.phase:
        case "Launching":
            return _launching(endpoint, seen)
        case "Baking":
            return _baking(endpoint, seen)
        case "RollingBack":
            if seen.scaled:
                return Step(endpoint.to("InService", seen.trouble), ("abandon",), again=0)
            return Step(endpoint, again=0.02)
        case "Activating":
            return Step(endpoint.to("InService"), ("retire",), again=0)
        case "InService":
            if endpoint.update:
                return Step(endpoint.to("Launching"), ("prepare",), again=0)
            if endpoint.scale:
                return Step(endpoint.to("Scaling"), ("resize",), again=0)
            return Step(endpoint, ("retire",) if seen.left else (), again=0.2 if seen.left else None)
        case "Scaling":
            return Step(endpoint.to("InService"), again=0) if seen.scaled else Step(endpoint, again=0.02)
        case "Deleting":
            if seen.left:
                return Step(endpoint, ("retire",), again=0.1)
            return Step(endpoint, ("sweep",), gone=True)
    return Step(endpoint, ("retire",) if seen.left else (), again=0.5 if seen.left else None)


def _launching(endpoint: Endpoint, seen: Seen) -> Step:
    retire = ("retire",) if seen.left else ()
    if endpoint.shifted and (seen.trouble or seen.launch == "failed"):
        return Step(endpoint.to("RollingBack"), ("revert",), again=0)
    match seen.launch:
        case "ready" if endpoint.stages_left:
            return Step(endpoint.to("Baking"), ("shift",), again=0)
        case "ready":
            return Step(endpoint.to("Activating"), ("adopt",), again=0)
        case "failed" if endpoint.serving:
            return Step(endpoint.to("InService", seen.launch_error), ("abandon",), again=0)
        case "failed":
            return Step(endpoint.to("Failed", seen.launch_error), ("abandon",), again=0)
    if seen.trouble and endpoint.serving:
        return Step(endpoint.to("InService", seen.trouble), ("abandon",), again=0)
    return Step(endpoint, retire, again=0.02)


def _baking(endpoint: Endpoint, seen: Seen) -> Step:
    if seen.trouble:
        return Step(endpoint.to("RollingBack"), ("revert",), again=0)
    if seen.baked > 0:
        return Step(endpoint, ("retire",) if seen.left else (), again=min(seen.baked, 0.5))
    if endpoint.stages_left > 1:
        return Step(endpoint.to("Launching"), ("advance",), again=0)
    return Step(endpoint.to("Activating"), ("adopt",), again=0)
