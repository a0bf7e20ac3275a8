"""Authenticate a request: the caller, from a signature that was made for this service, region, day and these headers.

The head is checked before the body is read. Enforcement of policies belongs in ``permit``.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import quote, unquote

from ..provider.caller import ANONYMOUS, Caller, role_session, root
from ..provider.errors import AwsError, coded
from ..sessions import Credential
from ..settings import EXECUTION_ROLE, Settings
from ..store.credentials import Keyring
from ..web import Request
from ..wire import signature
from ..wire.bounded import digits
from ..wire.regions import regions
from ..wire.signature import Claim, MalformedQuery, MalformedSignature

_WRONG = (
    "The request signature we calculated does not match the signature you provided. Check your {} and signing method."
)

_SHA256 = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Audience:
    """The service that a request is for: a signature must have been made for it, and errors are in its words."""

    service: str  # as scopes of signatures name it: "sagemaker", "monitoring", "execute-api"
    family: str  # "s3", "query", "json" or "rest-json"
    region: str | None = None  # where the request's host names one
    unsigned_payload: bool = False  # whether the operation's model lets clients leave the body out of the signature


@dataclass(frozen=True, slots=True)
class Proof:
    """An authenticated request: the caller, and what later checks of its body need."""

    caller: Caller
    claim: Claim | None = None
    secret: str = ""
    payload_hash: str | None = None  # what the client says its body hashes to


@dataclass(frozen=True, slots=True)
class Opened:
    """A head whose key, time and scope are in order; the signature itself may need the body."""

    claim: Claim
    credential: Credential
    canonical: Callable[[str], str]  # the canonical request for a payload's hash
    payload: str | None  # the hash that the client states, or a marker such as UNSIGNED-PAYLOAD


class Authenticator:
    """Check signatures, in the words of one of three families of services: S3, XML (query), JSON."""

    def __init__(self, settings: Settings, keyring: Keyring):
        self._settings = settings
        self._keyring = keyring

    def check(self, request: Request, audience: Audience, body: bytes) -> Proof:
        """Authenticate a request whose body is here."""
        head = self.open(request, audience)
        return head if isinstance(head, Proof) else self.close(head, audience, hashlib.sha256(body).hexdigest())

    def open(self, request: Request, audience: Audience) -> Proof | Opened:
        """Check all of a signature that the head decides; raise AwsError in the audience's words.

        Return a Proof if there is nothing more to check (open mode, anonymous callers of S3, Version 2).
        """
        voice = _Voice(audience.family)
        settings = self._settings
        authorization = request.headers.get("authorization")
        if settings.open and authorization is not None and not authorization.startswith(signature.ALGORITHM):
            return Proof(self._open_caller(""))
        try:
            claim = signature.claimed(request.headers, request.query)
        except MalformedQuery as error:
            raise coded("AuthorizationQueryParametersError", str(error), 400) from None
        except MalformedSignature as error:
            raise voice.incomplete(str(error)) from None
        if claim is None:
            if audience.family == "s3" and "AWSAccessKeyId=" in request.query:
                return self._version_2(request, voice)
            return self._unsigned(audience.family, voice)
        if claim.scope.region not in regions() and claim.scope.region != settings.region:
            raise voice.wrong_region(claim, audience.region or settings.region)
        if settings.open:
            return Proof(
                self._open_caller(claim.access_key, claim.token), claim, "", _payload(request, claim, audience)
            )
        return self._head(request, claim, voice, audience)

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
        if len(key_id) == 12 and digits(key_id):
            return root(key_id, key_id)
        if known := self._keyring.find(key_id, token) or self._keyring.keys().get(key_id):
            return _caller(known)
        return role_session(self._settings.account, EXECUTION_ROLE, "AROAOPENMODEOPENMODE2", "open-mode", key_id)

    def _head(self, request: Request, claim: Claim, voice: _Voice, audience: Audience) -> Opened:
        """Bind a claim to its audience: key, time, service, region, and every header that must be signed."""
        credential = self._keyring.find(claim.access_key, claim.token)
        if credential is None:
            raise voice.unknown_key(claim)
        if credential.expires is not None and credential.expires < time.time():
            raise voice.expired_session()
        if claim.scope.service != audience.service:
            raise voice.wrong_service(claim, audience.service)
        if audience.region is not None and claim.scope.region != audience.region:
            raise voice.wrong_region(claim, audience.region)
        self._check_time(claim, voice)
        if missing := signature.unsigned(request.headers, claim.signed_headers):
            raise voice.headers_not_signed(missing)
        payload = _payload(request, claim, audience)
        if payload is None and audience.family == "s3":
            raise coded("InvalidRequest", "Missing required header for this request: x-amz-content-sha256", 400)

        def canonical(payload_hash: str) -> str:
            return signature.canonical_request(
                request.method, request.path, request.query, request.headers, claim.signed_headers, payload_hash,
                claim.scope.service,
            )  # fmt: skip

        opened = Opened(claim, credential, canonical, payload)
        if payload is not None:
            self._compare(opened, voice, payload)
        return opened

    def _compare(self, head: Opened, voice: _Voice, payload: str) -> tuple[str, str]:
        """Compare the signature; return the canonical request and the string to sign."""
        claim = head.claim
        try:
            canonical = head.canonical(payload)
        except KeyError as error:
            raise voice.incomplete(f"The signed header {error} is not in the request.") from None
        text = signature.string_to_sign(canonical, claim.amz_date, claim.scope)
        if not signature.same(signature.sign(head.credential.secret, claim.scope, text), claim.signature):
            raise voice.wrong(claim, canonical, text)
        return canonical, text

    def close(self, head: Opened, audience: Audience, digest: str | None) -> Proof:
        """Check what needs the body's SHA-256; None leaves a body that still streams in to its reader."""
        claim, payload = head.claim, head.payload
        voice = _Voice(audience.family)
        if payload is None:
            assert digest is not None
            payload = digest
            self._compare(head, voice, payload)
        elif digest is not None and payload not in signature.MARKERS and payload != digest:
            canonical = head.canonical(payload)
            text = signature.string_to_sign(canonical, claim.amz_date, claim.scope)
            raise voice.wrong_body(payload, digest, claim, canonical, text)
        return Proof(_caller(head.credential), claim, head.credential.secret, payload)

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
        pairs = [
            (k, unquote(v.replace("+", "%20"))) for k, _, v in (p.partition("=") for p in request.query.split("&"))
        ]
        query = dict(pairs)
        if len(query) < len(pairs):  # the signature covers one of them, and its reader might take the other
            raise coded("InvalidArgument", "A parameter of a presigned URL must not be repeated.", 400)
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
        if not re.fullmatch("[0-9]{1,12}", query["Expires"]) or int(query["Expires"]) < time.time():
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


