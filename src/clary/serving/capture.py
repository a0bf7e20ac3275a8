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

MAX_WAITING = 64 << 20
"""Bytes that may wait to be written; beyond, captures are dropped and counted."""
MAX_STREAMED = 1 << 20
LARGE = 4 << 20
MANY = 20_000
FREE = 0.03
"""The part of the disk that captures leave alone."""

log = logging.getLogger(__name__)

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


class Captures:
    """What was captured and is not yet written: pairs of a request (fields joined by NUL, and a body) and its answer."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._items: dict[tuple[Variant, Capture], list[frames.Item]] = {}
        self._size = 0
        self._count = 0
        self._number = 0
        self.turn = 0  # how often they were handed over
        self.dropped = 0
        self._told = False  # that the disk is full

    def of(self, rule: Capture, variant: Variant) -> list[frames.Item]:
        """Where what is captured of a variant in this turn is added."""
        return self._items.setdefault((variant, rule), [])

    def add(self, items: list[frames.Item], request: frames.Item, answer: frames.Item) -> None:
        """Capture a request (its fields and body) and its answer (content type and body)."""
        if self._size > MAX_WAITING:
            self.dropped += 1
            return
        items.append(request)
        items.append(answer)
        self._size += len(request[1]) + len(answer[1])
        self._count += 1
        if self._size > LARGE or self._count > MANY:
            self.hand_over()

    def _full(self) -> bool:
        """Whether the disk has too little room left for captures."""
        try:
            self._folder.mkdir(exist_ok=True)
            room = shutil.disk_usage(self._folder)
        except OSError:
            return True
        full = room.free < room.total * FREE
        if full and not self._told:
            log.warning("data capture pauses: less than %.0f %% of the disk is free", FREE * 100)
        self._told = full
        return full

    def hand_over(self) -> None:
        """Write what waits, one file for each variant. A disk that takes nothing loses captures, never requests."""
        if not self._items:
            return
        found, self._items = self._items, {}
        self.turn += 1
        self._size = self._count = 0
        if self._full():
            self.dropped += sum(len(items) // 2 for items in found.values())
            return
        for (variant, rule), items in found.items():
            self._number += 1
            stamp = time.time_ns()
            path = self._folder / f"{stamp}-{os.getpid()}-{self._number}.captured"
            head = orjson.dumps({"variant": variant, "rule": rule, "at": stamp / 1e9})
            aside = path.with_suffix(".new")
            try:
                self._folder.mkdir(exist_ok=True)
                aside.write_bytes(frames.pack([(head, b""), *items]))
                os.rename(aside, path)
            except OSError:
                self.dropped += len(items) // 2
                with contextlib.suppress(OSError):
                    aside.unlink()
