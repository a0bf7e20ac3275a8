"""Rows of resources and their tags: JSON documents in AWS's spelling under a key."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, Select, and_, bindparam, delete, func, insert, select, update

from ..clock import now
from .schema import resource, tag

Json = dict[str, Any]


class Key(NamedTuple):
    """What names a row."""

    kind: str
    account: str
    region: str
    name: str


class AlreadyExists(Exception):
    """A row of that key is there."""

    def __init__(self, key: Key):
        super().__init__(f"{key.kind} {key.name} already exists")
        self.key = key


@dataclass(frozen=True, slots=True)
class Row:
    """One resource: what was asked for (spec), what is (status), what the API asks next (wish)."""

    kind: str
    account: str
    region: str
    name: str
    arn: str
    spec: Json
    status: Json = field(default_factory=dict)
    private: Json = field(default_factory=dict)
    wish: Json = field(default_factory=dict)
    state: str = ""
    uid: str = ""
    created: float = 0.0
    modified: float = 0.0
    due: float | None = None
    tries: int = 0
    note: str | None = None
    revision: int = 1

    @property
    def key(self) -> Key:
        """What names this row."""
        return Key(self.kind, self.account, self.region, self.name)

    def view(self) -> Json:
        """Spec and status laid over each other, as Describe shows them."""
        return {**self.spec, **self.status}


_DOCUMENTS = ("spec", "status", "private", "wish")
FIELDS = (
    "kind", "account", "region", "name", "arn", "spec", "status", "private", "wish", "state", "uid", "created",
    "modified", "due", "tries", "note", "revision",
)  # fmt: skip
_COLUMNS = [resource.c[name] for name in FIELDS]
_BY_KEY = and_(
    resource.c.kind == bindparam("k"), resource.c.account == bindparam("a"),
    resource.c.region == bindparam("r"), resource.c.name == bindparam("n"),
)  # fmt: skip
_GET = select(*_COLUMNS).where(_BY_KEY)


def row_of(values: Any) -> Row:
    """A Row from a result whose columns are ``COLUMNS``."""
    fields = dict(zip(FIELDS, values, strict=True))
    for name in _DOCUMENTS:
        fields[name] = orjson.loads(fields[name])
    return Row(**fields)


def _params(key: Key) -> Json:
    return {"k": key.kind, "a": key.account, "r": key.region, "n": key.name}


def dump(document: Json) -> str:
    """A document as it is stored; moments become seconds since the epoch when they are written as numbers."""
    return orjson.dumps(document, default=_default, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def _default(value: Any) -> Any:
    if hasattr(value, "timestamp"):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} cannot be stored")


def values_of(row: Row) -> Json:
    """A row's columns as they are stored."""
    values = {name: getattr(row, name) for name in FIELDS}
    return {**values, **{name: dump(values[name]) for name in _DOCUMENTS}}


class Rows:
    """Resources in one transaction."""

    def __init__(self, connection: Connection, changed: list[Key]):
        self._connection = connection
        self._changed = changed

    def get(self, kind: str, account: str, region: str, name: str) -> Row | None:
        """A row, or None."""
        found = self._connection.execute(_GET, _params(Key(kind, account, region, name))).fetchone()
        return row_of(found) if found else None

    def by_arn(self, arn: str) -> Row | None:
        """The row that an ARN names, or None."""
        found = self._connection.execute(select(*_COLUMNS).where(resource.c.arn == arn)).fetchone()
        return row_of(found) if found else None

    def add(self, row: Row) -> Row:
        """Store a new row, with its uid and times filled in; AlreadyExists when its key is taken."""
        if self.get(*row.key) is not None:
            raise AlreadyExists(row.key)
        at = row.created or now()
        row = replace(row, uid=row.uid or uuid.uuid4().hex, created=at, modified=row.modified or at)
        self._connection.execute(insert(resource), values_of(row))
        self._changed.append(row.key)
        return row

    def save(self, row: Row, **changes: Any) -> Row:
        """Write a changed row back; the revision counts up."""
        row = replace(row, **changes, revision=row.revision + 1)
        if "modified" not in changes:
            row = replace(row, modified=now())
        values: Json = {name: dump(getattr(row, name)) for name in _DOCUMENTS}
        values |= {n: getattr(row, n) for n in ("state", "modified", "due", "tries", "note", "revision", "arn")}
        self._connection.execute(update(resource).where(_BY_KEY).values(**values), _params(row.key))
        self._changed.append(row.key)
        return row

    def wish(self, row: Row, at: float | None = None, **wishes: Any) -> Row:
        """Add to what the API asks of the reconciler, and make the row due."""
        return self.save(row, wish={**row.wish, **wishes}, due=now() if at is None else at)

    def delete(self, row: Row) -> None:
        """Remove a row and its tags."""
        self._connection.execute(delete(resource).where(_BY_KEY), _params(row.key))
        self._connection.execute(delete(tag).where(tag.c.arn == row.arn))
        self._changed.append(row.key)

    def query(self, kind: str, account: str | None = None, region: str | None = None) -> Select[Any]:
        """A select of a kind's rows, for callers that add conditions of their own; read it with ``fetch``."""
        statement = select(*_COLUMNS).where(resource.c.kind == kind)
        if account is not None:
            statement = statement.where(resource.c.account == account)
        if region is not None:
            statement = statement.where(resource.c.region == region)
        return statement

    def fetch(self, statement: Select[Any]) -> list[Row]:
        """The rows of a select made by ``query``."""
        return [row_of(values) for values in self._connection.execute(statement)]

    def list(self, kind: str, account: str | None = None, region: str | None = None) -> list[Row]:
        """All rows of a kind, by name."""
        return self.fetch(self.query(kind, account, region).order_by(resource.c.name))

    def count(self, kind: str, account: str) -> int:
        """How many rows of a kind an account has."""
        statement = select(func.count()).where(resource.c.kind == kind, resource.c.account == account)
        return int(self._connection.execute(statement).scalar_one())


class Tags:
    """Tags of anything that has an ARN, in one transaction."""

    def __init__(self, connection: Connection):
        self._connection = connection

    def of(self, arn: str) -> dict[str, str]:
        """Tags by key, sorted."""
        statement = select(tag.c.key, tag.c.value).where(tag.c.arn == arn).order_by(tag.c.key)
        return {row[0]: row[1] for row in self._connection.execute(statement)}

    def put(self, arn: str, tags: dict[str, str]) -> None:
        """Add or replace tags."""
        self.remove(arn, list(tags))
        if tags:
            rows = [{"arn": arn, "key": k, "value": v} for k, v in tags.items()]
            self._connection.execute(insert(tag), rows)

    def remove(self, arn: str, keys: list[str]) -> None:
        """Remove tags by key."""
        if keys:
            self._connection.execute(delete(tag).where(tag.c.arn == arn, tag.c.key.in_(keys)))
