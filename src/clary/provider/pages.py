"""Lists of resources: filters, sorting, paging – the same for every kind."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import Any, TypeVar

import orjson
from sqlalchemy import and_, or_

from ..store.rows import Row
from ..store.schema import resource
from ..wire import bounded
from .context import Context
from .errors import AwsError, ValidationException

Json = dict[str, Any]
Item = TypeVar("Item")
DEFAULT_PAGE = 10
_COLUMNS = {
    "Name": resource.c.name, "CreationTime": resource.c.created, "LastModifiedTime": resource.c.modified,
    "Status": resource.c.state,
}  # fmt: skip
_FIELDS: dict[str, Callable[[Row], Any]] = {
    "Name": lambda r: r.name, "CreationTime": lambda r: r.created, "LastModifiedTime": lambda r: r.modified,
    "Status": lambda r: r.state,
}  # fmt: skip
_TIMES = {
    "CreationTimeAfter": (resource.c.created, 1), "CreationTimeBefore": (resource.c.created, -1),
    "LastModifiedTimeAfter": (resource.c.modified, 1), "LastModifiedTimeBefore": (resource.c.modified, -1),
}  # fmt: skip


def whole(text: str | int | None, default: int, invalid: AwsError, low: int = 0, high: int = (1 << 31) - 1) -> int:
    """Return a whole number that a caller spelled as text, or the default; raise the given error if it is not one."""
    try:
        return default if text is None or text == "" else bounded.whole(str(text), low, high)
    except ValueError:
        raise invalid from None


def cut(items: list[Item], token: str | None, limit: int, invalid: AwsError) -> tuple[list[Item], str | None]:
    """Return a page of a list and the token of the next one; a token is the number of items before a page."""
    start = whole(token, 0, invalid)
    return items[start : start + limit], str(start + limit) if len(items) > start + limit else None


def page(
    ctx: Context, kind: str, request: Json, order: str = "Descending", sort: str = "CreationTime"
) -> tuple[list[Row], Json]:
    """A page of the caller's resources of a kind, and the ``NextToken`` that leads on.

    As on AWS the page is cut before ``StatusEquals`` is applied: a page may be short and still not be the last.
    """
    statement = ctx.tx.rows.query(kind, ctx.account, ctx.region)
    if text := request.get("NameContains"):
        statement = statement.where(resource.c.name.icontains(text, autoescape=True))
    for member, (column, sign) in _TIMES.items():
        if (moment := request.get(member)) is not None:
            edge = moment.timestamp()
            statement = statement.where(column >= edge if sign > 0 else column < edge)
    sort = request.get("SortBy", sort)
    sort = sort if sort in _COLUMNS else "CreationTime"
    descending = request.get("SortOrder", order) == "Descending"
    column = _COLUMNS[sort]
    if token := request.get("NextToken"):
        value, name = _read(token)
        beyond = column < value if descending else column > value
        after = resource.c.name < name if descending else resource.c.name > name
        statement = statement.where(or_(beyond, and_(column == value, after)))
    keys = (column, resource.c.name)
    limit = request.get("MaxResults", DEFAULT_PAGE)
    rows = ctx.tx.rows.fetch(statement.order_by(*(k.desc() if descending else k.asc() for k in keys)).limit(limit + 1))
    found = rows[:limit]
    more: Json = {}
    if len(rows) > limit:
        last = found[-1]
        more["NextToken"] = base64.b64encode(orjson.dumps([_FIELDS[sort](last), last.name])).decode()
    if wanted := request.get("StatusEquals"):
        found = [r for r in found if r.state == wanted]
    return found, more


def _read(token: str) -> tuple[Any, str]:
    try:
        value, name = orjson.loads(base64.b64decode(token, validate=True))
    except (ValueError, binascii.Error, TypeError):
        raise ValidationException("The pagination token is invalid.") from None
    if not isinstance(name, str) or not isinstance(value, (str, float, int)):
        raise ValidationException("The pagination token is invalid.")
    return value, name
