"""Identifiers in the alphabets AWS uses."""

from __future__ import annotations

import random
import secrets
import uuid

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_SECRET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_LOWER = "abcdefghijklmnopqrstuvwxyz0123456789"


_random = random.Random()


def request_id() -> str:
    """A version 4 UUID, as in ``x-amzn-RequestId``. It names a request and guards nothing: no system call for it."""
    return str(uuid.UUID(int=_random.getrandbits(128), version=4))


def upper(prefix: str, length: int) -> str:
    """An IAM-style identifier: ``prefix`` followed by base-32 characters, ``length`` characters in all."""
    return prefix + "".join(secrets.choice(_UPPER) for _ in range(length - len(prefix)))


def access_key(prefix: str = "AKIA") -> tuple[str, str]:
    """A new access key id (20 characters) and its secret (40 characters)."""
    return upper(prefix, 20), "".join(secrets.choice(_SECRET) for _ in range(40))


def token(length: int = 12) -> str:
    """A short random identifier of lower-case letters and digits."""
    return "".join(secrets.choice(_LOWER) for _ in range(length))
