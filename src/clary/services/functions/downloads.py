"""Links under which the code of functions and layers can be had for ten minutes, as on AWS."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs, quote

from ...provider.context import Context
from ...provider.platform import Platform
from ...web import FileSlice, FileSlices, Request, Response
from ..process_environment import address
from ..sealing import Foreign, seal, unseal
from . import code

PATH = "/_clary/functions/code"
_PURPOSE = "function code"
_SECONDS = 600


def link(ctx: Context, sha256: str) -> str:
    """A link to an archive, at the address by which the caller came."""
    host = ctx.http.headers.get("host", "")
    base = address(ctx.platform.settings) if not host or host.endswith(".amazonaws.com") else f"http://{host}"
    token = seal(ctx.platform, _PURPOSE, f"{int(time.time()) + _SECONDS} {sha256}".encode())
    return f"{base}{PATH}?X-Clary-Token={quote(token)}"


def page(platform: Platform) -> Callable[[Request], Awaitable[Response]]:
    """What answers at ``PATH``."""

    async def answer(request: Request) -> Response:
        token = next(iter(parse_qs(request.query).get("X-Clary-Token", [])), "")
        try:
            until, _, sha256 = unseal(platform, _PURPOSE, token).decode().partition(" ")
        except Foreign:
            return _refused("The link is not one of this platform's.")
        if time.time() > int(until):
            return _refused("Request has expired")
        path = code.folder(platform, sha256) / "code.zip"
        if request.method not in ("GET", "HEAD") or not path.is_file():
            return _refused("The code is no longer there.")
        body = FileSlices((FileSlice(path, 0, path.stat().st_size),))
        return Response(200, {"Content-Type": "application/zip"}, body)

    return answer


def _refused(text: str) -> Response:
    return Response(403, {"Content-Type": "text/plain"}, f"{text}\n".encode())
