"""IAM: users, keys, roles, policies, instance profiles. Global: rows have no region."""

from __future__ import annotations

from ...provider.operation import Provider
from ...provider.service import Service

iam = Provider("iam")
SERVICE = Service(iam)
