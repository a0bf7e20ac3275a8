"""DeepAR as a job and a replica."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import torch
from numpy.typing import NDArray

from .. import deep
from ..environment import UserError
from ..hyperparameters import Params
from ..job import Job
from ..patience import Patience
from ..requests import Json, Request, documents, instances
from .calendar import Frequency
from .forecaster import Forecaster
from .series import Series, parse, read

Floats = NDArray[np.float32]
_LEAST = 300  # observations in all
_BATCHES = 20, 1000  # of an epoch: at least and at most
_CLIP = 10.0
_TYPES = ("mean", "quantiles", "samples")
_MAX_DRAWN = 20_000_000  # numbers that a request may make us draw


def train(job: Job) -> None:
    """Learn from random windows; the best epoch counts."""
    params, report = job.params, job.report
    deep.begin()
    frequency = Frequency.of(params["time_freq"])
    series = _read(job, "train", frequency)
    model = Forecaster(_config(params, series, frequency))
    optimizer = deep.optimizer("adam", model.network.parameters(), params["learning_rate"])
    course, patience = deep.Course(model.network, optimizer), Patience(params["early_stopping_patience"])
    windows = _Windows(series, model.context, model.horizon, job.random)
    observed = sum(int(np.isfinite(s.target).sum()) for s in series)
    batch_size = params["mini_batch_size"]
    shares = deep.Shares(model.network, batch_size)
    batches = int(np.clip(observed / (batch_size * model.horizon), *_BATCHES))
    for epoch in job.epochs(params["epochs"], course, patience):
        began, total = time.perf_counter(), 0.0
        for number in range(batches):
            batch = model.batch(*windows.batch(batch_size))
            loss = shares.learn(batch, partial(model.loss, known=model.known(batch)))
            torch.nn.utils.clip_grad_norm_(model.network.parameters(), _CLIP)
            optimizer.step()
            total += loss
            if not number:
                report.say(f"Epoch[{epoch}] Batch[{number}] avg_epoch_loss={total}")
                report.loss("train loss", total, epoch, number)
        mean = total / batches
        report.throughput(batches * batch_size, time.perf_counter() - began)
        report.loss("train loss", mean, epoch)
        if not np.isfinite(mean):
            raise UserError("The loss is no number any more; choose a smaller learning_rate.")
        if patience.better(mean):
            course.keep()
        else:
            report.say("loss did not improve")
            if patience.over:
                break
    course.settle()
    report.say(f"Final loss: {patience.best} (occurred at epoch {patience.best_look})")
    report.loss("train final_loss", patience.best)
    model.save(job.model)
    if job.has("test"):
        _test(job, model, _read(job, "test", frequency))


def _read(job: Job, channel: str, frequency: Frequency) -> list[Series]:
    folder = job.environment.channels[channel].folder
    found = read(folder, frequency, channel, job.spooled(channel))
    observed = sum(int(np.isfinite(s.target).sum()) for s in found)
    if channel == "train" and observed < _LEAST:
        raise UserError(
            f"The train channel has {observed} observations in {len(found)} time series; DeepAR needs at least {_LEAST}."
        )
    likelihood = job.params["likelihood"]
    values = np.concatenate([s.target[np.isfinite(s.target)] for s in found]) if observed else np.empty(0)
    if likelihood == "beta" and ((values <= 0) | (values >= 1)).any():
        raise UserError(f"The {channel} channel has values that are not between 0 and 1, as the likelihood beta needs.")
    if likelihood == "negative-binomial" and ((values < 0) | (values != np.floor(values))).any():
        raise UserError(
            f"The {channel} channel has values that are no counts, as the likelihood negative-binomial needs."
        )
    return found


def _config(params: Params, series: list[Series], frequency: Frequency) -> Json:
    longest = max(len(s.target) for s in series)
    return {
        "cardinality": _cardinality(params["cardinality"], series),
        "num_dynamic_feat": _dynamic(params["num_dynamic_feat"], series),
        "lags": frequency.lags(longest),
        **{
            name: params[name]
            for name in (
                "time_freq", "context_length", "prediction_length", "embedding_dimension", "num_cells", "num_layers",
                "dropout_rate", "likelihood",
            )
        },
    }  # fmt: skip


def _cardinality(wanted: str | list[int], series: list[Series]) -> list[int]:
    if wanted == "ignore":
        return []
    count = len(series[0].categories)
    largest = [max(s.categories[i] for s in series) + 1 for i in range(count)]
    if any(min(s.categories, default=0) < 0 for s in series):
        raise UserError("The cat of a series is negative; categories are numbered from 0.")
    if isinstance(wanted, str):
        return largest
    if len(wanted) != count:
        raise UserError(f"The hyperparameter cardinality has {len(wanted)} sizes, the series have {count} cat.")
    for size, found in zip(wanted, largest, strict=True):
        if found > size:
            raise UserError(f"A series has the cat {found - 1}; with cardinality {size} it is at most {size - 1}.")
    return wanted


def _dynamic(wanted: str | int, series: list[Series]) -> int:
    found = len(series[0].features)
    if wanted == "ignore":
        return 0
    if wanted != "auto" and wanted != found:
        raise UserError(f"The hyperparameter num_dynamic_feat is {wanted}, the series have {found}.")
    return found


class _Windows:
    """Random windows: longer series are drawn more often."""

    def __init__(self, series: list[Series], context: int, horizon: int, random: np.random.Generator):
        self._series = series
        self._context = context
        self._horizon = horizon
        self._random = random
        self._lengths = np.array([len(s.target) for s in series])
        chances = np.maximum(1.0, self._lengths - horizon)
        self._chances = chances / chances.sum()

    def batch(self, size: int) -> tuple[list[Series], list[int]]:
        """Series, and where the window begins in each: its last step may be any that is known."""
        chosen = self._random.choice(len(self._series), size, p=self._chances)
        lengths = self._lengths[chosen]
        ends = self._random.integers(np.minimum(self._horizon, lengths), lengths + 1)
        return [self._series[i] for i in chosen], (ends - self._horizon - self._context).tolist()


# ---- evaluation ----------------------------------------------------------------------------------------------------


def _test(job: Job, model: Forecaster, series: list[Series]) -> None:
    """Hide the last steps of each series and forecast them."""
    horizon, levels = model.horizon, job.params["test_quantiles"]
    usable = [s for s in series if len(s.target) > horizon]
    if not usable:
        raise UserError(f"No series of the test channel is longer than prediction_length ({horizon}).")
    known = np.stack([s.target[-horizon:] for s in usable]).astype(np.float64)
    drawn = model.forecast([s.head(len(s.target) - horizon) for s in usable], job.params["num_eval_samples"])
    seen = np.isfinite(known)
    error = np.where(seen, drawn.mean(axis=1) - known, 0.0)
    rmse = float(np.sqrt((error**2).sum() / seen.sum()))
    total = float(np.abs(np.where(seen, known, 0.0)).sum())
    losses = {}
    for level in levels:
        short = np.where(seen, known - np.quantile(drawn, level, axis=1), 0.0)
        losses[level] = 2 * float(np.maximum(level * short, (level - 1) * short).sum())
    mean = float(np.mean(list(losses.values())))
    report = job.report
    report.say(f"#test_score ({report.host}, RMSE): {rmse}")
    report.say(f"#test_score ({report.host}, mean_absolute_QuantileLoss): {mean}")
    report.say(f"#test_score ({report.host}, mean_wQuantileLoss): {mean / max(total, 1e-12)}")
    for level, loss in losses.items():
        report.say(f"#test_score ({report.host}, wQuantileLoss[{level}]): {loss / max(total, 1e-12)}")
    report.loss("test RMSE", rmse)
    report.loss("test mean_wQuantileLoss", mean / max(total, 1e-12))


# ---- answering -----------------------------------------------------------------------------------------------------


class Forecasts:
    """A model."""

    def __init__(self, model: Forecaster):
        self._model = model
        text = os.environ.get("DEEPAR_INFERENCE_CONFIG", "")
        try:
            self._default = orjson.loads(text) if text else {}
        except ValueError as error:
            raise UserError(f"DEEPAR_INFERENCE_CONFIG is no JSON: {error}") from None
        if not isinstance(self._default, dict):
            raise UserError(f"DEEPAR_INFERENCE_CONFIG is no JSON object: {text}")

    def answer(self, request: Request) -> tuple[str, bytes]:
        """Means, quantiles or samples of what follows each series."""
        rows, wished = instances(request)
        samples, types, quantiles = _wishes({**self._default, **wished})
        model = self._model
        series = [self._checked(row, i) for i, row in enumerate(rows)]
        if not series or len(series) * samples * (model.horizon + max(model.lags) + model.context) > _MAX_DRAWN:
            raise UserError("The request has no instances, or so many that their samples do not fit into memory")
        drawn = model.forecast(series, samples)
        return request.accept, documents([_row(d, types, quantiles) for d in drawn], request.accept)

    def _checked(self, row: Any, number: int) -> Series:
        model, where = self._model, f"Instance {number}"
        try:
            found = parse(row, model.frequency)
        except UserError as error:
            raise UserError(f"{where}: {error}") from None
        sizes, features = model.config["cardinality"], model.config["num_dynamic_feat"]
        if len(found.categories) < len(sizes) or any(
            not 0 <= c < n for c, n in zip(found.categories, sizes, strict=False)
        ):
            raise UserError(f"{where}: cat has to be {len(sizes)} numbers, below {sizes}")
        steps = len(found.target) + model.horizon
        if features and (len(found.features) != features or found.features.shape[1] != steps):
            raise UserError(f"{where}: dynamic_feat has to be {features} lists of {steps} numbers")
        return found


def _wishes(configuration: Json) -> tuple[int, list[str], list[str]]:
    try:
        samples = int(configuration.get("num_samples", 100))
        types = list(configuration.get("output_types", ("mean", "quantiles")))
        quantiles = [str(q) for q in configuration.get("quantiles", [f"0.{i}" for i in range(1, 10)])]
        good = all(0 < float(q) < 1 for q in quantiles)
    except (TypeError, ValueError, AttributeError):
        raise UserError("The configuration has num_samples, output_types or quantiles of the wrong kind") from None
    if samples < 1 or not good or any(t not in _TYPES for t in types):
        raise UserError(
            f"The configuration takes num_samples from 1 on, output_types of {', '.join(_TYPES)}, quantiles between 0 and 1"
        )
    return samples, types, quantiles


def _row(drawn: Floats, types: list[str], quantiles: list[str]) -> Json:
    row: Json = {}
    if "mean" in types:
        row["mean"] = drawn.mean(axis=0).tolist()
    if "quantiles" in types:
        levels = np.quantile(drawn, [float(q) for q in quantiles], axis=0)
        row["quantiles"] = {q: values.tolist() for q, values in zip(quantiles, levels, strict=True)}
    if "samples" in types:
        row["samples"] = drawn.tolist()
    return row


def load(folder: Path) -> Forecasts:
    """The network of a model archive."""
    torch.set_num_threads(1)
    return Forecasts(Forecaster.load(folder))
