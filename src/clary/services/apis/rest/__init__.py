"""REST APIs (API Gateway v1): resources with methods, each in front of a function, a service or another server."""

from __future__ import annotations

from ....provider.operation import Provider
from ....provider.platform import Platform
from ....provider.service import Service

rest = Provider(
    "apigateway",
    required={"PatchOperation": ("op", "path"), "ApiStage": ("apiId", "stage"), "StageKey": ("restApiId", "stageName")},
)


def _install(platform: Platform) -> None:
    """Answer the requests that deployed APIs get."""
    from .serve import Server

    platform.services["rest"] = server = Server(platform)
    platform.services.setdefault("apis", []).append(server)


SERVICE = Service(rest, _install)