def _payload(request: Request, claim: Claim, audience: Audience) -> str | None:
    """What the client states of its body: a hash, or a marker where the audience allows that it is not signed whole.

    None: nothing that counts is stated, and the signature covers the hash of the body.
    """
    if claim.presigned and audience.family == "s3":
        return signature.UNSIGNED
    stated = request.headers.get("x-amz-content-sha256")
    if stated is None or _SHA256.fullmatch(stated):
        return stated
    if audience.family == "s3":
        if stated in signature.MARKERS:
            return stated
        raise coded(
            "InvalidArgument",
            "x-amz-content-sha256 must be UNSIGNED-PAYLOAD, STREAMING-AWS4-HMAC-SHA256-PAYLOAD, or a valid sha256 value.",
            400, ArgumentName="x-amz-content-sha256", ArgumentValue=stated[:200],
        )  # fmt: skip
    return stated if audience.unsigned_payload and stated == signature.UNSIGNED else None


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

    def wrong_service(self, claim: Claim, service: str) -> AwsError:
        """A signature that was made for another service."""
        if self.family == "s3":
            words = f'incorrect service "{claim.scope.service}". This endpoint belongs to "{service}".'
            return self._misplaced(claim, words)
        return self._not_for(f"Credential should be scoped to correct service: '{service}'.")

    def wrong_region(self, claim: Claim, region: str) -> AwsError:
        """A signature that was made for a region that does not exist, or not for the host's."""
        if self.family == "s3":
            words = f"the region '{claim.scope.region}' is wrong; expecting '{region}'"
            return self._misplaced(claim, words, Region=region)
        return self._not_for(f"Credential should be scoped to a valid region, not '{claim.scope.region}'.")

    def _misplaced(self, claim: Claim, words: str, **members: str) -> AwsError:
        if claim.presigned:
            text = f"Error parsing the X-Amz-Credential parameter; {words}"
            return coded("AuthorizationQueryParametersError", text, 400, **members)
        text = f"The authorization header is malformed; {words}"
        return coded("AuthorizationHeaderMalformed", text, 400, **members)

    def _not_for(self, text: str) -> AwsError:
        if self.family == "query":
            return coded("SignatureDoesNotMatch", text, 403)
        return coded("InvalidSignatureException", text, self._status)

    def headers_not_signed(self, names: list[str]) -> AwsError:
        """Headers that decide what a request does, outside its signature."""
        if self.family == "s3":
            text = "There were headers present in the request which were not signed"
            return coded("AccessDenied", text, 403, HeadersNotSigned=", ".join(names))
        first = "Host" if names[0] == "host" else names[0]
        return self._not_for(f"'{first}' must be a 'SignedHeader' in the AWS Authorization.")

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
