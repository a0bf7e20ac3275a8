"""Receiving an object's bytes: decode, verify, write aside – in constant memory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from ...provider.context import Context
from ...provider.errors import coded
from ...store.blobs import BlobWriter
from ...store.object import Segment
from ...web import Body, Disconnected, Request
from ...wire.bounded import digits
from ...wire.chunked import STREAMING, BadChunkSignature, Decoder, Signer
from ...wire.message import Malformed
from . import checksums

SMALL = 128 << 10
"""Bodies up to this size are read whole and stored in one step."""

BLOCK = 4 << 20
MAX_PUT = 5 << 30


@dataclass(frozen=True, slots=True)
class Received:
    """A verified body, and where its bytes are."""

    segments: tuple[Segment, ...]
    size: int
    md5: bytes
    checksum: dict[str, Any]  # algorithm, value, type
    data: bytes | None = None  # the bytes themselves, when they are few; they go into the row


class _Digests:
    """Every digest that a body needs, over blocks as they come."""

    def __init__(self, algorithm: str, sha256: bool):
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.algorithm = algorithm
        self.sum = checksums.start(algorithm)
        self.sha = hashlib.sha256() if sha256 else None
        self.size = 0

    def update(self, parts: list[bytes]) -> None:
        """Everything but the MD5, which is slow enough to have a thread of its own."""
        for data in parts:
            self.size += len(data)
            self.sum.update(data)
            if self.sha:
                self.sha.update(data)

    def update_md5(self, parts: list[bytes]) -> None:
        """The MD5."""
        for data in parts:
            self.md5.update(data)


class Receiver:
    """Takes one request's body."""

    def __init__(self, ctx: Context, request: dict[str, Any]):
        self._ctx = ctx
        self._headers = ctx.http.headers
        body, proof = ctx.body
        self._body: Body = body
        hashed = proof.payload_hash or ""
        self._decoder = _decoder(ctx.http, proof, hashed) if hashed.startswith(STREAMING) else None
        self._sha = hashed if len(hashed) == 64 and proof.secret else None
        self._claimed = checksums.claimed(self._headers)
        trailer = self._headers.get("x-amz-trailer", "").lower().removeprefix("x-amz-checksum-").upper()
        wanted = str(request.get("ChecksumAlgorithm") or "").upper()
        named = self._claimed[0] if self._claimed else trailer if trailer in checksums.ALGORITHMS else wanted
        self._digests = _Digests(named if named in checksums.ALGORITHMS else "CRC64NVME", self._sha is not None)
        self.length = self._length()
        if self.length is not None and self.length > MAX_PUT:
            raise coded(
                "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", 400,
                ProposedSize=self.length, MaxSizeAllowed=MAX_PUT,
            )  # fmt: skip

    def _length(self) -> int | None:
        text = self._headers.get("x-amz-decoded-content-length") if self._decoder else None
        if text is None:
            if self._decoder is None and self._body.length is None:
                raise coded("MissingContentLength", "You must provide the Content-Length HTTP header.", 411)
            return self._body.length if self._decoder is None else None
        if not digits(text):
            raise coded("InvalidArgument", "x-amz-decoded-content-length is not a number", 400)
        return int(text)

    async def small(self) -> bytes | None:
        """The decoded bytes of a small body, or None when it must be streamed."""
        if self.length is None or self.length > SMALL:
            return None
        parts = [part async for part in self._decoded()]
        return b"".join(parts)

    async def stream(self) -> Received:
        """Write a body of any size aside and verify it."""
        loop = asyncio.get_running_loop()
        writer = await loop.run_in_executor(self._ctx.platform.threads, self._ctx.platform.blobs.create)
        try:
            held: list[bytes] = []
            size = 0
            async for part in self._decoded():
                held.append(part)
                size += len(part)
                if size >= BLOCK:
                    await asyncio.gather(
                        loop.run_in_executor(self._ctx.platform.threads, self._digests.update_md5, held),
                        loop.run_in_executor(self._ctx.platform.threads, self._take, writer, held),
                    )
                    held, size = [], 0
            return await loop.run_in_executor(self._ctx.platform.threads, self._end, writer, held)
        finally:
            writer.discard()

    def hold(self, data: bytes) -> Received:
        """Verify the bytes of a body that is small enough for a row."""
        self._digests.update_md5([data])
        self._digests.update([data])
        return Received((), len(data), self._digests.md5.digest(), self._verify(), data)

    def store(self, data: bytes) -> Received:
        """Write a small body's bytes and verify them; call it in a thread."""
        writer = self._ctx.platform.blobs.create()
        try:
            return self._end(writer, [data])
        finally:
            writer.discard()

    def _take(self, writer: BlobWriter, parts: list[bytes]) -> None:
        self._digests.update(parts)
        for data in parts:
            writer.write(data)
        if writer.size > MAX_PUT:
            raise coded("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", 400)

    def _end(self, writer: BlobWriter, parts: list[bytes]) -> Received:
        self._digests.update_md5(parts)
        self._take(writer, parts)
        checksum = self._verify()
        segments = (Segment(writer.commit(), writer.size),) if writer.size else ()
        return Received(segments, writer.size, self._digests.md5.digest(), checksum)

    async def _decoded(self) -> AsyncIterator[bytes]:
        try:
            if self._decoder is None:
                async for data in self._body:
                    yield data
                return
            async for data in self._body:
                for piece in self._decoder.feed(data):
                    yield piece
            self._decoder.finish()
        except Malformed as error:
            raise coded("IncompleteBody", f"The request body is not a valid aws-chunked stream: {error}", 400) from None
        except BadChunkSignature:
            raise coded(
                "SignatureDoesNotMatch",
                "The request signature we calculated does not match the signature you provided. Check your key and "
                "signing method.", 403,
            ) from None  # fmt: skip
        except Disconnected:
            raise

    def _verify(self) -> dict[str, Any]:
        digests = self._digests
        if self.length is not None and digests.size != self.length:
            text = "You did not provide the number of bytes specified by the Content-Length HTTP header"
            raise coded("IncompleteBody", text, 400)
        if self._sha is not None and digests.sha is not None and digests.sha.hexdigest() != self._sha:
            raise coded(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.", 400,
                ClientComputedContentSHA256=self._sha, S3ComputedContentSHA256=digests.sha.hexdigest(),
            )  # fmt: skip
        self._verify_md5(digests.md5.digest())
        value = checksums.encode(digests.sum.digest())
        told = self._claimed[1] if self._claimed else self._told_by_trailer()
        if told is not None and told != value:
            text = f"The {digests.algorithm} you specified did not match the calculated checksum."
            raise coded("BadDigest", text, 400)
        return {"algorithm": digests.algorithm, "value": value, "type": "FULL_OBJECT"}

    def _told_by_trailer(self) -> str | None:
        if self._decoder is None:
            return None
        value = self._decoder.trailers.get(checksums.header(self._digests.algorithm))
        if value is not None:
            checksums.check_form(self._digests.algorithm, value)
        return value

    def _verify_md5(self, digest: bytes) -> None:
        text = self._headers.get("content-md5")
        if text is None:
            return
        try:
            stated = base64.b64decode(text, validate=True)
        except ValueError:
            stated = b""
        if len(stated) != 16:
            raise coded("InvalidDigest", "The Content-MD5 you specified was invalid.", 400)
        if stated != digest:
            raise coded(
                "BadDigest", "The Content-MD5 you specified did not match what we received.", 400,
                ExpectedDigest=text, CalculatedDigest=checksums.encode(digest),
            )  # fmt: skip


def _decoder(request: Request, proof: Any, hashed: str) -> Decoder:
    if "UNSIGNED" in hashed or proof.claim is None or not proof.secret:
        return Decoder()
    return Decoder(Signer(proof.secret, proof.claim.scope, proof.claim.amz_date, proof.claim.signature))


def decode_whole(request: Request, proof: Any, body: bytes, hashed: str) -> bytes:
    """The decoded bytes of an ``aws-chunked`` body that was read whole (documents, batch deletes)."""
    decoder = _decoder(request, proof, hashed)
    try:
        data = b"".join(decoder.feed(body))
        decoder.finish()
    except (Malformed, BadChunkSignature) as error:
        raise coded("IncompleteBody", f"The request body is not a valid aws-chunked stream: {error}", 400) from None
    return data
