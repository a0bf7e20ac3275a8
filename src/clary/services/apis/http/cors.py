"""Cross-origin requests of HTTP APIs. Pure. Source: AWS, "Configure CORS for HTTP APIs"."""

from __future__ import annotations

from typing import Any

from ....patterns import wildcard

Json = dict[str, Any]
Headers = list[tuple[str, str]]


def is_preflight(method: str, headers: dict[str, str]) -> bool:
    """Whether a browser asks if it may send a request."""
    return method == "OPTIONS" and "origin" in headers and "access-control-request-method" in headers


def answer(cors: Json, headers: dict[str, str], preflight: bool) -> Headers:
    """The headers that let a browser's page read an answer; none when its origin is not let in."""
    origin = headers.get("origin")
    origins = cors.get("AllowOrigins") or ()
    if origin is None or not any(wildcard(o).full(origin) for o in origins):
        return []
    found = [("access-control-allow-origin", "*" if "*" in origins else origin)]
    if "*" not in origins:
        found.append(("vary", "Origin"))
    if cors.get("AllowCredentials"):
        found.append(("access-control-allow-credentials", "true"))
    if exposed := cors.get("ExposeHeaders"):
        found.append(("access-control-expose-headers", ",".join(exposed)))
    if preflight:
        if methods := cors.get("AllowMethods"):
            found.append(("access-control-allow-methods", ",".join(methods)))
        if allowed := cors.get("AllowHeaders"):
            found.append(("access-control-allow-headers", ",".join(allowed)))
        if (seconds := cors.get("MaxAge")) is not None:
            found.append(("access-control-max-age", str(seconds)))
    return found
