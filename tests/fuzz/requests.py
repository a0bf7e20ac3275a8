"""Parameters as requests of each protocol, signed by hand: botocore would refuse to write most of them."""

from __future__ import annotations

import base64
import copy
import hashlib
import hmac
import json
import random
import re
import time
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, unquote, unquote_plus
from xml.sax.saxutils import escape

import cbor2

_SAFE = "-_.~"
_LABEL = re.compile(r"\{([^}+]+)(\+)?\}")
_BAD_IN_HEADERS = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Keys:
    """Who signs."""

    access_key: str
    secret: str
    token: str = ""


@dataclass
class Draft:
    """A request before it is signed. ``path`` and ``query`` are what goes on the wire."""

    label: str
    signing: str = ""  # the scope's service; empty: the request is not signed
    method: str = "POST"
    path: str = "/"
    query: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    host: str = ""
    broken: bool = False  # its framing is broken: a close without an answer is one

    def signed(self, keys: Keys, host: str) -> bytes:
        """The bytes to send."""
        own = {
            k.lower(): v
            for k, v in self.headers.items()
            if k.lower() not in ("content-length", "transfer-encoding", "expect")
        }
        headers = {"host": self.host or host, **own}
        if self.signing:
            _sign(self, headers, keys)
        if self.body or self.method in ("POST", "PUT", "PATCH"):
            headers.setdefault("content-length", str(len(self.body)))
        target = self.path + (f"?{self.query}" if self.query else "")
        head = f"{self.method} {target} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
        return head.encode("utf-8", "surrogateescape") + b"\r\n" + self.body


