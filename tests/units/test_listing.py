"""Listings with a delimiter, beside a model that looks at every key."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clary.services.s3.listing import _walk, _walk_versions
from clary.store.database import Database
from clary.store.key_walk import LATEST, VERSIONS, walk
from clary.store.object import Bucket, Object
from clary.store.object_rows import ObjectRows

_CHARS = "a/b.\u00e9\ud7ff\U0010ffff~"
_KEY = st.text(alphabet=_CHARS, min_size=1, max_size=6)
_buckets = itertools.count()


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database, of each kind."""
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path_factory.mktemp('listing')}/db" if sqlite else request.getfixturevalue("postgres")
    opened = Database(url, durable=False)
    yield opened
    opened.close()


def _naive(keys: list[str], prefix: str, delimiter: str, after: str) -> list[str]:
    """What a listing shows after a marker: keys and groups, in order."""
    shown: list[str] = []
    for key in sorted(k for k in keys if k.startswith(prefix)):
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        entry = key[: at + len(delimiter)] if at >= 0 else key
        if key > after and not (at >= 0 and entry == after) and entry not in shown:
            shown.append(entry)
    return shown


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(_KEY, max_size=25, unique=True), st.text(alphabet=_CHARS, max_size=2),
    st.sampled_from(["", "/", "a", "//", "b/", "\U0010ffff", "/\U0010ffff"]), st.integers(1, 5), st.data(),
)  # fmt: skip
def test_pages_are_those_of_a_model(
    database: Database, keys: list[str], prefix: str, delimiter: str, limit: int, data: st.DataObject
) -> None:
    name = f"b{next(_buckets)}"
    with database.write() as tx:
        rows = ObjectRows(tx.direct)
        rows.add_bucket(Bucket(name, "0", "r", 0.0, "Enabled", {}))
        hidden = set(data.draw(st.lists(st.sampled_from(keys), max_size=4))) if keys else set()
        versions: dict[str, int] = {}
        for key in keys:
            for _ in range(data.draw(st.integers(1, 3))):
                rows.put(Object(name, key, "e", 0, (), modified=1.0), "Enabled")
                versions[key] = versions.get(key, 0) + 1
            if key in hidden:
                rows.put(Object(name, key, "", 0, (), marker=True, modified=1.0), "Enabled")
                versions[key] += 1
        after = data.draw(st.sampled_from(["", *keys]))
        wanted = _naive([k for k in keys if k not in hidden], prefix, delimiter, after)
        found, at = [], after
        for _ in range(60):
            page = _walk(rows, name, prefix, delimiter, at, limit)
            entries = sorted([i.key for i in page.items] + page.prefixes)
            assert len(entries) <= limit and page.truncated == (len(found) + len(entries) < len(wanted))
            found += entries
            if not page.truncated:
                break
            at = page.last
        assert found == wanted

        listed: list[tuple[str, str]] = []
        groups: list[str] = []
        marker: tuple[str, str | None] = ("", None)
        for _ in range(200):
            page = _walk_versions(rows, name, prefix, delimiter, marker, limit)
            assert len(page.items) + len(page.prefixes) <= limit
            listed += [(i.key, i.version) for i in page.items]
            groups += page.prefixes
            if not page.truncated:
                break
            own = bool(page.items) and page.items[-1].key == page.last
            marker = (page.last, page.items[-1].version if own else None)
        every = _naive(keys, prefix, delimiter, "")
        assert groups == [e for e in every if e not in keys or (delimiter and delimiter in e[len(prefix) :])]
        plain = [e for e in every if e not in groups]
        assert [k for k, _ in listed] == [k for k in plain for _ in range(versions[k])]
        assert len(set(listed)) == len(listed)


def test_a_group_costs_one_step_however_many_it_hides(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/db", durable=False)
    with database.write() as tx:
        rows = ObjectRows(tx.direct)
        rows.add_bucket(Bucket("b", "0", "r", 0.0, "", {}))
        for group, key in itertools.product(range(20), range(500)):
            rows.put(Object("b", f"{group:03d}/{key:05d}", "e", 0, (), modified=1.0), "")
        for what in (LATEST, VERSIONS):
            times = []
            for _ in range(5):
                began = time.perf_counter()
                keys = walk(tx.direct, what, "b", "", "/", "", 1001)
                times.append(time.perf_counter() - began)
            assert keys == [f"{group:03d}/00000" for group in range(20)]
            began = time.perf_counter()
            assert len(rows.scan("b", "", "", 10_000, versions=what is VERSIONS)) == 10_000
            assert min(times) * 10 < time.perf_counter() - began  # which is what it costs to look at all of them
    database.close()
