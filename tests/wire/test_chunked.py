"""The aws-chunked body, however it is cut into pieces."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.wire import signature
from clary.wire.chunked import BadChunkSignature, Decoder, Signer
from clary.wire.message import Malformed
from clary.wire.signature import Scope

_SCOPE = Scope("20260101", "us-east-1", "s3")
_SIGNER = Signer("secret", _SCOPE, "20260101T000000Z", "f" * 64)


def _encode(chunks: list[bytes], signed: bool, trailers: dict[str, str]) -> bytes:
    out, previous = b"", _SIGNER.seed
    for chunk in [*chunks, b""]:
        extension = b""
        if signed:
            text = "\n".join(
                (
                    "AWS4-HMAC-SHA256-PAYLOAD",
                    _SIGNER.amz_date,
                    str(_SCOPE),
                    previous,
                    signature.EMPTY_SHA256,
                    hashlib.sha256(chunk).hexdigest(),
                )
            )
            previous = hmac.digest(signature.signing_key("secret", _SCOPE), text.encode(), "sha256").hex()
            extension = b";chunk-signature=" + previous.encode()
        out += b"%x%b\r\n" % (len(chunk), extension) + (chunk + b"\r\n" if chunk else b"")
    return out + b"".join(f"{k}:{v}\r\n".encode() for k, v in trailers.items()) + b"\r\n"


@given(
    st.lists(st.binary(min_size=1, max_size=40), max_size=5), st.booleans(), st.lists(st.integers(1, 30), min_size=1)
)
def test_what_was_encoded_comes_out_whatever_the_pieces(chunks: list[bytes], signed: bool, cuts: list[int]) -> None:
    data = _encode(chunks, signed, {"x-amz-checksum-crc32": "AAAAAA=="})
    decoder, out, at, i = Decoder(_SIGNER if signed else None), b"", 0, 0
    while at < len(data):
        step = cuts[i % len(cuts)]
        out += b"".join(decoder.feed(data[at : at + step]))
        at, i = at + step, i + 1
    decoder.finish()
    assert out == b"".join(chunks)
    assert decoder.trailers == {"x-amz-checksum-crc32": "AAAAAA=="}


def test_a_changed_byte_in_a_signed_chunk_is_noticed() -> None:
    data = _encode([b"hello world"], True, {}).replace(b"world", b"w0rld")
    with pytest.raises(BadChunkSignature):
        list(Decoder(_SIGNER).feed(data))


@pytest.mark.parametrize("data", [b"zz\r\n", b"5\r\nab", b"3\r\nabcdef\r\n0\r\n\r\n", b"-1\r\n\r\n", b"x" * 20000])
def test_bodies_that_are_not_chunked_are_refused(data: bytes) -> None:
    decoder = Decoder()
    with pytest.raises(Malformed):
        list(decoder.feed(data))
        decoder.finish()


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    decoder = Decoder()
    try:
        list(decoder.feed(data))
        decoder.finish()
    except Malformed:
        pass
