"""How requests for deployed APIs are told from others: by their host, or by a path where names do not resolve.

http://API.execute-api.localhost:4566/STAGE/PATH          https://API.execute-api.REGION.amazonaws.com/STAGE/PATH
http://localhost:4566/_clary/execute-api/API/STAGE/PATH

http://URL.lambda-url.localhost:4566/PATH                  https://URL.lambda-url.REGION.on.aws/PATH
http://localhost:4566/_clary/lambda-url/URL/PATH
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import unquote

from ...provider.caller import Caller
from ...provider.context import Context
from ...web import Request

PATHS = {"/_clary/execute-api/": "execute-api", "/_clary/lambda-url/": "lambda"}
_HOST = re.compile(r"^(?P<api>[a-z0-9]{10})\.execute-api\.(?:[a-z0-9.-]+\.amazonaws\.com(?:\.cn)?|localhost)(?::\d+)?$")
_URL = re.compile(r"^(?P<api>[a-z0-9]{32})\.lambda-url\.(?:[a-z0-9-]+\.on\.aws|localhost)(?::\d+)?$")
_ID = "abcdefghijklmnopqrstuvwxyz0123456789"

Signed = Callable[[Request, bytes], Caller]
"""Who signed a request with this body; AwsError when nobody whom we know did."""


@dataclass(frozen=True, slots=True)
class Called:
    """An API that a request calls, and the path behind it: the stage first, percent-encoding kept."""

    api: str
    path: str
    service: str = "execute-api"  # as signatures for it are scoped


def called(request: Request) -> Called | None:
    """The API, or function URL, that a request is for; None when it is for the platform itself."""
    host = request.headers.get("host", "")
    for mark, pattern, service in ((".execute-api.", _HOST, "execute-api"), (".lambda-url.", _URL, "lambda")):
        if mark in host and (found := pattern.match(host.lower())):
            return Called(found["api"], request.target.partition("?")[0], service)
    if request.path.startswith("/_clary/"):
        for prefix, service in PATHS.items():
            if request.path.startswith(prefix):
                api, slash, path = request.target.partition("?")[0].removeprefix(prefix).partition("/")
                return Called(api, slash + path or "/", service)
    return None


def address(ctx: Context, api: str) -> str:
    """An API's URL, as the caller can reach it."""
    host = ctx.http.headers.get("host", "")
    if host.partition(":")[0].endswith((".amazonaws.com", ".amazonaws.com.cn")):
        return f"https://{api}.execute-api.{ctx.region}.amazonaws.com"
    return f"http://{api}.execute-api.localhost:{ctx.platform.settings.port}"


def new_id(length: int = 10) -> str:
    """An identifier as API Gateway makes them; the first character is a letter."""
    return secrets.choice(_ID[:26]) + "".join(secrets.choice(_ID) for _ in range(length - 1))


def segments(path: str) -> list[str]:
    """A path's parts, decoded: an encoded slash does not divide."""
    return [unquote(part) for part in path.strip("/").split("/")] if path.strip("/") else []
