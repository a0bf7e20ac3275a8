"""The neural topic model as a job and a replica."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .. import deep, ndarray
from ..contract import Columns
from ..environment import UserError
from ..hosting import artifact
from ..job import Job
from ..patience import Patience
from ..readers.source import Source, files
from ..readers.table import Table, dense
from .network import Network

_SHOWN = 10  # words of a topic that the log shows, and that its quality is measured on


def train(job: Job) -> None:
    """Learn epoch by epoch; the best one counts."""
    params, report = job.params, job.report
    words, topics = params["feature_dim"], params["num_topics"]
    layers = [int(v) for v in params["encoder_layers"] or (3 * topics, 2 * topics)]
    deep.begin(params["mini_batch_size"] * words * max(layers))
    network = Network(words, topics, layers, params["encoder_layers_activation"], params["batch_norm"])
    optimizer = deep.optimizer(
        params["optimizer"], network.parameters(), params["learning_rate"], params["weight_decay"]
    )
    source = job.source("train")
    held_out = job.source("validation") if job.has("validation") else None
    patience = Patience(params["num_patience_epochs"], params["tolerance"])
    course = deep.Course(network, optimizer)
    for epoch in job.epochs(params["epochs"], course, patience):
        began, rows, losses = time.perf_counter(), 0, np.zeros(2)
        network.train()
        for batch in source.batches(params["mini_batch_size"], job.random):
            if params["sub_sample"] < 1 and job.random.random() >= params["sub_sample"]:
                continue
            counts = _counts(batch, words, "train")
            reconstruction, divergence = network(counts)
            loss = (reconstruction + divergence).mean()
            optimizer.zero_grad()
            (loss * params["rescale_gradient"]).backward()
            if params["clip_gradient"]:
                torch.nn.utils.clip_grad_value_(network.parameters(), params["clip_gradient"])
            optimizer.step()
            losses += np.array([float(reconstruction.detach().sum()), float(divergence.detach().sum())])
            rows += batch.rows
        recons, kld = losses / max(rows, 1)
        report.throughput(rows, time.perf_counter() - began)
        report.say(f'Finished training epoch {epoch + 1} on {rows} examples, each "record" being a document')
        report.say("Loss (name: value) total: %s" % (recons + kld))
        report.say(f"Loss (name: value) kld: {kld}")
        report.say(f"Loss (name: value) recons: {recons}")
        report.say("Loss (name: value) logppx: %s" % (recons + kld))
        report.loss("train total_loss", float(recons + kld), epoch=epoch)
        watched = float(recons + kld)
        if held_out is not None:
            watched = _mean_loss(network, held_out, params, "validation")
            report.say(f"#validation_score ({epoch + 1}): {watched}")
            report.loss("validation total_loss", watched, epoch=epoch)
        if not np.isfinite(watched):
            raise UserError("The loss is no number any more; choose a smaller learning_rate or a clip_gradient.")
        if patience.better(watched):
            course.keep()
        elif patience.over:
            report.say(f"Early stop after epoch {epoch}: no improvement in {params['num_patience_epochs']} epochs.")
            break
    course.settle()
    _show_topics(job, network, source)
    _save(job, network, layers)
    if job.has("test"):
        loss = _mean_loss(network, job.source("test"), params, "test")
        report.test_score("total_loss", loss)
        report.loss("test total_loss", loss)


def _counts(table: Table, words: int, channel: str) -> torch.Tensor:
    counts = table.features
    if counts.shape[1] > words or (table.dense and counts.shape[1] != words):
        raise UserError(f"The hyperparameter feature_dim is {words}, but rows have {counts.shape[1]} features.")
    if not table.dense:
        counts = counts.copy()
        counts.resize((counts.shape[0], words))
    found = dense(counts)
    if (found < 0).any():
        raise UserError(f"The {channel} channel has negative word counts.")
    return deep.tensor(np.ascontiguousarray(found, dtype=np.float32))


@torch.no_grad()
def _mean_loss(network: Network, source: Source, params: Mapping[str, Any], channel: str) -> float:
    network.eval()
    total, rows = 0.0, 0
    for batch in source.batches(params["mini_batch_size"]):
        reconstruction, divergence = network(_counts(batch, params["feature_dim"], channel))
        total += float((reconstruction + divergence).sum())
        rows += batch.rows
    return total / max(rows, 1)


# ---- topics --------------------------------------------------------------------------------------------------------


def _vocabulary(job: Job) -> list[str] | None:
    if not job.has("auxiliary"):
        return None
    found = files(job.environment.channels["auxiliary"].folder)
    lines = found[0].read_text("utf-8", "replace").splitlines() if found else []
    if len(lines) != job.params["feature_dim"]:
        raise UserError(
            f"The vocabulary in the auxiliary channel has {len(lines)} words; feature_dim is {job.params['feature_dim']}."
        )
    return lines


def _show_topics(job: Job, network: Network, source: Source) -> None:
    """Each topic's foremost words, how much they belong together (wetc) and how much they are its own (tu)."""
    vocabulary = _vocabulary(job)
    weights = deep.array(network.projection.weight)
    shown = min(_SHOWN, weights.shape[0])
    top = [np.argsort(-weights[:, i])[:shown] for i in range(weights.shape[1])]
    together = [_coherence(source, words) for words in top]
    uses = np.bincount(np.concatenate(top), minlength=len(weights))
    own = [float((1 / uses[words]).mean()) for words in top]
    report = job.report
    wetc, tu = float(np.mean(together)), float(np.mean(own))
    report.say(f"Topics from epoch:final (num_topics:{len(top)}) [wetc {wetc:.2f}, tu {tu:.2f}]:")
    for words, wetc, tu in zip(top, together, own, strict=True):
        named = [vocabulary[w] if vocabulary else str(w) for w in words]
        report.say(f"[{wetc:.2f}, {tu:.2f}] {' '.join(named)}")


