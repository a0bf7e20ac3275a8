"""Every resource type that stacks may hold."""

from __future__ import annotations

from . import api_kinds, kinds, stack_kinds
from .kind import Kind

_ALL = {**kinds.KINDS, **api_kinds.KINDS, **stack_kinds.KINDS}


def find(name: str) -> Kind | None:
    """A type, or None."""
    return _ALL.get(name) or stack_kinds.custom(name)


def kind_of(name: str) -> Kind:
    """A type that is known to be there."""
    if (found := find(name)) is None:
        raise KeyError(name)
    return found
