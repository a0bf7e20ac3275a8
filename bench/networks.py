"""Algorithms that learn in epochs: a job beside a bare PyTorch loop (gensim for word vectors) of the same size.

The loop learns a network of the same layers from the same rows, in batches of the same size, as often; its data lie in
memory, it validates nothing, saves nothing and writes no log.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tests import jobs
from tests.algorithms import test_deep, test_deepar, test_tables, trainer
from tests.platform import Platform
from torch import nn

from bench.table import seconds, show

_REGISTRY = "382416733822.dkr.ecr.us-east-1.amazonaws.com"
_JSONLINES = "application/jsonlines"


@dataclass(frozen=True)
class _Case:
    """A job, and what does the same without it."""

    body: bytes
    content_type: str
    hyperparameters: dict[str, Any]
    library: str
    reference: Callable[[], Any]


def networks(platform: Platform, folder: Path) -> None:
    """Every algorithm on a table, texts or series of its kind."""
    platform.client("s3").create_bucket(Bucket="bench-networks")
    for name, make in _CASES.items():
        case = make()
        platform.client("s3").put_object(Bucket="bench-networks", Key=f"{name}/data", Body=case.body)
        _job(platform, name, case, 0)  # the first of a kind imports its library
        both = [(_job(platform, name, case, i), seconds(case.reference)) for i in (1, 2)]  # in turn: machines drift
        taken, alone = map(min, zip(*both, strict=True))
        goal = 1.1 * alone + 0.5
        show(f"{name}: job, beside {case.library}", f"{taken:.2f} s / {alone:.2f} s", f"<= {goal:.2f} s", taken <= goal)


def _job(platform: Platform, name: str, case: _Case, number: int) -> float:
    """Seconds from the request to the end."""
    request = jobs.job(
        f"bench-{name}-{number}", "bench-networks", hyperparameters={k: str(v) for k, v in case.hyperparameters.items()},
        AlgorithmSpecification={"TrainingImage": f"{_REGISTRY}/{name}:1", "TrainingInputMode": "File"},
        InputDataConfig=[jobs.channel("train", f"s3://bench-networks/{name}/", case.content_type)],
    )  # fmt: skip
    found = jobs.train(platform, request)
    assert found["TrainingJobStatus"] == "Completed", found.get("FailureReason")
    return float((found["TrainingEndTime"] - found["CreationTime"]).total_seconds())


def _loop(network: nn.Module, loss: Callable[..., Any], data: list[torch.Tensor], epochs: int, size: int) -> None:
    """What anybody writes."""
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    for _ in range(epochs):
        order = torch.randperm(len(data[0]))
        for at in range(0, len(order), size):
            found = loss(*(values[order[at : at + size]] for values in data))
            optimizer.zero_grad()
            found.backward()
            optimizer.step()
            float(found.detach())


def _factorization() -> _Case:
    random = np.random.default_rng(0)
    rows = random.normal(size=(20_000, 30)).astype(np.float32)
    labels = (rows[:, 0] * rows[:, 1] > 0).astype(np.float32)
    x, y = torch.from_numpy(rows), torch.from_numpy(labels)

    def reference() -> None:
        linear, factors = nn.Linear(30, 1), nn.Linear(30, 8, bias=False)

        def loss(x: Any, y: Any) -> Any:
            pairs = (factors(x) ** 2 - (x**2) @ (factors.weight.T**2)).sum(dim=1) / 2
            return nn.functional.binary_cross_entropy_with_logits(linear(x)[:, 0] + pairs, y)

        _loop(nn.ModuleList((linear, factors)), loss, [x, y], 20, 200)

    options = {
        "feature_dim": 30,
        "num_factors": 8,
        "predictor_type": "binary_classifier",
        "epochs": 20,
        "mini_batch_size": 200,
    }
    return _Case(trainer.dense_records(rows, labels), "application/x-recordio-protobuf", options, "PyTorch", reference)


def _topics() -> _Case:
    counts, _ = test_tables.griffiths(2000)
    data = torch.from_numpy(np.asarray(counts, dtype=np.float32))

    def reference() -> None:
        encoder = nn.Sequential(nn.Linear(25, 60), nn.Tanh(), nn.Linear(60, 30), nn.Tanh())
        mean, spread, back = nn.Linear(30, 10), nn.Linear(30, 10), nn.Linear(10, 25)

        def loss(counts: Any) -> Any:
            total = counts.sum(dim=1, keepdim=True)
            code = encoder(counts / total)
            m, s = mean(code), spread(code)
            chances = torch.log_softmax(back(torch.softmax(m + torch.randn_like(m) * (s / 2).exp(), dim=1)), dim=1)
            divergence = 0.5 * (m**2 + s.exp() - s - 1).sum(dim=1)
            return ((-(counts * chances).sum(dim=1) + divergence) / total[:, 0]).mean()

        _loop(nn.ModuleList((encoder, mean, spread, back)), loss, [data], 30, 100)

    options = {"num_topics": 10, "feature_dim": 25, "epochs": 30, "mini_batch_size": 100, "encoder_layers": "60,30", "encoder_layers_activation": "tanh", "optimizer": "adam", "num_patience_epochs": 29}  # fmt: skip
    return _Case(trainer.dense_records(counts), "application/x-recordio-protobuf", options, "PyTorch", reference)


def _pairs() -> _Case:
    rows, labels = test_deep.ratings(np.random.default_rng(1), 6000)
    users, items = (torch.tensor([row[side][0] for row in rows]) for side in ("in0", "in1"))
    wanted = torch.tensor(labels, dtype=torch.float32)

    def reference() -> None:
        left, right = nn.Embedding(60, 16), nn.Embedding(40, 16)
        dense = nn.ModuleList((nn.Linear(16, 16), nn.Linear(16, 16)))
        judge = nn.Sequential(nn.Linear(48, 32), nn.Tanh(), nn.Linear(32, 1))

        def loss(users: Any, items: Any, wanted: Any) -> Any:
            a, b = torch.tanh(dense[0](left(users))), torch.tanh(dense[1](right(items)))
            return nn.functional.mse_loss(judge(torch.cat([a * b, a, b], dim=1))[:, 0], wanted)

        _loop(nn.ModuleList((left, right, dense, judge)), loss, [users, items, wanted], 20, 64)

    options = {"enc0_max_seq_len": 1, "enc0_vocab_size": 60, "enc0_network": "pooled_embedding", "enc0_token_embedding_dim": 16, "enc1_network": "pooled_embedding", "enc1_max_seq_len": 1, "enc1_vocab_size": 40, "enc1_token_embedding_dim": 16, "enc_dim": 16, "mlp_layers": 1, "mlp_dim": 32, "mlp_activation": "tanh", "output_layer": "mean_squared_error", "epochs": 20, "mini_batch_size": 64, "comparator_list": "hadamard, concat"}  # fmt: skip
    return _Case(test_deep.json_lines(rows), _JSONLINES, options, "PyTorch", reference)


def _visits() -> _Case:
    random = np.random.default_rng(5)
    pairs = test_deep.visits(random, random.integers(1, 255, (60, 2)), 6000)
    who = torch.tensor([int(entity.removeprefix("user")) for entity, _ in pairs])
    octets = np.array([[int(part) for part in address.split(".")] for _, address in pairs], dtype=np.uint8)
    bits = torch.from_numpy(np.unpackbits(octets, axis=1).astype(np.float32))

    def reference() -> None:
        entities = nn.Embedding(500, 32)
        places = nn.Sequential(nn.Linear(32, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32))

        def loss(who: Any, bits: Any) -> Any:
            other = torch.cat([bits, torch.randint(0, 2, bits.shape).float(), bits[torch.randperm(len(bits))]])
            scores = (entities(who.repeat(3)) * places(other)).sum(dim=1)
            real = torch.cat([torch.ones(len(who)), torch.zeros(2 * len(who))])
            return nn.functional.binary_cross_entropy_with_logits(scores, real)

        _loop(nn.ModuleList((entities, places)), loss, [who, bits], 20, 200)

    options = {"num_entity_vectors": 500, "vector_dim": 32, "epochs": 20, "mini_batch_size": 200}
    return _Case(test_deep.lines(pairs), "text/csv", options, "PyTorch", reference)


def _forecasts() -> _Case:
    rows = test_deepar.hourly(20, 24 * 21)
    series = torch.tensor([row["target"] for row in rows])

    def reference() -> None:
        """The steps of both are the same: 20 batches an epoch, windows of 72 steps, 57 inputs, two layers of 40 cells with dropout between."""
        recurrent, out = nn.LSTM(57, 40, 2, batch_first=True, dropout=0.1), nn.Linear(40, 3)
        optimizer = torch.optim.Adam([*recurrent.parameters(), *out.parameters()], 0.001)
        for _ in range(5 * 20):
            chosen, begin = torch.randint(0, len(series), (128,)), torch.randint(56, series.shape[1] - 72, (128,))
            windows = torch.stack(
                [series[c, b - 56 : b + 73] for c, b in zip(chosen.tolist(), begin.tolist(), strict=True)]
            )
            windows = (windows - windows.mean(dim=1, keepdim=True)) / windows.std(dim=1, keepdim=True)
            raw = out(recurrent(windows[:, :-1].unfold(1, 57, 1)[:, -72:])[0])
            shape = 2 + nn.functional.softplus(raw[..., 2]), raw[..., 0], nn.functional.softplus(raw[..., 1]) + 1e-4
            loss = -torch.distributions.StudentT(*shape).log_prob(windows[:, -72:]).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            float(loss.detach())

    options = {"time_freq": "H", "prediction_length": 24, "context_length": 48, "epochs": 5, "mini_batch_size": 128, "num_cells": 40, "num_layers": 2}  # fmt: skip
    return _Case(test_deepar.lines(rows), "application/jsonlines", options, "PyTorch", reference)


def _words() -> _Case:
    texts = [line.partition(" ")[2].split() for line in test_deep.sentences(10_000)]

    def reference() -> None:
        from gensim.models import Word2Vec

        Word2Vec(texts, vector_size=100, window=5, min_count=5, sg=1, negative=5, epochs=5, workers=2)

    options = {"mode": "skipgram", "vector_dim": 100, "epochs": 5, "evaluation": "false"}
    return _Case("\n".join(map(" ".join, texts)).encode(), "text/plain", options, "gensim's Word2Vec", reference)


_CASES: dict[str, Callable[[], _Case]] = {
    "factorization-machines": _factorization, "ntm": _topics, "object2vec": _pairs, "ipinsights": _visits,
    "forecasting-deepar": _forecasts, "blazingtext": _words,
}  # fmt: skip
