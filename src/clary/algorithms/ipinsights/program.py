"""IP Insights: vectors of entities and of addresses whose product says how usual it is to see them together.

Source: the SageMaker developer guide, "How IP Insights works".
"""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from .. import deep
from ..contract import CSV
from ..environment import UserError
from ..hosting import artifact
from ..job import Job
from ..readers.source import files
from ..requests import Json, Request, documents, instances, values_of
from ..scores import ranks_above
from . import pairs
from .pairs import Ints


class Network(nn.Module):
    """A vector for each bucket of entities; a few layers that make one of an address."""

    def __init__(self, entities: int, width: int, layers: int):
        super().__init__()
        self.entities = nn.Embedding(entities, width, sparse=True)
        nn.init.normal_(self.entities.weight, 0, 0.1)
        inner: list[nn.Module] = []
        size = 32
        for _ in range(layers):
            inner += (nn.Linear(size, width), nn.ReLU())
            size = width
        self.addresses = nn.Sequential(*inner, nn.Linear(size, width))

    def forward(self, entities: Any, addresses: Any) -> Any:
        """The products."""
        return (self.entities(entities) * self.addresses(addresses)).sum(dim=1)


def train(job: Job) -> None:
    """Tell real pairs from random addresses and from shuffled ones."""
    params, report = job.params, job.report
    deep.begin(params["mini_batch_size"] * params["vector_dim"] ** 2)
    entities, addresses = _read(job, "train")
    held_out = _read(job, "validation") if job.has("validation") else None
    network = Network(params["num_entity_vectors"], params["vector_dim"], params["num_ip_encoder_layers"])
    optimizers = (
        torch.optim.SparseAdam(network.entities.parameters(), lr=params["learning_rate"]),
        torch.optim.Adam(
            network.addresses.parameters(), lr=params["learning_rate"], weight_decay=params["weight_decay"]
        ),
    )
    entropy = accuracy = 0.0
    course = deep.Course(network, *optimizers)
    size = params["mini_batch_size"]
    for epoch in job.epochs(params["epochs"], course):
        began, total, right, seen = time.perf_counter(), 0.0, 0, 0
        order = job.random.permutation(len(entities))
        for number, at in enumerate(range(0, len(order), size)):
            chosen = order[at : at + size]
            loss, hits, count = _step(network, optimizers, entities[chosen], addresses[chosen], job)
            total += loss * count
            right += hits
            seen += count
            if number and number % params["batch_metrics_publish_interval"] == 0:
                report.loss("train binary_classification_cross_entropy", loss, epoch, number)
        report.throughput(len(entities), time.perf_counter() - began)
        entropy, accuracy = total / seen, right / seen
        report.loss("train binary_classification_cross_entropy", entropy, epoch=epoch)
        report.score("train binary_classification_accuracy", accuracy, epoch=epoch)
        if not np.isfinite(entropy):
            raise UserError("The loss is no number any more; choose a smaller learning_rate.")
        if held_out is not None:
            report.score("validation discriminator_auc", _auc(network, *held_out, job.random), epoch=epoch)
    report.loss("train binary_classification_cross_entropy", entropy)
    report.score("train binary_classification_accuracy", accuracy)
    _save(job, network)


def _read(job: Job, channel: str) -> tuple[Ints, Ints]:
    found: list[pairs.Pair] = []
    for path in [*files(job.environment.channels[channel].folder), *job.spooled(channel)]:
        try:
            found += pairs.parse(path.read_bytes(), path.name)
        except UserError as error:
            raise UserError(f"Unable to read data channel '{channel}': {error}.") from None
    entities, addresses, wrong = pairs.numbered(found, job.params["num_entity_vectors"])
    if wrong:
        job.report.warn(f"{wrong} records of the {channel} channel have no valid IPv4 address and are left out.")
    if not len(entities):
        raise UserError(f"The {channel} channel has no record of an entity and a valid IPv4 address.")
    return entities, addresses


