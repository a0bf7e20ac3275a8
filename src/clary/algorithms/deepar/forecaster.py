"""Windows of series for the network, and forecasts by drawing one step after another."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import deep, ndarray
from ..environment import UserError
from .calendar import Frequency
from .network import Network
from .series import Series

Floats = NDArray[np.float32]
_PARAMS, _CONFIG = "model_algo-1-0000.params", "model_algo-1-config.json"
_ONE_LSTM = re.compile(r"^recurrent\.([a-z_]+)l(\d+)$")
"""The names of earlier archives, where all layers were one module."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows: values [rows, steps before and of the window], calendar [rows, steps, features], categories [rows, kinds]."""

    values: Any
    calendar: Any
    categories: Any

    def __getitem__(self, rows: slice) -> Batch:
        return Batch(self.values[rows], self.calendar[rows], self.categories[rows])


class Forecaster:
    """A network with what it needs to know of its series."""

    def __init__(self, config: dict[str, Any]):
        self.config = config
        self.frequency = Frequency.of(config["time_freq"])
        self.lags: list[int] = config["lags"]
        self.context: int = config["context_length"]
        self.horizon: int = config["prediction_length"]
        steps = self.frequency.features(self.frequency.start("2000-01-01"), 0, 1)
        self._counts = config["likelihood"] == "negative-binomial"
        inputs = 2 * len(self.lags) + steps.shape[1] + config["num_dynamic_feat"]
        self.network = Network(
            inputs, config["cardinality"], config["embedding_dimension"], config["num_cells"], config["num_layers"],
            config["dropout_rate"], config["likelihood"],
        )  # fmt: skip

    # ---- windows ---------------------------------------------------------------------------------------------------

    def _windows(self, series: Sequence[Series], starts: Sequence[int], length: int) -> tuple[Any, Any]:
        """Each target from ``max(lags)`` before a step on, NaN where nothing is known; the calendars from it on."""
        calendars = self.frequency.features(np.array([s.start for s in series]), np.array(starts), length)
        found = [self._window(s, at, c, length) for s, at, c in zip(series, starts, calendars, strict=True)]
        return deep.tensor(np.stack([v for v, _ in found])), deep.tensor(np.stack([c for _, c in found]))

    def _window(self, series: Series, start: int, calendar: Floats, length: int) -> tuple[Floats, Floats]:
        back = max(self.lags)
        values = np.full(back + length, np.nan, dtype=np.float32)
        low, high = max(0, start - back), min(len(series.target), start + length)
        if high > low:
            values[low - start + back : high - start + back] = series.target[low:high]
        if self.config["num_dynamic_feat"]:
            known = np.zeros((length, len(series.features)), dtype=np.float32)
            a, b = max(0, start), min(series.features.shape[1], start + length)
            if b > a:
                known[a - start : b - start] = series.features[:, a:b].T
            calendar = np.concatenate([calendar, known], axis=1)
        return values, calendar

    def _scaling(self, known: Any) -> tuple[Any, Any]:
        """Level and scale of each row, from the values known in its context; [rows]."""
        likelihood = self.config["likelihood"]
        rows = known.shape[0]
        if likelihood == "beta":
            return torch.zeros(rows), torch.ones(rows)
        seen = ~torch.isnan(known)
        count = seen.sum(dim=1).clamp(min=1)
        filled = torch.nan_to_num(known)
        if self._counts:
            return torch.zeros(rows), filled.sum(dim=1) / count + 1
        level = filled.sum(dim=1) / count
        spread = torch.sqrt(((filled - level[:, None]) ** 2 * seen).sum(dim=1) / count)
        least = 1e-3 * (filled.abs().sum(dim=1) / count) + 1e-6
        return level, torch.maximum(spread, least)

    def _inputs(self, values: Any, calendar: Any, level: Any, scale: Any) -> Any:
        """What the network is told at each step: scaled values some steps back, whether they are known, the calendar."""
        now = max(self.lags) + torch.arange(calendar.shape[1])
        which = now[:, None] - torch.tensor(self.lags)
        past = values.index_select(1, which.flatten()).unflatten(1, which.shape)
        seen = ~torch.isnan(past)
        scaled = (past - level[:, None, None]) / scale[:, None, None]
        return torch.cat([torch.nan_to_num(scaled) * seen, seen.float(), calendar], dim=2)

    def _categories(self, series: Sequence[Series]) -> Any:
        count = len(self.config["cardinality"])
        return torch.tensor([s.categories[:count] for s in series], dtype=torch.int64).reshape(len(series), count)

    # ---- learning --------------------------------------------------------------------------------------------------

    def batch(self, series: Sequence[Series], starts: Sequence[int]) -> Batch:
        """Windows of context and horizon that begin at ``starts``."""
        values, calendar = self._windows(series, starts, self.context + self.horizon)
        return Batch(values, calendar, self._categories(series))

    def loss(self, batch: Batch, random: torch.Generator, known: int) -> Any:
        """Of some windows of a batch of which so many values are known, their part in its mean; missing ones count nothing."""
        values, calendar = batch.values, batch.calendar
        target = values[:, max(self.lags) :]
        level, scale = self._scaling(target[:, : self.context])
        inputs = self._inputs(values, calendar, level, scale)
        raw, _ = self.network(inputs, self.network.context(batch.categories, level, scale), random=random)
        seen = ~torch.isnan(target)
        filled = torch.nan_to_num(target)
        values = filled if self._counts else (filled - level[:, None]) / scale[:, None]
        losses = self.network.loss(raw, torch.where(seen, values, self._neutral()), scale[:, None])
        if self.config["likelihood"] not in ("deterministic-L1", "negative-binomial"):
            losses = losses + torch.log(scale)[:, None]
        return torch.where(seen, losses, torch.zeros(())).sum() / max(1, known)

    def known(self, batch: Batch) -> int:
        """How many values of a batch's windows are known."""
        return int((~torch.isnan(batch.values[:, max(self.lags) :])).sum())

    def _neutral(self) -> Any:
        """A value that every likelihood takes, where nothing is known."""
        return torch.tensor(0.5 if self.config["likelihood"] == "beta" else 0.0)

    # ---- forecasting -----------------------------------------------------------------------------------------------

    @torch.no_grad()
    def forecast(self, series: Sequence[Series], samples: int) -> Floats:
        """[series, samples, horizon]: what may come after the end of each series."""
        starts = [len(s.target) - self.context for s in series]
        values, calendar = self._windows(series, starts, self.context + self.horizon)
        back, context = max(self.lags), self.context
        values[:, back + context :] = float("nan")
        level, scale = self._scaling(values[:, back : back + context])
        fixed = self.network.context(self._categories(series), level, scale)
        told = self._inputs(values[:, : back + context], calendar[:, :context], level, scale)
        _, state = self.network(told, fixed)
        values, calendar, level, scale, fixed = (
            t.repeat_interleave(samples, dim=0) for t in (values, calendar, level, scale, fixed)
        )
        state = [tuple(part.repeat_interleave(samples, dim=1) for part in layer) for layer in state]
        for step in range(self.horizon):
            at = context + step
            told = self._inputs(values[:, at : at + back + 1], calendar[:, at : at + 1], level, scale)
            raw, state = self.network(told, fixed, state)
            drawn = self.network.draw(raw[:, 0], scale)
            values[:, back + at] = drawn if self._counts else drawn * scale + level
        made = values[:, back + context :].reshape(len(series), samples, self.horizon)
        return deep.array(made).astype(np.float32)

    # ---- files -----------------------------------------------------------------------------------------------------

    def save(self, folder: Path) -> None:
        """The weights as an NDArray file, everything else as JSON."""
        (folder / _PARAMS).write_bytes(ndarray.dumps(deep.arrays(self.network)))
        (folder / _CONFIG).write_text(json.dumps(self.config))

    @classmethod
    def load(cls, folder: Path) -> Forecaster:
        """From the files; UserError when they are others."""
        try:
            made = cls(json.loads((folder / _CONFIG).read_text()))
            weights = ndarray.load((folder / _PARAMS).read_bytes())
            deep.restore(made.network, {_ONE_LSTM.sub(r"recurrent.\2.\1l0", name): w for name, w in weights.items()})
        except (OSError, KeyError, ValueError) as error:
            raise UserError(f"The archive holds no model of DeepAR: {error}") from None
        return made
