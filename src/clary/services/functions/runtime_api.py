"""The Runtime API that one process takes its calls from. Source: AWS, "Using the Lambda runtime API"."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from ...web import Request, Response
from .streams import MAX_STREAMED

if TYPE_CHECKING:
    from .environments import Invocation

_BASE = "/2018-06-01/runtime/"
MAX_RESPONSE = 6_291_556
"""Bytes of an answer that is not streamed."""
_MAX_ERROR = 1 << 20
_MAX_READ = 256 << 20  # a larger answer is not even read to its end
_ACCEPTED = b'{"status":"OK"}\n'


class RuntimeApi:
    """An application for the web server: ``next``, ``response``, ``error`` and ``init/error`` of one process."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()  # the process has loaded its handler, or has told why it cannot
        self.init_error: bytes | None = None
        self._offered: asyncio.Queue[Invocation | None] = asyncio.Queue()
        self._current: Invocation | None = None

    def offer(self, call: Invocation) -> None:
        """Give the process its next call."""
        self._current = call
        self._offered.put_nowait(call)

    def close(self) -> None:
        """Let go of a process that waits."""
        self._offered.put_nowait(None)

    async def __call__(self, request: Request) -> Response:
        """Answer the process."""
        path = request.path.removeprefix(_BASE)
        if request.method == "GET" and path == "invocation/next":
            return await self._next()
        parts = path.split("/")
        streams = request.headers.get("lambda-runtime-function-response-mode") == "streaming"
        if streams and request.method == "POST" and len(parts) == 3 and parts[2] == "response":
            return await self._streamed(parts[1], request)
        if request.method == "POST" and len(parts) == 3 and parts[0] == "invocation" and parts[2] == "response":
            return await self._whole(parts[1], request)
        body = await request.body.read(_MAX_ERROR)
        if request.method == "POST" and path == "init/error":
            self.init_error = body
            self.ready.set()
            if self._current is not None and not self._current.outcome.done():
                self._current.outcome.set_result((body, True))
            return _accepted()
        if request.method == "POST" and len(parts) == 3 and parts[0] == "invocation" and parts[2] == "error":
            return self._outcome(parts[1], body, True)
        return Response(404, {"Content-Type": "application/json"}, b'{"errorMessage":"no such path"}')

    async def _next(self) -> Response:
        self.ready.set()
        call = await self._offered.get()
        if call is None:
            return Response(410, {"Content-Type": "application/json"}, b'{"errorMessage":"shut down"}', close=True)
        headers = {
            "Content-Type": "application/json", "Lambda-Runtime-Aws-Request-Id": call.request_id,
            "Lambda-Runtime-Deadline-Ms": str(int(call.deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": call.arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{call.request_id[:8]}-{call.request_id.replace('-', '')[8:]};Sampled=0",
        }  # fmt: skip
        if call.client_context:
            headers["Lambda-Runtime-Client-Context"] = call.client_context
        return Response(200, headers, call.event)

    async def _streamed(self, request_id: str, request: Request) -> Response:
        """A response in pieces; one that breaks off is followed by the call that tells why."""
        call = self._current
        if call is None or call.request_id != request_id or call.outcome.done():
            return _refused()
        whole: list[bytes] = []
        size, limit = 0, MAX_RESPONSE if call.stream is None else MAX_STREAMED
        if call.stream is not None:
            call.stream.begin(request.headers.get("content-type", ""))
        async for piece in request.body:
            size += len(piece)
            if call.outcome.done():  # its time is over
                return _refused()
            if size > limit:
                call.outcome.set_result((_too_large(limit), True))
                return _refused()
            if call.stream is not None:
                await call.stream.put(piece)
            else:
                whole.append(piece)
        if not call.outcome.done():
            call.outcome.set_result((b"".join(whole), False))
        return _accepted()

    async def _whole(self, request_id: str, request: Request) -> Response:
        """A response in one piece. One that is too large is read all the same: the process can take another call."""
        pieces: list[bytes] = []
        size = 0
        async for piece in request.body:
            size += len(piece)
            if size <= MAX_RESPONSE:
                pieces.append(piece)
            elif size > _MAX_READ:
                break
            else:
                pieces.clear()
        if size > MAX_RESPONSE:
            return self._outcome(request_id, _too_large(MAX_RESPONSE), True)
        return self._outcome(request_id, b"".join(pieces), False)

    def _outcome(self, request_id: str, body: bytes, failed: bool) -> Response:
        call = self._current
        if call is None or call.request_id != request_id or call.outcome.done():
            return _refused()
        call.outcome.set_result((body, failed))
        return _accepted()


def _too_large(limit: int) -> bytes:
    text = f"Response payload size exceeded maximum allowed payload size ({limit} bytes)."
    return json.dumps({"errorType": "Function.ResponseSizeTooLarge", "errorMessage": text}).encode()


def _refused() -> Response:
    return Response(400, {"Content-Type": "application/json"}, b'{"errorMessage":"Invalid request ID"}')


def _accepted() -> Response:
    return Response(202, {"Content-Type": "application/json"}, _ACCEPTED)
