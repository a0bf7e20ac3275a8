"""AWS Lambda: functions that really run, each call in a sandboxed process that is kept warm for the next."""

from __future__ import annotations

from importlib import import_module

from ...provider.operation import Provider
from ...provider.platform import Platform

functions = Provider("lambda")


def install(platform: Platform) -> Provider:
    """Bind the operations, and look after the processes and the queue of events."""
    for module in ("api", "versions", "permissions", "concurrency", "layers", "tagging", "invoke", "urls"):
        import_module(f"{__name__}.{module}")  # importing binds
    from . import downloads
    from .engine import running
    from .events import EventReconciler
    from .invoke import Targets

    platform.services.setdefault("reconcilers", []).append(EventReconciler(platform))
    platform.services["functions.targets"] = Targets(platform)
    platform.services.setdefault("pages", {})[downloads.PATH] = downloads.page(platform)
    platform.services.setdefault("start", []).append(lambda: running(platform))
    return functions
