"""Signature Version 4 (and, for presigned S3 URLs, Version 2): what is signed, with which key, and is it right.

Source: the AWS documents "Signature Version 4 for API requests" and "Authenticating requests (S3)".
"""

from __future__ import annotations

import base64
import calendar
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import parse_qsl, quote, unquote, unquote_plus

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = "UNSIGNED-PAYLOAD"
MARKERS = frozenset(
    (
        UNSIGNED, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
    )
)  # fmt: skip
"""What S3's clients may state instead of their body's hash."""
EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_SAFE = "-_.~"
_DATE = re.compile(r"[0-9]{8}")
_SCOPE_PART = re.compile(r"[a-z0-9-]{1,64}")


class MalformedSignature(ValueError):
    """The credentials are there but cannot be read; the text says what is missing, in AWS's words."""


class MalformedQuery(MalformedSignature):
    """The same for the parameters of a presigned URL."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a signing key is good for."""

    date: str  # yyyymmdd
    region: str
    service: str

    def __str__(self) -> str:
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


@dataclass(frozen=True, slots=True)
class Claim:
    """A signature as a client presents it."""

    access_key: str
    scope: Scope
    signed_headers: tuple[str, ...]
    signature: str
    amz_date: str  # yyyymmddThhmmssZ
    token: str | None = None
    expires: int | None = None  # seconds, for presigned URLs

    @property
    def presigned(self) -> bool:
        """Whether the signature travels in the query."""
        return self.expires is not None


def claimed(headers: Mapping[str, str], query: str) -> Claim | None:
    """Read a request's signature from its header or, without one, from its query; None if it has none.

    Raises MalformedSignature, and MalformedQuery for the query's. The header has precedence, whatever it holds.
    """
    if "authorization" in headers:
        return from_header(headers)
    return from_query(query) if "X-Amz-Algorithm=" in query else None


def from_header(headers: Mapping[str, str]) -> Claim:
    """Read the ``Authorization`` header; MalformedSignature when a part is missing."""
    text = headers["authorization"]
    algorithm, _, rest = text.partition(" ")
    if algorithm != ALGORITHM:
        raise MalformedSignature(f"Unsupported AWS 'algorithm': '{algorithm[:40]}'.")
    parts = dict(p.strip().partition("=")[::2] for p in rest.split(","))
    missing = [n for n in ("Credential", "Signature", "SignedHeaders") if not parts.get(n)]
    date = headers.get("x-amz-date") or _from_http_date(headers.get("date"))
    words = "".join(f"Authorization header requires '{n}' parameter. " for n in missing)
    if not date:
        words += "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. "
    if words:
        raise MalformedSignature(f"{words}Authorization={algorithm}")
    access_key, scope = credential(parts["Credential"])
    names = tuple(parts["SignedHeaders"].lower().split(";"))
    return Claim(access_key, scope, names, parts["Signature"], str(date), headers.get("x-amz-security-token"))


def from_query(text: str) -> Claim:
    """Read a presigned URL's parameters; MalformedQuery when one is missing, repeated or out of bounds."""
    pairs = [pair for pair in parse_qsl(text, keep_blank_values=True) if pair[0].startswith("X-Amz-")]
    query = dict(pairs)
    if len(query) < len(pairs):
        raise MalformedQuery("The X-Amz- parameters of a presigned URL must not be repeated.")
    needed = ("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Signature", "X-Amz-Date", "X-Amz-SignedHeaders")
    if any(not query.get(n) for n in (*needed, "X-Amz-Expires")):
        raise MalformedQuery(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters."
        )
    if query["X-Amz-Algorithm"] != ALGORITHM:
        raise MalformedQuery("X-Amz-Algorithm only supports AWS4-HMAC-SHA256")
    try:
        access_key, scope = credential(query["X-Amz-Credential"])
    except MalformedSignature as error:
        raise MalformedQuery(f"Error parsing the X-Amz-Credential parameter; {error}") from None
    if not re.fullmatch("-?[0-9]{1,12}", query["X-Amz-Expires"]):
        raise MalformedQuery("X-Amz-Expires should be a number")
    expires = int(query["X-Amz-Expires"])
    if expires < 0:
        raise MalformedQuery("X-Amz-Expires must be non-negative")
    if expires > 604800:
        raise MalformedQuery(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            "604800 seconds"
        )
    names = tuple(query["X-Amz-SignedHeaders"].lower().split(";"))
    return Claim(
        access_key, scope, names, query["X-Amz-Signature"], query["X-Amz-Date"],
        query.get("X-Amz-Security-Token"), expires,
    )  # fmt: skip


@lru_cache(maxsize=4096)
def credential(text: str) -> tuple[str, Scope]:
    parts = text.rsplit("/", 4)
    if len(parts) != 5 or parts[4] != "aws4_request" or not parts[0]:
        raise MalformedSignature(
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, "
            f"got '{text[:120]}'"
        )
    scope = Scope(parts[1], parts[2], parts[3])
    if not _DATE.fullmatch(scope.date):
        raise MalformedSignature(
            f"incorrect date format {scope.date[:20]!r}. This date in the credential must be in the format 'yyyyMMdd'."
        )
    for part in (scope.region, scope.service):
        if not _SCOPE_PART.fullmatch(part):
            raise MalformedSignature(f"Credential names a region or a service, {part[:64]!r}, that does not exist.")
    return parts[0], scope


