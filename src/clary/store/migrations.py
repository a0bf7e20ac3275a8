"""Numbered steps from an empty database to the present schema. A step that has shipped is never changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Column, Connection, Table, inspect, text
from sqlalchemy.schema import CreateColumn

from .schema import async_request, metadata, metric, metric_file, metric_point, s3_object

Step = Callable[[Connection], None]


def _first(connection: Connection) -> None:
    metadata.create_all(connection)


def _add(column: Column[Any]) -> Step:
    """Add a column to databases that were made before it."""

    def step(connection: Connection) -> None:
        table = column.table.name
        if column.name not in {c["name"] for c in inspect(connection).get_columns(table)}:
            definition = CreateColumn(column).compile(dialect=connection.dialect)
            connection.execute(text(f"alter table {table} add column {definition}"))

    return step


def _make(*tables: Table) -> Step:
    """Make tables in databases that were made before them."""

    def step(connection: Connection) -> None:
        metadata.create_all(connection, tables)

    return step


STEPS: list[Step] = [_first, _add(s3_object.c.data), _make(metric, metric_point, metric_file), _make(async_request)]


class NewerDatabase(RuntimeError):
    """The database was written by a newer Clary."""


def migrate(connection: Connection) -> int:
    """Bring a database to the present version, in the caller's transaction; the number of steps taken."""
    connection.execute(text("create table if not exists schema_version (version integer not null)"))
    row = connection.execute(text("select version from schema_version")).fetchone()
    version = row[0] if row else 0
    if version > len(STEPS):
        raise NewerDatabase(
            f"the database has schema version {version}, this Clary knows {len(STEPS)}: upgrade Clary, "
            "or point CLARY_HOME at another folder"
        )
    for step in STEPS[version:]:
        step(connection)
    statement = "update schema_version set version=:v" if row else "insert into schema_version values (:v)"
    connection.execute(text(statement), {"v": len(STEPS)})
    return len(STEPS) - version
