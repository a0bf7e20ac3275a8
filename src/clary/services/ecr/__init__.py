"""Elastic Container Registry: repositories, their images, and the registry that container tools push to."""

from __future__ import annotations

from ...provider.platform import Platform
from ...provider.service import Service
from ...store.image_blobs import ImageStores
from . import images as images
from .registry import Registry
from .repositories import ecr


def _install(platform: Platform) -> None:
    """Keep images, and be the registry that container tools push to."""
    settings = platform.settings
    platform.services["image-blobs"] = ImageStores(settings.folder / "images" / "blobs", settings.durable)
    platform.services["registry"] = Registry(platform)


SERVICE = Service(ecr, _install)