def _from_http_date(text: str | None) -> str | None:
    if not text:
        return None
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).strftime("%Y%m%dT%H%M%SZ")
    except (TypeError, ValueError):
        return text if len(text) == 16 and text.endswith("Z") else None


@lru_cache(maxsize=4096)
def seconds(amz_date: str) -> int:
    """``yyyymmddThhmmssZ`` as seconds since the epoch; MalformedSignature when it is not one."""
    if len(amz_date) != 16 or amz_date[8] != "T" or amz_date[15] != "Z":
        raise MalformedSignature("Date must be in ISO-8601 'basic format'.")
    try:
        fields = (amz_date[:4], amz_date[4:6], amz_date[6:8], amz_date[9:11], amz_date[11:13], amz_date[13:15])
        return calendar.timegm((*map(int, fields), 0, 0, 0))
    except ValueError:
        raise MalformedSignature("Date must be in ISO-8601 'basic format'.") from None


@lru_cache(maxsize=4096)
def signing_key(secret: str, scope: Scope) -> bytes:
    """The key of a scope."""
    key = b"AWS4" + secret.encode()
    for part in (scope.date, scope.region, scope.service, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def canonical_query(query: str, without: str | None = None) -> str:
    """Every key and value encoded, sorted; a bare flag gets an empty value."""
    if not query:
        return ""
    pairs = []
    for item in query.split("&"):
        if not item:
            continue
        key, _, value = item.partition("=")
        name = quote(unquote_plus(key, errors="surrogateescape"), _SAFE, errors="surrogateescape")
        if name != without:
            text = unquote(value.replace("+", "%20"), errors="surrogateescape")
            pairs.append((name, quote(text, _SAFE, errors="surrogateescape")))
    return "&".join(f"{k}={v}" for k, v in sorted(pairs))


@lru_cache(maxsize=4096)
def canonical_path(path: str, service: str) -> str:
    """S3's path is taken as sent, encoded once; every other service's is normalised and encoded again."""
    if service == "s3":
        return quote(path, "/%" + _SAFE, errors="surrogateescape") or "/"
    return quote(normal_path(path), "/" + _SAFE)


def normal_path(path: str) -> str:
    """Return a path without empty, ``.`` and ``..`` segments: what is signed for every service but S3."""
    if "//" not in path and "/." not in path and path.startswith("/"):
        return path
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if parts:
                parts.pop()
        elif part and part != ".":
            parts.append(part)
    return "/" + "/".join(parts) + ("/" if parts and path.endswith("/") else "")


def canonical_request(
    method: str,
    path: str,
    query: str,
    headers: Mapping[str, str],
    signed: Iterable[str],
    payload_hash: str,
    service: str,
) -> str:
    """The text whose hash is signed; KeyError when a signed header is absent."""
    lines = [method, canonical_path(path, service), canonical_query(query, without="X-Amz-Signature")]
    signed = tuple(signed)
    lines += (f"{name}:{' '.join(headers[name].split())}" for name in signed)
    lines += ("", ";".join(signed), payload_hash)
    return "\n".join(lines)


def unsigned(headers: Iterable[str], signed: Iterable[str]) -> list[str]:
    """Return the headers that must be signed and are not: ``host`` and every ``x-amz-*`` header that is present."""
    names = set(signed)
    found = [] if "host" in names else ["host"]
    return found + [h for h in headers if h.startswith("x-amz-") and h not in names]


def string_to_sign(canonical: str, amz_date: str, scope: Scope) -> str:
    """What the key signs."""
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{ALGORITHM}\n{amz_date}\n{scope}\n{digest}"


def sign(secret: str, scope: Scope, text: str) -> str:
    """The signature of a string to sign, in hex."""
    return hmac.digest(signing_key(secret, scope), text.encode(), "sha256").hex()


def same(left: str, right: str) -> bool:
    """Compare two signatures in constant time."""
    return hmac.compare_digest(left.encode("utf-8", "replace"), right.encode("utf-8", "replace"))


_V2_RESOURCES = frozenset(
    (
        "acl", "cors", "delete", "lifecycle", "location", "logging", "notification", "partNumber", "policy",
        "requestPayment", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
        "response-content-type", "response-content-language", "response-expires", "response-cache-control",
        "response-content-disposition", "response-content-encoding",
    )
)  # fmt: skip


def sign_v2(secret: str, method: str, resource: str, query: Mapping[str, str], headers: Mapping[str, str]) -> str:
    """The Version 2 signature of a presigned S3 URL, base64; ``resource`` is ``/bucket/key`` percent-encoded."""
    amz = "".join(f"{k}:{v}\n" for k, v in sorted(_v2_headers(query, headers).items()))
    named = [f"{k}={v}" if v else k for k, v in sorted(query.items()) if k in _V2_RESOURCES]
    path = resource + ("?" + "&".join(named) if named else "")
    content = headers.get("content-md5", ""), headers.get("content-type", "")
    text = f"{method}\n{content[0]}\n{content[1]}\n{query['Expires']}\n{amz}{path}"
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


def _v2_headers(query: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, str]:
    found = {k: v for k, v in headers.items() if k.startswith("x-amz-")}
    if "x-amz-security-token" in query:
        found["x-amz-security-token"] = query["x-amz-security-token"]
    return found
