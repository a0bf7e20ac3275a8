"""Algorithms on PyTorch: quality, artifacts, answers, bad input."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from clary.algorithms import ndarray
from clary.algorithms.blazingtext import fasttext
from clary.algorithms.readers import recordio
from tests.algorithms.test_tables import griffiths
from tests.algorithms.trainer import ask, csv, dense_records, run, sparse_records

UNLABELLED = "text/csv;label_size=0"
JSON = "application/json"


def test_topics_of_a_neural_model(tmp_path: Path) -> None:
    counts, _ = griffiths(2000)
    options = {"num_topics": 10, "feature_dim": 25, "epochs": 60, "optimizer": "adam", "learning_rate": 0.02, "mini_batch_size": 100, "encoder_layers": "60,30", "encoder_layers_activation": "tanh"}  # fmt: skip
    words = "\n".join(f"word{i}" for i in range(25)).encode()
    found = run(tmp_path, "ntm", options, {"train": ("", dense_records(counts[:1600])), "validation": ("", sparse_records(counts[1600:])), "auxiliary": ("text/plain", words)})  # fmt: skip
    assert found.code == 0, found.log
    assert min(found.metric("validation:total_loss")) <= 2.75
    assert "Topics from epoch:final (num_topics:10) [wetc" in found.log and " word3" in found.log
    weights = found.predict(counts[:5], "topic_weights")
    assert weights.shape == (5, 10) and weights.sum(axis=1) == pytest.approx(1, abs=1e-5)
    with zipfile.ZipFile(tmp_path / "model" / "model_algo-1") as packed:
        assert ndarray.load(packed.read("params"))["arg:projection_weight"].shape == (25, 10)


def test_topics_with_the_defaults_get_better(tmp_path: Path) -> None:
    counts, _ = griffiths(1000)
    options = {"num_topics": 5, "feature_dim": 25, "epochs": 10, "batch_norm": "true", "clip_gradient": 5, "sub_sample": 0.8}  # fmt: skip
    found = run(tmp_path, "ntm", options, {"train": (UNLABELLED, csv(counts)), "test": (UNLABELLED, csv(counts[:100]))})
    assert found.code == 0, found.log
    losses = found.metric("train:total_loss")
    assert losses[-1] < losses[0] and found.metric("test:total_loss")


def visits(random: np.random.Generator, homes: np.ndarray, count: int) -> list[tuple[str, str]]:
    """Entities that are seen in a /16 network of their own."""
    found = []
    for entity in random.integers(0, len(homes), count):
        a, b = homes[entity]
        found.append((f"user{entity}", f"{a}.{b}.{random.integers(0, 256)}.{random.integers(0, 256)}"))
    return found


def lines(pairs: list[tuple[str, str]]) -> bytes:
    """Pairs as CSV."""
    return "".join(f"{entity}, {address}\n" for entity, address in pairs).encode()


def test_ip_insights_knows_who_is_where(tmp_path: Path) -> None:
    random = np.random.default_rng(5)
    homes = random.integers(1, 255, (60, 2))
    pairs = visits(random, homes, 6000)
    options = {"num_entity_vectors": 500, "vector_dim": 32, "epochs": 12, "mini_batch_size": 200, "learning_rate": 0.01}
    bad = lines(pairs[:5000]) + b"user1,1.2.3.400\nuser2,nowhere\n"
    found = run(tmp_path, "ipinsights", options, {"train": ("text/csv", bad), "validation": ("text/csv", lines(pairs[5000:]))})  # fmt: skip
    assert found.code == 0, found.log
    assert found.metric("validation:discriminator_auc")[-1] >= 0.95
    assert "2 records of the train channel have no valid IPv4 address" in found.log
    _, _, body = found.ask(lines(pairs[:50]))
    usual = [row["dot_product"] for row in orjson.loads(body)["predictions"]]
    odd = [(entity, pairs[-i][1]) for i, (entity, _) in enumerate(pairs[:50], 1)]
    _, _, body = found.ask(orjson.dumps({"instances": [{"features": list(p)} for p in odd]}), JSON)
    strange = [row["dot_product"] for row in orjson.loads(body)["predictions"]]
    assert np.mean(usual) > np.mean(strange) + 1
    one = orjson.dumps({"data": {"features": {"values": list(pairs[0])}}})
    _, _, body = found.ask(one, "application/jsonlines", "application/jsonlines;verbose=True")
    row = orjson.loads(body)
    assert (len(row["entity_embedding"]), len(row["ip_embedding"])) == (32, 32)
    assert row["dot_product"] == pytest.approx(np.dot(row["entity_embedding"], row["ip_embedding"]), rel=1e-4)
    assert found.ask(b'{"instances":[{"data":{"features":"x"}}]}', JSON)[0] == 400
    assert found.ask(b"user1,nowhere")[0] == 400 and found.ask(b"a,b,c")[0] == 400


@pytest.mark.parametrize(
    ("options", "data", "words"),
    [
        ({"random_negative_sampling_rate": 0, "shuffled_negative_sampling_rate": 0}, b"a,1.1.1.1\n", "between 1 and 500"),
        ({}, b"a,1.1.1.1\nb\n", "line 2 of part-0 has 1 columns"),
        ({}, b"a,nowhere\n", "no record of an entity and a valid IPv4 address"),
    ],
)  # fmt: skip
def test_ip_insights_refuses(tmp_path: Path, options: dict[str, Any], data: bytes, words: str) -> None:
    given = {"num_entity_vectors": 10, "vector_dim": 4, **options}
    found = run(tmp_path, "ipinsights", given, {"train": ("text/csv", data)})
    assert found.code == 1 and words in found.failure


def ratings(random: np.random.Generator, count: int) -> tuple[list[dict[str, Any]], np.ndarray]:
    """Users and items whose taste has four dimensions."""
    users, items = random.normal(0, 1, (60, 4)), random.normal(0, 0.6, (40, 4))
    found = []
    for user, item in zip(random.integers(0, 60, count), random.integers(0, 40, count), strict=True):
        label = float(users[user] @ items[item] + random.normal(0, 0.3))
        found.append({"label": label, "in0": [int(user)], "in1": [int(item)]})
    return found, np.array([row["label"] for row in found])


def json_lines(rows: list[dict[str, Any]]) -> bytes:
    """Rows as JSON lines."""
    return b"\n".join(map(orjson.dumps, rows)) + b"\n"


JSONLINES = "application/jsonlines"


def test_object2vec_predicts_ratings(tmp_path: Path) -> None:
    rows, labels = ratings(np.random.default_rng(1), 6000)
    options = {"enc0_max_seq_len": 1, "enc0_vocab_size": 60, "enc0_network": "pooled_embedding", "enc0_token_embedding_dim": 16, "enc1_network": "pooled_embedding", "enc1_max_seq_len": 1, "enc1_vocab_size": 40, "enc1_token_embedding_dim": 16, "enc_dim": 16, "mlp_layers": 1, "mlp_dim": 32, "mlp_activation": "tanh", "output_layer": "mean_squared_error", "epochs": 20, "learning_rate": 0.01, "mini_batch_size": 64, "weight_decay": 0.0001, "comparator_list": "hadamard, concat"}  # fmt: skip
    found = run(tmp_path, "object2vec", options, {"train": (JSONLINES, json_lines(rows[:5000])), "validation": (JSONLINES, json_lines(rows[5000:]))})  # fmt: skip
    assert found.code == 0, found.log
    assert labels.var() > 1 and min(found.metric("validation:mean_squared_error")) <= 0.35
    replica = found.replica()
    asked = [{"in0": row["in0"], "in1": row["in1"]} for row in rows[5000:5100]]
    _, _, body = ask(replica, orjson.dumps({"instances": asked}), JSON)
    scores = np.array([row["scores"] for row in orjson.loads(body)["predictions"]])
    assert scores.shape == (100, 1) and ((scores[:, 0] - labels[5000:5100]) ** 2).mean() < 0.5
    _, _, body = ask(replica, b'{"in0":[3]}\n{"in0":[4]}', JSONLINES + ";infer_max_seqlens=1,1", JSONLINES)
    assert [len(orjson.loads(line)["embeddings"]) for line in body.splitlines()] == [16, 16]
    for bad in (b'{"instances":[{"in0":[60]}]}', b'{"instances":[{"x":1}]}', b'{"instances":[{"in0":"a"}]}', b"[]"):
        assert ask(replica, bad, JSON)[0] == 400


@pytest.mark.parametrize("network", ["hcnn", "bilstm", "pooled_embedding"])
def test_object2vec_compares_sentences(tmp_path: Path, network: str) -> None:
    """A pair is right when both sentences are made of the second half of the words."""
    random = np.random.default_rng(2)
    rows = []
    for _ in range(600):
        a, b = random.integers(0, 2, 2)
        first, second = (random.integers(20 * side, 20 * side + 20, random.integers(3, 9)).tolist() for side in (a, b))
        rows.append({"label": int(a and b), "in0": first, "in1": second})
    options = {"enc0_max_seq_len": 10, "enc0_vocab_size": 40, "enc0_network": network, "enc0_layers": "2", "enc0_token_embedding_dim": 16, "enc_dim": 16, "mlp_dim": 32, "mlp_activation": "relu", "epochs": 30, "early_stopping_patience": 5, "early_stopping_tolerance": 1e-6, "learning_rate": 0.005, "tied_token_embedding_weight": "true", "dropout": 0.1}  # fmt: skip
    found = run(tmp_path, "object2vec", options, {"train": (JSONLINES, json_lines(rows[:500])), "validation": (JSONLINES, json_lines(rows[500:])), "test": (JSONLINES, json_lines(rows[500:]))})  # fmt: skip
    assert found.code == 0, found.log
    assert found.metric("test:accuracy")[0] >= 0.95
    _, _, body = found.ask(orjson.dumps({"instances": [{"in0": [21, 22], "in1": [30]}]}), JSON)
    (row,) = orjson.loads(body)["predictions"]
    assert sum(row["scores"]) == pytest.approx(1) and row["scores"][1] > 0.5


def test_object2vec_finds_negatives_and_takes_vectors_from_elsewhere(tmp_path: Path) -> None:
    rows = [{"in0": [i % 8], "in1": [8 + i % 8]} for i in range(200)]
    options = {"enc0_max_seq_len": 1, "enc0_vocab_size": 16, "enc0_network": "pooled_embedding", "enc0_token_embedding_dim": 4, "enc_dim": 8, "negative_sampling_rate": 3, "epochs": 2, "enc0_pretrained_embedding_file": "v.txt", "enc0_vocab_file": "vocab.json"}  # fmt: skip
    channels = {"train": (JSONLINES, json_lines(rows))}
    found = run(tmp_path / "a", "object2vec", options, channels)
    assert found.code == 1 and "there is no auxiliary channel" in found.failure
    found = run(tmp_path / "b", "object2vec", options, {**channels, "auxiliary": ("", b"")})
    assert found.code == 1 and "auxiliary" in found.failure
    del options["enc0_pretrained_embedding_file"]
    found = run(tmp_path / "c", "object2vec", options, channels)
    assert found.code == 0 and len(found.metric("train:accuracy")) == 2


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (b'{"label":2,"in0":[1],"in1":[1]}', "has the label 2; with num_classes 2"),
        (b'{"label":1,"in0":[9],"in1":[1]}', "in0 in line 2 of part-0 has tokens outside 0 to 7"),
        (b'{"label":1,"in0":[1]}', "line 2 of part-0 is not of the form"),
        (b"nonsense", "line 2 of part-0 is not of the form"),
    ],
)
def test_object2vec_refuses(tmp_path: Path, row: bytes, words: str) -> None:
    options = {"enc0_max_seq_len": 1, "enc0_vocab_size": 8}
    found = run(tmp_path, "object2vec", options, {"train": (JSONLINES, b'{"label":1,"in0":[1],"in1":[1]}\n' + row)})
    assert found.code == 1 and words in found.failure


def sentences(count: int, seed: int = 0) -> list[str]:
    """Texts about food or about machines."""
    random = np.random.default_rng(seed)
    topics = {"food": ["bread", "cheese", "apple", "soup", "dinner", "cook", "taste", "sweet"], "machines": ["engine", "wheel", "motor", "gear", "drive", "oil", "speed", "steel"]}  # fmt: skip
    common = ["the", "a", "of", "and", "very", "some", "with", "more"]
    found = []
    for _ in range(count):
        label = str(random.choice(list(topics)))
        words = [*random.choice(topics[label], 4), *random.choice(common, 4)]
        random.shuffle(words)
        found.append(f"__label__{label} {' '.join(words)}")
    return found


@pytest.mark.parametrize(
    "options", [{}, {"word_ngrams": 1}, {"early_stopping": "True", "patience": 2, "min_epochs": 2}]
)
def test_blazingtext_classifies(tmp_path: Path, options: dict[str, Any]) -> None:
    texts = sentences(400)
    given = {"mode": "supervised", "vector_dim": 16, "buckets": 5000, "epochs": 10, "learning_rate": 0.3, "min_count": 2, **options}  # fmt: skip
    train, test = ("\n".join(part).encode() for part in (texts[:300], texts[300:]))
    found = run(tmp_path, "blazingtext", given, {"train": ("text/plain", train), "validation": ("", test)})
    assert found.code == 0, found.log
    assert found.metric("validation:accuracy")[0] >= 0.97 and found.metric("train:accuracy")
    assert ("Storing best weights" in found.log) == ("early_stopping" in options)
    model = fasttext.load(tmp_path / "model" / "model.bin")
    assert sorted(model.labels) == ["__label__food", "__label__machines"] and fasttext.END in model.index
    assert model.inputs.shape == (len(model.words) + (0 if "word_ngrams" in options else 5000), 16)
    body = orjson.dumps({"instances": ["the sweet soup", "oil of the motor"], "configuration": {"k": 2}})
    _, kind, answer = found.ask(body, JSON, "text/csv")
    rows = orjson.loads(answer)
    assert kind == JSON and [row["label"][0] for row in rows] == ["__label__food", "__label__machines"]
    assert all(sum(row["prob"]) == pytest.approx(1, abs=1e-5) for row in rows)
    _, kind, answer = found.ask(b'{"source":"sweet soup"}\n{"source":"motor","k":2}\n', JSONLINES)
    assert kind == JSONLINES and [len(orjson.loads(line)["label"]) for line in answer.splitlines()] == [1, 2]
    for bad in (b'{"instances":[1]}', b'{"instances":["a"],"configuration":{"k":"x"}}', b'{"instances":["a"],"configuration":{"k":0}}'):  # fmt: skip
        assert found.ask(bad, JSON)[0] == 400


@pytest.mark.parametrize("mode", ["skipgram", "cbow", "batch_skipgram"])
def test_blazingtext_learns_word_vectors(tmp_path: Path, mode: str) -> None:
    texts = "\n".join(line.partition(" ")[2] for line in sentences(1500)).encode()
    given = {"mode": mode, "vector_dim": 16, "epochs": 10, "sampling_threshold": 0.01, "min_count": 2}
    found = run(tmp_path, "blazingtext", given, {"train": ("", texts)})
    assert found.code == 0, found.log
    assert found.metric("train:mean_rho") and "Progress: 100.00%" in found.log
    assert orjson.loads((tmp_path / "model" / "eval.json").read_bytes())["EN-WS-353-ALL.txt"]["total_pairs"] == 353
    _, _, answer = found.ask(b'{"instances":["soup","bread","motor","nonsense"]}', JSON)
    vectors = {row["word"]: np.array(row["vector"]) for row in orjson.loads(answer)}
    near, far = (_cosine(vectors["soup"], vectors[other]) for other in ("bread", "motor"))
    assert near > far and not vectors["nonsense"].any()


def _cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_blazingtext_composes_vectors_of_parts(tmp_path: Path) -> None:
    from gensim.models.fasttext import load_facebook_model

    texts = "\n".join(line.partition(" ")[2] for line in sentences(500)).encode()
    given = {
        "mode": "skipgram",
        "subwords": "True",
        "vector_dim": 8,
        "buckets": 2000,
        "epochs": 3,
        "evaluation": "false",
    }
    found = run(tmp_path, "blazingtext", given, {"train": ("", texts)})
    assert found.code == 0, found.log
    _, _, answer = found.ask('{"instances":["soup","soups","größe"]}'.encode(), JSON)
    reference = load_facebook_model(str(tmp_path / "model" / "vectors.bin")).wv
    rows = orjson.loads(answer)
    for row in rows[1:]:
        assert row["vector"] == pytest.approx(reference[row["word"]].tolist(), abs=1e-5)
    assert rows[0]["vector"] == pytest.approx(reference["soup"].tolist(), abs=1e-3)


def test_hashes_are_fasttexts() -> None:
    """Values of fastText 0.9.2's own functions."""
    assert fasttext.hashed("") == 2166136261 and fasttext.hashed("a") == 0xE40C292C
    assert fasttext.pieces("ab", 3, 6, 10**9) == [fasttext.hashed(p) % 10**9 for p in ("<ab", "<ab>", "ab>")]


