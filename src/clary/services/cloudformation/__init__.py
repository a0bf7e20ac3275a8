"""CloudFormation: stacks of resources, each made by calling the platform's own API with the stack's identity."""

from __future__ import annotations

from ...provider.operation import Provider
from ...provider.platform import Platform
from ...provider.service import Service

cloudformation = Provider("cloudformation", required={"Parameter": ("ParameterKey",)})


def _install(platform: Platform) -> None:
    """Have stacks looked after."""
    from .reconcile import StackReconciler

    platform.services.setdefault("reconcilers", []).append(StackReconciler(platform))


SERVICE = Service(cloudformation, _install)
