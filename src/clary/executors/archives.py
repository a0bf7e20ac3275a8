"""Unpacking archives that users made: only what stays inside, in bounded number and size."""

from __future__ import annotations

import tarfile
from pathlib import Path
from typing import IO, Any

from isal import igzip, isal_zlib

from ..faults import is_fault

_BROKEN: Any = isal_zlib.error  # its types say it were an exception's instance
MAX_MEMBERS = 200_000
MAX_UNPACKED = 64 << 30


class ArchiveError(Exception):
    """An archive that cannot or must not be unpacked; the text says why."""


def _opened(archive: Path) -> IO[bytes]:
    """The archive's bytes; what gzip has packed is read by a faster library than tarfile's own."""
    file = archive.open("rb")
    magic = file.read(2)
    file.seek(0)
    if magic != b"\x1f\x8b":
        return file
    file.close()
    return gzipped(archive, "rb")


def gzipped(path: Path, mode: str) -> IO[bytes]:
    """A gzip file to read or to write, at the level that costs least."""
    opened: IO[bytes] = igzip.open(path, mode, compresslevel=1)  # type: ignore[no-untyped-call]
    return opened


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar archive, compressed or not; ArchiveError for links and paths that lead outside, and for bombs."""
    try:
        with _opened(archive) as file, tarfile.open(fileobj=file, mode="r:*") as packed:
            total = 0
            for number, member in enumerate(packed):
                total += member.size
                if number >= MAX_MEMBERS or total > MAX_UNPACKED:
                    raise ArchiveError("it holds too many files or unpacks to more than 64 GiB")
                packed.extract(member, target, filter="data")
    except tarfile.FilterError as error:
        raise ArchiveError(f"it is not safe ({error})") from None
    except (tarfile.TarError, EOFError, OSError, _BROKEN) as error:
        if is_fault(error):
            raise
        said = str(error).partition("\n")[0].rstrip(":")  # the rest tells of each way that was tried
        raise ArchiveError(f"it is not a readable .tar.gz archive ({said})") from None
