"""Provisioned concurrency: which versions of functions have processes that are kept ready."""

from __future__ import annotations

import asyncio
from typing import Any

from ...provider.platform import Platform
from ...store.database import Transaction
from ...store.rows import Key, Row
from ...wire.bounded import digits
from .environments import Environments
from .naming import LATEST

Json = dict[str, Any]
_KINDS = ("Function", "FunctionVersion", "FunctionAlias")


class Provisioner:
    """Tells the environments what to keep, each time a function has changed."""

    def __init__(self, platform: Platform):
        self._platform = platform
        self._changed = True
        self._wanted: dict[str, tuple[Row, int]] = {}
        platform.database.listeners.append(self._listen)

    def _listen(self, keys: list[Key]) -> None:
        if any(key.kind in _KINDS for key in keys):
            self._changed = True

    async def look(self, environments: Environments) -> None:
        """Read what is wanted if it may have changed, and see that it is there."""
        if self._changed:
            self._changed = False
            try:
                self._wanted = await asyncio.to_thread(self._read)
            except BaseException:  # the database is away: what changed is still to be read
                self._changed = True
                raise
        environments.keep(self._wanted)

    def _read(self) -> dict[str, tuple[Row, int]]:
        with self._platform.database.read() as tx:
            return wanted(tx)


def wanted(tx: Transaction) -> dict[str, tuple[Row, int]]:
    """Versions, by their row's id, and how many processes of each are kept ready."""
    found: dict[str, tuple[Row, int]] = {}
    for row in tx.rows.list("Function"):
        for qualifier, config in row.private.get("provisioned", {}).items():
            if (version := version_of(tx, row, qualifier)) is not None:
                before = found[version.uid][1] if version.uid in found else 0
                found[version.uid] = (version, before + config["count"])
    return found


def version_of(tx: Transaction, row: Row, qualifier: str) -> Row | None:
    """The version that a version's number or an alias names; None when it is gone."""
    number = qualifier
    if not digits(qualifier):
        alias = tx.rows.get("FunctionAlias", row.account, row.region, f"{row.name}:{qualifier}")
        if alias is None or alias.spec["FunctionVersion"] == LATEST:
            return None
        number = alias.spec["FunctionVersion"]
    return tx.rows.get("FunctionVersion", row.account, row.region, f"{row.name}:{number}")
