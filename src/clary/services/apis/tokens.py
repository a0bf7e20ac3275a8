"""JSON Web Tokens: whether an issuer that an authorizer trusts made one, for us, now (RFC 7519, OpenID Discovery 1.0)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import jwt
import orjson

from ...wire import bounded
from ..outbound import Outbound
from . import proxying

log = logging.getLogger(__name__)

Json = dict[str, Any]
_ALGORITHMS = ["RS256", "RS384", "RS512"]
_KEPT_SECONDS = 7200.0
_AGAIN_SECONDS = 60.0  # a key that is not known is looked for so often at most
_FAILED_SECONDS = 5.0  # an issuer that did not answer is left in peace so long
_TIMEOUT = 5.0
_MAX_TOKEN = 8 << 10
_LOCAL = ("localhost", "127.0.0.1", "::1")


class BadToken(Exception):
    """A token that is not taken; the text is AWS's ``error_description``."""


class ScopeMissing(Exception):
    """A token that is good, but not for this."""


def issuer_problem(issuer: str) -> str:
    """Why an issuer cannot be one; empty when it can."""
    parts = urlsplit(issuer)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOCAL):
        return ""
    return f"Caught exception when connecting to {issuer}/.well-known/openid-configuration for issuer {issuer}. Please try again later. Error: the issuer must be an https URL, or an http URL of this machine"


@dataclass(slots=True)
class _Keys:
    by_id: dict[str, Any]
    until: float  # when they are read again
    again: float  # when they may be read again for a key that is not among them
    failed: str = ""  # why there are none


class Verifier:
    """Knows the keys of issuers, and looks at them again every two hours."""

    def __init__(self, outbound: Outbound) -> None:
        self._outbound = outbound
        self._keys: dict[str, _Keys] = {}

    async def claims(self, token: str, issuer: str, audience: list[str] | None) -> Json:
        """What a token says of its bearer; ``audience`` is None where it may be meant for anybody. BadToken."""
        if token[:7].lower() == "bearer ":
            token = token[7:].strip()
        if len(token) > _MAX_TOKEN:
            raise BadToken("the token is too long")
        try:
            head = jwt.get_unverified_header(token)
        except jwt.InvalidTokenError:
            raise BadToken("signing method is invalid") from None
        if head.get("alg") not in _ALGORITHMS:
            raise BadToken("signing method is invalid")
        key = await self._key(issuer, str(head.get("kid", "")))
        try:
            found: Json = jwt.decode(
                token, key, algorithms=_ALGORITHMS, issuer=issuer, options={"verify_aud": False, "require": ["exp"]}
            )
        except jwt.ExpiredSignatureError:
            raise BadToken("the token has expired") from None
        except jwt.ImmatureSignatureError:
            raise BadToken("the token is not valid yet") from None
        except jwt.InvalidIssuerError:
            raise BadToken("the token's issuer does not match the configured issuer") from None
        except jwt.InvalidTokenError:
            raise BadToken("signature is invalid") from None
        meant = found.get("aud", found.get("client_id"))
        if audience is not None and not any(one in audience for one in (meant if isinstance(meant, list) else [meant])):
            raise BadToken("the token does not have a valid audience")
        return found

    async def _key(self, issuer: str, identifier: str) -> Any:
        known, now = self._keys.get(issuer), time.monotonic()
        if known is None or now > known.until or (identifier not in known.by_id and now > known.again):
            try:
                known = _Keys(await _published(self._outbound, issuer), now + _KEPT_SECONDS, now + _AGAIN_SECONDS)
            except BadToken as error:  # not asked again by each request that comes meanwhile
                known = _Keys({}, now + _FAILED_SECONDS, now + _FAILED_SECONDS, str(error))
            self._keys[issuer] = known
        if known.failed:
            raise BadToken(known.failed)
        if identifier not in known.by_id:
            raise BadToken("key with kid not found")
        return known.by_id[identifier]


async def _published(outbound: Outbound, issuer: str) -> dict[str, Any]:
    """The RSA keys that an issuer publishes."""
    try:
        about = await _document(outbound, f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        documents = (await _document(outbound, str(about["jwks_uri"])))["keys"]
        return {str(k.get("kid", "")): jwt.PyJWK(k).key for k in documents if k.get("kty") == "RSA"}
    except (proxying.Unreachable, ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        log.warning("the issuer %s has no keys for us: %s", issuer, error)
        raise BadToken("OIDC discovery endpoint communication error") from None


async def _document(outbound: Outbound, url: str) -> Json:
    if issuer_problem(url):
        raise ValueError(url)
    found = await proxying.ask(outbound, "GET", url, {"accept": "application/json"}, b"", _TIMEOUT)
    if found.status != 200:
        raise ValueError(url)
    return dict(bounded.loads(found.body))


def unverified_issuer(token: str) -> str:
    """Who a token says it is from; that is only a claim."""
    try:
        bare = token[7:].strip() if token[:7].lower() == "bearer " else token
        found = jwt.decode(bare, options={"verify_signature": False}) if len(bare) <= _MAX_TOKEN else {}
    except (jwt.InvalidTokenError, ValueError):
        return ""
    return str(found.get("iss", ""))


def scopes(claims: Json) -> list[str]:
    """What a token permits, from ``scope`` or ``scp``."""
    given = claims.get("scope", claims.get("scp")) or ""
    return given.split() if isinstance(given, str) else [str(s) for s in given] if isinstance(given, list) else []


def check_scopes(claims: Json, wanted: list[str]) -> list[str] | None:
    """The token's scopes, where some are wanted and one of them is there; None where none is wanted. ScopeMissing."""
    if not wanted:
        return None
    have = scopes(claims)
    if not set(have) & set(wanted):
        raise ScopeMissing
    return have


def texts(claims: Json) -> dict[str, str]:
    """Claims as functions get them: all of them texts, lists in brackets."""
    return {name: _text(value) for name, value in claims.items()}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return f"[{' '.join(_text(v) for v in value)}]"
    return orjson.dumps(value).decode()
