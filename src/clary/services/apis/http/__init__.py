"""HTTP APIs (API Gateway v2): routes to functions and other servers."""

from __future__ import annotations

from importlib import import_module

from ....provider.operation import Provider
from ....provider.platform import Platform

http = Provider("apigatewayv2")


def install(platform: Platform) -> Provider:
    """Bind the operations, and answer the requests that deployed APIs get."""
    for module in ("api", "parts", "stages", "imports", "exports", "domains"):
        import_module(f"{__name__}.{module}")  # importing binds
    from .. import function_urls
    from ..access_log import AccessLog
    from ..domains import Domains
    from .serve import Server

    lines = platform.services.setdefault("access_log", AccessLog(platform))
    platform.services["domains"] = Domains(platform)
    platform.services.setdefault("start", []).append(lines.running)
    platform.services.setdefault("apis", []).extend((Server(platform), function_urls.Server(platform)))
    return http
