"""An answer that is sent while the model makes it: chunks of HTTP, each one frame of an event stream."""

from __future__ import annotations

import asyncio

import orjson

from ..wire.event_stream import frame

Headers = dict[str, str | bytes | int | bool]
_PART: Headers = {
    ":message-type": "event", ":event-type": "PayloadPart", ":content-type": "application/octet-stream",
}  # fmt: skip
_BROKEN: Headers = {
    ":message-type": "exception", ":exception-type": "ModelStreamError", ":content-type": "application/json",
}  # fmt: skip


class Pieces:
    """Writes one answer; its head is sent with the first piece, so that a model that refuses can still say so."""

    def __init__(self, transport: asyncio.Transport):
        self._transport = transport
        self.begun = False

    def begin(self, date: bytes, content_type: bytes, variant: bytes, extra: bytes, request_id: bytes) -> None:
        """Send the head; ``extra`` holds more header lines."""
        self.begun = True
        self._transport.write(
            b"HTTP/1.1 200 OK\r\n%bContent-Type: application/vnd.amazon.eventstream\r\n"
            b"X-Amzn-SageMaker-Content-Type: %b\r\nx-Amzn-Invoked-Production-Variant: %b\r\n%b"
            b"x-amzn-RequestId: %b\r\nTransfer-Encoding: chunked\r\n\r\n"
            % (date, content_type, variant, extra, request_id)
        )

    def put(self, piece: bytes) -> None:
        """Send a piece."""
        if piece:
            self._write(_PART, piece)

    def break_off(self, code: str, text: str) -> None:
        """Say why the answer ends early, and end it: its status has been sent."""
        self._write(_BROKEN, orjson.dumps({"Message": text, "ErrorCode": code}))
        self.finish()

    def finish(self) -> None:
        """End the answer."""
        self._transport.write(b"0\r\n\r\n")

    def _write(self, headers: Headers, payload: bytes) -> None:
        event = frame(headers, payload)
        self._transport.write(b"%x\r\n%b\r\n" % (len(event), event))
