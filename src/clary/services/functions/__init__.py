"""AWS Lambda: functions that really run, each call in a sandboxed process that is kept warm for the next."""

from __future__ import annotations

from ...provider.operation import Provider
from ...provider.platform import Platform
from ...provider.service import Service

functions = Provider("lambda")


def _install(platform: Platform) -> None:
    """Look after the processes and the queue of events."""
    from . import downloads
    from .engine import running
    from .events import EventReconciler
    from .invoke import Targets

    platform.services.setdefault("reconcilers", []).append(EventReconciler(platform))
    platform.services["functions.targets"] = Targets(platform)
    platform.services.setdefault("pages", {})[downloads.PATH] = downloads.page(platform)
    platform.services.setdefault("start", []).append(lambda: running(platform))


SERVICE = Service(functions, _install)
