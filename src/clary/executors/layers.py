"""From the layers of a container image to a folder with its files (github.com/opencontainers/image-spec, layer.md).

Nothing that a layer says reaches beyond the folder: a name's links are followed as if the folder were ``/``.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from ..faults import is_fault
from .archives import ArchiveError, gzipped
from .image_root import FIRST_ID, IDS

MAX_MEMBERS = 2_000_000
MAX_UNPACKED = 256 << 30
_MAX_LINKS = 40
_NOBODY = 65534
_WHITEOUT, _OPAQUE = ".wh.", ".wh..wh..opq"
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"


def unpack(layers: Iterable[Path], folder: Path) -> None:
    """Lay an image's layers over each other, the lowest first. ArchiveError when one cannot be read or is a bomb."""
    folder.mkdir(mode=0o755)
    owner = _Owner()
    owner.own(str(folder), 0, 0)
    bounds = [0, 0]
    for path in layers:
        try:
            with _opened(path) as file, tarfile.open(fileobj=file, mode="r|") as packed:
                _apply(packed, str(folder), owner, bounds)
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            if is_fault(error):
                raise
            raise ArchiveError(f"layer {path.name[:12]} cannot be unpacked: {error}") from None


class _Owner:
    """Whom files belong to: the image's users are of no account on this machine (see ``image_root``)."""

    def __init__(self) -> None:
        self._privileged = os.geteuid() == 0

    def own(self, path: str, uid: int, gid: int) -> None:
        if self._privileged:
            os.lchown(
                path, FIRST_ID + (uid if 0 <= uid < IDS else _NOBODY), FIRST_ID + (gid if 0 <= gid < IDS else _NOBODY)
            )


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        magic = file.read(4)
    if magic.startswith(_GZIP):
        return gzipped(path, "rb")
    if magic == _ZSTD:
        raise ValueError("it is compressed with zstd; build the image with gzip layers (docker's default)")
    return path.open("rb")


def _apply(packed: tarfile.TarFile, root: str, owner: _Owner, bounds: list[int]) -> None:
    """One layer over those that are there."""
    here: set[str] = set()  # what this layer brought itself: an opaque folder hides only what is older
    late: list[tuple[str, tarfile.TarInfo]] = []
    for member in packed:
        bounds[0] += 1
        bounds[1] += member.size
        if bounds[0] > MAX_MEMBERS or bounds[1] > MAX_UNPACKED:
            raise ArchiveError("an image holds too many files or unpacks to too much")
        parent, name = _place(root, member.name)
        if not name:
            continue
        if name.startswith(_WHITEOUT):
            if name == _OPAQUE:
                for entry in os.listdir(parent):
                    if os.path.join(parent, entry) not in here:
                        _remove(os.path.join(parent, entry))
            elif (hidden := name.removeprefix(_WHITEOUT)) not in ("", ".", ".."):
                _remove(os.path.join(parent, hidden))
            continue
        path = os.path.join(parent, name)
        if _made(packed, member, root, path):
            while path not in here and path != root:
                here.add(path)
                path = os.path.dirname(path)
            path = os.path.join(parent, name)
            owner.own(path, member.uid, member.gid)
            if member.isdir():
                late.append((path, member))
            elif not member.issym():
                os.chmod(path, member.mode & 0o7777)
    for path, member in reversed(late):  # last, for a folder may forbid its owner to write
        with contextlib.suppress(OSError):
            os.chmod(path, (member.mode & 0o7777) | 0o700)
            os.utime(path, (member.mtime, member.mtime))


def _made(packed: tarfile.TarFile, member: tarfile.TarInfo, root: str, path: str) -> bool:
    """Make an entry; False for what an image cannot have here (devices)."""
    if member.isdir():
        if os.path.islink(path) or not os.path.isdir(path):
            _remove(path)
            os.mkdir(path, 0o755)
        return True
    if member.islnk():
        there, name = _place(root, member.linkname)
        source = os.path.join(there, name)
        _remove(path)
        os.link(source, path, follow_symlinks=False)
        return not os.path.islink(path)
    if member.issym():
        _remove(path)
        os.symlink(member.linkname, path)
        return True
    if member.isreg():
        _remove(path)
        source_file = packed.extractfile(member)
        assert source_file is not None
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "wb") as file:
            shutil.copyfileobj(source_file, file, 1 << 20)
        os.utime(path, (member.mtime, member.mtime))
        return True
    if member.isfifo():
        _remove(path)
        os.mkfifo(path)
        return True
    return False


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


def _place(root: str, name: str) -> tuple[str, str]:
    """The folder of an entry, made where it is missing, and its last name; never outside of the root."""
    waiting = [p for p in name.split("/") if p not in ("", ".")][::-1]
    here = root
    links = 0
    while len(waiting) > 1 or (waiting and waiting[0] == ".."):
        part = waiting.pop()
        if part == "..":
            here = os.path.dirname(here) if here != root else root
            continue
        path = os.path.join(here, part)
        try:
            kind = os.lstat(path).st_mode
        except FileNotFoundError:
            os.mkdir(path, 0o755)
            _Owner().own(path, 0, 0)
            here = path
            continue
        if stat.S_ISLNK(kind):
            links += 1
            if links > _MAX_LINKS:
                raise ValueError(f"too many links on the way to {name!r}")
            target = os.readlink(path)
            if target.startswith("/"):
                here = root
            waiting += [p for p in target.split("/") if p not in ("", ".")][::-1]
        elif stat.S_ISDIR(kind):
            here = path
        else:
            raise ValueError(f"{name!r} lies below something that is not a folder")
    return here, waiting[0] if waiting else ""
