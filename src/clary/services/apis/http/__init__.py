"""HTTP APIs (API Gateway v2): routes to functions and other servers."""

from __future__ import annotations

from ....provider.operation import Provider
from ....provider.platform import Platform
from ....provider.service import Service

http = Provider("apigatewayv2")


def _install(platform: Platform) -> None:
    """Answer the requests that deployed APIs get."""
    from .. import function_urls
    from ..access_log import AccessLog
    from ..domains import Domains
    from .serve import Server

    lines = platform.services.setdefault("access_log", AccessLog(platform))
    platform.services["domains"] = Domains(platform)
    platform.services.setdefault("start", []).append(lines.running)
    platform.services.setdefault("apis", []).extend((Server(platform), function_urls.Server(platform)))


SERVICE = Service(http, _install)
