"""Object2Vec as a job and a replica."""

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
from ..environment import UserError
from ..hosting import artifact
from ..job import Job
from ..patience import Patience
from ..requests import Json, Request, documents, instances
from .network import Encoder, Network
from .pairs import Pairs, padded, read, tokens


def train(job: Job) -> None:
    """Learn epoch by epoch; the best one counts."""
    params, report = job.params, job.report
    deep.begin(params["mini_batch_size"] * params["enc_dim"] * params["enc0_token_embedding_dim"])
    classes = params["num_classes"] if params["output_layer"] == "softmax" else 0
    data = _read(job, "train")
    held_out = _read(job, "validation") if job.has("validation") else None
    network = Network(params)
    _pretrained(job, network)
    learnt = [p for p in network.parameters() if p.requires_grad]
    optimizer = deep.optimizer(params["optimizer"], learnt, params["learning_rate"], params["weight_decay"])
    patience = Patience(params["early_stopping_patience"], params["early_stopping_tolerance"])
    course = deep.Course(network, optimizer)
    for epoch in job.epochs(params["epochs"], course, patience):
        began = time.perf_counter()
        network.train()
        seen = _with_negatives(data, params["negative_sampling_rate"], job.random)
        order = job.random.permutation(len(seen))
        total = 0.0
        scores: list[Any] = []
        for at in range(0, len(order), params["mini_batch_size"]):
            batch = seen.part(order[at : at + params["mini_batch_size"]])
            found = network(deep.tensor(batch.first), deep.tensor(batch.second))
            loss = _loss(found, batch, classes)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(batch)
            scores.append(found.detach())
        report.throughput(len(seen), time.perf_counter() - began)
        mean = total / len(seen)
        _tell(job, "train", _qualities(torch.cat(scores), seen.part(order), classes), epoch)
        watched = mean
        if held_out is not None:
            found = _qualities(_scores(network, held_out, params), held_out, classes)
            _tell(job, "validation", found, epoch)
            watched = found["cross_entropy" if classes else "mean_squared_error"]
        if not np.isfinite(mean):
            raise UserError("The loss is no number any more; choose a smaller learning_rate.")
        if patience.better(watched):
            course.keep()
        elif patience.over:
            report.say(f"Early stop after epoch {epoch}: no improvement in {params['early_stopping_patience']} epochs.")
            break
    course.settle()
    _save(job, network)
    if job.has("test"):
        test = _read(job, "test")
        _tell(job, "test", _qualities(_scores(network, test, params), test, classes), None)


def _sizes(params: Any) -> tuple[tuple[int, int], tuple[int, int]]:
    """Longest sequences and vocabularies of both sides."""
    other = "enc0" if params["enc1_network"] == "enc0" else "enc1"
    limits = params["enc0_max_seq_len"], params[f"{other}_max_seq_len"]
    return limits, (params["enc0_vocab_size"], params[f"{other}_vocab_size"])


def _read(job: Job, channel: str) -> Pairs:
    params = job.params
    found = read(
        job.environment.channels[channel], *_sizes(params), job.spooled(channel),
        unlabelled=params["negative_sampling_rate"] > 0,
    )  # fmt: skip
    if params["output_layer"] == "softmax":
        classes = params["num_classes"]
        wrong = (found.labels < 0) | (found.labels >= classes) | (found.labels != np.floor(found.labels))
        if wrong.any():
            raise UserError(
                f"The {channel} channel has the label {found.labels[wrong][0]:g}; with num_classes {classes} labels are "
                f"the whole numbers from 0 to {classes - 1}."
            )
    return found


def _with_negatives(data: Pairs, rate: int, random: np.random.Generator) -> Pairs:
    """The pairs, and for each some whose other half is another pair's, labelled 0."""
    if not rate:
        return data
    others = [random.permutation(len(data)) for _ in range(rate)]
    return Pairs(
        np.concatenate([data.first] * (1 + rate)),
        np.concatenate([data.second, *(data.second[o] for o in others)]),
        np.concatenate([data.labels, np.zeros(rate * len(data), dtype=np.float32)]),
    )


def _loss(scores: Any, batch: Pairs, classes: int) -> Any:
    if classes:
        return nn.functional.cross_entropy(scores, deep.tensor(batch.labels.astype(np.int64)))
    return nn.functional.mse_loss(scores[:, 0], deep.tensor(batch.labels))


@torch.no_grad()
def _scores(network: Network, data: Pairs, params: Any) -> Any:
    network.eval()
    step = max(params["mini_batch_size"], 256)
    parts = [
        network(deep.tensor(data.first[at : at + step]), deep.tensor(data.second[at : at + step]))
        for at in range(0, len(data), step)
    ]
    return torch.cat(parts)


