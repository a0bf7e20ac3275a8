"""Parameters of an operation's shape: valid ones, and ones with something hostile somewhere inside."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from . import documents

TEXTS: tuple[str, ...] = (
    "", " ", "a", "fuzz", "a\0b", "\0", "é" * 300, "\u2028", "\U0001f4a5" * 20, "²", "٣", "\ud800", "..", "../../etc/passwd",
    "/", "//", ".", ":", ":::::::", "-1", "0", "00", "1e400", "9" * 30, "NaN", "null", "true", "a" * 5000, "a/b:c", "%00",
    "%", "${a}", "$.a", "{{resolve:ssm:a}}", "*", "?", "[", "{", "(", "a\r\nX-Evil: 1", "<a>&\"'", "\x1b[0m", "\ufffe",
    "cron(* *)", "rate(0 minutes)", "rate(1 day)", "at(9999-99-99T00:00:00)", "2020-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
    "arn:", "arn:aws:s3:::a", "arn:aws:iam::000000000000:role/fuzz", "s3://fuzz/a", "https://localhost/a", "bHN3", "MTIz",
    "eyJhIjoxfQ==", "a,b", "a=b&c=d", "1,2,3", "'", "--", ";", "\\", "m1 + m2", "SUM(METRICS())", "(a+)+$", "[", "a{1,99999}",
    '{"a": 1}', "[" * 200, '{"a":' * 200 + "1" + "}" * 200, "[" * 2000 + "]" * 2000,
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 10, 59, 60, 61, 100, 255, 256, 1000, 86400, 2**31 - 1, 2**31, -(2**31), 2**53, 2**63 - 1, 2**63, -(2**63),
    2**64, 10**30, 0.5, -0.0, 1.5, 1e18, 1e308, 5e-324, float("nan"), float("inf"), "NaN", "Infinity", "1",
)  # fmt: skip
TIMES: tuple[Any, ...] = (
    0, -1, 1e9, 1.7e9, 1.8e9, 1e18, -1e18, 253402300799, 253402300800, -62135596800, "NaN", "2020-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999+00:01", "0001-01-01T00:00:00+23:59", "", float("nan"),
)  # fmt: skip


def nested(depth: int, kind: str = "list") -> Any:
    """A value of nothing but levels."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind == "list" else {"a": value}
    return value


def odd(pick: random.Random) -> Any:
    """A value of any type."""
    return pick.choice(
        [
            lambda: None, lambda: True, dict, list, lambda: [None], lambda: {"": None}, lambda: [{}],
            lambda: pick.choice(TEXTS), lambda: pick.choice(NUMBERS), lambda: nested(pick.choice((3, 150, 900))),
            lambda: nested(pick.choice((3, 150, 900)), "map"), lambda: {"a": {"b": [1, None]}}, lambda: "x" * 70_000,
            lambda: [pick.choice(TEXTS)] * pick.choice((1, 2, 60)),
        ]
    )()  # fmt: skip


@dataclass
class Known:
    """Names, ids and tokens that answers have shown, by the member that showed them."""

    pools: dict[str, list[str]] = field(default_factory=dict)
    most: int = 12
    own_key: str = ""  # that requests are signed with: one that named it might delete it

    def learn(self, member: str, value: str) -> None:
        """Remember a value; the oldest makes room."""
        pool = self.pools.setdefault(member.lower(), [])
        if value and len(value) < 300 and value not in pool and value != self.own_key:
            pool.append(value)
            del pool[: -self.most]

    _SHOWN = re.compile(
        r'"([A-Za-z]{2,40})" ?: ?"([^"\\]{1,299})"|<([A-Za-z]{2,40})>([^<]{1,299})</|"([A-Za-z]{2,40})" ?: ?(\d{1,18})[,}]'
    )

    def read(self, body: bytes) -> None:
        """Learn from an answer."""
        for found in self._SHOWN.finditer(body[:20_000].decode("utf-8", "replace")):
            name = (found[1] or found[3] or found[5]).lower()
            if name.endswith(("id", "name", "arn", "token", "key", "version", "marker", "position", "digest", "etag")):
                self.learn(name, found[2] or found[4] or found[6])

    def some(self, member: str, pick: random.Random) -> str | None:
        """A value for a member: of its own name, or of the end of its name (``restApiId``: ``id``)."""
        low = member.lower()
        for pool in (self.pools.get(low), next((p for n, p in self.pools.items() if low.endswith(n)), None)):
            if pool and pick.random() < 0.8:
                return pick.choice(pool)
        return None


