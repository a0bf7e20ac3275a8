"""What an account may hand to a service that acts for it. Identity policies slot in here."""

from __future__ import annotations

from .context import Context
from .errors import coded


def check_role(ctx: Context, arn: str | None, code: str = "AccessDeniedException") -> None:
    """Raise an error if a role that a request passes belongs to another account.

    A role that no account of this platform has stands for the caller's own role of that name, so that code with the ARN of a
    role on AWS runs unchanged.
    """
    if not arn:
        return
    row = ctx.tx.rows.by_arn(arn)
    if row is not None and row.account != ctx.account:
        raise coded(code, "Cross-account pass role is not allowed.", 403 if code == "AccessDenied" else None)
