"""IAM: users, keys, roles, policies, instance profiles. Global: rows have no region."""

from __future__ import annotations

from ...provider.operation import Provider
from ...provider.platform import Platform

iam = Provider("iam")


def install(platform: Platform) -> Provider:
    """Bind the operations."""
    from . import access_keys, attachments, policies, profiles, roles, simulate, users  # noqa: F401  # importing binds

    return iam
