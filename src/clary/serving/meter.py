"""What the front counts for CloudWatch: requests, errors and latencies of each variant, handed to control by file.

A file is written aside and renamed, holds what came since the last one, and is removed by control once it is stored.
"""

from __future__ import annotations

import os
import time
from math import log2
from pathlib import Path
from typing import Any

import orjson

from ..native import load

MINUTE = 60
_STEPS = 8
"""Buckets of a latency for each doubling: a percentile is right to about 5 %."""


class _Latencies:
    """Latencies in microseconds, by buckets of equal ratio."""

    __slots__ = ("buckets", "count", "high", "low", "total")

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.low = float("inf")
        self.high = 0.0
        self.buckets: dict[int, int] = {}

    def add(self, seconds: float) -> None:
        """Count one."""
        micros = seconds * 1e6
        self.count += 1
        self.total += micros
        if micros < self.low:
            self.low = micros
        if micros > self.high:
            self.high = micros
        bucket = int(log2(micros) * _STEPS) if micros > 1 else 0
        self.buckets[bucket] = self.buckets.get(bucket, 0) + 1


_native = load("meters")
Latencies: Any = _native.Latencies if _native is not None else _Latencies


def _document(latencies: Any) -> dict[str, object]:
    """As they are handed over: a bucket stands for its middle."""
    samples = [[round(2 ** ((b + 0.5) / _STEPS), 1), n] for b, n in latencies.buckets.items()]
    return {
        "count": latencies.count, "total": latencies.total, "low": latencies.low, "high": latencies.high, "samples": samples,
    }  # fmt: skip


class Meter:
    """The counts of one variant since they were last handed over."""

    __slots__ = (
        "cache_hits", "client_errors", "concurrent", "downloading", "invocations", "loading", "model", "model_errors", "models", "no_capacity",
        "overhead", "per_instance", "provisioned", "server_errors", "setup", "unloading",
    )  # fmt: skip

    def __init__(self) -> None:
        self.invocations = self.client_errors = self.server_errors = self.model_errors = 0
        self.per_instance = 0.0
        self.model = Latencies()
        self.overhead = Latencies()
        self.cache_hits = self.models = 0  # of a multi-model endpoint, as are these:
        self.loading = Latencies()
        self.unloading = Latencies()
        self.downloading = Latencies()
        self.setup = Latencies()  # of a serverless one
        self.no_capacity = 0  # refused, because the inference component has no copies
        self.concurrent: list[float] = []  # requests under way for each instance or copy, now and then
        self.provisioned: list[tuple[int, int]] = []  # requests under way, and for how many instances are kept

    def loaded(self, loading: float, unloading: float, downloading: float, models: int) -> None:
        """Count a request for one of many models: the seconds that its model took to come, and how many are loaded."""
        if unloading:
            self.unloading.add(unloading)
        self.models = max(self.models, models)
        if loading or downloading:
            self.loading.add(loading)
            self.downloading.add(downloading)
        else:
            self.cache_hits += 1

    def answered(self, status: int, instances: int, model: float, overhead: float) -> None:
        """Count a request that reached a model: its status (0: none came), and where its seconds went."""
        self.invocations += 1
        self.per_instance += 1 / (instances or 1)
        self.model.add(model)
        self.overhead.add(overhead)
        if not 200 <= status < 300:
            self.model_errors += 1
            if 400 <= status < 500:
                self.client_errors += 1
            else:
                self.server_errors += 1


MeterKey = tuple[str, str, str, str, str, str]
"""Account, region, endpoint, variant, the configuration while a deployment moves traffic, the inference component."""


class Meters:
    """The meters of all variants."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._running: dict[MeterKey, Meter] = {}
        self._number = 0
        self.turn = 0  # how often they were handed over
        self._written = 0  # the minute of the last hand-over
        for left in folder.glob("*.new"):  # of a front that was killed while it wrote
            left.unlink(missing_ok=True)

    def counts(self, variant: MeterKey) -> bool:
        """Whether anything was counted of it since the last hand-over."""
        return variant in self._running

    def of(self, variant: MeterKey) -> Meter:
        """A variant's meter; it is another one after each hand-over, so it is looked up, not kept."""
        found = self._running.get(variant)
        if found is None:
            found = self._running[variant] = Meter()
        return found

    def hand_over(self, away: bool = False) -> None:
        """Write what was counted, if anything was; once a minute while control is away, so that files do not pile up.

        Raises OSError if the disk takes no file; what was counted is kept for the next time.
        """
        if not self._running or (away and int(time.time()) // MINUTE == self._written):
            return
        self._written = int(time.time()) // MINUTE
        minute = self._written * MINUTE
        document = [
            {
                "variant": variant, "at": minute, "invocations": m.invocations, "per_instance": m.per_instance,
                "client_errors": m.client_errors, "server_errors": m.server_errors, "model_errors": m.model_errors,
                "model": _document(m.model), "overhead": _document(m.overhead), "models": m.models,
                "cache_hits": m.cache_hits, "loading": _document(m.loading), "unloading": _document(m.unloading),
                "downloading": _document(m.downloading),
                "setup": _document(m.setup), "no_capacity": m.no_capacity, "concurrent": m.concurrent,
                "provisioned": m.provisioned, "second": int(time.time()),
            }
            for variant, m in self._running.items()
        ]  # fmt: skip
        self._folder.mkdir(exist_ok=True)
        self._number += 1
        path = self._folder / f"{time.time_ns()}-{os.getpid()}-{self._number}.json"
        aside = path.with_suffix(".new")
        try:
            aside.write_bytes(orjson.dumps(document))
            os.rename(aside, path)
        except OSError:
            aside.unlink(missing_ok=True)
            raise
        self._running = {}
        self.turn += 1
