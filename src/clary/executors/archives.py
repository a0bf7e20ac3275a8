"""Unpacking archives that users made: only what stays inside, in bounded number and size."""

from __future__ import annotations

import tarfile
from pathlib import Path

MAX_MEMBERS = 200_000
MAX_UNPACKED = 64 << 30


class ArchiveError(Exception):
    """An archive that cannot or must not be unpacked; the text says why."""


def unpack(archive: Path, target: Path) -> None:
    """Unpack a tar archive, compressed or not; ArchiveError for links and paths that lead outside, and for bombs."""
    try:
        with tarfile.open(archive, "r:*") as packed:
            total = 0
            for number, member in enumerate(packed):
                total += member.size
                if number >= MAX_MEMBERS or total > MAX_UNPACKED:
                    raise ArchiveError("it holds too many files or unpacks to more than 64 GiB")
                packed.extract(member, target, filter="data")
    except tarfile.FilterError as error:
        raise ArchiveError(f"it is not safe ({error})") from None
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ArchiveError(f"it is not a readable .tar.gz archive ({error})") from None
