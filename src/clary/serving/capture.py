"""Data capture: requests and answers, gathered as they are and handed to control by file. Never slows or fails a request.

What they become in S3 is control's work (``endpoints/capturing.py``): on the way of a request nothing is encoded.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import orjson

from ..native import load
from . import frames
from .table import Capture

MAX_STREAMED = 1 << 20
PIECE = 128 << 10
"""Bytes that wait at most until they are written."""
_MANY_ITEMS = 10_000
LARGE = 4 << 20
MANY = 20_000
"""Bytes and captures of which a file has little more."""
FREE = 0.03
"""The part of the disk that captures leave alone."""

log = logging.getLogger(__name__)

FINISHED, _UNFINISHED = ".captured", ".new"

Variant = tuple[str, str, str, str]
"""Account, region, endpoint, variant."""


@dataclass(slots=True)
class Captured:
    """What is kept of a request besides its body. Header values are as they came."""

    content_type: bytes
    accept: bytes
    inference_id: bytes
    attributes: bytes
    target_model: bytes
    at: float  # when it came, seconds since the epoch
    seconds: float  # until it was answered
    pieces: tuple[int, ...] = ()  # the sizes of the pieces that its answer came in, if it was streamed

    def fields(self) -> bytes:
        """As one text."""
        return b"%b\0%b\0%b\0%b\0%b\0%b\0%b\0%b" % (
            self.content_type, self.accept, self.inference_id, self.attributes, self.target_model, _decimal(self.at),
            _decimal(self.seconds), b",".join([b"%d" % size for size in self.pieces]) if self.pieces else b"",
        )  # fmt: skip

    @classmethod
    def read(cls, data: bytes) -> Captured:
        """From ``fields``."""
        kind, accept, inference_id, attributes, model, at, seconds, pieces = data.split(b"\0")
        sizes = tuple(int(size) for size in pieces.split(b",") if size)
        return cls(kind, accept, inference_id, attributes, model, float(at), float(seconds), sizes)


def _decimal(seconds: float) -> bytes:
    return b"%d.%06d" % divmod(int(seconds * 1e6 + 0.5), 1_000_000)


def _captured(
    headers: dict[bytes, bytes], accept: bytes, custom: bytes, at: float, seconds: float, pieces: tuple[int, ...]
) -> bytes:
    """The fields of a request; ``accept`` is the name of the header that says what is accepted."""
    get = headers.get
    return Captured(
        get(b"content-type", b""), get(accept, b""), get(b"x-amzn-sagemaker-inference-id", b""),
        get(b"x-amzn-sagemaker-custom-attributes", b"") or custom, get(b"x-amzn-sagemaker-target-model", b""),
        at, seconds, pieces,
    ).fields()  # fmt: skip


_native = load("frames")
fields: Final[Callable[[dict[bytes, bytes], bytes, bytes, float, float, tuple[int, ...]], bytes]] = (
    _native.captured if _native is not None else _captured
)


class Streamed:
    """An answer in pieces that is being captured."""

    __slots__ = ("_size", "content_type", "custom", "parts")

    def __init__(self, content_type: bytes, custom: bytes):
        self.content_type = content_type
        self.custom = custom
        self.parts: list[bytes] = []
        self._size = 0

    def add(self, piece: bytes) -> bool:
        """One more piece; False when the answer is too large to be kept."""
        self.parts.append(piece)
        self._size += len(piece)
        return self._size <= MAX_STREAMED


class Gathered:
    """What is captured of one variant: appended to a file piece by piece, for a large piece would hold up requests."""

    __slots__ = ("_aside", "_file", "_good", "_head", "_path", "items", "size")

    def __init__(self, path: Path, head: bytes):
        self._path = path
        self._aside = path.with_suffix(_UNFINISHED)
        self._head = head
        self._file = -1
        self._good = 0  # bytes that the file has
        self.items: list[frames.Item] = []
        self.size = 0

    def write(self) -> int:
        """Append what there is; how many captures are lost because that cannot be."""
        items, self.items, self.size = self.items, [], 0
        try:
            if self._file < 0:
                self._path.parent.mkdir(exist_ok=True)
                self._file = os.open(self._aside, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
                self._append(frames.pack([(self._head, b"")]))
            self._append(frames.pack(items))
        except OSError:
            if self._file >= 0:
                with contextlib.suppress(OSError):
                    os.ftruncate(self._file, self._good)
            return len(items) // 2
        return 0

    def _append(self, message: bytes) -> None:
        written = 0
        while written < len(message):
            written += os.write(self._file, memoryview(message)[written:])
        self._good += len(message)

    def finish(self) -> int:
        """Append the rest and hand the file over; how many captures are lost."""
        lost = self.write() if self.items else 0
        if self._file >= 0:
            os.close(self._file)
            with contextlib.suppress(OSError):
                os.rename(self._aside, self._path)
        return lost


class Captures:
    """What was captured and is not handed over yet: pairs of a request (fields joined by NUL, and a body) and its answer.

    A file begins with a message whose one item says whose captures it holds; messages of pairs follow (``frames``).
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._gathered: dict[tuple[Variant, Capture], Gathered] = {}
        self._size = 0
        self._count = 0
        self._number = 0
        self.turn = 0  # how often they were handed over
        self.dropped = 0
        self._full = False  # the disk, nearly
        for path in folder.glob(f"*{_UNFINISHED}"):  # of a front that was killed: what it has is whole
            os.rename(path, path.with_suffix(FINISHED))

    def of(self, rule: Capture, variant: Variant) -> Gathered:
        """Where what is captured of a variant in this turn is added."""
        found = self._gathered.get((variant, rule))
        if found is None:
            self._look_for_room()
            self._number += 1
            stamp = time.time_ns()
            head = orjson.dumps({"variant": variant, "rule": rule, "at": stamp / 1e9})
            found = Gathered(self._folder / f"{stamp}-{os.getpid()}-{self._number}{FINISHED}", head)
            self._gathered[variant, rule] = found
        return found

    def add(self, gathered: Gathered, request: frames.Item, answer: frames.Item) -> None:
        """Capture a request (its fields and body) and its answer (content type and body)."""
        if self._full:
            self.dropped += 1
            return
        size = len(request[1]) + len(answer[1])
        gathered.items.append(request)
        gathered.items.append(answer)
        gathered.size += size
        self._size += size
        self._count += 1
        if gathered.size > PIECE or len(gathered.items) > _MANY_ITEMS:
            self.dropped += gathered.write()
        if self._size > LARGE or self._count > MANY:
            self.hand_over()

    def _look_for_room(self) -> None:
        """Pause while the disk has too little room left for captures."""
        try:
            room = shutil.disk_usage(self._folder if self._folder.exists() else self._folder.parent)
        except OSError:
            self._full = True
            return
        full = room.free < room.total * FREE
        if full and not self._full:
            log.warning("data capture pauses: less than %.0f %% of the disk is free", FREE * 100)
        self._full = full

    def hand_over(self) -> None:
        """Hand over what there is, one file for each variant. A disk that takes nothing loses captures, never requests."""
        if not self._gathered:
            return
        found, self._gathered = self._gathered, {}
        self.turn += 1
        self._size = self._count = 0
        for gathered in found.values():
            self.dropped += gathered.finish()
