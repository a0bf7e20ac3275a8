"""SageMaker's control plane."""

from __future__ import annotations

from importlib import import_module

from ...provider.operation import Provider
from ...provider.platform import Platform

sagemaker = Provider("sagemaker")


def install(platform: Platform) -> Provider:
    """Bind the operations and start the engine of everything that lives."""
    for module in (
        "tags",
        "models",
        "endpoint_configs",
        "endpoints.api",
        "components.api",
        "training.api",
        "transform.api",
        "search",
    ):
        import_module(f"{__name__}.{module}")  # importing binds
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
    return sagemaker