def _qualities(scores: Any, data: Pairs, classes: int) -> dict[str, float]:
    if not classes:
        return {"mean_squared_error": float(_loss(scores, data, 0))}
    told = deep.array(scores.argmax(dim=1))
    return {"accuracy": float((told == data.labels).mean()), "cross_entropy": float(_loss(scores, data, classes))}


def _tell(job: Job, channel: str, found: dict[str, float], epoch: int | None) -> None:
    for name, value in found.items():
        (job.report.score if name == "accuracy" else job.report.loss)(f"{channel} {name}", value, epoch)


def _pretrained(job: Job, network: Network) -> None:
    """Vectors of tokens that were learnt elsewhere, from the auxiliary channel."""
    sides: tuple[tuple[str, Encoder], ...] = (("enc0", network.first), ("enc1", network.second))
    for side, encoder in sides:
        vectors, vocabulary = job.params[f"{side}_pretrained_embedding_file"], job.params[f"{side}_vocab_file"]
        if not vectors:
            continue
        if not job.has("auxiliary"):
            raise UserError(f"{side}_pretrained_embedding_file names {vectors}, but there is no auxiliary channel.")
        folder = job.environment.channels["auxiliary"].folder
        try:
            numbers = json.loads((folder / vocabulary).read_text())
            width, weight = encoder.tokens.embedding_dim, encoder.tokens.weight
            for line in (folder / vectors).read_text().splitlines():
                word, *values = line.split()
                if word in numbers and len(values) == width:
                    weight.data[numbers[word]] = torch.tensor([float(v) for v in values])
        except (OSError, ValueError, IndexError, AttributeError) as error:
            raise UserError(f"The auxiliary channel's {vectors} or {vocabulary} cannot be read: {error}") from None
        weight.requires_grad = not job.params[f"{side}_freeze_pretrained_embedding"]


# ---- the model -----------------------------------------------------------------------------------------------------


def _save(job: Job, network: Network) -> None:
    held = io.BytesIO()
    np.savez(held, allow_pickle=False, **deep.arrays(network))
    job.artifact.write_bytes(held.getvalue())
    job.artifact.with_suffix(".json").write_text(json.dumps(job.params))


class Objects:
    """A model."""

    def __init__(self, network: Network, params: Any):
        self._network = network.eval()
        self._params = params
        self._limits, self._vocabularies = _sizes(params)

    @torch.no_grad()
    def answer(self, request: Request) -> tuple[str, bytes]:
        """Scores of pairs; vectors where one half is given."""
        rows, _ = instances(request)
        if not rows or not all(isinstance(row, dict) for row in rows):
            raise UserError('An instance has the form {"in0": [1, 2], "in1": [3]}')
        sides = {tuple(sorted(k for k in row if k in ("in0", "in1"))) for row in rows}
        if len(sides) > 1 or not next(iter(sides)):
            raise UserError("All instances of a request have in0, or in1, or both")
        first, second = (self._sequences(rows, i, request) for i in (0, 1))
        if first is not None and second is not None:
            scores = self._network(first, second)
            found = torch.softmax(scores, dim=1) if self._params["output_layer"] == "softmax" else scores
            return request.accept, documents([_row("scores", v) for v in found.tolist()], request.accept)
        vectors = self._network.first(first) if first is not None else self._network.second(second)
        return request.accept, documents([_row("embeddings", v) for v in vectors.tolist()], request.accept)

    def _sequences(self, rows: list[Json], side: int, request: Request) -> Any:
        name = f"in{side}"
        if name not in rows[0]:
            return None
        limit = self._limits[side]
        if asked := request.options.get("infer_max_seqlens"):
            try:
                limit = [*map(int, asked.split(",")), limit][side]
            except (ValueError, IndexError):
                raise UserError(f"infer_max_seqlens={asked} is no pair of lengths") from None
            if not 1 <= limit <= 5000:
                raise UserError("The lengths of infer_max_seqlens lie between 1 and 5000")
        found = [tokens(row[name], self._vocabularies[side], f"{name} of instance {i}") for i, row in enumerate(rows)]
        return deep.tensor(padded(found, limit))


def _row(name: str, values: list[float]) -> Json:
    return {name: values}


def load(folder: Path) -> Objects:
    """The network of a model archive."""
    torch.set_num_threads(1)
    path = artifact(folder)
    try:
        params = json.loads(path.with_suffix(".json").read_text())
        network = Network(params)
        with np.load(path, allow_pickle=False) as stored:
            deep.restore(network, dict(stored))
    except (OSError, KeyError, ValueError) as error:
        raise UserError(f"model_algo-1 is no model of Object2Vec: {error}") from None
    return Objects(network, params)
