"""The ``aws-chunked`` body: sized chunks, signed or not, and trailing headers.

Source: the AWS document "Signature calculations for the Authorization header: transferring payload in multiple chunks".
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from dataclasses import dataclass

from . import signature
from .message import Malformed
from .signature import EMPTY_SHA256, Scope

MAX_LINE = 16 << 10
STREAMING = "STREAMING-"
"""What ``x-amz-content-sha256`` begins with when the body is ``aws-chunked``."""


class BadChunkSignature(Exception):
    """A chunk's signature, or the trailer's, is not what the key makes of its bytes."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs chunk after chunk, each over the signature before it."""

    secret: str
    scope: Scope
    amz_date: str
    seed: str


class Decoder:
    """Takes the encoded bytes as they come, gives the decoded ones; ``trailers`` is filled at the end."""

    def __init__(self, signer: Signer | None = None):
        self.trailers: dict[str, str] = {}
        self.done = False
        self._signer = signer
        self._previous = signer.seed if signer else ""
        self._buffer = b""
        self._left = 0  # bytes of the current chunk still to come
        self._claimed = ""
        self._hash = hashlib.sha256()
        self._state = "size"
        self._trailer_text = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Decoded pieces; raises Malformed, BadChunkSignature."""
        self._buffer = self._buffer + data if self._buffer else data
        while True:
            match self._state:
                case "data":
                    if not self._buffer:
                        return
                    piece = self._buffer[: self._left]
                    self._buffer = self._buffer[len(piece) :]
                    self._left -= len(piece)
                    if self._signer:
                        self._hash.update(piece)
                    yield piece
                    if self._left == 0:
                        self._end_chunk()
                        self._state = "gap"
                case "done":
                    self._buffer = b""
                    return
                case _:
                    if (line := self._line()) is None:
                        return
                    self._step(line)

    def finish(self) -> None:
        """The body has ended; Malformed when the last chunk had not come."""
        if self._state == "trailer" and not self._buffer:
            self._end_trailers()
        if not self.done:
            raise Malformed("the request body ended before its last chunk")

    def _line(self) -> bytes | None:
        line, found, rest = self._buffer.partition(b"\r\n")
        if not found:
            if len(self._buffer) > MAX_LINE:
                raise Malformed("a chunk header is too long")
            return None
        self._buffer = rest
        return line

    def _step(self, line: bytes) -> None:
        match self._state:
            case "gap":
                if line:
                    raise Malformed("a chunk is longer than its size")
                self._state = "size"
            case "size":
                size, _, extension = line.partition(b";")
                self._claimed = extension.partition(b"chunk-signature=")[2].decode("latin-1")
                try:
                    self._left = int(size, 16)
                except ValueError:
                    raise Malformed("a chunk's size is not a hexadecimal number") from None
                if self._left < 0:
                    raise Malformed("a chunk's size is negative")
                self._hash = hashlib.sha256()
                if self._left == 0:
                    self._end_chunk()
                    self._state = "trailer"
                else:
                    self._state = "data"
            case "trailer":
                if not line:
                    self._end_trailers()
                    return
                name, _, value = line.decode("latin-1").partition(":")
                name = name.strip().lower()
                if name != "x-amz-trailer-signature":
                    self._trailer_text += f"{name}:{value.strip()}\n".encode()
                self.trailers[name] = value.strip()
                if len(self.trailers) > 16:
                    raise Malformed("too many trailing headers")

    def _end_trailers(self) -> None:
        claimed = self.trailers.pop("x-amz-trailer-signature", None)
        if self._signer and claimed is not None:
            text = "\n".join(
                (
                    "AWS4-HMAC-SHA256-TRAILER", self._signer.amz_date, str(self._signer.scope), self._previous,
                    hashlib.sha256(self._trailer_text).hexdigest(),
                )
            )  # fmt: skip
            self._compare(text, claimed)
        self.done = True
        self._state = "done"

    def _end_chunk(self) -> None:
        if not self._signer:
            return
        text = "\n".join(
            (
                "AWS4-HMAC-SHA256-PAYLOAD", self._signer.amz_date, str(self._signer.scope), self._previous,
                EMPTY_SHA256, self._hash.hexdigest(),
            )
        )  # fmt: skip
        self._previous = self._compare(text, self._claimed)

    def _compare(self, text: str, claimed: str) -> str:
        assert self._signer is not None
        expected = hmac.digest(
            signature.signing_key(self._signer.secret, self._signer.scope), text.encode(), "sha256"
        ).hex()
        if not signature.same(expected, claimed):
            raise BadChunkSignature
        return expected
