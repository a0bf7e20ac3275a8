"""Secrets by access key id: long-term keys from the database, sessions from their own sealed token."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import insert, select

from ..ids import access_key as new_access_key
from ..sessions import Credential, Seal
from .database import Database
from .schema import access_key, setting

Json = dict[str, Any]
_FRESH_SECONDS = 5.0


class Keyring:
    """Finds credentials. Long-term keys are kept in memory for a few seconds."""

    def __init__(self, database: Database):
        self._database = database
        self.seal = Seal(_secret(database, "session-seal", 32))
        self._keys: dict[str, Credential] = {}
        self._read_at = 0.0
        self.listeners: list[Callable[[], None]] = []

    def find(self, key_id: str, token: str | None) -> Credential | None:
        """The credential of a key id (with its token, for sessions), or None when we did not issue it."""
        if token:
            found = self.seal.open(token)
            return found if found and found.access_key == key_id else None
        return self.keys().get(key_id)

    def keys(self) -> dict[str, Credential]:
        """Active long-term keys by id."""
        if time.monotonic() - self._read_at > _FRESH_SECONDS:
            self._keys = self._load()
            self._read_at = time.monotonic()
        return self._keys

    def forget(self) -> None:
        """Keys have changed: read them anew at their next use, and tell whoever keeps copies."""
        self._read_at = 0.0
        for listener in self.listeners:
            listener()

    def _load(self) -> dict[str, Credential]:
        with self._database.read() as tx:
            users = {(u.account, u.name): u for u in tx.rows.list("User")}
            found: dict[str, Credential] = {}
            for row in tx.connection.execute(select(access_key).where(access_key.c.state == "Active")).mappings():
                account, name = row["account"], row["user_name"]
                if name is None:
                    arn, user_id, kind = f"arn:aws:iam::{account}:root", account, "root"
                elif user := users.get((account, name)):
                    arn, user_id, kind = user.arn, user.spec["UserId"], "user"
                else:
                    continue
                found[row["id"]] = Credential(row["id"], row["secret"], account, arn, user_id, kind)
            return found

    def session(self, account: str, arn: str, user_id: str, kind: str, seconds: float) -> tuple[Credential, str]:
        """New temporary credentials and their token."""
        key_id, secret = new_access_key("ASIA")
        expires = float(int(time.time() + seconds))
        record: Json = {
            "access_key": key_id, "secret": secret, "account": account, "arn": arn, "user_id": user_id,
            "kind": kind, "expires": expires,
        }  # fmt: skip
        return Credential(**record), self.seal.close(record)


def _secret(database: Database, name: str, size: int) -> bytes:
    """A secret of this platform, made at its first use."""
    with database.write() as tx:
        found = tx.connection.execute(select(setting.c.value).where(setting.c.name == name)).scalar_one_or_none()
        if found is None:
            found = os.urandom(size)
            tx.connection.execute(insert(setting), {"name": name, "value": found})
        return bytes(found)
