"""Signatures that botocore makes are the ones we calculate."""

from __future__ import annotations

import contextlib
import hashlib

import pytest
from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from clary.wire import signature

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
_CREDENTIALS = Credentials("AKIDEXAMPLE", SECRET)
_paths = st.lists(st.text("abcXYZ019-._~/ %+é&=", min_size=1, max_size=8), max_size=4)
_pairs = st.dictionaries(
    st.text("abcXYZ-_ é", min_size=1, max_size=6), st.text("abc 019+&=/é%", max_size=8), max_size=4
)


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")


def _check(service: str, signer: type, path: str, query: dict[str, str], body: bytes) -> None:
    text = "&".join(f"{_quoted(k)}={_quoted(v)}" for k, v in query.items())
    url = f"http://localhost:4566{path}" + (f"?{text}" if text else "")
    request = AWSRequest(
        "POST", url, data=body, headers={"Content-Type": "text/plain", "X-Amz-Meta-A": " two  spaces "}
    )
    signer(_CREDENTIALS, service, "eu-west-1").add_auth(request)
    headers = {k.lower(): v for k, v in request.headers.items()} | {"host": "localhost:4566"}
    claim = signature.from_header(headers)
    digest = headers.get("x-amz-content-sha256") or hashlib.sha256(body).hexdigest()
    canonical = signature.canonical_request("POST", path, text, headers, claim.signed_headers, digest, service)
    assert (
        signature.sign(SECRET, claim.scope, signature.string_to_sign(canonical, claim.amz_date, claim.scope))
        == claim.signature
    )


@given(_paths, _pairs, st.binary(max_size=64))
def test_sigv4_agrees_with_botocore(parts: list[str], query: dict[str, str], body: bytes) -> None:
    _check("sagemaker", SigV4Auth, "/" + "/".join(_quoted(p) for p in parts), query, body)


@given(_paths, _pairs, st.binary(max_size=64))
def test_s3_sigv4_agrees_with_botocore(parts: list[str], query: dict[str, str], body: bytes) -> None:
    _check("s3", S3SigV4Auth, "/" + "/".join(_quoted(p) for p in parts), query, body)


def test_presigned_urls_agree_with_botocore() -> None:
    request = AWSRequest("GET", "http://localhost:4566/bucket/a%20key")
    S3SigV4QueryAuth(_CREDENTIALS, "s3", "eu-west-1", expires=600).add_auth(request)
    from urllib.parse import urlsplit

    parts = urlsplit(request.url)
    claim = signature.from_query(parts.query)
    canonical = signature.canonical_request(
        "GET", parts.path, parts.query, {"host": "localhost:4566"}, claim.signed_headers, signature.UNSIGNED, "s3"
    )
    assert (
        signature.sign(SECRET, claim.scope, signature.string_to_sign(canonical, claim.amz_date, claim.scope))
        == claim.signature
    )
    assert claim.expires == 600


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("AWS4-HMAC-SHA256 Signature=a", "'Credential'"),
        ("AWS4-HMAC-SHA256 Credential=a/b/c/d/aws4_request, SignedHeaders=host", "'Signature'"),
        ("Basic abc", "Unsupported AWS 'algorithm'"),
        ("AWS4-HMAC-SHA256 Credential=short, SignedHeaders=host, Signature=a", "5 slash-delimited"),
    ],
)
def test_malformed_authorization_says_what_is_missing(header: str, words: str) -> None:
    with pytest.raises(signature.MalformedSignature, match=words):
        signature.from_header({"authorization": header, "x-amz-date": "20260101T000000Z"})


@given(st.text(max_size=60))
def test_any_authorization_header_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(signature.MalformedSignature):
        signature.from_header({"authorization": text, "x-amz-date": "20260101T000000Z"})
