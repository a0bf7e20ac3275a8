"""The services. Their operations are bound when they are found, once; each is installed once for each platform."""

from __future__ import annotations

from ..provider.platform import Platform
from . import metering
from ._catalogue import services


def install_all(platform: Platform) -> None:
    """Install every service."""
    metering.install(platform)
    found = services()
    platform.providers.update({service.name: service.provider for service in found})
    for service in found:
        service.install(platform)
