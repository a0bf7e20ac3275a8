"""A PostgreSQL server for a campaign outside of the test runner."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tests.conftest import postgres_server


@contextmanager
def postgres(wanted: bool) -> Iterator[str]:
    """The URL of a database; empty where SQLite is wanted."""
    if not wanted:
        yield ""
        return
    with postgres_server() as url:
        yield url