def _step(network: Network, optimizers: Any, entities: Ints, addresses: Ints, job: Job) -> tuple[float, int, int]:
    params, count = job.params, len(entities)
    random, shuffled = params["random_negative_sampling_rate"], params["shuffled_negative_sampling_rate"]
    strange = [job.random.integers(0, 1 << 32, count * random)] if random else []
    strange += [job.random.permutation(addresses) for _ in range(shuffled)]
    every = np.concatenate([addresses, *strange])
    who = deep.tensor(np.tile(entities, 1 + random + shuffled))
    labels = torch.zeros(len(every))
    labels[:count] = 1
    scores = network(who, deep.tensor(pairs.bits(every)))
    loss = nn.functional.binary_cross_entropy_with_logits(scores, labels)
    for optimizer in optimizers:
        optimizer.zero_grad()
    loss.backward()
    for optimizer in optimizers:
        optimizer.step()
    return float(loss.detach()), int(((scores > 0) == (labels > 0.5)).sum()), len(every)


@torch.no_grad()
def _auc(network: Network, entities: Ints, addresses: Ints, random: np.random.Generator) -> float:
    """How often a real pair scores above one with a random address."""
    other = random.integers(0, 1 << 32, len(entities))
    who = deep.tensor(entities)
    real = deep.array(network(who, deep.tensor(pairs.bits(addresses))))
    strange = deep.array(network(who, deep.tensor(pairs.bits(other))))
    labels = np.concatenate([np.ones(len(real)), np.zeros(len(strange))])
    return ranks_above(np.concatenate([real, strange]).astype(np.float64), labels)


# ---- the model -----------------------------------------------------------------------------------------------------


def _save(job: Job, network: Network) -> None:
    held = io.BytesIO()
    np.savez(held, allow_pickle=False, **deep.arrays(network))
    job.artifact.write_bytes(held.getvalue())
    shape = {n: job.params[n] for n in ("num_entity_vectors", "vector_dim", "num_ip_encoder_layers")}
    job.artifact.with_suffix(".json").write_text(json.dumps(shape))


class Insights:
    """A model."""

    def __init__(self, network: Network, buckets: int):
        self._network = network.eval()
        self._buckets = buckets

    @torch.no_grad()
    def answer(self, request: Request) -> tuple[str, bytes]:
        """The product for each pair; with ``verbose=True`` also the vectors."""
        asked = _pairs(request)
        entities, addresses, wrong = pairs.numbered(asked, self._buckets)
        if wrong or not asked:
            bad = next((text for _, text in asked if pairs.address(text) is None), "")
            raise UserError(f"The request has no pairs, or one whose address is no IPv4 address: {bad!r}")
        ours = self._network.entities(deep.tensor(entities))
        theirs = self._network.addresses(deep.tensor(pairs.bits(addresses)))
        rows: list[Json] = [{"dot_product": value} for value in (ours * theirs).sum(dim=1).tolist()]
        if request.wishes.get("verbose") == "true":
            for row, entity, place in zip(rows, ours.tolist(), theirs.tolist(), strict=True):
                row |= {"entity_embedding": entity, "ip_embedding": place}
        return request.accept, documents(rows, request.accept)


def _pairs(request: Request) -> list[pairs.Pair]:
    if request.kind == CSV:
        return pairs.parse(request.body, "the request")
    return [_pair(row) for row in instances(request)[0]]


def _pair(row: Any) -> pairs.Pair:
    found = values_of(row)["values"]
    if len(found) != 2 or not all(isinstance(v, str) for v in found):
        raise UserError('An instance has the form {"features": ["entity", "1.2.3.4"]}')
    return found[0].strip(), found[1].strip()


def load(folder: Path) -> Insights:
    """The vectors of a model archive."""
    torch.set_num_threads(1)
    path = artifact(folder)
    try:
        shape = json.loads(path.with_suffix(".json").read_text())
        network = Network(shape["num_entity_vectors"], shape["vector_dim"], shape["num_ip_encoder_layers"])
        with np.load(path, allow_pickle=False) as stored:
            deep.restore(network, dict(stored))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"model_algo-1 is no model of IP Insights: {error}") from None
    return Insights(network, shape["num_entity_vectors"])
