"""CloudWatch: metrics, metric math, alarms."""

from __future__ import annotations

from ...provider.operation import Provider
from ...provider.platform import Platform
from ...provider.service import Service

cloudwatch = Provider("cloudwatch")


def _install(platform: Platform) -> None:
    """Have alarms evaluated."""
    from .alarms import delete_alarm, put_alarm
    from .metrics import results
    from .prometheus import page
    from .reconcile import AlarmReconciler

    platform.services |= {
        "cloudwatch.put_alarm": put_alarm, "cloudwatch.delete_alarm": delete_alarm, "cloudwatch.read": results,
        "cloudwatch.prometheus": page,
    }  # fmt: skip
    platform.services.setdefault("reconcilers", []).append(AlarmReconciler(platform))


SERVICE = Service(cloudwatch, _install)
