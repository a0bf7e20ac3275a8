"""Who makes a request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated principal."""

    account: str
    arn: str
    user_id: str
    access_key: str = ""
    kind: str = "root"  # root, user, role, service or anonymous

    @property
    def anonymous(self) -> bool:
        """Whether the request carries no credentials."""
        return self.kind == "anonymous"


def root(account: str, access_key: str = "") -> Caller:
    """An account's root user."""
    return Caller(account, f"arn:aws:iam::{account}:root", account, access_key)


def role_session(account: str, role: str, role_id: str, session: str, access_key: str = "") -> Caller:
    """A session of an assumed role."""
    arn = f"arn:aws:sts::{account}:assumed-role/{role}/{session}"
    return Caller(account, arn, f"{role_id}:{session}", access_key, "role")


ANONYMOUS = Caller("", "anonymous", "anonymous", kind="anonymous")
