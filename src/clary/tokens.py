"""Passwords of what cannot sign as AWS's clients do: a scraper of metrics, a program behind the proxy.

Each is a file in the home folder that its owner alone can read; it is made at the first start.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
import secrets
from pathlib import Path

USER = "clary"
METRICS, PROXY = "metrics", "proxy"


def path(home: Path, name: str) -> Path:
    """Return the file of a password."""
    return home / "tokens" / name


def ensure(home: Path, name: str) -> str:
    """Return a password; make it if there is none."""
    file = path(home, name)
    if file.exists():
        return file.read_text().strip()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = secrets.token_urlsafe(32)
    aside = file.with_suffix(f".{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(made + "\n")
        out.flush()
        os.fsync(out.fileno())
    os.rename(aside, file)
    return made


def matches(header: str | None, password: str) -> bool:
    """Whether an ``Authorization`` or ``Proxy-Authorization`` header holds a password, as Bearer or as Basic."""
    scheme, _, given = (header or "").strip().partition(" ")
    if scheme.lower() == "basic":
        try:
            user, _, given = base64.b64decode(given, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        if user != USER:
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(given.strip().encode(), password.encode())
