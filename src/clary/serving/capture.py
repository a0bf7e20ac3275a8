"""Data capture: requests and answers, gathered as they are and handed to control by file. Never slows or fails a request.

What they become in S3 is control's work (``endpoints/capturing.py``): on the way of a request nothing is encoded.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import orjson

from . import frames
from .table import Capture

MAX_WAITING = 64 << 20
"""Bytes that may wait to be written; beyond, captures are dropped and counted."""
LARGE = 4 << 20
MANY = 20_000

Variant = tuple[str, str, str, str]
"""Account, region, endpoint, variant."""


class Captures:
    """What was captured and is not yet written: pairs of a request (fields joined by NUL, and a body) and its answer."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._items: dict[tuple[Variant, Capture], list[frames.Item]] = {}
        self._size = 0
        self._count = 0
        self._number = 0
        self.dropped = 0

    def add(
        self,
        rule: Capture,
        variant: Variant,
        request: tuple[bytes, bytes],
        answer: tuple[bytes, bytes],
        inference_id: bytes,
        attributes: bytes,
    ) -> None:
        """Capture a request and its answer, each a content type and a body."""
        if self._size > MAX_WAITING:
            self.dropped += 1
            return
        items = self._items.setdefault((variant, rule), [])
        items.append((b"%b\0%b\0%b" % (request[0], inference_id, attributes), request[1]))
        items.append(answer)
        self._size += len(request[1]) + len(answer[1])
        self._count += 1
        if self._size > LARGE or self._count > MANY:
            self.hand_over()

    def hand_over(self) -> None:
        """Write what waits, one file for each variant. A disk that takes nothing loses captures, never requests."""
        if not self._items:
            return
        found, self._items = self._items, {}
        self._size = self._count = 0
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
