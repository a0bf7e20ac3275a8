"""SigV4 for the data plane: everything that repeats between requests is looked up, the rest is two hashes and a MAC.

Those are ``native.signatures``' where it is compiled. The check is the gateway's (``wire.signature``); what differs is that keys come from the table and results are kept.
"""

from __future__ import annotations

import hmac
import time
from binascii import hexlify
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, NoReturn

from ..native import load
from ..sessions import Credential, Seal
from ..sites import Sites
from ..wire import signature
from ..wire.regions import regions
from ..wire.signature import MalformedSignature
from .table import Table

wall: Final = time.time
_CACHE = 8192
_LONGEST_KEPT = 4096  # bytes
_SKEW_SECONDS = 300
_PREFIX, _NAMES, _LAST = b"AWS4-HMAC-SHA256 Credential=", b", SignedHeaders=", b", Signature="
_SIGNATURE = 64
"""Characters of a signature."""


class Denied(Exception):
    """Not authenticated; code, message and status as the runtime spells them."""

    def __init__(self, code: str, message: str, status: int = 403):
        super().__init__(message)
        self.code = code
        self.status = status


@dataclass(frozen=True, slots=True)
class Principal:
    """Whose request it is, and the region it was signed for."""

    account: str
    region: str


@dataclass(frozen=True, slots=True)
class _Key:
    """All that is derived from one ``Credential=`` text."""

    signer: Any  # a _Signer, or the compiled one
    scope: bytes
    date: bytes
    principal: Principal
    expires: float


@dataclass(frozen=True, slots=True)
class _Claim:
    """What an Authorization header says before its signature."""

    key: _Key
    names: tuple[bytes, ...]
    signed: bytes  # the names, joined
    length: int


class _Signer:
    """One signing key. HMAC (RFC 2104) begins with a block made of the key, twice: both are hashed once a key."""

    def __init__(self, key: bytes):
        self._inner = sha256(bytes([b ^ 0x36 for b in key.ljust(64, b"\0")]))
        self._outer = sha256(bytes([b ^ 0x5C for b in key.ljust(64, b"\0")]))

    def signature(
        self,
        path: bytes,
        names: tuple[bytes, ...],
        headers: dict[bytes, bytes],
        signed: bytes,
        date: bytes,
        scope: bytes,
        body: bytes,
    ) -> bytes | None:
        """Return the signature, in hex, of a POST to a canonical path and query; None if ``_unsigned`` finds a header.

        Raises KeyError for a signed header that is missing.
        """
        if _unsigned(headers, names) is not None:
            return None
        first, second = self._inner.copy(), self._outer.copy()
        first.update(_to_sign(_canonical(path, names, headers, signed, body), date, scope))
        second.update(first.digest())
        return hexlify(second.digest())


def _canonical(path: bytes, names: tuple[bytes, ...], headers: dict[bytes, bytes], signed: bytes, body: bytes) -> bytes:
    """The canonical request; ``signed`` is what ``names`` are when they are joined."""
    lines = b"\n".join([n + b":" + headers[n] for n in names])
    return b"".join((b"POST\n", path, b"\n", lines, b"\n\n", signed, b"\n", hexlify(sha256(body).digest())))


def _to_sign(canonical: bytes, date: bytes, scope: bytes) -> bytes:
    """The string to sign."""
    return b"\n".join((b"AWS4-HMAC-SHA256", date, scope, hexlify(sha256(canonical).digest())))


def _unsigned(headers: dict[bytes, bytes], names: tuple[bytes, ...]) -> bytes | None:
    """Return a header of the service that is present and not among the signed ones; None if there is none."""
    for name in headers:
        if name.startswith(b"x-amz-") and name not in names:
            return name
    return None


def _refuse_unsigned(name: bytes) -> NoReturn:
    text = f"'{name.decode('latin-1')}' must be a 'SignedHeader' in the AWS Authorization."
    raise Denied("InvalidSignatureException", text)


