"""CloudWatch: metrics, metric math, alarms."""

from __future__ import annotations

from importlib import import_module

from ...provider.operation import Provider
from ...provider.platform import Platform

cloudwatch = Provider("cloudwatch")


def install(platform: Platform) -> Provider:
    """Bind the operations, and have alarms evaluated."""
    for module in ("metrics", "alarms"):
        import_module(f"{__name__}.{module}")  # importing binds
    from .alarms import delete_alarm, put_alarm
    from .metrics import results
    from .prometheus import page
    from .reconcile import AlarmReconciler

    platform.services |= {
        "cloudwatch.put_alarm": put_alarm, "cloudwatch.delete_alarm": delete_alarm, "cloudwatch.read": results,
        "cloudwatch.prometheus": page,
    }  # fmt: skip
    platform.services.setdefault("reconcilers", []).append(AlarmReconciler(platform))
    return cloudwatch
