"""The local certificate authority vouches for AWS's host names, and clients believe it of no other."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography import x509

from clary.gateway.authority import Authority


def shake_hands(authority: Authority, host: str) -> None:
    """Complete a handshake in memory with a client that trusts the authority; SSLError if it refuses."""
    client = ssl.create_default_context(cafile=str(authority.certificate_path))
    ours, theirs = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = authority.context(host).wrap_bio(theirs, ours, server_side=True)
    caller = client.wrap_bio(ours, theirs, server_hostname=host)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for side in (caller, server):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass


def test_aws_names_are_vouched_for(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    for host in ("sts.amazonaws.com", "runtime.sagemaker.eu-west-1.amazonaws.com", "x.lambda-url.us-east-1.on.aws"):
        shake_hands(authority, host)


@pytest.mark.parametrize("host", ["example.com", "amazonaws.com.example.org", "127.0.0.1"])
def test_no_other_name_is_believed(tmp_path: Path, host: str) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(Authority(tmp_path), host)


def test_it_is_kept_and_replaced_if_it_is_not_bound_to_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clary.gateway.authority._constraints", lambda: x509.NameConstraints([x509.DNSName("")], None))
    first = Authority(tmp_path).certificate_path.read_bytes()
    monkeypatch.undo()
    assert Authority(tmp_path).certificate_path.read_bytes() == first
    monkeypatch.setattr("clary.gateway.authority._RENEWED_DAYS", 100_000)
    renewed = Authority(tmp_path).certificate_path.read_bytes()
    assert renewed != first
    assert (tmp_path / "ca-bundle.pem").read_bytes().startswith(renewed)
