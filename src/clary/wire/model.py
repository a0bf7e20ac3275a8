"""AWS service models, read straight from the JSON that botocore ships (Apache-2.0); botocore itself is not imported."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import orjson

_PLACED = frozenset(
    (
        "location", "locationName", "queryName", "flattened", "timestampFormat", "jsonvalue",
        "xmlAttribute", "xmlNamespace", "streaming", "eventpayload", "eventheader", "box",
    )
)  # fmt: skip
_PROSE = frozenset(("documentation", "examples", "documentationUrl"))


class Shape:
    """One shape at one place: the shape's own traits with the member's laid over them."""

    __slots__ = ("_members", "name", "service", "traits", "type")

    def __init__(self, service: Service, ref: dict[str, Any]):
        body = service.shapes[ref["shape"]]
        self.service = service
        self.name: str = ref["shape"]
        self.type: str = body["type"]
        self.traits: dict[str, Any] = {**body, **ref} if len(ref) > 1 else body
        self._members: dict[str, Shape] | None = None

    @property
    def members(self) -> dict[str, Shape]:
        """A structure's members by name; empty for every other type."""
        if self._members is None:
            self._members = {name: Shape(self.service, ref) for name, ref in self.traits.get("members", {}).items()}
        return self._members

    def child(self, role: str) -> Shape:
        """The shape of a list's ``member`` or a map's ``key`` or ``value``."""
        return Shape(self.service, self.traits[role])

    def __getitem__(self, trait: str) -> Any:
        return self.traits.get(trait)

    @property
    def key(self) -> Any:
        """What two uses of a shape must share to share a codec."""
        return self.name, *sorted((k, str(v)) for k, v in self.traits.items() if k in _PLACED)


@dataclass(eq=False)
class Operation:
    """One operation of a service model."""

    service: Service
    name: str
    spec: dict[str, Any]

    @cached_property
    def input(self) -> Shape | None:
        """The shape of the request, or None when the operation takes nothing."""
        return Shape(self.service, self.spec["input"]) if "input" in self.spec else None

    @cached_property
    def output(self) -> Shape | None:
        """The shape of the answer, or None when the operation returns nothing."""
        return Shape(self.service, self.spec["output"]) if "output" in self.spec else None

    @property
    def http(self) -> dict[str, Any]:
        """Method, path and status; a POST to ``/`` where the model is silent."""
        found: dict[str, Any] = self.spec.get("http", {"method": "POST", "requestUri": "/"})
        return found


class Service:
    """A service model: metadata, shapes and operations."""

    def __init__(self, name: str, document: dict[str, Any]):
        self.name = name
        self.metadata: dict[str, Any] = document["metadata"]
        self.shapes: dict[str, Any] = document["shapes"]
        self.operations = {n: Operation(self, n, s) for n, s in document["operations"].items()}

    @property
    def protocols(self) -> list[str]:
        """The protocols that the service speaks, the preferred one first."""
        found: list[str] = self.metadata.get("protocols") or [self.metadata["protocol"]]
        return found

    @cached_property
    def errors(self) -> dict[str, Shape]:
        """Error shapes by their wire code."""
        return {
            body.get("error", {}).get("code", name): Shape(self, {"shape": name})
            for name, body in self.shapes.items()
            if body.get("exception")
        }


def load(name: str) -> Service:
    """The newest model of a service; LookupError when botocore has none of that name."""
    spec = find_spec("botocore")
    if spec is None or not spec.submodule_search_locations:
        raise LookupError("botocore is not installed; it holds the service models")
    root = Path(spec.submodule_search_locations[0], "data", name)
    if not root.is_dir():
        raise LookupError(f"botocore has no service {name!r}")
    path = max(root.glob("*/service-2.json*"))
    raw = path.read_bytes()
    text = gzip.decompress(raw) if path.suffix == ".gz" else raw
    document = orjson.loads(text)
    _drop_prose(document)
    return Service(name, document)


def _drop_prose(node: dict[str, Any]) -> None:
    """Drop the documentation strings: they are most of a model's memory."""
    for name in _PROSE:
        if isinstance(node.get(name), str):
            del node[name]
    for value in node.values():
        if isinstance(value, dict):
            _drop_prose(value)
