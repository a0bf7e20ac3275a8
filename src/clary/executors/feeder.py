"""Pipe mode's other end: writes a channel's objects into one FIFO an epoch, for as long as somebody reads them."""

from __future__ import annotations

import base64
import errno
import gzip
import json
import os
import random
import signal
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..streams import joined
from . import files

_MAGIC = 0xCED7230A
_BLOCK = 1 << 20


def main() -> int:
    """Write epoch after epoch until ended from outside, or until the job puts something else where a FIFO was."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    plan = json.loads(Path(os.environ["CLARY_FEED"]).read_text())
    name, epoch = plan["name"], 0
    # the folder belongs to the job, which may put links in it: it is opened once, and nothing in it is followed
    folder = files.descend(Path(plan["root"]), tuple(plan["folder"]))
    objects: list[list[Any]] = plan["objects"]
    while True:
        if plan["seed"] is not None:
            random.Random(plan["seed"] + epoch).shuffle(objects)
        make(folder, f"{name}_{epoch}")
        with _opened(folder, f"{name}_{epoch}") as out:  # waits for a reader
            make(folder, f"{name}_{epoch + 1}")
            try:
                for parts in objects:
                    _write(out, parts, plan["gzip"], plan["recordio"])
                out.flush()
            except BrokenPipeError:  # the reader has enough of this epoch
                _forget(out)
        epoch += 1


def make(folder: int, name: str) -> None:
    """Make a FIFO in an open folder that everybody may read and write, unless something of the name is there."""
    before = os.umask(0)
    try:
        os.mkfifo(name, 0o666, dir_fd=folder)
    except FileExistsError:
        pass
    finally:
        os.umask(before)


def _opened(folder: int, name: str) -> BinaryIO:
    """A FIFO to write to. OSError for anything else, a link included."""
    found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder) if hasattr(os, "O_PATH") else -1
    if found >= 0:
        try:
            if not stat.S_ISFIFO(os.fstat(found).st_mode):  # before it is opened: a device would act on that
                raise OSError(errno.EINVAL, f"{name} is not a FIFO")
            return os.fdopen(os.open(f"/proc/self/fd/{found}", os.O_WRONLY | os.O_CLOEXEC), "wb")
        finally:
            os.close(found)
    fd = os.open(name, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    if not stat.S_ISFIFO(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, f"{name} is not a FIFO")
    return os.fdopen(fd, "wb")


def _forget(out: BinaryIO) -> None:
    """Drop what is still buffered for a reader that is gone."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, out.fileno())
    os.close(null)


def _write(out: BinaryIO, parts: list[Any], compressed: bool, recordio: bool) -> None:
    if not recordio:
        for block in _blocks(parts, compressed):
            out.write(block)
        return
    payload = b"".join(_blocks(parts, compressed))
    out.write(struct.pack("<II", _MAGIC, len(payload)) + payload + b"\0" * (-len(payload) % 4))


def _blocks(parts: list[Any], compressed: bool) -> Iterator[bytes]:
    whole = joined(map(_source, parts))
    with gzip.GzipFile(fileobj=whole) if compressed else whole as file:
        while block := file.read(_BLOCK):
            yield block


def _source(part: str | dict[str, str]) -> str | bytes:
    """A part of an object as the plan spells it: a file, a text, or bytes in base64."""
    if isinstance(part, str):
        return part
    return part["text"].encode() if "text" in part else base64.b64decode(part["base64"])
