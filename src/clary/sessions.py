"""Credentials, and session tokens that hold their own record: encrypted with a key of this platform.

Checking a token needs no look-up, so a process without the database can do it too.
"""

from __future__ import annotations

import base64
import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret, and whom it proves."""

    access_key: str
    secret: str
    account: str
    arn: str
    user_id: str
    kind: str  # root, user or role
    expires: float | None = None


class Seal:
    """Seals session records into tokens and opens them."""

    def __init__(self, key: bytes):
        self.key = key
        self._cipher = AESGCM(key)
        self.open = lru_cache(maxsize=4096)(self._open)

    def close(self, record: Json) -> str:
        """A token that holds a record."""
        nonce = os.urandom(12)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, orjson.dumps(record), b"session")).decode()

    def _open(self, token: str) -> Credential | None:
        try:
            raw = base64.b64decode(token, validate=True)
            record = orjson.loads(self._cipher.decrypt(raw[:12], raw[12:], b"session"))
        except (ValueError, InvalidTag):
            return None
        return Credential(**record)
