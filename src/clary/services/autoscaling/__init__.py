"""Application Auto Scaling of endpoint variants."""

from __future__ import annotations

from ...provider.operation import Provider
from ...provider.platform import Platform
from ...provider.service import Service

autoscaling = Provider("application-autoscaling")


def _install(platform: Platform) -> None:
    """Have targets looked after."""
    from .policies import on_alarm
    from .reconcile import TargetReconciler

    platform.services.setdefault("reconcilers", []).append(TargetReconciler(platform))
    platform.services.setdefault("alarm_actions", []).append(on_alarm)


SERVICE = Service(autoscaling, _install)
