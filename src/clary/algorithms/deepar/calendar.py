"""Time as a network sees it: where a step lies in its hour, day, week and year, and which earlier steps resemble it.

Source: D. Salinas, V. Flunkert and J. Gasthaus, "DeepAR: Probabilistic forecasting with autoregressive recurrent
networks" (2017); the SageMaker developer guide, "How the DeepAR algorithm works", lists features by frequency.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .declaration import FREQUENCY

Floats = NDArray[np.float32]
_UNITS = {"M": "M", "W": "W", "D": "D", "d": "D", "H": "h", "h": "h", "min": "m", "T": "m"}
_PERIODS = {"m": (60, 60 * 24, 60 * 24 * 7), "h": (24, 24 * 7), "D": (7, 30, 365), "W": (4, 52), "M": (12,)}
"""In units: after so many steps, what was comes again."""
_RECENT = 7
_MAX_LAGS = 40


@dataclass(frozen=True, slots=True)
class Frequency:
    """The step of all series: ``count`` times a ``unit`` of numpy's datetimes."""

    count: int
    unit: str

    @classmethod
    def of(cls, text: str) -> Frequency:
        """From its name: ``H``, ``5min``."""
        found = re.fullmatch(FREQUENCY, text)
        assert found
        return cls(int(found[1] or 1), _UNITS[found[2]])

    def start(self, text: str) -> np.datetime64:
        """When a series begins; ValueError for no such time."""
        at = np.datetime64(text.strip().replace(" ", "T"), "s")
        if not np.datetime64("0001", "s") <= at < np.datetime64("10000", "s"):
            raise ValueError(text)
        return at if self.unit == "W" else at.astype(f"M8[{self.unit}]")

    def times(self, start: Any, first: Any, count: int) -> Any:
        """The times of some steps after the start, or for several starts and firsts those of each."""
        steps = (np.asarray(first)[..., None] + np.arange(count)) * self.count
        if self.unit == "W":
            return np.asarray(start)[..., None] + (7 * steps).astype("m8[D]")
        return np.asarray(start)[..., None] + steps.astype(f"m8[{self.unit}]")

    def features(self, start: Any, first: Any, count: int) -> Floats:
        """[…, steps, features], each between -0.5 and 0.5, and the age of the series."""
        times = self.times(start, first, count)
        day, year = times.astype("M8[D]"), times.astype("M8[Y]")
        month = times.astype("M8[M]")
        since_month = (day - month.astype("M8[D]")).astype(int)
        since_year = (day - year.astype("M8[D]")).astype(int)
        weekday = (day.astype(int) + 3) % 7  # the epoch was a Thursday
        found = []
        if self.unit == "m":
            found.append((times - times.astype("M8[h]")).astype("m8[m]").astype(int) / 59)
        if self.unit in "mh":
            found.append((times - day).astype("m8[h]").astype(int) / 23)
        if self.unit in "mhD":
            found.append(weekday / 6)
        if self.unit in "mhDW":
            found += (since_month / 30, since_year / 365)
        if self.unit == "W":
            found.append(np.minimum(since_year // 7, 52) / 52)
        if self.unit == "M":
            found.append((month.astype(int) % 12) / 11)
        age = np.log10(2.0 + np.maximum(np.asarray(first)[..., None] + np.arange(count), 0))
        return np.stack([*(np.asarray(f) - 0.5 for f in found), age], axis=-1).astype(np.float32)

    def lags(self, longest: int) -> list[int]:
        """How many steps back a step looks, nearest first; none further than the longest series reaches."""
        found = set(range(1, _RECENT + 1))
        for period in _PERIODS[self.unit]:
            steps = period / self.count
            for times in (1, 2, 3):
                middle = round(steps * times)
                if steps >= 2:
                    found |= {middle - 1, middle, middle + 1}
        return sorted(v for v in found if 1 <= v <= max(1, longest))[:_MAX_LAGS]
