"""What one service declares of itself. The catalogue finds it by its place below ``clary.services``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .operation import Provider
from .platform import Platform


@dataclass(frozen=True, slots=True)
class Service:
    """One service: its provider, and what else it brings into a platform."""

    provider: Provider
    install: Callable[[Platform], None] = lambda platform: None
    """Called once for each platform, when the operations of every service are bound."""

    @property
    def name(self) -> str:
        """botocore's name of the service."""
        return self.provider.name
