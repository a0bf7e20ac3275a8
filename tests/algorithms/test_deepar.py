"""DeepAR: forecasts against the seasonal naive one, formats, bad input."""

from __future__ import annotations

import gzip
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
import torch

from clary.algorithms import deep, ndarray
from clary.algorithms.deepar.calendar import Frequency
from clary.algorithms.deepar.forecaster import Forecaster
from tests.algorithms.trainer import Trained, ask, run

JSON, JSONLINES = "application/json", "application/jsonlines"
HOURLY = {"time_freq": "H", "prediction_length": 24, "context_length": 48}


def hourly(count: int, steps: int, seed: int = 3) -> list[dict[str, Any]]:
    """Series with a daily and a weekly shape, each at a level of its own, with noise."""
    random = np.random.default_rng(seed)
    hours = np.arange(steps)
    found = []
    for i in range(count):
        kind = i % 2
        level = random.uniform(5, 50)
        shape = np.sin(2 * np.pi * (hours / 24 + kind / 2)) + 0.4 * np.sin(2 * np.pi * hours / 168)
        values = level + level / 5 * shape + random.normal(0, level / 25, steps)
        found.append({"start": "2024-01-01 00:00:00", "target": values.round(3).tolist(), "cat": [kind]})
    return found


def lines(rows: list[dict[str, Any]]) -> bytes:
    """JSON lines."""
    return b"\n".join(map(orjson.dumps, rows)) + b"\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    rows = hourly(20, 24 * 21)
    shorter = [{**row, "target": row["target"][:-24]} for row in rows]
    options = {**HOURLY, "epochs": 15, "learning_rate": 0.005, "mini_batch_size": 32, "num_cells": 32}
    folder = tmp_path_factory.mktemp("deepar") / "job"
    found = run(folder, "deepar", options, {"train": ("", lines(shorter)), "test": ("", lines(rows))})
    assert found.code == 0, found.log
    return found


def test_forecasts_beat_the_naive_one(trained: Trained) -> None:
    rows = hourly(20, 24 * 21)
    known = np.array([row["target"] for row in rows])
    naive = np.sqrt(((known[:, -24:] - known[:, -48:-24]) ** 2).mean())
    assert trained.metric("test:RMSE")[0] < naive
    assert trained.metric("test:mean_wQuantileLoss")[0] < 0.1
    assert trained.metric("train:final_loss")[0] == pytest.approx(min(trained.metric("train:loss")))
    assert len(trained.metric("train:loss")) == 15 and trained.metric("train:loss:batch")
    assert sorted(p.name for p in (trained.folder / "model").iterdir()) == ["model_algo-1-0000.params", "model_algo-1-config.json"]  # fmt: skip
    replica = trained.replica()
    asked = [{**row, "target": row["target"][:-24]} for row in rows]
    _, _, body = ask(replica, orjson.dumps({"instances": asked, "configuration": {"quantiles": ["0.1", "0.9"]}}), JSON)
    quantiles = [row["quantiles"] for row in orjson.loads(body)["predictions"]]
    low, high = (np.array([q[level] for q in quantiles]) for level in ("0.1", "0.9"))
    assert 0.6 <= ((known[:, -24:] >= low) & (known[:, -24:] <= high)).mean() <= 0.95


def test_shares_that_are_learned_side_by_side_are_the_same_each_time(tmp_path: Path) -> None:
    data = {"train": ("", lines(hourly(4, 24 * 8)))}
    options = {**HOURLY, "epochs": 2, "mini_batch_size": 150, "dropout_rate": 0.2}
    first, second = (run(tmp_path / name, "deepar", options, data) for name in ("a", "b"))
    weights = [(f.folder / "model" / "model_algo-1-0000.params").read_bytes() for f in (first, second)]
    assert weights[0] == weights[1]


