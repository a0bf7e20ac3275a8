"""Runs an algorithm's program as a job runs it, in this process: files under a folder, the log as text."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import signal
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from clary.algorithms import catalogue
from clary.algorithms.hosting import Replica
from clary.algorithms.job import main
from clary.algorithms.readers import recordio
from clary.serving.frames import SEPARATOR

Channels = dict[str, tuple[str, bytes]]
"""Content type and bytes of each channel."""


@dataclass(frozen=True)
class Trained:
    """A job that ended."""

    name: str
    code: int
    log: str
    folder: Path

    @property
    def failure(self) -> str:
        """Why it failed."""
        return (self.folder / "output" / "failure").read_text()

    def metric(self, name: str) -> list[float]:
        """All values of a metric, found as the platform finds them."""
        regex = next(m.regex for m in catalogue.algorithms()[self.name].metrics if m.name == name)
        return [float(re.search(regex, line)[1]) for line in self.log.splitlines() if re.search(regex, line)]  # type: ignore[index]

    def replica(self) -> Replica:
        """The model, hosted."""
        algorithm = catalogue.algorithms()[self.name]
        return Replica(algorithm, catalogue.program(algorithm).load(self.folder / "model"))

    def ask(self, body: bytes, content_type: str = "text/csv", accept: str = "") -> tuple[int, str, bytes]:
        """Status, content type and body of an answer."""
        return ask(self.replica(), body, content_type, accept)

    def predict(self, rows: np.ndarray, field: str, outer: str = "predictions") -> np.ndarray:
        """One field of the answers to rows of numbers."""
        status, _, body = self.ask(csv(rows))
        assert status == 200, body
        return np.array([row[field] for row in orjson.loads(body)[outer]])


def ask(replica: Replica, body: bytes, content_type: str = "text/csv", accept: str = "") -> tuple[int, str, bytes]:
    """One request to a replica."""
    head = SEPARATOR.join((content_type.encode(), accept.encode(), b"", b"", b""))
    ((told, answer),) = replica.batch([(head, body)])
    status, kind, *_ = told.decode().split("\0")
    return int(status), kind, answer


def lay_out(folder: Path, hyperparameters: dict[str, Any], channels: Channels) -> None:
    """The files that a job finds."""
    config = folder / "input" / "config"
    config.mkdir(parents=True)
    (folder / "model").mkdir()
    (folder / "output" / "data").mkdir(parents=True)
    for channel, (_, data) in channels.items():
        where = folder / "input" / "data" / channel
        where.mkdir(parents=True)
        (where / "part-0").write_bytes(data)
    (config / "hyperparameters.json").write_text(json.dumps({k: str(v) for k, v in hyperparameters.items()}))
    described = {
        n: {"TrainingInputMode": "File", **({"ContentType": kind} if kind else {})} for n, (kind, _) in channels.items()
    }
    (config / "inputdataconfig.json").write_text(json.dumps(described))
    (config / "resourceconfig.json").write_text(json.dumps({"current_host": "algo-1", "hosts": ["algo-1"]}))


def run(folder: Path, name: str, hyperparameters: dict[str, Any], channels: Channels) -> Trained:
    """Train."""
    lay_out(folder, hyperparameters, channels)
    out = io.StringIO()
    handler = signal.getsignal(signal.SIGTERM)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), _environment(name, folder):
            code = main()
    finally:
        signal.signal(signal.SIGTERM, handler)  # a job takes it
    return Trained(name, code, out.getvalue(), folder)


@contextlib.contextmanager
def _environment(name: str, folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "CLARY_ALGORITHM", name)
        patch.setitem(os.environ, "SAGEMAKER_BASE_DIR", str(folder))
        yield


def csv(rows: np.ndarray) -> bytes:
    """Rows as CSV."""
    return "\n".join(",".join(map(repr, row)) for row in np.asarray(rows, dtype=np.float64).tolist()).encode() + b"\n"


def labelled(labels: np.ndarray, rows: np.ndarray) -> bytes:
    """CSV with the label in the first column."""
    return csv(np.column_stack([labels, rows]))


def _entry(number: int, tensor: bytes) -> bytes:
    return recordio._message(number, recordio._message(1, b"values") + recordio._message(2, tensor))


def dense_records(rows: np.ndarray, labels: np.ndarray | None = None) -> bytes:
    """RecordIO-protobuf as the SDK's writer makes it: float32 or float64 by the array's type."""
    kind, code = (3, "<f8") if rows.dtype == np.float64 else (2, "<f4")
    found = []
    for i, row in enumerate(rows):
        payload = _entry(1, recordio._message(kind, recordio._message(1, row.astype(code).tobytes())))
        if labels is not None:
            payload += _entry(2, recordio._message(2, recordio._message(1, struct.pack("<f", labels[i]))))
        found.append(recordio.frame(payload))
    return b"".join(found)


def sparse_records(rows: np.ndarray, labels: np.ndarray | None = None) -> bytes:
    """The same rows without their zeros."""
    found = []
    for i, row in enumerate(rows):
        keys = np.flatnonzero(row)
        tensor = recordio._message(1, row[keys].astype("<f4").tobytes())
        tensor += recordio._message(2, b"".join(map(recordio._write_varint, keys.tolist())))
        tensor += recordio._message(3, recordio._write_varint(len(row)))
        payload = _entry(1, recordio._message(2, tensor))
        if labels is not None:
            payload += _entry(2, recordio._message(2, recordio._message(1, struct.pack("<f", labels[i]))))
        found.append(recordio.frame(payload))
    return b"".join(found)
