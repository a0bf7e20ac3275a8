"""REST APIs (API Gateway v1)."""

from __future__ import annotations

from ....provider.operation import Provider
from ....provider.platform import Platform

rest = Provider("apigateway")


def install(platform: Platform) -> Provider:
    """Bind the operations, and answer the requests that deployed APIs get."""
    return rest
