"""The log of a first-party container: its lines are what metric definitions look for.

Source: recorded logs of AWS's containers, summed up in the public documentation of each algorithm's metrics.
"""

from __future__ import annotations

import json
import threading
import time


class Report:
    """Writes a training job's log."""

    def __init__(self, host: str, dimension: str):
        self.host = host
        self._dimensions = {"Algorithm": dimension, "Host": host, "Operation": "training"}
        self._began = time.time()
        self._thread = threading.get_ident()

    def say(self, text: str, level: str = "INFO") -> None:
        """A line."""
        print(f"[{time.strftime('%m/%d/%Y %H:%M:%S')} {level} {self._thread}] {text}", flush=True)

    def warn(self, text: str) -> None:
        """A line that asks for attention."""
        self.say(text, "WARNING")

    def loss(self, name: str, value: float, epoch: int | None = None, batch: int | None = None) -> None:
        """A quality that should be small. Without an epoch it is final."""
        self._quality(name, "loss", value, epoch, batch)

    def score(self, name: str, value: float, epoch: int | None = None, batch: int | None = None) -> None:
        """A quality that should be large."""
        self._quality(name, "score", value, epoch, batch)

    def _quality(self, name: str, way: str, value: float, epoch: int | None, batch: int | None) -> None:
        where = "" if epoch is None else f"epoch={epoch}, "
        where += "" if batch is None else f"batch={batch} "
        self.say(f"#quality_metric: host={self.host}, {where}{name} <{way}>={value}")

    def test_score(self, name: str, value: float) -> None:
        """A line of the final test."""
        self.say(f"#test_score ({self.host}) : ('{name}', {value})")

    def progress(self, done: int, of: int) -> None:
        """How much of the epochs is done."""
        self.say(f"#progress_metric: host={self.host}, completed {100 * done / of} % of epochs")

    def throughput(self, records: int, seconds: float) -> None:
        """How fast records go by."""
        rate = records / max(seconds, 1e-9)
        self.say(f"#throughput_metric: host={self.host}, train throughput={rate} records/second")

    def metrics(self, values: dict[str, float]) -> None:
        """A ``#metrics`` line."""
        at = time.time()
        document = {
            "StartTime": self._began, "EndTime": at, "Dimensions": self._dimensions,
            "Metrics": {k: {"sum": v, "count": 1, "min": v, "max": v} for k, v in values.items()},
        }  # fmt: skip
        print(f"#metrics {json.dumps(document)}", flush=True)
