"""Faults of the machine, as against those of a caller or of the code: they pass, and what failed may be tried again."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

ERRNOS = frozenset(
    (
        errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN,
        errno.ENOLCK,
    )
)  # fmt: skip
"""Full and broken disks, no descriptors, no memory."""
CODES = (
    "ServiceUnavailable", "ServiceUnavailableException", "ServiceException", "InternalServerError", "InternalServiceError",
    "InternalServiceFault", "InternalServiceException", "ServerException", "ServiceFailure",
)  # fmt: skip
"""The codes by which the platform's services tell of such faults, each by the first that its model has."""
_TEXTS = tuple(os.strerror(number) for number in ERRNOS)


def is_fault(error: BaseException) -> bool:
    """Return whether an exception, or one that it was raised from, is a fault of the machine."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno in ERRNOS:
            return True
        if isinstance(seen, ImportError) and str(seen).endswith(_TEXTS):  # the dynamic linker's, which has no number
            return True
        seen = seen.__cause__ or seen.__context__
    return False


@contextmanager
def whole_import() -> Iterator[None]:
    """Import modules at their first use so that a fault half-way through does no lasting harm.

    Python forgets a package whose import fails and keeps the package's submodules. The next import finds them, does
    not bind them to the new package, and fails with an AttributeError, then and ever after. They are removed here.
    """
    try:
        yield
    except BaseException:
        for name in sorted(sys.modules):  # parents before children
            if "." in name and name.rpartition(".")[0] not in sys.modules:
                sys.modules.pop(name, None)
        raise
