"""A job that was interrupted goes on from its checkpoint, and ends where it would have ended."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clary.algorithms import checkpoints, job
from clary.algorithms.contract import RECORDIO
from tests.algorithms.trainer import Channels, Trained, csv, dense_records, labelled, run

RANDOM = np.random.default_rng(3)
ROWS = RANDOM.normal(size=(240, 4))
LABELS = (ROWS @ [1.0, -2.0, 0.5, 0.0] > 0).astype(float)
COUNTS = RANDOM.poisson(1.0, (120, 12))


def _lines(*documents: Any) -> bytes:
    return b"".join(json.dumps(d).encode() + b"\n" for d in documents)


def _pairs() -> bytes:
    words = RANDOM.integers(1, 20, (100, 2, 3))
    return _lines(*({"label": float(a[0] > b[0]), "in0": a.tolist(), "in1": b.tolist()} for a, b in words))


def _series() -> bytes:
    return _lines(*({"start": "2020-01-01 00:00:00", "target": (np.sin(np.arange(120) / 4) + i).tolist()} for i in range(4)))  # fmt: skip


def _texts() -> bytes:
    return "".join(f"__label__{i % 2} {'good fine' if i % 2 else 'bad poor'} thing number\n" for i in range(60)).encode()  # fmt: skip


def _visits() -> bytes:
    return "".join(f"user{i % 5},10.0.{i % 5}.{i % 20}\n" for i in range(200)).encode()


JOBS: dict[str, tuple[dict[str, Any], Channels]] = {
    "linear-learner": (
        {"predictor_type": "binary_classifier", "mini_batch_size": 40, "num_models": 3, "early_stopping_patience": 9},
        {"train": ("text/csv", labelled(LABELS, ROWS)), "validation": ("text/csv", labelled(LABELS, ROWS))},
    ),
    "kmeans": ({"k": 3, "feature_dim": 4, "mini_batch_size": 40}, {"train": ("text/csv;label_size=0", csv(ROWS))}),
    "factorization-machines": (
        {"feature_dim": 4, "num_factors": 2, "predictor_type": "binary_classifier", "mini_batch_size": 40},
        {"train": (RECORDIO, dense_records(ROWS.astype("f4"), LABELS))},
    ),
    "ntm": (
        {"feature_dim": 12, "num_topics": 3, "mini_batch_size": 40, "batch_norm": True, "num_patience_epochs": 9},
        {"train": ("text/csv;label_size=0", csv(COUNTS))},
    ),
    "deepar": (
        {"time_freq": "D", "context_length": 10, "prediction_length": 5, "num_cells": 8, "mini_batch_size": 16},
        {"train": ("application/jsonlines", _series())},
    ),
    "object2vec": (
        {
            "enc0_max_seq_len": 3, "enc0_vocab_size": 20, "enc_dim": 8, "mlp_dim": 8, "mini_batch_size": 20,
            "output_layer": "softmax", "num_classes": 2, "enc0_token_embedding_dim": 8, "dropout": 0.2,
        },
        {"train": ("application/jsonlines", _pairs())},
    ),
    "ipinsights": (
        {"num_entity_vectors": 10, "vector_dim": 8, "mini_batch_size": 50},
        {"train": ("text/csv", _visits()), "validation": ("text/csv", _visits())},
    ),
    "blazingtext": (
        {"mode": "supervised", "vector_dim": 8, "min_count": 1, "early_stopping": True, "patience": 9, "min_epochs": 2},
        {"train": ("text/plain", _texts()), "validation": ("text/plain", _texts())},
    ),
}  # fmt: skip


class _Interrupted(BaseException):
    """The instance is gone."""


def _parts(trained: Trained) -> dict[str, bytes]:
    """The model's files; of archives, which carry times, what is in them."""
    found: dict[str, bytes] = {}
    for path in sorted(p for p in (trained.folder / "model").rglob("*") if p.is_file()):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                found |= {f"{path.name}/{n}": archive.read(n) for n in archive.namelist()}
        else:
            found[path.name] = path.read_bytes()
    return found


@pytest.mark.parametrize("name", JOBS)
def test_an_interrupted_job_ends_where_it_would_have_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    options, channels = JOBS[name]
    options = {**options, "epochs": 5}
    whole = run(tmp_path / "whole", name, options, channels)
    assert whole.code == 0, whole.log

    kept = tmp_path / "kept"
    kept.mkdir()
    monkeypatch.setenv("CLARY_CHECKPOINTS", str(kept))
    monkeypatch.setattr(checkpoints, "_EVERY", 0.0)
    with monkeypatch.context() as patch:
        done = job.Checkpoint.write

        def write(self: checkpoints.Checkpoint, epochs: int, state: Any) -> None:
            done(self, epochs, state)
            if epochs == 3:
                raise _Interrupted

        patch.setattr(job.Checkpoint, "write", write)
        with pytest.raises(_Interrupted):
            run(tmp_path / "begun", name, options, channels)
    assert [p.name for p in kept.iterdir()] == [f"{name}-checkpoint.npz"]
    resumed = run(tmp_path / "resumed", name, options, channels)
    assert resumed.code == 0, resumed.log
    assert "after 3 of 5 epochs" in resumed.log
    assert _parts(resumed) and _parts(resumed) == _parts(whole)


def test_a_checkpoint_of_another_job_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options, channels = JOBS["kmeans"]
    monkeypatch.setenv("CLARY_CHECKPOINTS", str(tmp_path / "kept"))
    monkeypatch.setattr(checkpoints, "_EVERY", 0.0)
    (tmp_path / "kept").mkdir()
    assert run(tmp_path / "first", "kmeans", {**options, "epochs": 3}, channels).code == 0
    other = run(tmp_path / "other", "kmeans", {**options, "epochs": 3, "k": 4}, channels)
    assert other.code == 1 and "was written with other hyperparameters (k)" in other.failure
    (tmp_path / "kept" / "kmeans-checkpoint.npz").write_bytes(b"PK\x03\x04 no archive")
    torn = run(tmp_path / "torn", "kmeans", {**options, "epochs": 3}, channels)
    assert torn.code == 1 and "kmeans-checkpoint.npz cannot be read" in torn.failure