@dataclass
class Maker:
    """Makes parameters; ``hostility`` is the chance that a value is none that its shape allows."""

    pick: random.Random
    known: Known
    hostility: float = 0.0

    def parameters(self, shape: Any) -> dict[str, Any]:
        """An operation's parameters."""
        found = self._structure(shape, 0, ())
        return found if isinstance(found, dict) else {}

    def _value(self, name: str, shape: Any, depth: int, path: tuple[str, ...]) -> Any:
        if self.hostility and self.pick.random() < self.hostility:
            return odd(self.pick)
        match shape.type_name:
            case "structure":
                return self._structure(shape, depth, path)
            case "list":
                return self._list(name, shape, depth, path)
            case "map":
                keys = [self._value("key", shape.key, depth + 1, path) for _ in range(self.pick.choice((0, 1, 1, 2)))]
                return {str(k): self._value(name, shape.value, depth + 1, path) for k in keys}
            case "boolean":
                return self.pick.random() < 0.5
            case "timestamp":
                return self.pick.choice(TIMES if self.hostility else (1e9, 1.7e9, 1.8e9))
            case "blob":
                return documents.blob(name, self.pick)
            case "string":
                return self._text(name, shape)
        return self._number(shape)

    def _structure(self, shape: Any, depth: int, path: tuple[str, ...]) -> Any:
        if getattr(shape, "is_document_type", False):
            return odd(self.pick)
        if path.count(shape.name) > 1:
            return {}
        required = set(shape.required_members)
        chance = 0.6 if depth == 0 else 0.5 if depth < 3 else 0.1
        members = [n for n in shape.members if n in required or self.pick.random() < chance]
        if getattr(shape, "is_tagged_union", False) and members:
            members = [self.pick.choice(list(shape.members))]
        if self.hostility:
            members = [n for n in members if self.pick.random() > self.hostility / 2]
        inner = (*path, shape.name)
        return {n: self._value(n, shape.members[n], depth + 1, inner) for n in members}

    def _list(self, name: str, shape: Any, depth: int, path: tuple[str, ...]) -> list[Any]:
        if path.count(shape.name) > 1:
            return []
        many = self.pick.choice((0, 1, 1, 1, 2) if not self.hostility else (0, 1, 1, 2, 2, 30))
        if many == 30:
            return [self._value(name, shape.member, depth + 2, (*path, shape.name))] * 30
        return [self._value(name, shape.member, depth + 1, (*path, shape.name)) for _ in range(many)]

    def _text(self, name: str, shape: Any) -> Any:
        if shape.enum and self.pick.random() < 0.95:
            return self.pick.choice(shape.enum)
        if (document := documents.text(name, self.pick)) is not None and self.pick.random() < 0.85:
            return document
        if self.pick.random() < 0.75 and (found := self.known.some(name, self.pick)) is not None:
            return found
        if self.hostility and self.pick.random() < 0.5:
            return self.pick.choice(TEXTS)
        least, most = shape.metadata.get("min") or 0, shape.metadata.get("max") or 64
        text = self.pick.choice(("fuzz", "fuzz-2", "a", "key", "x1"))
        return text if least <= len(text) <= most else (text * (least // len(text) + 1))[: max(least, 1)]

    def _number(self, shape: Any) -> Any:
        if self.hostility and self.pick.random() < 0.5:
            return self.pick.choice(NUMBERS)
        least, most = shape.metadata.get("min"), shape.metadata.get("max")
        edges = [v for v in (least, most, 1, 60, 100) if v is not None]
        value = self.pick.choice(edges)
        return value if shape.type_name in ("float", "double") else int(value)


Place = Callable[[Any], None]


def places(value: Any, put: Place) -> Iterator[tuple[Any, Place]]:
    """Every value inside a value, with what puts another in its place."""
    yield value, put
    if isinstance(value, dict):
        for key in list(value):
            yield from places(value[key], lambda new, key=key: value.__setitem__(key, new))  # type: ignore[misc]
    elif isinstance(value, list):
        for at in range(len(value)):
            yield from places(value[at], lambda new, at=at: value.__setitem__(at, new))  # type: ignore[misc]


def spoil(value: Any, pick: random.Random, times: int = 1) -> Any:
    """The value with something odd in the place of something in it."""
    holder = [value]
    for _ in range(times):
        every = list(places(holder[0], lambda new: holder.__setitem__(0, new)))
        pick.choice(every)[1](odd(pick))
    return holder[0]
