"""REST bindings: which members travel in the path, the query, the headers, the status."""

from __future__ import annotations

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, unquote

from .message import Malformed, Response
from .model import Operation, Service, Shape
from .values import check_text, text_reader, text_writer

_LABEL = re.compile(r"\{([^}+]+)(\+)?\}")

Query = dict[str, list[str]]
Take = Callable[[dict[str, str], Query, dict[str, str]], Any]
Put = Callable[[Any, Response], None]


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    fixed: dict[str, str]
    queries: frozenset[str]
    headers: frozenset[str]
    labels: dict[str, str]
    operation: Operation


class Routes:
    """Finds the operation for a method, path and query, the most specific pattern first."""

    def __init__(self, service: Service):
        ranked = sorted((_rule(operation) for operation in service.operations.values()), key=lambda pair: pair[0])
        self._by_method: dict[str, list[_Rule]] = {}
        for _, rule in ranked:
            self._by_method.setdefault(rule.operation.http.get("method", "POST"), []).append(rule)
        self._without_query = {
            method: [r for r in rules if not r.fixed and not r.queries] for method, rules in self._by_method.items()
        }

    def match(
        self, method: str, path: str, query: Query, headers: dict[str, str]
    ) -> tuple[Operation, dict[str, str]] | None:
        """The operation and its path labels, decoded; None when nothing fits."""
        for rule in (self._by_method if query else self._without_query).get(method, ()):
            if (
                all(k in query and (not v or v in query[k]) for k, v in rule.fixed.items())
                and rule.queries <= query.keys()
                and all(h in headers for h in rule.headers)
                and (found := rule.pattern.match(path)) is not None
            ):
                labels = {rule.labels[k]: unquote(v, errors="replace") for k, v in found.groupdict().items()}
                return rule.operation, labels
        return None


def fixed_query(operation: Operation) -> dict[str, str]:
    """What an operation's address has in its query, by name."""
    query = operation.http["requestUri"].partition("?")[2]
    return {k: v[0] for k, v in parse_qs(query, keep_blank_values=True).items()}


def _rule(operation: Operation) -> tuple[tuple[int, ...], _Rule]:
    path, fixed = operation.http["requestUri"].partition("?")[0], fixed_query(operation)
    members = operation.input.members if operation.input else {}
    required = (operation.input["required"] or ()) if operation.input else ()

    def needed(where: str) -> frozenset[str]:
        return frozenset(m["locationName"] for n, m in members.items() if n in required and m["location"] == where)

    queries, headers = needed("querystring"), frozenset(h.lower() for h in needed("header"))
    labels = {_safe(name): name for name, _ in _LABEL.findall(path)}
    rank = (
        -len(fixed), -len(queries) - len(headers), path.count("+}"), len(labels),
        int(bool(operation.spec.get("deprecated"))),
    )  # fmt: skip
    pattern = re.compile(_pattern(path).rstrip("/") + "/?$", re.DOTALL)
    return rank, _Rule(pattern, fixed, queries, headers, labels, operation)


def _pattern(path: str) -> str:
    out: list[str] = []
    at = 0
    for label in _LABEL.finditer(path):
        out += re.escape(path[at : label.start()]), f"(?P<{_safe(label[1])}>{'.+' if label[2] else '[^/]+'})"
        at = label.end()
    return "".join(out) + re.escape(path[at:])


def _safe(label: str) -> str:
    return "".join(c if c.isalnum() else f"_{ord(c)}_" for c in label)


