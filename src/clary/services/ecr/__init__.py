"""Elastic Container Registry: repositories, their images, and the registry that container tools push to."""

from __future__ import annotations

from ...provider.operation import Provider
from ...provider.platform import Platform
from ...store.image_blobs import ImageStores
from . import images as images
from .registry import Registry
from .repositories import ecr


def install(platform: Platform) -> Provider:
    """The service."""
    settings = platform.settings
    platform.services["image-blobs"] = ImageStores(settings.folder / "images" / "blobs", settings.durable)
    platform.services["registry"] = Registry(platform)
    return ecr
