"""Reading what a job wrote, without following a link that it put in the way – even while it still runs."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from .. import litter


@dataclass(frozen=True, slots=True)
class Entry:
    """A folder, or a regular file with its open stream, by its path below the root."""

    path: str
    file: BinaryIO | None


def descend(root: Path, parts: tuple[str, ...]) -> int:
    """Open a folder below a root, refusing links on the way. OSError where there is none."""
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for part in parts:
        try:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


def walk(root: Path, relative: str = ".") -> Iterator[Entry]:
    """Everything below ``root/relative`` in order; links, devices and sockets are left out, missing folders empty."""
    try:
        top = descend(root, tuple(p for p in Path(relative).parts if p != "."))
    except OSError:
        return
    try:
        for where, folders, names, fd in os.fwalk(".", dir_fd=top):
            folders.sort()
            prefix = "" if where == "." else where.removeprefix("./") + "/"
            for name in folders:
                if stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
                    yield Entry(prefix + name, None)
            for name in sorted(names):
                with contextlib.suppress(OSError):
                    opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
                    with os.fdopen(opened, "rb") as file:
                        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                            yield Entry(prefix + name, file)
    finally:
        os.close(top)


def read_text(root: Path, relative: str, limit: int) -> str:
    """The beginning of a small text file; empty when it is missing or no regular file."""
    path = Path(relative)
    try:
        folder = descend(root, path.parent.parts)
    except OSError:
        return ""
    try:
        fd = os.open(path.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return ""
    finally:
        os.close(folder)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            return ""
        return file.read(limit).decode("utf-8", "replace")


def read_text_tail(path: Path, limit: int) -> str:
    """The end of a text file of the platform's own; empty when it is missing."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - limit))
            return file.read(limit).decode("utf-8", "replace")
    except OSError:
        return ""


def remove(folder: Path) -> None:
    """Remove a folder and all below it, also folders that their own maker locked (an overlay's work folder is one)."""
    aside = folder.with_name(f".{folder.name}.{os.urandom(6).hex()}.gone")
    try:
        os.rename(folder, aside)
    except FileNotFoundError:
        return
    litter.remove(aside)