def test_gradients_of_shares_are_those_of_the_batch() -> None:
    network, rows = torch.nn.Linear(3, 1), torch.randn(200, 3)

    def loss(part: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        return (network(part) ** 2).sum() / 200

    whole = torch.autograd.grad(loss(rows, torch.Generator()), list(network.parameters()))
    mean = deep.Shares(network, 200).learn(rows, loss)
    assert mean == pytest.approx(float(loss(rows, torch.Generator()).detach()), rel=1e-5)
    for weight, gradient in zip(network.parameters(), whole, strict=True):
        assert torch.allclose(weight.grad, gradient, rtol=1e-4)


def test_archives_with_all_layers_in_one_module_are_read(trained: Trained, tmp_path: Path) -> None:
    model = trained.folder / "model"
    weights = ndarray.load((model / "model_algo-1-0000.params").read_bytes())
    older = {re.sub(r"^recurrent\.(\d+)\.(\w+)l0$", r"recurrent.\2l\1", name): w for name, w in weights.items()}
    assert "recurrent.weight_hh_l1" in older
    (tmp_path / "model_algo-1-0000.params").write_bytes(ndarray.dumps(older))
    shutil.copy(model / "model_algo-1-config.json", tmp_path)
    found = Forecaster.load(tmp_path).network.state_dict()
    assert all(np.array_equal(found[name].numpy(), w) for name, w in weights.items())


def test_answers(trained: Trained) -> None:
    replica = trained.replica()
    one = hourly(1, 100)[0]
    _, _, body = ask(replica, orjson.dumps({"instances": [one]}), JSON)
    (row,) = orjson.loads(body)["predictions"]
    assert list(row) == ["mean", "quantiles"] and len(row["mean"]) == 24
    assert list(row["quantiles"]) == [f"0.{i}" for i in range(1, 10)]
    wishes = {"num_samples": 7, "output_types": ["samples"], "quantiles": ["0.5"]}
    _, _, body = ask(replica, orjson.dumps({"instances": [one], "configuration": wishes}), JSON)
    assert np.array(orjson.loads(body)["predictions"][0]["samples"]).shape == (7, 24)
    gaps = {**one, "target": [None, "NaN", *one["target"][2:]]}
    _, kind, body = ask(replica, lines([gaps, {**one, "target": []}]), JSONLINES, JSONLINES)
    assert kind == JSONLINES and [len(orjson.loads(line)["mean"]) for line in body.splitlines()] == [24, 24]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"instances": [{"target": [1]}]}, "a series has the form"),
        ({"instances": [{"start": "yesterday", "target": [1], "cat": [0]}]}, "is no time like"),
        ({"instances": [{"start": "2024-01-01", "target": ["x"], "cat": [0]}]}, "no lists of numbers"),
        ({"instances": [{"start": "2024-01-01", "target": [1], "cat": [2]}]}, "cat has to be 1 numbers, below [2]"),
        ({"instances": [{"start": "2024-01-01", "target": [1]}]}, "cat has to be 1 numbers"),
        ({"instances": [{"start": "2024-01-01", "target": [1], "cat": [0]}], "configuration": {"output_types": ["x"]}}, "output_types of"),
        ({"instances": [{"start": "2024-01-01", "target": [1], "cat": [0]}], "configuration": {"num_samples": 10**9}}, "do not fit into memory"),
        ({"instances": []}, "no instances"),
        ({"instances": [{"start": "99999999-01-01", "target": [1], "cat": [0]}]}, "is no time like"),
        ({"instances": [{"start": "2024-01-01", "target": {}, "cat": [0]}]}, "a series has the form"),
        ({"instances": [{"start": "2024-01-01", "target": [1], "cat": [0]}], "configuration": [1]}, "configuration"),
    ],
)  # fmt: skip
def test_bad_requests(trained: Trained, body: dict[str, Any], words: str) -> None:
    status, _, answer = trained.ask(orjson.dumps(body), JSON)
    assert status == 400 and words in answer.decode()


