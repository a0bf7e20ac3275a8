"""Keys in order, of which each group – those that share a prefix up to a delimiter – shows its first key alone.

One recursive statement jumps from key to key in the index: a listing costs what it shows, not what its groups hide.
"""

from __future__ import annotations

from functools import lru_cache

from sqlalchemy import text

from .direct import Direct, Statement

LATEST = "s3_object where o.latest = :yes and o.marker = :no and"
VERSIONS = "s3_object where"
UPLOADS = "s3_upload where"
"""What to walk over: the rows, and the beginning of the condition that chooses them."""

_LAST = "\U0010ffff" * 256  # behind whatever a key of 1,024 bytes can have there


def after_prefix(prefix: str) -> str | None:
    """Return the first text after all that begin with a prefix; None if there is none."""
    found = prefix
    while found:
        following = ord(found[-1]) + 1
        if following <= 0x10FFFF:
            return found[:-1] + chr(0xE000 if following == 0xD800 else following)  # between them are no characters
        found = found[:-1]
    return None


def group_of(key: str, prefix: str, delimiter: str) -> str | None:
    """Return the group that a key belongs to: all of it up to the delimiter after the prefix; None if it has none."""
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return key[: at + len(delimiter)] if at >= 0 else None


def walk(direct: Direct, what: str, bucket: str, prefix: str, delimiter: str, after: str, limit: int) -> list[str]:
    """Return up to ``limit`` keys after ``after``; of each group only its first.

    Where ``after`` is a group, the whole of it has been shown already. Without a delimiter there are no groups.
    """
    beyond = after_prefix(delimiter) or delimiter + _LAST
    start = max(prefix, after)
    if after and group_of(after, prefix, delimiter) == after:
        start, after = max(prefix, after[: -len(delimiter)] + beyond), ""
    values = {"b": bucket, "start": start, "after": after, "n": limit}
    if delimiter:
        values |= {"d": delimiter, "beyond": beyond} | ({"at": len(prefix) + 1} if prefix else {})
    if (end := after_prefix(prefix)) is not None:
        values["e"] = end
    if what is LATEST:
        values |= {"yes": True, "no": False}
    statement = _statement(what, end is not None, bool(delimiter), bool(prefix), direct.kind)
    return [row[0] for row in direct.all(statement, **values)]


@lru_cache
def _statement(what: str, bounded: bool, divided: bool, below: bool, kind: str) -> Statement:
    sqlite = kind == "sqlite"
    collate = "" if sqlite else ' collate "C"'
    at = "cast(:at as integer)"
    rest = f"substr(walk.k, {at})" if below else "walk.k"
    place = f"instr({rest}, :d)" if sqlite else f"strpos({rest}, cast(:d as text))"
    length = f"{at} - 2 + {place}" if below else f"{place} - 1"
    head = f"substr(walk.k, 1, {length})" if sqlite else f"left(walk.k, {length})"
    beyond = ":beyond" if sqlite else "cast(:beyond as text)"
    jump = f"case when {place} > 0 then {head} || {beyond} else walk.k end" if divided else "walk.k"
    table, _, condition = what.partition(" where")
    chosen = f"select cast(o.key as text){collate} from {table} o where{condition} o.bucket = :b"
    end = "and o.key < :e" if bounded else ""
    last = "order by o.key limit 1"
    return Statement(
        text(f"""
            with recursive walk(k, i) as (
                select * from (select ({chosen} and o.key >= :start and o.key <> :after {end} {last}), 1) as first
                union all
                select ({chosen} and o.key >= ({jump}){collate} and o.key <> walk.k {end} {last}), walk.i + 1
                from walk where walk.k is not null and walk.i < :n
            )
            select k from walk where k is not null order by i
        """)
    )
