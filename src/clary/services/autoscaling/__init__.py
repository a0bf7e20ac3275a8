"""Application Auto Scaling of endpoint variants."""

from __future__ import annotations

from importlib import import_module

from ...provider.operation import Provider
from ...provider.platform import Platform

autoscaling = Provider("application-autoscaling")


def install(platform: Platform) -> Provider:
    """Bind the operations, and have targets looked after."""
    for module in ("targets", "policies", "schedules"):
        import_module(f"{__name__}.{module}")  # importing binds
    from .policies import on_alarm
    from .reconcile import TargetReconciler

    platform.services.setdefault("reconcilers", []).append(TargetReconciler(platform))
    platform.services.setdefault("alarm_actions", []).append(on_alarm)
    return autoscaling
