"""Faults of the machine, as against those of a caller or of the code: they pass, and what failed may be tried again."""

from __future__ import annotations

import errno

ERRNOS = frozenset(
    (
        errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
        errno.ENOLCK,
    )
)  # fmt: skip
"""Full and broken disks, no descriptors, no memory."""


def is_fault(error: BaseException) -> bool:
    """Return whether an exception, or one that it was raised from, is a fault of the machine."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in ERRNOS:
            return True
        seen = seen.__cause__ or seen.__context__
    return False
