"""CloudFormation: stacks of resources, each made by calling the platform's own API with the stack's identity."""

from __future__ import annotations

from importlib import import_module

from ...provider.operation import Provider
from ...provider.platform import Platform

cloudformation = Provider("cloudformation", required={"Parameter": ("ParameterKey",)})


def install(platform: Platform) -> Provider:
    """Bind the operations, and have stacks looked after."""
    for module in ("stacks", "change_sets", "views"):
        import_module(f"{__name__}.{module}")  # importing binds
    from .reconcile import StackReconciler

    platform.services.setdefault("reconcilers", []).append(StackReconciler(platform))
    return cloudformation
