"""Every resource type that stacks may hold."""

from __future__ import annotations

from . import schemas
from .kind import Kind
from .resources import (
    configuration,
    functions,
    hosting,
    http_apis,
    identity,
    observability,
    rest_apis,
    stacks,
    storage,
)  # fmt: skip

_MODULES = (configuration, functions, hosting, http_apis, identity, observability, rest_apis, stacks, storage)
_ALL: dict[str, Kind] = {name: kind for module in _MODULES for name, kind in module.KINDS.items()}


def find(name: str) -> Kind | None:
    """A type, or None."""
    return _ALL.get(name) or stacks.custom(name)


def kind_of(name: str) -> Kind:
    """A type that is known to be there."""
    if (found := find(name)) is None:
        raise KeyError(name)
    return found


def replacing(name: str) -> frozenset[str]:
    """The properties of a type whose change makes a new resource."""
    return schemas.fixed(name).union(kind_of(name).fixed)


def names() -> list[str]:
    """Every type by name."""
    return sorted(_ALL)
