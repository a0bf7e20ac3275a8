"""Several files, or bytes, read as one stream."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, BinaryIO, cast

_BLOCK = 1 << 20


def joined(parts: Iterable[str | bytes]) -> BinaryIO:
    """One stream of the files at paths and of plain bytes, in order; each file is opened when its turn comes."""
    return cast(BinaryIO, io.BufferedReader(_Joined(parts), _BLOCK))


class _Joined(io.RawIOBase):
    def __init__(self, parts: Iterable[str | bytes]):
        self._left = list(parts)
        self._open: BinaryIO = io.BytesIO()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not (data := self._open.read(len(buffer))) and self._left:
            self._open.close()
            part = self._left.pop(0)
            self._open = io.BytesIO(part) if isinstance(part, bytes) else open(part, "rb")  # noqa: SIM115  # closed when the next is opened
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._open.close()
        super().close()