@pytest.mark.parametrize(
    ("likelihood", "values"),
    [
        ("gaussian", lambda x: 10 * x), ("deterministic-L1", lambda x: 1e-3 * x), ("beta", lambda x: 0.5 + 0.4 * x),
        ("negative-binomial", lambda x: np.floor(20 + 15 * x)), ("STUDENT-t", lambda x: 1e6 * x),
    ],
)  # fmt: skip
def test_likelihoods_and_features(tmp_path: Path, likelihood: str, values: Any) -> None:
    steps = np.arange(200)
    made = values(np.sin(2 * np.pi * steps / 7))
    rows = [{"start": "2024-01-01", "target": made.tolist(), "dynamic_feat": [(steps % 7 == 0).astype(float).tolist()]}] * 3  # fmt: skip
    options = {"time_freq": "1D", "prediction_length": 7, "context_length": 14, "epochs": 12, "likelihood": likelihood, "learning_rate": 0.01, "mini_batch_size": 16, "num_cells": 16, "num_layers": 1, "early_stopping_patience": 5}  # fmt: skip
    found = run(tmp_path, "deepar", options, {"train": ("json.gz", gzip.compress(lines(rows))), "test": ("json", lines(rows))})  # fmt: skip
    assert found.code == 0, found.log
    assert found.metric("test:RMSE")[0] < made.std()
    asked = {"start": "2024-01-01", "target": made.tolist(), "dynamic_feat": [[0.0] * 207]}
    status, _, body = found.ask(orjson.dumps({"instances": [asked]}), JSON)
    assert status == 200 and np.isfinite(orjson.loads(body)["predictions"][0]["mean"]).all()
    assert found.ask(orjson.dumps({"instances": [{**asked, "dynamic_feat": [[0.0]]}]}), JSON)[0] == 400


@pytest.mark.parametrize(
    ("options", "rows", "words"),
    [
        ({}, [{"start": "2024-01-01", "target": [1.0] * 50}], "has 50 observations in 1 time series; DeepAR needs at least 300"),
        ({"time_freq": "fortnight"}, [], "'fortnight' is not valid under any of the given schemas"),
        ({}, [{"start": "2024-01-01", "target": [1.0] * 400, "cat": [0]}, {"start": "2024-01-01", "target": [1.0]}], "line 2 of part-0: it has 0 cat"),
        ({"cardinality": "[2]"}, [{"start": "2024-01-01", "target": [1.0] * 400, "cat": [2]}], "with cardinality 2 it is at most 1"),
        ({}, [{"start": "2024-01-01", "target": [1.0] * 400, "dynamic_feat": [[1.0]]}], "dynamic_feat has 1 steps, target has 400"),
        ({"likelihood": "beta"}, [{"start": "2024-01-01", "target": [1.0] * 400}], "not between 0 and 1"),
        ({"likelihood": "negative-binomial"}, [{"start": "2024-01-01", "target": [0.5] * 400}], "no counts"),
        ({}, [[1]], "line 1 of part-0: a series has the form"),
    ],
)  # fmt: skip
def test_bad_input(tmp_path: Path, options: dict[str, Any], rows: Any, words: str) -> None:
    found = run(tmp_path, "deepar", {**HOURLY, "epochs": 1, **options}, {"train": ("", lines(rows))})
    assert found.code == 1 and words in found.failure


def test_the_calendar() -> None:
    for name, unit, first in (("5min", "m", 7), ("H", "h", 7), ("D", "D", 7), ("2W", "W", 7), ("M", "M", 7)):
        frequency = Frequency.of(name)
        start = frequency.start("2024-02-28 23:55:00")
        features = frequency.features(start, 0, 400)
        assert frequency.unit == unit and np.abs(features[:, :-1]).max() <= 0.5 + 1e-6
        assert frequency.lags(10_000)[first - 1] == 7
    assert 24 in Frequency.of("H").lags(100) and 168 not in Frequency.of("H").lags(100)
    assert str(Frequency.of("M").times(np.datetime64("2024-01", "M"), 0, 14)[-1]) == "2025-02"
