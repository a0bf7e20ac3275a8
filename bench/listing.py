"""Listings with a delimiter: a page of groups must cost what it shows, not what the groups hide."""

from __future__ import annotations

import time
from pathlib import Path

from bench.table import show
from clary.services.s3.listing import _walk, _walk_versions
from clary.store.database import Database
from clary.store.object import Bucket, Object
from clary.store.object_rows import ObjectRows

_GROUPS, _KEYS = 2000, 50


def listing(folder: Path, url: str = "") -> None:
    """A page of 1,000 common prefixes over 100,000 keys, in the store; of objects and of versions."""
    database = Database(url or f"sqlite:///{folder}/listing.db", durable=False)
    for group in range(_GROUPS):
        with database.write() as tx:
            rows = ObjectRows(tx.direct)
            if group == 0:
                rows.add_bucket(Bucket("b", "0", "r", 0.0, "", {}))
            for key in range(_KEYS):
                rows.put(Object("b", f"{group:05d}/{key:05d}", "e", 0, (), modified=1.0), "")
    with database.read() as tx:
        rows = ObjectRows(tx.direct)
        for what, page in (
            ("objects", lambda: _walk(rows, "b", "", "/", "", 1000)),
            ("versions", lambda: _walk_versions(rows, "b", "", "/", ("", None), 1000)),
        ):
            times = []
            for _ in range(9):
                began = time.perf_counter()
                assert len(page().prefixes) == 1000
                times.append(time.perf_counter() - began)
            took = sorted(times)[4] * 1000
            name = f"S3 list of 1,000 prefixes of 100,000 keys, {what}, store"
            show(name, f"{took:.1f} ms", "<= 20 ms", took <= 20)
    database.close()
