"""Data capture: requests and answers, gathered in memory and handed to control by file. Never slows or fails a request.

Format: AWS, "Capture data from real-time endpoint" (one JSON document a line).
"""

from __future__ import annotations

import base64
import contextlib
import os
import time
import uuid
from pathlib import Path
from typing import Any

import orjson

from .table import Capture

MAX_WAITING = 64 << 20
"""Bytes that may wait to be written; beyond, captures are dropped and counted."""
LARGE = 4 << 20

Place = tuple[str, str, str, str, str]
"""Account, region, endpoint, variant, and the hour (yyyy/mm/dd/hh)."""


class Captures:
    """What was captured and is not yet written."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._lines: dict[Place, list[bytes]] = {}
        self._targets: dict[Place, str] = {}
        self._size = 0
        self._number = 0
        self.dropped = 0

    def add(
        self,
        rule: Capture,
        variant: tuple[str, str, str, str],
        request: tuple[bytes, bytes],
        answer: tuple[bytes, bytes],
        inference_id: bytes,
        attributes: bytes,
    ) -> None:
        """Capture a request and its answer, each a content type and a body."""
        if self._size > MAX_WAITING:
            self.dropped += 1
            return
        data: dict[str, Any] = {}
        if rule.input:
            data["endpointInput"] = _part(rule, request, "INPUT")
        if rule.output:
            data["endpointOutput"] = _part(rule, answer, "OUTPUT")
        now = time.gmtime()
        meta: dict[str, Any] = {"eventId": str(uuid.uuid4())}
        if inference_id:
            meta["inferenceId"] = inference_id.decode("latin-1")
        if attributes:
            meta["customAttributes"] = [attributes.decode("latin-1")]
        meta["inferenceTime"] = time.strftime("%Y-%m-%dT%H:%M:%SZ", now)
        line = orjson.dumps({"captureData": data, "eventMetadata": meta, "eventVersion": "0"})
        place = (*variant, time.strftime("%Y/%m/%d/%H", now))
        self._lines.setdefault(place, []).append(line)
        self._targets[place] = rule.target
        self._size += len(line)
        if self._size > LARGE:
            self.hand_over()

    def hand_over(self) -> None:
        """Write what waits, one file for each place. A disk that takes nothing loses captures, never requests."""
        if not self._lines:
            return
        lines, targets = self._lines, self._targets
        self._lines, self._targets, self._size = {}, {}, 0
        for place, found in lines.items():
            self._number += 1
            stamp = time.time_ns()
            path = self._folder / f"{stamp}-{os.getpid()}-{self._number}.jsonl"
            head = orjson.dumps({"place": place, "target": targets[place], "at": stamp / 1e9})
            aside = path.with_suffix(".new")
            try:
                self._folder.mkdir(exist_ok=True)
                aside.write_bytes(b"\n".join((head, *found, b"")))
                os.rename(aside, path)
            except OSError:
                self.dropped += len(found)
                with contextlib.suppress(OSError):
                    aside.unlink()


def _part(rule: Capture, content: tuple[bytes, bytes], mode: str) -> dict[str, str]:
    kind, body = content
    name = kind.partition(b";")[0].strip().lower().decode("latin-1")
    encoding = "CSV" if name in rule.csv else "JSON" if name in rule.json else "BASE64"
    if encoding != "BASE64":
        try:
            text = body.decode()
        except UnicodeDecodeError:
            encoding = "BASE64"
    if encoding == "BASE64":
        text = base64.b64encode(body).decode()
    return {"observedContentType": kind.decode("latin-1"), "mode": mode, "data": text, "encoding": encoding}