def _sign(draft: Draft, headers: dict[str, str], keys: Keys) -> None:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    payload = hashlib.sha256(draft.body).hexdigest()
    headers |= {"x-amz-date": stamp, "x-amz-content-sha256": payload}
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    names = sorted(n for n in headers if n not in ("content-length", "transfer-encoding", "connection", "expect"))
    path = draft.path if draft.signing == "s3" else quote(draft.path, "/" + _SAFE)
    if draft.signing == "s3":
        path = quote(path, "/%" + _SAFE)
    scope = f"{stamp[:8]}/us-east-1/{draft.signing}/aws4_request"
    canonical = "\n".join(
        [draft.method, path or "/", _canonical_query(draft.query)]
        + [f"{n}:{' '.join(headers[n].split())}" for n in names]
        + ["", ";".join(names), payload]
    )
    digest = hashlib.sha256(canonical.encode("utf-8", "surrogateescape")).hexdigest()
    key = f"AWS4{keys.secret}".encode()
    for part in (stamp[:8], "us-east-1", draft.signing, "aws4_request"):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = hmac.digest(key, f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{digest}".encode(), "sha256").hex()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={keys.access_key}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )


def _canonical_query(query: str) -> str:
    pairs = []
    for item in query.split("&"):
        name, _, value = item.partition("=")
        if item:
            pairs.append((quote(unquote_plus(name), _SAFE), quote(unquote_plus(value), _SAFE)))
    return "&".join(f"{k}={v}" for k, v in sorted(pairs))


# ---- protocols -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Target:
    """An operation, and how it is spelled."""

    service: str
    signing: str
    protocol: str
    metadata: dict[str, Any]
    operation: Any

    def draft(self, params: dict[str, Any]) -> Draft:
        """A request with these parameters, whatever they are."""
        label = f"{self.service}.{self.operation.name} ({self.protocol})"
        return _WRITERS[self.protocol](self, Draft(label, self.signing), params)


def _default(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def json_bytes(value: Any) -> bytes:
    """JSON, with whatever Python writes that is not."""
    return json.dumps(value, default=_default).encode()


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return json_bytes(value).decode() if isinstance(value, (dict, list)) else str(value)


def _json(target: Target, draft: Draft, params: dict[str, Any]) -> Draft:
    headers = {
        "content-type": f"application/x-amz-json-{target.metadata.get('jsonVersion', '1.0')}",
        "x-amz-target": f"{target.metadata['targetPrefix']}.{target.operation.name}",
    }
    return replace(draft, headers=headers, body=json_bytes(params))


def _cbor(target: Target, draft: Draft, params: dict[str, Any]) -> Draft:
    service = target.metadata.get("targetPrefix", "GraniteServiceVersion20100801")
    headers = {"content-type": "application/cbor", "smithy-protocol": "rpc-v2-cbor", "accept": "application/cbor"}
    try:
        body = cbor2.dumps(_stamped(params, target.operation.input_shape))
    except Exception:  # noqa: BLE001  # halves of characters, levels without end: not to be had in CBOR
        body = cbor2.dumps({"a": 1})
    path = f"/service/{service}/operation/{target.operation.name}"
    return replace(draft, path=path, headers=headers, body=body)


def _stamped(value: Any, shape: Any) -> Any:
    """Moments as tag 1 in most places."""
    kind = getattr(shape, "type_name", "")
    if kind == "timestamp" and isinstance(value, (int, float)) and value == value and abs(value) < 2**62:
        return cbor2.CBORTag(1, value) if value % 3 else value
    if kind == "structure" and isinstance(value, dict):
        return {k: _stamped(v, shape.members.get(k)) for k, v in value.items()}
    if kind == "list" and isinstance(value, list):
        return [_stamped(v, shape.member) for v in value]
    return value


def _flat(name: str, value: Any, shape: Any, out: list[tuple[str, str]]) -> None:
    kind = getattr(shape, "type_name", "")
    if isinstance(value, dict):
        if kind == "map":
            middle = "" if shape.serialization.get("flattened") else ".entry"
            for i, (k, v) in enumerate(value.items(), 1):
                out.append((f"{name}{middle}.{i}.key", str(k)))
                _flat(f"{name}{middle}.{i}.value", v, shape.value, out)
            return
        for k, v in list(value.items())[:200]:
            member = shape.members.get(k) if kind == "structure" else None
            _flat(f"{name}.{k}" if name else k, v, member, out)
    elif isinstance(value, list):
        middle = "" if getattr(shape, "serialization", {}).get("flattened") else ".member"
        for i, v in enumerate(value[:200], 1):
            _flat(f"{name}{middle}.{i}", v, getattr(shape, "member", None), out)
    elif value is not None:
        out.append((name, _text(value)))


def _query(target: Target, draft: Draft, params: dict[str, Any]) -> Draft:
    fields = [("Action", target.operation.name), ("Version", target.metadata["apiVersion"])]
    if len(json_bytes(params)) < 60_000 and _depth(params) < 100:
        _flat("", params, target.operation.input_shape, fields)
    body = "&".join(f"{quote(k, _SAFE)}={quote(v, _SAFE)}" for k, v in fields).encode()
    return replace(draft, headers={"content-type": "application/x-www-form-urlencoded; charset=utf-8"}, body=body)


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level:
        level = [x for v in level if isinstance(v, (dict, list)) for x in (v.values() if isinstance(v, dict) else v)]
        depth += 1
    return depth


def _header(value: Any) -> str:
    return _BAD_IN_HEADERS.sub(" ", _text(value))[:8000]


def _rest(target: Target, draft: Draft, params: dict[str, Any]) -> Draft:
    shape = target.operation.input_shape
    members = dict(shape.members) if shape else {}
    path, _, fixed = target.operation.http["requestUri"].partition("?")
    query = [tuple(p.partition("=")[::2]) for p in fixed.split("&") if p]
    headers: dict[str, str] = {}
    inside: dict[str, Any] = {}
    labels: dict[str, str] = {}
    payload = shape.serialization.get("payload") if shape else None
    for name, value in params.items():
        member = members.get(name)
        where = (member.serialization or {}).get("location") if member is not None else None
        key = (member.serialization or {}).get("name", name) if member is not None else name
        if where == "uri":
            labels[key] = _text(value)
        elif where == "querystring":
            if isinstance(value, dict):
                query += [(str(k), _text(v)) for k, v in value.items()]
            else:
                query += [(key, _text(v)) for v in (value if isinstance(value, list) else [value])]
        elif where == "header":
            headers[key] = ",".join(map(_header, value)) if isinstance(value, list) else _header(value)
        elif where == "headers":
            headers |= {key + re.sub(r"[^A-Za-z0-9-]", "", str(k)): _header(v) for k, v in value.items()} if isinstance(value, dict) else {}  # fmt: skip
        else:
            inside[name] = value
    body = b""
    if payload:
        value = inside.get(payload)
        kind = members[payload].type_name
        if isinstance(value, bytes):
            body = value
        elif value is not None and kind == "blob":
            body = _text(value).encode()
        elif value is not None:
            body = json_bytes(value) if target.protocol == "rest-json" else _xml(payload, value, members[payload])
    elif inside and target.protocol == "rest-json":
        body = json_bytes(
            {(members[n].serialization or {}).get("name", n) if n in members else n: v for n, v in inside.items()}
        )
    elif inside:
        body = _xml(target.operation.name + "Request", inside, shape)
    if target.protocol == "rest-json" and body:
        headers.setdefault("content-type", "application/json")

    def filled(found: re.Match[str]) -> str:
        return quote(labels.get(found[1], "fuzz") or "a", ("/" if found[2] else "") + _SAFE)

    text = "&".join(f"{quote(k, _SAFE)}={quote(v, _SAFE)}" if v or k != fixed else k for k, v in query)
    return replace(
        draft, method=target.operation.http["method"], path=_LABEL.sub(filled, path), query=text[:30_000], headers=headers, body=body
    )  # fmt: skip


def _xml(tag: str, value: Any, shape: Any) -> bytes:
    out: list[str] = []
    name = (getattr(shape, "serialization", None) or {}).get("name", tag)
    _element(name, value, shape, out, 0)
    return "".join(out).encode("utf-8", "replace")


def _element(tag: str, value: Any, shape: Any, out: list[str], depth: int) -> None:
    if depth > 200:
        return
    kind = getattr(shape, "type_name", "")
    if isinstance(value, dict):
        out.append(f"<{tag}>")
        for k, v in value.items():
            member = shape.members.get(k) if kind == "structure" else None
            name = (
                (member.serialization or {}).get("name", k) if member is not None else re.sub(r"\W", "", str(k)) or "x"
            )
            _element(name, v, member, out, depth + 1)
        out.append(f"</{tag}>")
    elif isinstance(value, list):
        flat = (getattr(shape, "serialization", None) or {}).get("flattened")
        item = getattr(shape, "member", None)
        name = tag if flat else (getattr(item, "serialization", None) or {}).get("name", "member")
        if not flat:
            out.append(f"<{tag}>")
        for v in value[:200]:
            _element(name, v, item, out, depth + 1)
        if not flat:
            out.append(f"</{tag}>")
    elif value is not None:
        out.append(f"<{tag}>{escape(_text(value))}</{tag}>")


_WRITERS = {
    "json": _json, "smithy-rpc-v2-cbor": _cbor, "query": _query, "rest-json": _rest, "rest-xml": _rest
}  # fmt: skip


# ---- bytes -----------------------------------------------------------------------------------------------------------

_HEADERS: tuple[tuple[str, str], ...] = (
    ("content-type", "text/plain"), ("content-type", "application/cbor"), ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "multipart/form-data; boundary=x"), ("content-type", "\xff"), ("content-encoding", "gzip"),
    ("accept", "application/cbor"), ("x-amz-target", "a"), ("x-amz-target", "...."), ("x-amz-target", "SageMaker.\xff"),
    ("smithy-protocol", "rpc-v2-cbor"), ("range", "bytes=0-,5-"), ("range", "bytes=-0"),
    ("range", "bytes=²-"), ("range", "bytes=" + "9" * 40 + "-"), ("if-modified-since", "x"), ("if-match", "*"), ("if-none-match", '"'),
    ("content-md5", "x"), ("x-amz-copy-source", "/"), ("x-amz-copy-source", "fuzz/a?versionId=%00"), ("x-amz-copy-source-range", "bytes=9-1"),
    ("x-amz-checksum-crc32", "²"), ("x-amz-sdk-checksum-algorithm", "CRC9"), ("x-amz-meta-a", "\udcff"), ("x-amz-tagging", "a=b&a=c&%00"),
    ("x-amz-decoded-content-length", "²"), ("x-amz-decoded-content-length", "-1"), ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
    ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"), ("x-amz-trailer", "x-amz-checksum-crc32"), ("x-http-method-override", "DELETE"),
    ("x-amzn-sagemaker-session-id", "\x7f"), ("x-amzn-sagemaker-target-model", "../../a"), ("origin", "null"), ("forwarded", "for=\""),
    ("x-forwarded-proto", "\xff"), ("cookie", "a=\xff;;=;"), ("x-amz-client-context", "²"), ("x-amz-invocation-type", "\xff"),
    ("date", "x"), ("accept-encoding", "gzip, deflate"), ("x-amz-expected-bucket-owner", "²"), ("x-amz-mfa", " "),
)  # fmt: skip
_PATHS = (
    "//", "/%", "/%00", "/%ff", "/%2e%2e/", "/..", "/../..", "/a//b", "/;", "/*", "/%c0%80", "/v2", "/v2/", "/v2/apis/%00", "/restapis//",
    "/2015-03-31/functions/", "/2015-03-31/functions/%2f/invocations", "/endpoints//invocations", "/endpoints/%00/invocations",
    "/endpoints/a/../b/invocations", "/endpoints/a/invocations/", "/endpoints/" + "a" * 5000 + "/invocations", "/fuzz/%00", "/fuzz/" + "a" * 1025,
    "/fuzz/" + "%F0%9F%92%A5" * 250, "/service/x/operation/", "/service/GraniteServiceVersion20100801/operation/%00", "/_clary/", "/_clary/execute-api/",
    "/_clary/lambda-url//", "/livez/", "/metrics", "/console", "/fuzz?%", "/\xff",
)  # fmt: skip
_QUERIES = (
    "a", "=", "&&&", "%", "%00=%00", "a=%ff", "uploads", "uploadId=²", "partNumber=²", "partNumber=-1", "partNumber=1", "versionId=%00", "max-keys=²",
    "max-keys=-1", "max-keys=99999999999999999999", "list-type=2&continuation-token=x", "list-type=9", "versions&key-marker=%00", "versions&version-id-marker=x",
    "encoding-type=x", "delimiter=%00&prefix=%ff", "maxResults=a", "nextToken=²", "limit=-1", "position=x", "lifecycle", "tagging", "acl", "policy", "website",
    "Action=GetCallerIdentity&Version=2011-06-15", "Action=" + "a." * 40, "X-Amz-Algorithm=AWS4-HMAC-SHA256", "X-Amz-Expires=²", "Qualifier=%00",
    "&".join(f"a{i}=1" for i in range(1500)), "response-content-type=a%0d%0ab:c", "response-expires=%ff", "select&select-type=2", "delete",
)  # fmt: skip


def battered(draft: Draft, pick: random.Random) -> Draft:
    """The request with something broken below what a model describes: its body, a header, its path, its query."""
    made = copy.deepcopy(draft)
    for _ in range(pick.choice((1, 1, 2))):
        kind = pick.randrange(6)
        if kind == 0:
            made.headers = {**made.headers, **dict([pick.choice(_HEADERS)])}
        elif kind == 1:
            made.path = unquote(made.path) and pick.choice(
                (made.path + "/", made.path + "%00", pick.choice(_PATHS), made.path.upper())
            )
            made.path, _, more = made.path.partition("?")
            made.query = more or made.query
        elif kind == 2:
            made.query = pick.choice((pick.choice(_QUERIES), f"{made.query}&{pick.choice(_QUERIES)}"))
        elif kind == 3:
            made.method = pick.choice(("GET", "PUT", "POST", "DELETE", "HEAD", "PATCH", "OPTIONS"))
        else:
            made.body = _bitten(made.body, pick)
    made.path = _BAD_IN_HEADERS.sub("", made.path).replace(" ", "%20") or "/"
    return made


def _bitten(body: bytes, pick: random.Random) -> bytes:
    data = bytearray(body)
    match pick.randrange(7):
        case 0:
            return bytes(data[: pick.randrange(len(data) + 1)])
        case 1 if data:
            for _ in range(pick.choice((1, 2, 8))):
                data[pick.randrange(len(data))] = pick.randrange(256)
        case 2:
            at = pick.randrange(len(data) + 1)
            data[at:at] = pick.choice(
                (
                    b"\0",
                    b"\xff\xfe",
                    b"[" * 2000,
                    b"{",
                    b'"',
                    b"<!DOCTYPE a>",
                    b"&a.member.\xc2\xb2=1",
                    b"\x9f\x9f",
                    b"%",
                )
            )
        case 3 if data:
            start = pick.randrange(len(data))
            del data[start : start + pick.choice((1, 3, 20))]
        case 4:
            return pick.choice(
                (
                    b"",
                    b"[]",
                    b"null",
                    b"1",
                    b'"',
                    b"{}",
                    b"\x00" * 50,
                    b"[" * 100_000,
                    b"<" * 500,
                    b"<a>" * 3000,
                    b"=&=&",
                    b"\xbf",
                    b"\x9f" * 500,
                    b"\xd9\xff\xff",
                    b'<?xml version="1.0" encoding="cp037"?><a/>',
                    "<a/>".encode("utf-16"),
                )
            )
        case 5:
            return bytes(data) * 2
        case _:
            return bytes(data) + b"\r\n"
    return bytes(data)


def misframed(data: bytes, pick: random.Random) -> bytes:
    """The bytes of a request with their framing broken: lengths, chunks, lines."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    plain = [line for line in lines if not line.lower().startswith(b"content-length:")]
    chunk = b"%x\r\n%b\r\n" % (len(body), body) if body else b""
    match pick.randrange(14):
        case 0:
            lines = [
                *plain,
                pick.choice(
                    (
                        b"content-length: 99",
                        b"content-length: -1",
                        b"content-length: x",
                        b"content-length: \xc2\xb2",
                        b"content-length: 1, 2",
                        b"content-length: 99999999999999999999",
                    )
                ),
            ]
        case 1:
            lines.append(b"content-length: 7")
        case 2:
            lines, body = (
                [*plain, b"transfer-encoding: chunked"],
                pick.choice((chunk, chunk + b"0\r\n", b"zz\r\n", b"-1\r\n", b"ffffffffffffffff\r\n", b"5\r\nab")),
            )
        case 3:
            lines, body = [*lines, b"transfer-encoding: chunked"], chunk + b"0\r\n\r\n"
        case 4:
            lines, body = [*plain, b"transfer-encoding: gzip, chunked"], chunk + b"0\r\n\r\n"
        case 5:
            lines[0] = pick.choice(
                (
                    b"GET",
                    b"",
                    b"GET  / HTTP/1.1",
                    b"GET / HTTP/9.9",
                    b"G\0T / HTTP/1.1",
                    b"GET / HTTP/1.0",
                    b"PRI * HTTP/2.0",
                    b"CONNECT a:1 HTTP/1.1",
                    b"GET http:// HTTP/1.1",
                    b"GET * HTTP/1.1",
                    b"POST / HTTP/1.1 x",
                )
            )
        case 6:
            lines[pick.randrange(len(lines))] += b"\0"
        case 7:
            lines.insert(
                1, pick.choice((b"a", b" a: b", b": b", b"a b: c", b"a:" + b"b" * 70_000, b"host: x", b"\xff: \xff"))
            )
        case 8:
            lines += [b"x%d: a" % i for i in range(pick.choice((200, 400, 7000)))]
        case 9:
            return data[: pick.randrange(len(data))]
        case 10:
            return head.replace(b"\r\n", b"\n") + b"\n\n" + body
        case 11:
            return data + pick.choice((b"G", b"\0", b"\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", data))
        case 12:
            lines = [*plain, b"transfer-encoding: chunked", b"trailer: x"]
            body = chunk + b"0\r\nx: " + b"y" * pick.choice((3, 100_000)) + b"\r\n\r\n"
        case _:
            lines = [line for line in lines if not line.lower().startswith(b"host:")]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