class Bindings:
    """A structure's members outside its body, and the shape of the body itself."""

    def __init__(self, shape: Shape | None, response: bool = False, fixed: Container[str] = ()):
        """``fixed`` are the names in the query that tell operations apart; they are no parameters."""
        self.readers: list[tuple[str, Take]] = []
        self.by_header: dict[str, tuple[str, Callable[[str], Any]]] = {}
        self.writers: dict[str, Put] = {}
        self.payload: tuple[str, Shape] | None = None
        self.body: dict[str, Shape] = {}
        members = shape.members if shape else {}
        named = {m["locationName"] for m in members.values() if m["location"] == "querystring"}
        for name, member in members.items():
            where = member["location"]
            if where is None or (response and where in ("querystring", "uri")):
                self.body[name] = member
                continue
            key = name if member["locationName"] is None else member["locationName"]
            if response:
                self.writers[name] = _writer(where, key, member)
            elif where == "header":
                self.by_header[key.lower()] = name, _header_reader(member)
            else:
                self.readers.append((name, _reader(where, key, member, named, fixed)))
        if shape and (payload := shape["payload"]):
            self.payload = payload, shape.members[payload]
            self.body = {}

    def read(self, labels: dict[str, str], query: Query, headers: dict[str, str]) -> dict[str, Any]:
        """The parameters that travel outside the body."""
        params: dict[str, Any] = {}
        for name, take in self.readers:
            if (value := take(labels, query, headers)) is not None:
                params[name] = value
        for key, text in headers.items():  # a request has few headers, a shape may have forty
            if (known := self.by_header.get(key)) is not None:
                params[known[0]] = known[1](text)
        return params


def _split(text: str, shape: Shape) -> list[str]:
    if shape.type == "timestamp" and (shape["timestampFormat"] or "rfc822") == "rfc822":
        parts = text.split(",")
        return [",".join(parts[i : i + 2]).strip() for i in range(0, len(parts), 2)]
    if '"' in text:
        return [
            m[0].replace('\\"', '"').replace("\\\\", "\\") if m[0] or not m[1] else m[1]
            for m in re.findall(r'"((?:[^"\\]|\\.)*)"|([^,\s][^,]*)', text)
        ]
    return [part.strip() for part in text.split(",")]


def _header_reader(shape: Shape) -> Callable[[str], Any]:
    if shape.type != "list":
        return text_reader(shape, "rfc822")
    inner = shape.child("member")
    item = text_reader(inner, "rfc822")
    return lambda text: [item(v) for v in _split(text, inner)]


def _reader(where: str, key: str, shape: Shape, named: Container[str], fixed: Container[str]) -> Take:
    style = "iso8601"
    low = key.lower()
    if where == "uri":
        read = text_reader(shape, style)
        return lambda labels, query, headers: read(labels[key])
    if where == "headers":
        return lambda labels, query, headers: (
            {k[len(low) :]: check_text(v) for k, v in headers.items() if k.startswith(low)} or None
        )
    if where == "querystring" and shape.type == "map":
        many = shape.child("value").type == "list"
        return lambda labels, query, headers: (
            {k: v if many else v[0] for k, v in query.items() if k not in named and k not in fixed} or None
        )
    if shape.type == "list":
        inner = shape.child("member")
        item = text_reader(inner, style)
        return lambda labels, query, headers: [item(v) for v in query[key]] if key in query else None
    read = text_reader(shape, style)
    return lambda labels, query, headers: read(query[key][0]) if key in query else None


def _quoted(text: str) -> str:
    if '"' in text or "," in text:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return text


def _writer(where: str, key: str, shape: Shape) -> Put:
    if where == "headers":
        return lambda value, response: response.headers.update({key + k: v for k, v in value.items()})
    if where == "statusCode":

        def put_status(value: int, response: Response) -> None:
            response.status = value

        return put_status
    if shape.type == "list":
        inner = shape.child("member")
        item = text_writer(inner, "rfc822")
        quote = _quoted if inner.type == "string" else str

        def put_list(value: list[Any], response: Response) -> None:
            if value:
                response.headers[key] = ", ".join(quote(item(v)) for v in value)

        return put_list
    text = text_writer(shape, "rfc822")

    def put(value: Any, response: Response) -> None:
        response.headers[key] = text(value)

    return put


def decoded(body: bytes) -> str:
    """A text payload; Malformed when it is not UTF-8."""
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Malformed("body is not UTF-8") from None
