"""The forward proxy: ends TLS for AWS's host names with local certificates, and tunnels to nowhere else."""

from __future__ import annotations

import asyncio
import logging
import ssl

from .. import tokens
from ..web import App, Connection, Connections, Request, Response
from .authority import DOMAINS, Authority

log = logging.getLogger(__name__)

_SUFFIXES = tuple(f".{name}" for name in DOMAINS)


class Proxy:
    """Answers CONNECT."""

    def __init__(self, authority: Authority, pool: Connections, password: str | None):
        """``password``: what clients must send; None lets everybody in (open mode)."""
        self._authority = authority
        self._password = password
        self._pool = pool
        self.app: App | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, request: Request) -> Response:
        """Take over an AWS host's connection; refuse every other."""
        if self._password is not None and not tokens.matches(
            request.headers.get("proxy-authorization"), self._password
        ):
            text = "Clary's proxy needs its password: `clary env --proxy` prints HTTPS_PROXY with it.\n"
            headers = {"Content-Type": "text/plain", "Proxy-Authenticate": 'Basic realm="clary"'}
            return Response(407, headers, text.encode(), close=True)
        host, _, port = request.target.rpartition(":")
        host = host.lower()
        if port != "443" or not host.endswith(_SUFFIXES):
            text = (
                f"Clary's proxy stands in for *.amazonaws.com:443 only; it does not tunnel to {request.target[:200]}.\n"
            )
            return Response(403, {"Content-Type": "text/plain"}, text.encode(), close=True)
        context = await asyncio.get_running_loop().run_in_executor(None, self._authority.context, host)

        def upgrade(connection: Connection) -> None:
            task = asyncio.get_running_loop().create_task(self._start(connection, context))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return Response(200, {}, b"", upgrade=upgrade)

    async def _start(self, connection: Connection, context: ssl.SSLContext) -> None:
        assert self.app is not None
        inner = Connection(self.app, self._pool, "https")
        transport = connection.transport
        self._pool.open.discard(connection)
        transport.set_protocol(inner)
        try:
            secured = await asyncio.get_running_loop().start_tls(
                transport, inner, context, server_side=True, ssl_handshake_timeout=10
            )
        except (TimeoutError, OSError, ssl.SSLError) as error:
            log.info("TLS with a proxied client failed: %s", error)
            transport.abort()
            return
        if secured is not None:
            inner.connection_made(secured)
