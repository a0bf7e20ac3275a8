"""IAM: users, keys, roles, policies, instance profiles. Global: rows have no region."""

from __future__ import annotations

from importlib import import_module

from ...provider.operation import Provider
from ...provider.platform import Platform

iam = Provider("iam")

_MODULES = ("access_keys", "attachments", "policies", "profiles", "roles", "simulate", "tagging", "users")


def install(platform: Platform) -> Provider:
    """Bind the operations."""
    for module in _MODULES:
        import_module(f"{__name__}.{module}")  # importing binds
    return iam