class Authenticator:
    """Checks requests against one table."""

    def __init__(self, table: Table):
        self._table = table
        self._seal = Seal(bytes.fromhex(table.seal)) if table.seal else None
        self._secrets = {k.id: k for k in table.keys}
        native = load("signatures")
        self._signer: Any = native.Signer if native is not None and native.AVAILABLE else _Signer
        self._sites = Sites(table.hosts)
        self._keys: dict[tuple[bytes, bytes | None], _Key] = {}
        self._times: dict[bytes, int] = {}
        self._claims: dict[bytes, _Claim] = {}

    def check_head(self, headers: dict[bytes, bytes]) -> None:
        """Raise Denied for a request that no body can make valid, before its body is read."""
        if not self._table.open and (missing := _unsigned(headers, self._claim(headers).names)) is not None:
            _refuse_unsigned(missing)

    def _claim(self, headers: dict[bytes, bytes]) -> _Claim:
        """Check key, time and scope: what the head alone decides."""
        authorization = headers.get(b"authorization")
        if authorization is None:
            raise Denied("MissingAuthenticationTokenException", "Missing Authentication Token")
        token = headers.get(b"x-amz-security-token")
        claim = self._claims.get(authorization[:-_SIGNATURE] if token is None else token + authorization[:-_SIGNATURE])
        if claim is None:
            claim = self._read(authorization, token, headers)
        date = headers.get(b"x-amz-date")
        if date is None:
            raise Denied(
                "IncompleteSignatureException",
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
            )
        self._check_time(date, claim.key)
        return claim

    def check(self, path: bytes, headers: dict[bytes, bytes], body: bytes) -> Principal:
        """Return who signed a POST to a (canonical) path and query; raise Denied if no known key did."""
        if self._table.open:
            return self._open(headers.get(b"authorization"), headers)
        claim = self._claim(headers)
        key, names, signed, date = claim.key, claim.names, claim.signed, headers[b"x-amz-date"]
        try:
            expected = key.signer.signature(path, names, headers, signed, date, key.scope, body)
        except KeyError as error:
            raise Denied("IncompleteSignatureException", f"The signed header {error} is not in the request.") from None
        if expected is None:
            _refuse_unsigned(_unsigned(headers, names) or b"")
        if not hmac.compare_digest(expected, headers[b"authorization"][claim.length :]):
            self._wrong(_canonical(path, names, headers, signed, body), date, key.scope, headers)
        return key.principal

    def _read(self, authorization: bytes, token: bytes | None, headers: dict[bytes, bytes]) -> _Claim:
        """What an Authorization header says before its signature; kept, for a client says it over and over."""
        at_names = authorization.find(_NAMES, len(_PREFIX))
        at_signature = authorization.find(_LAST, at_names + len(_NAMES))
        if not authorization.startswith(_PREFIX) or at_names < 0 or at_signature < 0:
            self._refuse(authorization, headers)
        credential, signed = (
            authorization[len(_PREFIX) : at_names],
            authorization[at_names + len(_NAMES) : at_signature],
        )
        key = self._keys.get((credential, token)) or self._derive(credential, token)
        names = tuple(signed.split(b";"))
        claim = _Claim(key, names, signed, at_signature + len(_LAST))
        if b"host" not in names:
            raise Denied("InvalidSignatureException", "'Host' must be a 'SignedHeader' in the AWS Authorization.")
        said = authorization[: claim.length] if token is None else token + authorization[: claim.length]
        if len(authorization) == claim.length + _SIGNATURE and len(said) <= _LONGEST_KEPT:
            if len(self._claims) >= _CACHE:
                self._claims.clear()
            self._claims[said] = claim
        return claim

    def _open(self, authorization: bytes | None, headers: dict[bytes, bytes]) -> Principal:
        def header(name: str) -> str | None:
            value = headers.get(name.encode())
            return None if value is None else value.decode("latin-1")

        if (refusal := self._sites.refusal(header)) is not None:
            raise Denied("AccessDeniedException", refusal)
        account, region = self._table.account, "us-east-1"
        if authorization is not None and authorization.startswith(_PREFIX):
            parts = authorization[len(_PREFIX) :].split(b"/", 4)
            if len(parts) > 3:
                region = parts[2].decode("latin-1")
                key_id = parts[0].decode("latin-1")
                if len(key_id) == 12 and key_id.isdecimal():
                    account = key_id
                elif key_id in self._secrets:
                    account = self._secrets[key_id].account
                elif (token := headers.get(b"x-amz-security-token")) is not None and self._seal is not None:
                    session = self._seal.open(token.decode("latin-1"))
                    if session is not None and session.access_key == key_id:
                        account = session.account
        return Principal(account, region)

    def _refuse(self, authorization: bytes, headers: dict[bytes, bytes]) -> NoReturn:
        """A header that is spelled unusually: say what is wrong with it."""
        text = {k.decode("latin-1"): v.decode("latin-1") for k, v in headers.items()}
        try:
            claim = signature.from_header(text)
        except MalformedSignature as error:
            raise Denied("IncompleteSignatureException", str(error)) from None
        raise Denied(
            "IncompleteSignatureException",
            f"The Authorization header of key {claim.access_key} is not in the form "
            "'AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…, Signature=…'.",
        )

    def _derive(self, text: bytes, token: bytes | None) -> _Key:
        try:
            key_id, scope = signature.credential(text.decode("latin-1"))
        except MalformedSignature as error:
            raise Denied("IncompleteSignatureException", str(error)) from None
        credential = self._find(key_id, token)
        if scope.service != "sagemaker":
            raise Denied("InvalidSignatureException", "Credential should be scoped to correct service: 'sagemaker'.")
        if scope.region not in regions() and scope.region != self._table.region:
            raise Denied(
                "InvalidSignatureException", f"Credential should be scoped to a valid region, not '{scope.region}'."
            )
        made = _Key(
            self._signer(signature.signing_key(credential.secret, scope)), str(scope).encode(), scope.date.encode(),
            Principal(credential.account, scope.region), credential.expires or 1e18,
        )  # fmt: skip
        if len(self._keys) >= _CACHE:
            self._keys.clear()
        self._keys[text, token] = made
        return made

    def _find(self, key_id: str, token: bytes | None) -> Credential:
        if token is not None and self._seal is not None:
            found = self._seal.open(token.decode("latin-1"))
            if found is not None and found.access_key == key_id:
                return found
        elif key := self._secrets.get(key_id):
            return Credential(key.id, key.secret, key.account, "", "", "user")
        raise Denied("UnrecognizedClientException", "The security token included in the request is invalid.")

    def _check_time(self, date: bytes, key: _Key) -> None:
        at = self._times.get(date)
        if at is None:
            try:
                at = signature.seconds(date.decode("latin-1"))
            except MalformedSignature as error:
                raise Denied("IncompleteSignatureException", str(error)) from None
            if len(self._times) >= _CACHE:
                self._times.clear()
            self._times[date] = at
        now = wall()
        if not date.startswith(key.date):
            raise Denied(
                "InvalidSignatureException", "Date in Credential scope does not match the date of the request."
            )
        if abs(now - at) > _SKEW_SECONDS:
            stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
            edge = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now + (_SKEW_SECONDS if at > now else -_SKEW_SECONDS)))
            words = "not yet current: {} is still later than" if at > now else "expired: {} is now earlier than"
            sign = "+" if at > now else "-"
            raise Denied(
                "InvalidSignatureException",
                f"Signature {words.format(date.decode('latin-1'))} {edge} ({stamp} {sign} 5 min.)",
            )
        if now > key.expires:
            raise Denied("ExpiredTokenException", "The security token included in the request is expired")

    def _wrong(self, canonical: bytes, date: bytes, scope: bytes, headers: dict[bytes, bytes]) -> None:
        claimed, digest = headers.get(b"x-amz-content-sha256"), canonical[-64:]
        hint = " The body is not the one that was signed." if claimed not in (None, digest) else ""
        text = _to_sign(canonical, date, scope)
        raise Denied(
            "InvalidSignatureException",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret "
            f"Access Key and signing method. Consult the service documentation for details.{hint}\n\nThe Canonical "
            f"String for this request should have been\n'{canonical.decode('latin-1')}'\n\nThe String-to-Sign should "
            f"have been\n'{text.decode('latin-1')}'\n",
        )
