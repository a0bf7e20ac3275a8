"""Algorithms on tables of numbers: quality, artifacts, answers. The figures are those of the reference libraries."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_iris
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

from clary.algorithms import ndarray
from clary.algorithms.environment import UserError
from clary.algorithms.randomcutforest.forest import grown
from clary.algorithms.readers import recordio
from clary.algorithms.readers.table import dense as as_dense
from tests.algorithms.trainer import csv, dense_records, labelled, run, sparse_records

UNLABELLED = "text/csv;label_size=0"


def test_kmeans_finds_what_the_reference_finds(tmp_path: Path) -> None:
    rows = load_digits().data.astype(np.float32)
    found = run(tmp_path, "kmeans", {"k": 10, "feature_dim": 64}, {"train": (UNLABELLED, csv(rows)), "test": (UNLABELLED, csv(rows))})  # fmt: skip
    assert found.code == 0, found.log
    reference = KMeans(10, n_init=5, random_state=0).fit(rows)
    (test,) = found.metric("test:msd")
    assert test <= 1.02 * reference.inertia_ / len(rows)
    assert "Shrinking 100 centers into 10" in found.log
    (centers,), names = ndarray.loads((tmp_path / "model" / "model_algo-1").read_bytes())
    assert centers.shape == (10, 64) and not names
    nearest = np.sqrt(((rows[:, None] - centers) ** 2).sum(axis=2))
    assert np.array_equal(found.predict(rows[:50], "closest_cluster"), nearest[:50].argmin(axis=1))
    assert found.predict(rows[:50], "distance_to_cluster") == pytest.approx(nearest[:50].min(axis=1), rel=1e-5)


def test_kmeans_of_a_stream_with_half_life(tmp_path: Path) -> None:
    rows = load_iris().data.astype(np.float32)
    options = {"k": 3, "feature_dim": 4, "mini_batch_size": 50, "epochs": 2, "half_life_time_size": 100, "force_dense": "True", "init_method": "kmeans++", "eval_metrics": '["msd", "ssd"]'}  # fmt: skip
    found = run(tmp_path, "kmeans", options, {"train": ("", dense_records(rows)), "test": ("", sparse_records(rows))})
    assert found.code == 0, found.log
    assert found.metric("test:ssd")[0] <= 79.5
    assert found.metric("train:progress") == [50.0, 100.0]


@pytest.mark.parametrize("mode", ["regular", "randomized"])
@pytest.mark.parametrize("kind", ["csv", "dense", "sparse"])
def test_pca_equals_the_reference(tmp_path: Path, mode: str, kind: str) -> None:
    rows = load_digits().data.astype(np.float32)
    options = {"feature_dim": 64, "num_components": 10, "algorithm_mode": mode}
    data = {"csv": (UNLABELLED, csv(rows)), "dense": ("", dense_records(rows)), "sparse": ("", sparse_records(rows))}
    found = run(tmp_path, "pca", options, {"train": data[kind]})
    assert found.code == 0, found.log
    stored = ndarray.load((tmp_path / "model" / "model_algo-1").read_bytes())
    reference = PCA(10, svd_solver="full").fit(rows)
    assert stored["s"][::-1] == pytest.approx(reference.singular_values_, rel=1e-3)
    assert (stored["mean"].shape, stored["v"].shape) == ((1, 64), (64, 10))
    assert np.abs((stored["v"][:, ::-1] * reference.components_.T).sum(axis=0)) == pytest.approx(1, abs=2e-2)
    answers = found.predict(rows[:20], "projection", "projections")
    assert np.abs(answers[:, ::-1]) == pytest.approx(np.abs(reference.transform(rows[:20])), abs=0.5)


def test_pca_without_the_mean(tmp_path: Path) -> None:
    rows = load_iris().data.astype(np.float32)
    options = {"feature_dim": 4, "num_components": 2, "subtract_mean": "false"}
    found = run(tmp_path, "pca", options, {"train": (UNLABELLED, csv(rows))})
    stored = ndarray.load((tmp_path / "model" / "model_algo-1").read_bytes())
    assert stored["s"][::-1] == pytest.approx(np.linalg.svd(rows, compute_uv=False)[:2], rel=1e-4)
    assert found.predict(rows[:3], "projection", "projections").shape == (3, 2)


def test_answers_have_one_content_in_every_type(tmp_path: Path) -> None:
    rows = load_iris().data.astype(np.float32)
    found = run(tmp_path, "kmeans", {"k": 3, "feature_dim": 4}, {"train": (UNLABELLED, csv(rows))})
    _, _, plain = found.ask(csv(rows[:2]))
    expected = orjson.loads(plain)["predictions"]
    asked = {"features": rows[0].tolist()}, {"data": {"features": {"values": rows[1].tolist()}}}
    sparse = {"data": {"features": {"keys": [0, 1, 2, 3], "shape": [4], "values": rows[1].tolist()}}}
    for body, kind in (
        (orjson.dumps({"instances": asked}), "application/json"),
        (orjson.dumps({"instances": [asked[0], sparse]}), "application/json"),
        (b"\n".join(map(orjson.dumps, asked)), "application/jsonlines"),
        (dense_records(rows[:2]), "application/x-recordio-protobuf"),
        (sparse_records(rows[:2]), "application/x-recordio-protobuf"),
        (csv(rows[:2]), "text/csv; label_size=0"),
    ):
        status, given, body = found.ask(body, kind, "*/*")
        assert (status, given, orjson.loads(body)["predictions"]) == (200, "application/json", expected), kind
    _, given, lines = found.ask(csv(rows[:2]), accept="application/jsonlines")
    assert [orjson.loads(line) for line in lines.splitlines()] == expected
    _, given, text = found.ask(csv(rows[:2]), accept="text/csv")
    assert text.splitlines()[0].decode() == f"{expected[0]['closest_cluster']},{expected[0]['distance_to_cluster']}"


@pytest.mark.parametrize(
    ("body", "kind", "accept", "status", "words"),
    [
        (b"1,2,3\n", "text/csv", "", 400, "rows of 3 features, the model takes 4"),
        (b"1,2,3,\n", "text/csv", "", 400, "empty, NaN or infinite"),
        (b"a,b,c,d\n", "text/csv", "", 400, "line 1"),
        (b"", "text/csv", "", 400, "no rows"),
        (b"{", "application/json", "", 400, "no valid JSON"),
        (b"[]", "application/json", "", 400, "instances"),
        (b'{"instances":[{"features":"x"}]}', "application/json", "", 400, "form"),
        (b'{"instances":[{"features":[1,2,3,"x"]}]}', "application/json", "", 400, "lists of numbers"),
        (b'{"instances":[{"data":{"features":{"keys":[7],"values":[1]}}}]}', "application/json", "", 400, "keys"),
        (
            b'{"instances":[{"data":{"features":{"keys":5,"values":[1]}}}]}',
            "application/json",
            "",
            400,
            "no lists of numbers",
        ),
        (
            b'{"instances":[{"data":{"features":{"keys":[1],"shape":["x"],"values":[1]}}}]}',
            "application/json",
            "",
            400,
            "shape",
        ),
        (b'{"instances":[{"features":[1,2,3,4]}],"configuration":"x"}', "application/json", "", 400, "configuration"),
        (b"\x0a\x23\xd7\xce\xff\xff\xff\x00", "application/x-recordio-protobuf", "", 400, "middle of a record"),
        (b"12345678", "application/x-recordio-protobuf", "", 400, "magic"),
        (b"1", "image/png", "", 415, "image/png"),
        (b"1,2,3,4", "text/csv", "image/png", 406, "image/png"),
    ],
)
def test_bad_requests(tmp_path: Path, body: bytes, kind: str, accept: str, status: int, words: str) -> None:
    rows = load_iris().data.astype(np.float32)
    found = run(tmp_path, "kmeans", {"k": 2, "feature_dim": 4}, {"train": (UNLABELLED, csv(rows))})
    code, _, answer = found.ask(body, kind, accept)
    assert code == status and words in answer.decode()


def halves(data: Any) -> list[np.ndarray]:
    """Train and test rows, train and test labels."""
    return train_test_split(data.data, data.target, test_size=0.3, random_state=42, stratify=data.target)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({}, 0.97),
        ({"index_type": "faiss.IVFFlat"}, 0.95),
        ({"index_type": "faiss.IVFPQ", "faiss_index_pq_m": 8}, 0.93),
        ({"dimension_reduction_type": "sign", "dimension_reduction_target": 32}, 0.93),
        ({"dimension_reduction_type": "fjlt", "dimension_reduction_target": 32}, 0.93),
        ({"index_metric": "COSINE"}, 0.97),
        ({"index_type": "faiss.IVFFlat", "index_metric": "INNER_PRODUCT", "faiss_index_ivf_nlists": 10}, 0.8),
    ],
)
def test_knn_classifies(tmp_path: Path, options: dict[str, Any], least: float) -> None:
    a, b, y, z = halves(load_digits())
    given = {"feature_dim": 64, "k": 5, "sample_size": 5000, "predictor_type": "classifier", **options}
    found = run(tmp_path, "knn", given, {"train": ("text/csv", labelled(y, a)), "test": ("text/csv", labelled(z, b))})
    assert found.code == 0, found.log
    (accuracy,) = found.metric("test:accuracy")
    assert accuracy >= least
    assert (found.predict(b, "predicted_label") == z).mean() == pytest.approx(accuracy)
    assert (tmp_path / "model" / "model_algo-1.labels").is_file()


def test_knn_tells_the_neighbours(tmp_path: Path) -> None:
    rows, labels = load_diabetes(return_X_y=True, scaled=False)
    given = {"feature_dim": 10, "k": 10, "sample_size": 300, "predictor_type": "regressor"}
    found = run(tmp_path, "knn", given, {"train": ("text/csv", labelled(labels, rows))})
    _, _, body = found.ask(csv(rows[:1]), accept="application/json; verbose=true")
    (row,) = orjson.loads(body)["predictions"]
    assert list(row) == ["predicted_label", "distances", "labels"]
    assert len(row["labels"]) == 10 and row["distances"] == sorted(row["distances"])
    assert row["predicted_label"] == pytest.approx(np.mean(row["labels"]), rel=1e-5)


def test_factorization_machine_learns_interactions(tmp_path: Path) -> None:
    a, b, y, z = halves(load_digits())
    a, b, y, z = a / 16, b / 16, y % 2, z % 2
    options = {"feature_dim": 64, "num_factors": 16, "predictor_type": "binary_classifier", "epochs": 60, "mini_batch_size": 100, "linear_lr": 0.01, "factors_lr": 0.01, "factors_init_sigma": 0.05}  # fmt: skip
    found = run(tmp_path, "factorization-machines", options, {"train": ("", sparse_records(a, y)), "test": ("", dense_records(b, z))})  # fmt: skip
    assert found.code == 0, found.log
    assert found.metric("test:binary_classification_accuracy")[0] >= 0.95
    assert found.metric("test:binary_classification_cross_entropy") and found.metric("train:binary_f_beta:epoch")
    status, _, body = found.ask(dense_records(b[:5]), "application/x-recordio-protobuf")
    assert status == 200
    for row in orjson.loads(body)["predictions"]:
        assert row["predicted_label"] == float(row["score"] >= 0.5)
    assert found.ask(csv(b[:1]))[0] == 415
    with zipfile.ZipFile(tmp_path / "model" / "model_algo-1") as packed:
        named = ndarray.load(packed.read("params"))
    assert {k: v.shape for k, v in named.items()} == {"v": (64, 16), "w1_weight": (64, 1), "w0_weight": (1, 1)}


def test_factorization_machine_recommends(tmp_path: Path) -> None:
    random = np.random.default_rng(7)
    users, items = random.normal(0, 1, (200, 4)) / 2, random.normal(0, 1, (150, 4))
    pairs = np.stack([random.integers(0, 200, 20000), random.integers(0, 150, 20000)], axis=1)
    labels = (users[pairs[:, 0]] * items[pairs[:, 1]]).sum(axis=1) + random.normal(0, 0.3, len(pairs))
    rows = np.zeros((len(pairs), 350), dtype=np.float32)
    rows[np.arange(len(pairs)), pairs[:, 0]] = 1
    rows[np.arange(len(pairs)), 200 + pairs[:, 1]] = 1
    options = {"feature_dim": 350, "num_factors": 8, "predictor_type": "regressor", "epochs": 30, "mini_batch_size": 500, "factors_lr": 0.02, "linear_lr": 0.01, "factors_init_sigma": 0.1}  # fmt: skip
    parts = {"train": ("", sparse_records(rows[:16000], labels[:16000])), "test": ("", sparse_records(rows[16000:], labels[16000:]))}  # fmt: skip
    found = run(tmp_path, "factorization-machines", options, parts)
    assert found.code == 0, found.log
    assert labels.std() > 0.9 and found.metric("test:rmse")[0] <= 0.55


def test_random_cut_forest_finds_the_spikes(tmp_path: Path) -> None:
    series = np.sin(np.arange(400) / 5) * 40 + np.random.default_rng(0).normal(0, 3, 400) + 50
    series[[60, 150, 240]] += 300
    found = run(tmp_path, "randomcutforest", {"feature_dim": 1, "num_trees": 50, "mini_batch_size": 1000}, {"train": (UNLABELLED, csv(series[:, None]))})  # fmt: skip
    assert found.code == 0, found.log
    scores = found.predict(series[:, None], "score", "scores")
    assert set(np.argsort(scores)[-3:]) == {60, 150, 240}
    assert 0.3 < np.median(scores) < 1.2 and scores.max() > 2
    assert "completed 100 % epochs" in found.log


def test_random_cut_forest_on_a_table(tmp_path: Path) -> None:
    data = load_breast_cancer()
    rows = StandardScaler().fit_transform(data.data)
    benign, malignant = rows[data.target == 1], rows[data.target == 0][:20]
    mixed = np.concatenate([benign, malignant])
    odd = np.concatenate([np.zeros(len(benign)), np.ones(20)])
    options = {"feature_dim": 30, "num_trees": 50, "num_samples_per_tree": 256}
    found = run(tmp_path, "randomcutforest", options, {"train": ("", dense_records(mixed.astype(np.float32))), "test": ("text/csv;label_size=1", labelled(odd, mixed))})  # fmt: skip
    assert found.code == 0, found.log
    scores = found.predict(mixed, "score", "scores")
    assert roc_auc_score(odd, scores) >= 0.92
    assert 0.3 < found.metric("test:f1")[0] <= 1
    assert 0.4 < scores[:300].mean() < 1.0


def test_score_of_a_tiny_forest_is_the_definitions(tmp_path: Path) -> None:
    """Two points, one cut: every number can be worked out by hand."""
    forest = grown([np.array([[0.0], [1.0]], dtype=np.float32)], np.random.default_rng(0))
    known = (1 - 1 / 4) / (1 + np.log2(2)) * np.log2(3)
    # outside, at 2: the leaf says 1/2; the root's box grows from 1 to 2, so half of all cuts part it at depth 0
    outside = (0.5 * 1 + 0.5 * 0.5) * np.log2(3)
    assert forest.scores(np.array([[1.0], [2.0]], dtype=np.float32)) == pytest.approx([known, outside], rel=1e-6)


def griffiths(documents: int) -> tuple[np.ndarray, np.ndarray]:
    """The corpus of T. Griffiths and M. Steyvers (2004): topics are the rows and columns of a square of 25 words."""
    random = np.random.default_rng(3)
    square = np.arange(25).reshape(5, 5)
    topics = np.zeros((10, 25))
    for i in range(5):
        topics[i, square[i]] = topics[5 + i, square[:, i]] = 0.2
    mixtures = random.dirichlet(np.full(10, 0.1), documents)
    return np.stack([random.multinomial(150, m @ topics) for m in mixtures]).astype(np.float32), topics


def test_lda_finds_the_topics(tmp_path: Path) -> None:
    counts, topics = griffiths(3000)
    options = {"num_topics": 10, "feature_dim": 25, "mini_batch_size": 2500}
    found = run(tmp_path, "lda", options, {"train": ("", dense_records(counts[:2500])), "test": (UNLABELLED, csv(counts[2500:]))})  # fmt: skip
    assert found.code == 0, found.log
    assert found.metric("test:pwll")[0] >= -2.40
    (alpha, beta), _ = ndarray.loads((tmp_path / "model" / "model_algo-1").read_bytes())
    assert alpha.sum() == pytest.approx(1) and beta.sum(axis=1) == pytest.approx(1, abs=1e-4)
    distance = np.abs(topics[:, None] - beta).sum(axis=2).min(axis=1)
    assert np.median(distance) <= 0.1
    mixtures = found.predict(counts[:10], "topic_mixture")
    assert mixtures.sum(axis=1) == pytest.approx(1, abs=1e-5)


def test_forests_grown_in_parts_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every node's box holds its children's, masses add up, and a part's nodes stay among themselves."""
    random = np.random.default_rng(1)
    samples = [random.normal(size=(n, 3)).astype(np.float32) for n in (40, 1, 17, 25)]
    samples[3][:20] = samples[3][0]  # many equal points share a leaf
    monkeypatch.setattr("clary.algorithms.randomcutforest.forest._NUMBERS", 130)
    forest = grown(samples, random)
    assert [forest.mass[root] for root in forest.roots] == [40, 1, 17, 25]
    for node in np.flatnonzero(forest.left >= 0):
        left, right = forest.left[node], forest.right[node]
        assert forest.mass[node] == forest.mass[left] + forest.mass[right]
        assert forest.parent[left] == forest.parent[right] == node and forest.depth[left] == forest.depth[node] + 1
        assert forest.high[left][forest.dimension[node]] <= forest.cut[node] < forest.low[right][forest.dimension[node]]
        assert np.array_equal(np.minimum(forest.low[left], forest.low[right]), forest.low[node])
    assert np.isfinite(forest.scores(random.normal(size=(50, 3)).astype(np.float32))).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_records_are_read_alike_whatever_their_form(dtype: type) -> None:
    random = np.random.default_rng(2)
    rows = (random.random((300, 700)) * (random.random((300, 700)) < 0.02)).astype(dtype)
    rows[7] = 0
    labels = random.random(300).astype(np.float32)
    dense, sparse = dense_records(rows, labels), sparse_records(rows, labels)
    mixed = dense_records(rows[:50], labels[:50]) + sparse_records(rows[50:], labels[50:])
    for data in (dense, sparse, mixed):
        found = recordio.table(data)
        assert np.array_equal(as_dense(found.features), rows.astype(np.float32))
        assert found.labels is not None and np.array_equal(found.labels, labels)
        assert recordio.table(data[: recordio.whole(data[:20_000])]).rows > 0
    for broken in (dense[:-5], sparse[:-300], b"\0" * 16):
        with pytest.raises(UserError):
            recordio.table(broken)
