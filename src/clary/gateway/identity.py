"""Who calls: the signature is checked here, before anything reads the parameters. Enforcement belongs in ``permit``."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote

from ..provider.caller import ANONYMOUS, Caller, role_session, root
from ..provider.errors import AwsError, coded
from ..sessions import Credential
from ..settings import EXECUTION_ROLE, Settings
from ..store.credentials import Keyring
from ..web import Request
from ..wire import signature
from ..wire.signature import Claim, MalformedSignature

_WRONG = (
    "The request signature we calculated does not match the signature you provided. Check your {} and signing method."
)


@dataclass(frozen=True, slots=True)
class Proof:
    """An authenticated request: who, and what later checks of its body need."""

    caller: Caller
    claim: Claim | None = None
    secret: str = ""
    payload_hash: str | None = None  # what the client says its body hashes to


class Authenticator:
    """Checks signatures in the words of one of three families of services: S3, XML (query), JSON."""

    def __init__(self, settings: Settings, keyring: Keyring):
        self._settings = settings
        self._keyring = keyring

    def check(self, request: Request, family: str, body: bytes | None) -> Proof:
        """Who signed a request; an AwsError in the family's words when nobody we know did.

        ``family`` is ``s3``, ``query`` or ``json``/``rest-json``; ``body`` is None while it still streams in.
        """
        voice = _Voice(family)
        if "authorization" in request.headers:
            if self._settings.open and not request.headers["authorization"].startswith(signature.ALGORITHM):
                return Proof(self._open_caller(""))
            try:
                claim = signature.from_header(request.headers)
            except MalformedSignature as error:
                raise voice.incomplete(str(error)) from None
        elif "X-Amz-Algorithm=" in request.query:
            try:
                claim = signature.from_query(dict(parse_qsl(request.query, keep_blank_values=True)))
            except MalformedSignature as error:
                raise coded("AuthorizationQueryParametersError", str(error), 400) from None
        elif family == "s3" and "AWSAccessKeyId=" in request.query:
            return self._version_2(request, voice)
        else:
            return self._unsigned(family, voice)
        if self._settings.open:
            return Proof(self._open_caller(claim.access_key, claim.token), claim, "", _hash(request, claim))
        return self._verify(request, claim, voice, body, family)

    def _unsigned(self, family: str, voice: _Voice) -> Proof:
        if self._settings.open:
            return Proof(self._open_caller(""))
        if family == "s3":
            return Proof(ANONYMOUS)
        raise voice.missing()

    def _open_caller(self, key_id: str, token: str | None = None) -> Caller:
        """Return who a key names in open mode: twelve digits that account's root, an issued key its principal.

        Any other key works as the default account's role.
        """
        if len(key_id) == 12 and key_id.isdigit():
            return root(key_id, key_id)
        if known := self._keyring.find(key_id, token) or self._keyring.keys().get(key_id):
            return _caller(known)
        return role_session(self._settings.account, EXECUTION_ROLE, "AROAOPENMODEOPENMODE2", "open-mode", key_id)

    def _verify(self, request: Request, claim: Claim, voice: _Voice, body: bytes | None, family: str) -> Proof:
        credential = self._keyring.find(claim.access_key, claim.token)
        if credential is None:
            raise voice.unknown_key(claim)
        if credential.expires is not None and credential.expires < time.time():
            raise voice.expired_session()
        self._check_time(claim, voice)
        payload = _hash(request, claim)
        if payload is None:
            if family == "s3":
                raise coded("InvalidRequest", "Missing required header for this request: x-amz-content-sha256", 400)
            payload = hashlib.sha256(body or b"").hexdigest()
        unsigned = [h for h in request.headers if h.startswith("x-amz-") and h not in claim.signed_headers]
        if "host" not in claim.signed_headers or (family == "s3" and unsigned):
            raise coded(
                "AccessDenied", "There were headers present in the request which were not signed", 403,
                HeadersNotSigned=", ".join(unsigned or ["host"]),
            )  # fmt: skip
        try:
            canonical = signature.canonical_request(
                request.method, request.path, request.query, request.headers, claim.signed_headers, payload,
                claim.scope.service,
            )  # fmt: skip
        except KeyError as error:
            raise voice.incomplete(f"The signed header {error} is not in the request.") from None
        text = signature.string_to_sign(canonical, claim.amz_date, claim.scope)
        if not signature.same(signature.sign(credential.secret, claim.scope, text), claim.signature):
            raise voice.wrong(claim, canonical, text)
        if body is not None and payload not in (signature.UNSIGNED,) and not payload.startswith("STREAMING-"):
            digest = hashlib.sha256(body).hexdigest()
            if digest != payload:
                raise voice.wrong_body(payload, digest, claim, canonical, text)
        return Proof(_caller(credential), claim, credential.secret, payload)

    def _check_time(self, claim: Claim, voice: _Voice) -> None:
        try:
            signed_at = signature.seconds(claim.amz_date)
        except MalformedSignature as error:
            raise voice.incomplete(str(error)) from None
        if not claim.amz_date.startswith(claim.scope.date):
            raise voice.incomplete(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP"
            )
        now = time.time()
        skew = voice.skew_seconds
        if claim.expires is None:
            if abs(now - signed_at) > skew:
                raise voice.skewed(claim.amz_date, signed_at, now)
        elif signed_at > now + 900:
            raise coded("AccessDenied", "Request is not valid yet", 403)
        elif now > signed_at + claim.expires:
            raise coded(
                "AccessDenied", "Request has expired", 403, **{"X-Amz-Expires": claim.expires},
                Expires=_iso(signed_at + claim.expires), ServerTime=_iso(now),
            )  # fmt: skip

    def _version_2(self, request: Request, voice: _Voice) -> Proof:
        query = {k: unquote(v.replace("+", "%20")) for k, _, v in (p.partition("=") for p in request.query.split("&"))}
        if not {"AWSAccessKeyId", "Signature", "Expires"} <= query.keys():
            raise coded(
                "AccessDenied",
                "Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters", 403,
            )  # fmt: skip
        key_id = query["AWSAccessKeyId"]
        if self._settings.open:
            return Proof(self._open_caller(key_id))
        credential = self._keyring.find(key_id, query.get("x-amz-security-token"))
        if credential is None:
            raise voice.unknown_key(Claim(key_id, signature.Scope("", "", ""), (), "", ""))
        if not query["Expires"].isdigit() or int(query["Expires"]) < time.time():
            raise coded("AccessDenied", "Request has expired", 403, ServerTime=_iso(time.time()))
        resource = request.context.get("v2-resource", quote(unquote(request.path), "/-_.~"))
        expected = signature.sign_v2(credential.secret, request.method, resource, query, request.headers)
        if not signature.same(expected, query["Signature"]):
            raise coded("SignatureDoesNotMatch", _WRONG.format("key"), 403, AWSAccessKeyId=key_id)
        return Proof(_caller(credential))


def permit(_caller: Caller, _service: str, _operation: str) -> None:
    """May the caller do this? Policy enforcement slots in here; today every authenticated caller may."""


def _caller(credential: Credential) -> Caller:
    return Caller(credential.account, credential.arn, credential.user_id, credential.access_key, credential.kind)


def _hash(request: Request, claim: Claim) -> str | None:
    if claim.presigned and claim.scope.service == "s3":
        return signature.UNSIGNED
    return request.headers.get("x-amz-content-sha256")


def _iso(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _basic(seconds: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(seconds))


class _Voice:
    """The three families' codes and texts for the same faults (AWS: "Common errors" of each service)."""

    def __init__(self, family: str):
        self.family = family
        self.skew_seconds = 900 if family in ("s3", "query") else 300
        self._status = {"json": 400}.get(family, 403)

    def missing(self) -> AwsError:
        """No credentials at all."""
        if self.family == "query":
            return coded("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        return coded("MissingAuthenticationTokenException", "Missing Authentication Token", self._status)

    def unknown_key(self, claim: Claim) -> AwsError:
        """A key or token that was not issued here."""
        hint = ""
        if claim.access_key.startswith(("AKIA", "ASIA")) and len(claim.access_key) == 20:
            hint = " This key was not issued by this Clary: `clary env` prints credentials that are."
        if self.family == "s3":
            if claim.token:
                return coded("InvalidToken", "The provided token is malformed or otherwise invalid." + hint, 400)
            text = "The AWS Access Key Id you provided does not exist in our records."
            return coded("InvalidAccessKeyId", text + hint, 403, AWSAccessKeyId=claim.access_key)
        code = "InvalidClientTokenId" if self.family == "query" else "UnrecognizedClientException"
        return coded(code, "The security token included in the request is invalid." + hint, self._status)

    def expired_session(self) -> AwsError:
        """A session past its end."""
        if self.family == "s3":
            return coded("ExpiredToken", "The provided token has expired.", 400)
        code = "ExpiredToken" if self.family == "query" else "ExpiredTokenException"
        return coded(code, "The security token included in the request is expired", self._status)

    def incomplete(self, text: str) -> AwsError:
        """A signature that cannot be read."""
        if self.family == "s3":
            return coded("AuthorizationHeaderMalformed", f"The authorization header is malformed; {text}", 400)
        code = "IncompleteSignature" if self.family == "query" else "IncompleteSignatureException"
        return coded(code, text, 400 if self.family == "query" else self._status)

    def skewed(self, amz_date: str, signed_at: int, now: float) -> AwsError:
        """A clock that is off."""
        if self.family == "s3":
            return coded(
                "RequestTimeTooSkewed", "The difference between the request time and the current time is too large.",
                403, RequestTime=amz_date, ServerTime=_iso(now), MaxAllowedSkewMilliseconds=900000,
            )  # fmt: skip
        code = "SignatureDoesNotMatch" if self.family == "query" else "InvalidSignatureException"
        minutes = self.skew_seconds // 60
        if signed_at < now:
            edge = _basic(now - self.skew_seconds)
            text = f"Signature expired: {amz_date} is now earlier than {edge} ({_basic(now)} - {minutes} min.)"
        else:
            edge = _basic(now + self.skew_seconds)
            text = f"Signature not yet current: {amz_date} is still later than {edge} ({_basic(now)} + {minutes} min.)"
        return coded(code, text, self._status)

    def wrong(self, claim: Claim, canonical: str, text: str) -> AwsError:
        """A signature that the key does not make."""
        if self.family == "s3":
            return coded(
                "SignatureDoesNotMatch", _WRONG.format("key"), 403, AWSAccessKeyId=claim.access_key, StringToSign=text,
                SignatureProvided=claim.signature, CanonicalRequest=canonical,
            )  # fmt: skip
        words = _WRONG.format("AWS Secret Access Key") + " Consult the service documentation for details."
        if self.family == "query":
            return coded("SignatureDoesNotMatch", words, 403)
        dump = f"\n\nThe Canonical String for this request should have been\n'{canonical}'\n\nThe String-to-Sign should have been\n'{text}'\n"
        return coded("InvalidSignatureException", words + dump, self._status)

    def wrong_body(self, claimed: str, actual: str, claim: Claim, canonical: str, text: str) -> AwsError:
        """A body that is not the one that was signed."""
        if self.family == "s3":
            return coded(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.", 400,
                ClientComputedContentSHA256=claimed, S3ComputedContentSHA256=actual,
            )  # fmt: skip
        return self.wrong(claim, canonical, text)
