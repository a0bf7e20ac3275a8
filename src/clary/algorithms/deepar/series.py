"""Time series of JSON lines or Parquet: start, target, categories, features that change with time."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from ..environment import UserError
from ..readers.source import files
from .calendar import Frequency

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Series:
    """One series. Missing values of the target are NaN."""

    start: np.datetime64
    target: Floats
    categories: tuple[int, ...]
    features: Floats  # [features, steps]

    def head(self, steps: int) -> Series:
        """The series without what comes after ``steps``; features go on to its end."""
        return Series(self.start, self.target[:steps], self.categories, self.features)


def parse(row: Any, frequency: Frequency) -> Series:
    """A record; UserError when it is none."""
    if not isinstance(row, dict) or "start" not in row or not isinstance(row.get("target"), list):
        raise UserError('a series has the form {"start": "2009-11-01 00:00:00", "target": [4.0, 10.0]}')
    try:
        start = frequency.start(str(row["start"]))
    except ValueError:
        raise UserError(f"start {row['start']!r} is no time like 2009-11-01 00:00:00") from None
    try:
        target = np.array([np.nan if v is None or v == "NaN" else float(v) for v in row["target"]], dtype=np.float32)
        told = row.get("cat")
        categories = tuple(int(c) for c in (told if isinstance(told, list) else [] if told is None else [told]))
        given = row.get("dynamic_feat")
        features = np.array([list(f) for f in given] if given is not None else [], dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise UserError(f"a series has target, cat or dynamic_feat that are no lists of numbers ({error})") from None
    if np.isinf(target).any() or not np.isfinite(features).all():
        raise UserError("a series has infinite values, or dynamic_feat with missing ones")
    return Series(
        start,
        target,
        categories,
        features.reshape(len(features), -1) if features.size else np.empty((0, 0), dtype=np.float32),
    )


def read(folder: Path, frequency: Frequency, channel: str, spooled: tuple[Path, ...] = ()) -> list[Series]:
    """All series of a channel, of one form; UserError that names file and line."""
    found: list[Series] = []
    for path in [*files(folder), *spooled]:
        for where, row in _rows(path, channel):
            try:
                series = parse(row, frequency)
                _same_form(found[0] if found else series, series)
            except UserError as error:
                raise UserError(f"Unable to read data channel '{channel}': {where}: {error}.") from None
            if series.features.size and series.features.shape[1] != len(series.target):
                raise UserError(
                    f"Unable to read data channel '{channel}': {where}: dynamic_feat has {series.features.shape[1]} "
                    f"steps, target has {len(series.target)}."
                )
            found.append(series)
    if not found:
        raise UserError(f"Unable to read data channel '{channel}': No data was found.")
    return found


def _same_form(one: Series, other: Series) -> None:
    if len(one.categories) != len(other.categories):
        raise UserError(f"it has {len(other.categories)} cat, the first series has {len(one.categories)}")
    if len(one.features) != len(other.features):
        raise UserError(f"it has {len(other.features)} dynamic_feat, the first series has {len(one.features)}")


def _rows(path: Path, channel: str) -> Iterator[tuple[str, Any]]:
    if path.suffix == ".parquet" or path.read_bytes()[:4] == b"PAR1":
        from pyarrow import ArrowInvalid, parquet

        try:
            for number, row in enumerate(parquet.read_table(path).to_pylist(), 1):
                yield f"row {number} of {path.name}", row
        except ArrowInvalid as error:
            raise UserError(f"Unable to read data channel '{channel}': {path.name}: {error}") from None
        return
    with open(path, "rb") as plain:
        packed = plain.read(2) == b"\x1f\x8b"
    with gzip.open(path) if packed else open(path, "rb") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield f"line {number} of {path.name}", orjson.loads(line)
                except ValueError as error:
                    raise UserError(
                        f"Unable to read data channel '{channel}': line {number} of {path.name} is no JSON: {error}."
                    ) from None
