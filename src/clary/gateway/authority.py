"""The local certificate authority: made at the first start, kept in the home folder, good for AWS's host names only.

Whoever steals its key can stand in for AWS towards programs that trust it, and for no other site (RFC 5280, 4.2.1.10).
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import ssl
from functools import lru_cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DOMAINS = ("amazonaws.com", "amazonaws.com.cn", "api.aws", "sagemaker.aws", "on.aws")
_DAY = datetime.timedelta(days=1)
_DAYS = 730
_RENEWED_DAYS = 60
"""Days before its end from which an authority is replaced at the next start."""


class Authority:
    """Signs certificates for the host names that the proxy stands in for."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.certificate_path = folder / "ca.pem"
        self.bundle_path = folder / "ca-bundle.pem"
        self._key_path = folder / "ca.key"
        folder.mkdir(parents=True, exist_ok=True)
        if not (self.certificate_path.exists() and self._key_path.exists() and self._usable()):
            self._make()
        self._certificate = x509.load_pem_x509_certificate(self.certificate_path.read_bytes())
        key = serialization.load_pem_private_key(self._key_path.read_bytes(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        self._key = key
        self._contexts = lru_cache(maxsize=256)(self._context)

    def _usable(self) -> bool:
        """Whether the authority lasts a while, and is bound to AWS's names (those of earlier versions are not)."""
        try:
            certificate = x509.load_pem_x509_certificate(self.certificate_path.read_bytes())
            certificate.extensions.get_extension_for_class(x509.NameConstraints)
        except (ValueError, x509.ExtensionNotFound):
            return False
        left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        return left > _DAY * _RENEWED_DAYS

    def _make(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Clary local CA {os.urandom(4).hex()}")])
        certificate = (
            _builder(name, name, key.public_key(), _DAYS)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca=True), critical=True)
            .add_extension(_constraints(), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        _write(self._key_path, _pem(key), 0o600)
        _write(self.certificate_path, certificate.public_bytes(serialization.Encoding.PEM), 0o644)
        _write(self.bundle_path, self.certificate_path.read_bytes() + _system_roots(), 0o644)

    def context(self, host: str) -> ssl.SSLContext:
        """Return a server context whose certificate names a host; it is made anew long before the certificate ends."""
        return self._contexts(host, datetime.datetime.now(datetime.UTC).toordinal() // 30)

    def _context(self, host: str, _month: int) -> ssl.SSLContext:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
        certificate = (
            _builder(name, self._certificate.subject, key.public_key(), 90)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([_alternative(host)]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        path = self.folder / f".{os.urandom(8).hex()}.pem"
        try:
            _write(path, _pem(key) + certificate.public_bytes(serialization.Encoding.PEM), 0o600)
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.set_alpn_protocols(["http/1.1"])
            context.load_cert_chain(path)
            return context
        finally:
            path.unlink(missing_ok=True)


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY * days)
    )


def _constraints() -> x509.NameConstraints:
    """Only AWS's host names, and no address."""
    addresses = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))
    return x509.NameConstraints([x509.DNSName(name) for name in DOMAINS], [x509.IPAddress(net) for net in addresses])


def _usage(ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=ca, crl_sign=ca, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _alternative(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, mode: int) -> None:
    aside = path.with_name(path.name + ".new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(aside, path)


def _system_roots() -> bytes:
    """The system's own roots, so that a program with our bundle still trusts what it trusted."""
    found = ssl.get_default_verify_paths().cafile
    return Path(found).read_bytes() if found and Path(found).exists() else b""
