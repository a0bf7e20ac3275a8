"""InvokeEndpoint on a connection that control holds: passed on, as it came, to the front."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from typing import Any

import httptools
import orjson

from ..provider.context import Context
from ..provider.errors import ServiceUnavailable, coded
from ..provider.operation import Provider
from ..provider.service import Service
from ..serving.address import is_served
from ..web import Response
from .sagemaker.asynchronous.accept import accept

Json = dict[str, Any]

runtime = Provider("sagemaker-runtime")
SERVICE = Service(runtime)
_SECONDS = 70.0  # to the answer's head
_STALL_SECONDS = 490.0
_DROPPED = ("connection", "transfer-encoding", "content-length", "expect", "proxy-connection")


@runtime.operation
async def invoke_endpoint(ctx: Context, request: Json) -> Response:
    """Ask the front, which authenticates again: what it signed for is unchanged."""
    return await _pass_on(ctx)


@runtime.operation
async def invoke_endpoint_with_response_stream(ctx: Context, request: Json) -> Response:
    """As ``invoke_endpoint``; the answer's pieces are passed on as they come."""
    return await _pass_on(ctx)


@runtime.operation
async def invoke_endpoint_async(ctx: Context, request: Json) -> Response:
    """Queue a request; its prediction will lie in S3."""
    body = bytes(ctx.body or b"")
    answer = await asyncio.get_running_loop().run_in_executor(ctx.platform.threads, accept, ctx, request, body)
    headers = {
        "Content-Type": "application/json", "X-Amzn-SageMaker-OutputLocation": answer["OutputLocation"],
        "X-Amzn-SageMaker-FailureLocation": answer["FailureLocation"],
    }  # fmt: skip
    return Response(202, headers, orjson.dumps({"InferenceId": answer["InferenceId"]}))


async def _pass_on(ctx: Context) -> Response:
    http, body = ctx.http, ctx.body
    if not is_served(http.target.encode("utf-8", "surrogateescape")):
        raise coded("UnknownOperationException", f"{http.path[:200]} is not the path of an operation.", 404)
    headers = "".join(f"{k}: {v}\r\n" for k, v in http.headers.items() if k not in _DROPPED)
    head = f"POST {http.target} HTTP/1.1\r\n{headers}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    answer = _Answer()
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(
                str(ctx.platform.settings.folder / "run" / "passed.sock")
            )
            try:
                writer.write(head.encode("utf-8", "surrogateescape") + body)
                await writer.drain()
                while not answer.begun:
                    answer.feed(await reader.read(1 << 18))
            except BaseException:
                writer.close()
                raise
    except (OSError, TimeoutError, httptools.HttpParserError):
        raise ServiceUnavailable("The data plane is being restarted. Please try again.") from None
    return Response(answer.parser.get_status_code(), answer.headers, _rest(answer, reader, writer), answer.length)


async def _rest(answer: _Answer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> AsyncIterator[bytes]:
    try:
        while True:
            while answer.parts:
                yield answer.parts.popleft()
            if answer.complete:
                return
            async with asyncio.timeout(_STALL_SECONDS):
                answer.feed(await reader.read(1 << 18))
    finally:
        writer.close()


class _Answer:
    """An HTTP answer as it is parsed."""

    def __init__(self) -> None:
        self.parser = httptools.HttpResponseParser(self)
        self.headers: dict[str, str] = {}
        self.length: int | None = None
        self.parts: deque[bytes] = deque()
        self.begun = self.complete = False

    def feed(self, data: bytes) -> None:
        """More bytes; ConnectionError when they end too early."""
        if not data:
            raise ConnectionError("the front closed the connection")
        self.parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        text = name.decode("latin-1")
        if text.lower() == "content-length":
            self.length = int(value)
        elif text.lower() not in ("date", "server", "connection", "transfer-encoding"):
            self.headers[text] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.begun = True

    def on_body(self, data: bytes) -> None:
        self.parts.append(data)

    def on_message_complete(self) -> None:
        self.complete = True
