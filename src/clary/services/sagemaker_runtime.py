"""InvokeEndpoint on a connection that control holds: passed on, as it came, to the front."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools

from ..provider.context import Context
from ..provider.errors import ServiceUnavailable
from ..provider.operation import Provider
from ..provider.platform import Platform
from ..web import Response

Json = dict[str, Any]

runtime = Provider("sagemaker-runtime")
_SECONDS = 70.0
_DROPPED = ("connection", "transfer-encoding", "content-length", "expect", "proxy-connection")


def install(platform: Platform) -> Provider:
    """The service."""
    return runtime


@runtime.operation
async def invoke_endpoint(ctx: Context, request: Json) -> Response:
    """Ask the front, which authenticates again: what it signed for is unchanged."""
    http, body = ctx.http, ctx.body
    headers = "".join(f"{k}: {v}\r\n" for k, v in http.headers.items() if k not in _DROPPED)
    head = f"POST {http.target} HTTP/1.1\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(
                str(ctx.platform.settings.folder / "run" / "front.sock")
            )
            try:
                writer.write(head.encode("utf-8", "surrogateescape") + body)
                await writer.drain()
                answer = _Answer()
                while data := await reader.read(1 << 18):
                    answer.parser.feed_data(data)
            finally:
                writer.close()
    except (OSError, TimeoutError, httptools.HttpParserError):
        raise ServiceUnavailable("The data plane is being restarted. Please try again.") from None
    return Response(answer.parser.get_status_code(), answer.headers, b"".join(answer.parts))


class _Answer:
    """An HTTP answer as it is parsed."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []

    def on_header(self, name: bytes, value: bytes) -> None:
        text = name.decode("latin-1")
        if text.lower() not in ("date", "server", "content-length", "connection"):
            self.headers[text] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.parts.append(data)
