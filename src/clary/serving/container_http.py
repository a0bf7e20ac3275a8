"""HTTP as a model's container is asked: the request for an invocation, and what its answer says.

The contract is AWS's ("Use your own inference code with hosting services": ``/ping``, ``/invocations``, port 8080).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import httptools

PORT = 8080
MAX_ANSWER = 64 << 20
MAX_HEAD = 64 << 10
CUT_SHORT = "the container closed the connection before its answer was complete"

_NAMES = (b"Content-Type", b"Accept", b"X-Amzn-SageMaker-Custom-Attributes", b"X-Amzn-SageMaker-Inference-Id")
_OCTETS = b"application/octet-stream"


def request(method: bytes, path: bytes, body: bytes = b"", headers: bytes = b"") -> bytes:
    """The bytes of a request; ``headers`` are whole lines."""
    return b"%b %b HTTP/1.1\r\nHost: localhost:%d\r\n%bContent-Length: %d\r\n\r\n%b" % (
        method, path, PORT, headers, len(body), body,
    )  # fmt: skip


def invocation(path: bytes, fields: Sequence[bytes], body: bytes, more: bytes = b"") -> bytes:
    """A request with the headers that SageMaker passes on; ``fields`` are those of a request's head (``frames``)."""
    lines: list[bytes] = []
    for name, value in zip(_NAMES, fields, strict=False):
        if value:
            lines += (name, b": ", value.translate(None, b"\r\n"), b"\r\n")
    if len(fields) > 5 and fields[5]:
        lines += (b"X-Amzn-SageMaker-Session-Id: ", fields[5].translate(None, b"\r\n"), b"\r\n")
    return request(b"POST", path, body, b"".join(lines) + more)


def fields(headers: dict[bytes, bytes]) -> tuple[bytes, bytes]:
    """Content type, and custom attributes with the notes behind them, of an answer."""
    get = headers.get
    custom, begun = get(b"x-amzn-sagemaker-custom-attributes", b""), get(b"x-amzn-sagemaker-new-session-id")
    closed = get(b"x-amzn-sagemaker-closed-session-id")
    if begun:
        custom += b"\0new-session=" + begun
    if closed:
        custom += b"\0closed-session=" + closed
    return get(b"content-type") or _OCTETS, custom


class Response:
    """One answer, while it comes. ``took`` gets the body of a success in pieces; else it is kept."""

    def __init__(self, took: Callable[[bytes], None] | None = None):
        self.status = 0
        self.headers: dict[bytes, bytes] = {}
        self.complete = False
        self.keep_alive = False
        self.broken = ""  # why it is none
        self._took = took
        self._parts: list[bytes] = []
        self._size = 0
        self._head_size = 0
        self._headed = False
        self._until_end = False
        self._parser = httptools.HttpResponseParser(self)

    @property
    def body(self) -> bytes:
        """What was kept of the body."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)

    def head(self) -> bytes:
        """The head of the answer, as frames have it."""
        content_type, custom = fields(self.headers)
        return b"%d\0%b\0%b" % (self.status, content_type, custom)

    def feed(self, data: bytes) -> None:
        """Some bytes of it; afterwards it may be complete, or broken."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if not self.complete:
                self.broken = f"the container's answer is not HTTP: {error}"
            self.keep_alive = False
        if not self._headed:  # a header without an end is kept by the parser
            self._count_head(len(data))

    def _count_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > MAX_HEAD and not self.complete:
            self.broken = f"the container's answer has more than {MAX_HEAD >> 10} KiB of headers"

    def end(self) -> None:
        """The connection is closed, which ends answers that do not say how long they are."""
        if self._until_end and self.status >= 200:
            self.complete = True
        elif not self.complete:
            self.broken = CUT_SHORT

    # ---- the parser's calls ----------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """Another one; behind a complete one nobody asked for it."""
        if self.complete:
            self.keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header."""
        if not self.complete and not self.broken:
            self.headers[name.lower()] = value
            if self._headed:  # behind the body
                self._count_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """The status and all headers are there."""
        if not self.complete:
            self.status = self._parser.get_status_code()
            self._headed = self.status >= 200
            self._until_end = b"content-length" not in self.headers and b"transfer-encoding" not in self.headers

    def on_body(self, data: bytes) -> None:
        """A part of the body."""
        if self.complete or self.broken:
            return
        if self._took is not None and 200 <= self.status < 300:
            self._took(data)
            return
        self._parts.append(data)
        self._size += len(data)
        if self._size > MAX_ANSWER:
            self._parts = []
            self.broken = f"the container's answer is larger than {MAX_ANSWER >> 20} MiB"

    def on_message_complete(self) -> None:
        """The end; after an interim answer the real one follows."""
        if self.complete or self.broken:
            return
        if self.status < 200:
            self.headers = {}
        else:
            self.complete = True
            self.keep_alive = bool(self._parser.should_keep_alive())
