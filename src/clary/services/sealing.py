"""Secret values on disk: sealed with a key that follows from the platform's own, another one for each purpose."""

from __future__ import annotations

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken

from ..provider.platform import Platform


class Foreign(ValueError):
    """A value that another platform sealed."""


def _box(platform: Platform, purpose: str) -> Fernet:
    key = hashlib.sha256(purpose.encode() + platform.keyring.seal.key).digest()
    return Fernet(base64.urlsafe_b64encode(key))


def seal(platform: Platform, purpose: str, value: bytes) -> str:
    """A value as it may be stored."""
    return _box(platform, purpose).encrypt(value).decode()


def unseal(platform: Platform, purpose: str, text: str) -> bytes:
    """The value. Foreign when this platform did not seal it for this purpose."""
    try:
        return _box(platform, purpose).decrypt(text.encode())
    except InvalidToken:
        raise Foreign(purpose) from None
