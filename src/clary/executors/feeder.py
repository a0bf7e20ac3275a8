"""Pipe mode's other end: writes a channel's objects into one FIFO an epoch, for as long as somebody reads them."""

from __future__ import annotations

import base64
import gzip
import json
import os
import random
import signal
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from ..streams import joined

_MAGIC = 0xCED7230A
_BLOCK = 1 << 20


def main() -> int:
    """Write epoch after epoch until ended from outside."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    plan = json.loads(Path(os.environ["CLARY_FEED"]).read_text())
    fifo, epoch = Path(plan["fifo"]), 0
    objects: list[list[Any]] = plan["objects"]
    while True:
        if plan["seed"] is not None:
            random.Random(plan["seed"] + epoch).shuffle(objects)
        path = fifo.with_name(f"{fifo.name}_{epoch}")
        if not path.exists():
            os.mkfifo(path)
            os.chmod(path, 0o666)
        with open(path, "wb") as out:  # waits for a reader
            following = fifo.with_name(f"{fifo.name}_{epoch + 1}")
            os.mkfifo(following)
            os.chmod(following, 0o666)
            try:
                for parts in objects:
                    _write(out, parts, plan["gzip"], plan["recordio"])
                out.flush()
            except BrokenPipeError:  # the reader has enough of this epoch
                _forget(out)
        epoch += 1


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
