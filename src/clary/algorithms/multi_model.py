"""Many models in one replica: loaded when first asked for, the least recently used given up when memory runs short.

The platform puts each model's artifacts into ``/opt/ml/models/<id>/model`` before the first request for it comes.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import time
import traceback
from collections import OrderedDict
from collections.abc import Callable
from itertools import groupby
from pathlib import Path

from ..serving.frames import PING, SEPARATOR, Item, absent
from .environment import base
from .serving import Predict, item

_FULL = 0.8
"""The part of an instance's memory that models may take; the rest is for the work on them."""


def wanted() -> bool:
    """Whether this container serves many models."""
    return os.environ.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true"


class MultiModel:
    """The models that are loaded. ``load`` makes a predictor of a model's folder."""

    def __init__(self, load: Callable[[Path], Predict], folder: Path | None = None):
        self._load = load
        self._folder = folder or base() / "models"
        self._loaded: OrderedDict[str, Predict] = OrderedDict()
        self._limit = float(os.environ.get("CLARY_MEMORY_BYTES", "inf")) * _FULL
        self._unloading = 0.0  # seconds that models have taken to be given up since that was last told
        self._keep = os.environ.get("CLARY_MODEL_CACHE", "Enabled") != "Disabled"

    def batch(self, items: list[Item]) -> list[Item]:
        """Answers for a batch: requests for one model that follow each other are answered together."""
        answers: list[Item] = []
        for name, group in groupby(items, key=_model):
            answers += self._answers(name, list(group))
        return answers

    def _answers(self, name: str, items: list[Item]) -> list[Item]:
        if not name:  # a ping
            return [_told(200, "") for _ in items]
        began = time.perf_counter()
        present = name in self._loaded
        try:
            predict = self._find(name)
        except MemoryError:
            return [_told(507, f"The model needs more memory than the instance has left for it: {name}")] * len(items)
        except Exception as error:  # noqa: BLE001  # the model's fault: its traceback goes to the log
            if not (self._folder / name).exists():
                return [absent()] * len(items)
            traceback.print_exc()
            return [_told(500, f"The model could not be loaded: {type(error).__name__}: {error}")] * len(items)
        micros = 0 if present else max(1, int((time.perf_counter() - began) * 1e6))
        answers = predict(items)
        if not self._keep:
            self._give_up(name)
        note = b"\0model=%d,%d,%d" % (micros, len(self._loaded), self._unloading * 1e6)
        self._unloading = 0.0
        return [(head + note, body) for head, body in answers]

    def _find(self, name: str) -> Predict:
        if (found := self._loaded.get(name)) is not None:
            self._loaded.move_to_end(name)
            return found
        for other in [other for other in self._loaded if not (self._folder / other).exists()]:
            self._give_up(other)  # its files were removed to make room for this one's
        while self._loaded and _resident_bytes() > self._limit:
            self._give_up(next(iter(self._loaded)))
        folder = self._folder / name / "model"
        try:
            made = self._load(folder)
        except MemoryError:
            for other in list(self._loaded)[: (len(self._loaded) + 1) // 2]:
                self._give_up(other)
            made = self._load(folder)
        self._loaded[name] = made
        return made

    def _give_up(self, name: str) -> None:
        began = time.perf_counter()
        del self._loaded[name]
        gc.collect()
        with contextlib.suppress(OSError, AttributeError):  # glibc keeps freed memory unless it is told not to
            ctypes.CDLL(None).malloc_trim(0)
        self._unloading += time.perf_counter() - began


def _model(item: Item) -> str:
    head, _ = item
    if head == PING:
        return ""
    return head.split(SEPARATOR, 5)[4].partition(b":")[0].decode("ascii")


def _told(status: int, text: str) -> Item:
    return item(status, "text/plain", text.encode())


def _resident_bytes() -> int:
    """The memory that this process holds now; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
