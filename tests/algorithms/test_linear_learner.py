"""Linear Learner: every predictor and loss against known figures, selection, calibration, artifact, answers."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import QuantileRegressor
from sklearn.metrics import log_loss, r2_score, roc_auc_score
from sklearn.model_selection import train_test_split

from clary.algorithms import ndarray
from tests.algorithms.trainer import Channels, Trained, csv, labelled, run, sparse_records


def parts(data: Any, stratified: bool = True) -> list[np.ndarray]:
    """Train and test rows, train and test labels."""
    stratify = data.target if stratified else None
    return train_test_split(data.data, data.target, test_size=0.3, random_state=42, stratify=stratify)  # type: ignore[no-any-return]


def channels(found: list[np.ndarray]) -> Channels:
    """Train and test channels as CSV."""
    a, b, y, z = found
    return {"train": ("text/csv", labelled(y, a)), "test": ("text/csv", labelled(z, b))}


def fit(folder: Path, kind: str, found: list[np.ndarray], **options: Any) -> Trained:
    trained = run(
        folder, "linear-learner", {"predictor_type": kind, "mini_batch_size": 100, **options}, channels(found)
    )
    assert trained.code == 0, trained.log
    return trained


def test_binary(tmp_path: Path) -> None:
    found = parts(load_breast_cancer())
    trained = fit(tmp_path, "binary_classifier", found)
    _, rows, _, labels = found
    score = trained.predict(rows, "score")
    assert roc_auc_score(labels, score) >= 0.99
    assert ((trained.predict(rows, "predicted_label")) == labels).mean() >= 0.96
    assert trained.metric("test:binary_classification_accuracy")[0] >= 0.96
    assert trained.metric("test:objective_loss")[0] == pytest.approx(log_loss(labels, score), rel=1e-3)
    assert "Best model found for hyperparameters: {" in trained.log
    with zipfile.ZipFile(io.BytesIO((tmp_path / "model" / "model_algo-1").read_bytes())) as packed:
        assert sorted(packed.namelist()) == ["additional-params.json", "manifest.json", "mx-mod-0000.params", "mx-mod-symbol.json"]  # fmt: skip
        layer = ndarray.load(packed.read("mx-mod-0000.params"))
        assert json.loads(packed.read("mx-mod-symbol.json"))["heads"] == [[3, 0, 0]]
    by_hand = 1 / (1 + np.exp(-(rows @ layer["arg:fc0_weight"][0] + layer["arg:fc0_bias"][0])))
    assert score == pytest.approx(by_hand, abs=1e-3)


@pytest.mark.parametrize(
    ("options", "name", "least"),
    [
        ({"loss": "hinge_loss"}, "test:binary_classification_accuracy", 0.95),
        ({"binary_classifier_model_selection_criteria": "recall_at_target_precision", "target_precision": 0.95}, "test:recall", 0.95),
        ({"binary_classifier_model_selection_criteria": "precision_at_target_recall", "target_recall": 0.9}, "test:precision", 0.95),
        ({"positive_example_weight_mult": "auto", "binary_classifier_model_selection_criteria": "f1"}, "test:binary_f_beta", 0.96),
        ({"positive_example_weight_mult": "balanced", "optimizer": "sgd", "learning_rate": 0.1}, "test:precision", 0.93),
        ({"optimizer": "rmsprop", "num_models": 4, "init_method": "normal", "use_bias": "False"}, "test:recall", 0.93),
        ({"binary_classifier_model_selection_criteria": "cross_entropy_loss", "normalize_data": "true"}, "test:recall", 0.95),
    ],
)  # fmt: skip
def test_binary_options(tmp_path: Path, options: dict[str, Any], name: str, least: float) -> None:
    trained = fit(tmp_path, "binary_classifier", parts(load_breast_cancer()), **options)
    assert trained.metric(name)[0] >= least


@pytest.mark.parametrize("loss", ["auto", "huber_loss", "absolute_loss", "eps_insensitive_squared_loss", "eps_insensitive_absolute_loss"])  # fmt: skip
def test_regressor(tmp_path: Path, loss: str) -> None:
    found = parts(load_diabetes(), stratified=False)
    trained = fit(tmp_path, "regressor", found, loss=loss, epochs=100, early_stopping_patience=20, huber_delta=50)
    predicted = trained.predict(found[1], "score")
    assert r2_score(found[3], predicted) >= 0.43
    assert trained.metric("test:mse")[0] == pytest.approx(((predicted - found[3]) ** 2).mean(), rel=1e-3)
    assert trained.metric("test:mse")[0] ** 0.5 <= 56 and trained.metric("test:absolute_loss")[0] <= 44


@pytest.mark.parametrize("quantile", [0.1, 0.5, 0.9])
def test_quantiles_cover_what_they_should(tmp_path: Path, quantile: float) -> None:
    found = parts(load_diabetes(), stratified=False)
    options = {"loss": "quantile_loss", "quantile": quantile, "epochs": 100, "early_stopping_patience": 20}
    trained = fit(tmp_path, "regressor", found, **options)
    reference = QuantileRegressor(quantile=quantile, alpha=0, solver="highs").fit(found[0], found[2])
    covered = (found[3] <= reference.predict(found[1])).mean()
    assert (found[3] <= trained.predict(found[1], "score")).mean() == pytest.approx(covered, abs=0.04)


def test_multiclass_with_a_validation_channel(tmp_path: Path) -> None:
    a, b, y, z = parts(load_digits())
    given = {**channels([a, b, y, z]), "validation": ("text/csv", labelled(z, b))}
    options = {"predictor_type": "multiclass_classifier", "num_classes": 10, "mini_batch_size": 100, "balance_multiclass_weights": "True"}  # fmt: skip
    trained = run(tmp_path, "linear-learner", options, given)
    assert trained.code == 0, trained.log
    assert trained.metric("test:multiclass_accuracy")[0] >= 0.95
    assert trained.metric("test:multiclass_top_k_accuracy")[0] >= 0.99
    assert trained.metric("validation:objective_loss") and trained.metric("validation:objective_loss:final")
    _, _, body = trained.ask(csv(b[:2]))
    for row in orjson.loads(body)["predictions"]:
        assert list(row) == ["score", "predicted_label"]
        assert sum(row["score"]) == pytest.approx(1, abs=1e-5)
        assert row["predicted_label"] == int(np.argmax(row["score"]))
    _, _, text = trained.ask(csv(b[:1]), accept="text/csv")
    assert text.startswith(b'%d,"[' % orjson.loads(body)["predictions"][0]["predicted_label"])


def test_sparse_rows_give_about_the_same_model(tmp_path: Path) -> None:
    a, b, y, z = parts(load_digits())
    train, test = sparse_records(a, y == 0), sparse_records(b, z == 0)
    trained = run(tmp_path, "linear-learner", {"predictor_type": "binary_classifier", "mini_batch_size": 100}, {"train": ("", train), "test": ("", test)})  # fmt: skip
    assert trained.code == 0, trained.log
    assert trained.metric("test:binary_classification_accuracy")[0] >= 0.98


def test_training_ends_early_when_nothing_gets_better(tmp_path: Path) -> None:
    trained = fit(tmp_path, "binary_classifier", parts(load_breast_cancer()), epochs=1000, num_models=1)
    assert "Early stop" in trained.log and len(trained.metric("train:objective_loss")) < 300


@pytest.mark.parametrize(
    ("options", "data", "words"),
    [
        ({}, b"1,2\n", "'predictor_type' is a required property"),
        ({"predictor_type": "binary"}, b"1,2\n", "'binary' is not valid under any of the given schemas"),
        ({"predictor_type": "regressor", "foo": 1}, b"1,2\n", "Additional properties are not allowed ('foo' was unexpected)"),
        ({"predictor_type": "regressor", "epochs": 0}, b"1,2\n", "epochs takes an integer in [1, +inf]"),
        ({"predictor_type": "multiclass_classifier"}, b"1,2\n", "'num_classes' is a required property"),
        ({"predictor_type": "regressor", "loss": "logistic"}, b"1,2\n", "The loss logistic does not go with"),
        ({"predictor_type": "binary_classifier"}, b"1,2\n2,3\n", "the label 2; a binary_classifier takes"),
        ({"predictor_type": "multiclass_classifier", "num_classes": 3}, b"0,2\n3,3\n", "the label 3; with num_classes 3"),
        ({"predictor_type": "regressor"}, b"1,2\n1,\n", "part-0 has an empty cell, NaN or infinite value in line 2"),
        ({"predictor_type": "regressor"}, b"1,2\n1,2,3\n", "line 2 of part-0 has 3 columns, the first has 2"),
        ({"predictor_type": "regressor"}, b"a,b\n1,2\n", "Remove the header row"),
        ({"predictor_type": "regressor"}, b"", "No data was found"),
        ({"predictor_type": "regressor"}, b"1\n2\n", "which is taken for the label"),
        ({"predictor_type": "regressor", "feature_dim": 5}, b"1,2\n", "feature_dim is 5, but the rows"),
    ],
)  # fmt: skip
def test_bad_input_is_the_users_fault(tmp_path: Path, options: dict[str, Any], data: bytes, words: str) -> None:
    trained = run(tmp_path, "linear-learner", options, {"train": ("text/csv", data)})
    assert trained.code == 1
    assert trained.failure.startswith("ClientError: ") and words in trained.failure
