"""SageMaker's control plane."""

from __future__ import annotations

from ...provider.operation import Provider
from ...provider.platform import Platform
from ...provider.service import Service

sagemaker = Provider("sagemaker")


def _install(platform: Platform) -> None:
    """Start the engine of everything that lives."""
    from . import utilisation
    from .endpoints import capacity, capturing, metering
    from .engine import start
    from .training.api import interrupt

    platform.services["sagemaker.capacity"] = capacity
    platform.services["training.interrupt"] = interrupt
    platform.services.setdefault("start", []).append(lambda: start(platform))
    platform.services["start"] += (
        lambda: metering.running(platform),
        lambda: capturing.running(platform),
        lambda: utilisation.running(platform),
    )


SERVICE = Service(sagemaker, _install)