@pytest.mark.parametrize(
    ("options", "data", "words"),
    [
        ({"mode": "supervised"}, b"no label here\n" * 9, "No text of the train channel has a label"),
        ({"mode": "supervised"}, b"__label__a rare\n", "occurs min_count (5) times"),
        ({"mode": "supervised"}, b'{"source": 1}\n', "line 1 of part-0 is no JSON line"),
        ({"mode": "skipgram"}, b"few words\n", "occurs min_count (5) times"),
        ({"mode": "skipgram"}, b"", "No data was found"),
        ({"mode": "other"}, b"x", "is not valid under any of the given schemas"),
    ],
)
def test_blazingtext_refuses(tmp_path: Path, options: dict[str, Any], data: bytes, words: str) -> None:
    found = run(tmp_path, "blazingtext", {"min_count": 5, **options}, {"train": ("", data)})
    assert found.code == 1 and words in found.failure


def test_a_manifest_in_a_pipe_is_texts_and_labels_in_turn(tmp_path: Path) -> None:
    options = {"mode": "supervised", "vector_dim": 4, "min_count": 1, "epochs": 2}
    whole = [b'"fine day"', b"1", b'"poor day"', b"[2, 3]"] * 5
    for name, records, told in (
        ("even", whole, ""),
        ("odd", whole[:-1], "19 records; its AttributeNames must be source and label"),
        ("words", [b'"fine day"', b"good"], "the label b'good', which is neither a number nor a list"),
    ):
        data = b"".join(recordio.frame(r) for r in records)
        done = run(tmp_path / name, "blazingtext", options, {"train": ("application/x-recordio", data)})
        assert (done.code == 0) == (not told), done.log
        assert not told or told in done.failure