def _coherence(source: Source, words: NDArray[np.int64]) -> float:
    """The mean cosine between words, each standing for the documents that it occurs in.

    AWS compares vectors learnt from other texts, which are not shipped here; documents stand in for them.
    """
    table = next(iter(source.blocks()))
    columns = table.features[:, words[words < table.columns]]
    occurs = dense(columns) > 0
    lengths = np.sqrt(occurs.sum(axis=0, dtype=np.float64)) + 1e-12
    cosines = (occurs.T.astype(np.float64) @ occurs) / np.outer(lengths, lengths)
    count = len(lengths)
    return float((cosines.sum() - np.trace(cosines)) / max(1, count * (count - 1)))


# ---- the model's file ----------------------------------------------------------------------------------------------


def _save(job: Job, network: Network, layers: list[int]) -> None:
    params = job.params
    named = {f"arg:{n.replace('.', '_')}": v for n, v in deep.arrays(network).items()}
    meta = {
        "feature_dim": params["feature_dim"], "num_topics": params["num_topics"], "encoder_layers": layers,
        "encoder_layers_activation": params["encoder_layers_activation"], "batch_norm": params["batch_norm"],
    }  # fmt: skip
    nodes = [{"op": "null", "name": n.removeprefix("arg:"), "inputs": []} for n in named]
    with zipfile.ZipFile(job.artifact, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("params", ndarray.dumps(named))
        packed.writestr("symbol.json", json.dumps({"nodes": nodes, "arg_nodes": [], "heads": [[0, 0, 0]]}))
        packed.writestr("meta.json", json.dumps(meta))


class Topics:
    """A model."""

    outer = "predictions"

    def __init__(self, network: Network, columns: int):
        self._network = network.eval()
        self.columns = columns

    @torch.no_grad()
    def predict(self, features: Any, options: Mapping[str, str]) -> Columns:
        """Each document's weights of topics; they sum to 1."""
        found = self._network.topics(_counts(Table(features), self.columns, "request"))
        return {"topic_weights": deep.array(found)}


def load(folder: Path) -> Topics:
    """The network of a model archive."""
    torch.set_num_threads(1)
    try:
        with zipfile.ZipFile(io.BytesIO(artifact(folder).read_bytes())) as packed:
            stored, meta = ndarray.load(packed.read("params")), json.loads(packed.read("meta.json"))
        network = Network(
            meta["feature_dim"], meta["num_topics"], meta["encoder_layers"], meta["encoder_layers_activation"],
            meta["batch_norm"],
        )  # fmt: skip
        names = {f"arg:{n.replace('.', '_')}": n for n in network.state_dict()}
        deep.restore(network, {names[n]: v for n, v in stored.items()})
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        raise UserError(f"model_algo-1 is no neural topic model: {error}") from None
    return Topics(network, meta["feature_dim"])
