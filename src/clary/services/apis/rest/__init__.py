"""REST APIs (API Gateway v1): resources with methods, each in front of a function, a service or another server."""

from __future__ import annotations

from importlib import import_module

from ....provider.operation import Provider
from ....provider.platform import Platform

rest = Provider(
    "apigateway",
    required={"PatchOperation": ("op", "path"), "ApiStage": ("apiId", "stage"), "StageKey": ("restApiId", "stageName")},
)


def install(platform: Platform) -> Provider:
    """Bind the operations, and answer the requests that deployed APIs get."""
    for module in ("api", "resources", "methods", "parts", "stages", "plans", "imports", "exports", "testing"):
        import_module(f"{__name__}.{module}")  # importing binds
    from .serve import Server

    platform.services["rest"] = server = Server(platform)
    platform.services.setdefault("apis", []).append(server)
    return rest
