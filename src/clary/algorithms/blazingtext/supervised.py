"""Text classification as fastText does it: the mean of the vectors of words and phrases, and a linear layer.

Source: A. Joulin, E. Grave, P. Bojanowski and T. Mikolov, "Bag of tricks for efficient text classification" (2016).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from .. import deep
from ..environment import UserError
from ..job import Job
from ..patience import Patience
from . import corpus, fasttext
from .corpus import Text, Vocabulary
from .fasttext import END, Model, Rows

_BATCH, _SHARE = 16, 2000  # texts that are learnt from at once: so many, or one in so many of all


def train(job: Job) -> Path:
    """Learn, and write ``model.bin``."""
    params = job.params
    deep.begin(_BATCH * params["vector_dim"])
    texts = [_ended(t) for t in _read(job, "train")]
    held_out = [_ended(t) for t in _read(job, "validation")] if job.has("validation") else []
    vocabulary = Vocabulary.of(texts, params["min_count"])
    if not vocabulary.labels:
        raise UserError("No text of the train channel has a label; labels are tokens that begin with __label__.")
    if not vocabulary.words:
        raise UserError(f"No word of the train channel occurs min_count ({params['min_count']}) times.")
    job.report.say(f"Read {vocabulary.tokens} tokens, {len(vocabulary.words)} words, {len(vocabulary.labels)} labels")
    learner = _Learner(job, vocabulary, texts)
    learner.learn(held_out)
    model = learner.model()
    path = job.model / "model.bin"
    fasttext.save(model, path)
    _tell(job, "train", learner.accuracy(texts), len(texts))
    if held_out:
        _tell(job, "validation", learner.accuracy(held_out), len(held_out))
    return path


def _read(job: Job, channel: str) -> list[Text]:
    try:
        found = list(corpus.read(job.environment.channels[channel], job.spooled(channel)))
    except UserError as error:
        raise UserError(f"Unable to read data channel '{channel}': {error}.") from None
    if not found:
        raise UserError(f"Unable to read data channel '{channel}': No data was found.")
    return found


def _ended(text: Text) -> Text:
    """fastText takes the end of a line for a word."""
    words, labels = text
    return [*words, END], labels


def _tell(job: Job, channel: str, accuracy: float, count: int) -> None:
    job.report.say(f"#{channel}_accuracy: {accuracy:.4f}")
    job.report.say(f"Number of {channel} examples: {count}")


class _Learner:
    """Weights of the rows that occur; the other buckets stay zero."""

    def __init__(self, job: Job, vocabulary: Vocabulary, texts: Sequence[Text]):
        self._job = job
        params = job.params
        self._vocabulary = vocabulary
        self._labels = {label: i for i, label in enumerate(vocabulary.labels)}
        phrases = params["word_ngrams"]
        self._args = {
            "dim": params["vector_dim"], "ws": params["window_size"], "epoch": params["epochs"],
            "minCount": params["min_count"], "neg": params["negative_samples"], "wordNgrams": phrases, "loss": 3,
            "model": fasttext.SUPERVISED, "bucket": params["buckets"] if phrases > 1 else 0, "minn": 0, "maxn": 0,
            "lrUpdateRate": 100,
        }  # fmt: skip
        self._shape = (len(vocabulary.words) + self._args["bucket"], params["vector_dim"])
        self._frame = Model(self._args, vocabulary.words, vocabulary.counts, vocabulary.labels, vocabulary.label_counts, None, np.empty((0, 0), dtype=np.float32))  # fmt: skip
        rows = [np.unique(self._frame.rows(words)) for words, _ in texts]
        self._used = np.unique(np.concatenate([np.arange(len(vocabulary.words)), *rows])).astype(np.int64)
        self._inputs = nn.EmbeddingBag(len(self._used), params["vector_dim"], mode="mean", sparse=True)
        nn.init.uniform_(self._inputs.weight, -1 / params["vector_dim"], 1 / params["vector_dim"])
        self._outputs = nn.Linear(params["vector_dim"], len(vocabulary.labels), bias=False)
        nn.init.zeros_(self._outputs.weight)
        self._network = nn.ModuleList((self._inputs, self._outputs))
        self._texts = [(self._places(words), self._marks(labels)) for words, labels in texts]

    def _places(self, words: Sequence[str]) -> NDArray[np.int64]:
        """A text's rows among those in use."""
        wanted = np.array(self._frame.rows(words), dtype=np.int64)
        found: NDArray[np.int64] = np.minimum(np.searchsorted(self._used, wanted), len(self._used) - 1)
        known: NDArray[np.int64] = found[self._used[found] == wanted]
        return known

    def _marks(self, labels: Sequence[str]) -> list[int]:
        return [self._labels[label] for label in labels if label in self._labels]

    def learn(self, held_out: Sequence[Text]) -> None:
        """All epochs, the learning rate going down to nothing; with early stopping the best one counts."""
        params, report = self._job.params, self._job.report
        usable = [i for i, (places, marks) in enumerate(self._texts) if len(places) and marks]
        if not usable:
            raise UserError("No text of the train channel has both a label and a word that is common enough.")
        size = max(_BATCH, len(usable) // _SHARE)
        steps = params["epochs"] * -(-len(usable) // size)
        stopping = params["early_stopping"] and bool(held_out)
        course = deep.Course(self._network)
        patience = Patience(None)
        began, words = time.perf_counter(), 0
        for epoch in self._job.epochs(params["epochs"], course, patience):
            step = epoch * -(-len(usable) // size)
            order = self._job.random.permutation(usable)
            for at in range(0, len(order), size):
                rate = params["learning_rate"] * (1 - step / steps)
                words += self._step([self._texts[i] for i in order[at : at + size]], rate)
                step += 1
            report.say(f"-------------- End of epoch: {epoch + 1}")
            if not bool(torch.isfinite(self._outputs.weight).all()):
                raise UserError("The weights are no numbers any more; choose a smaller learning_rate.")
            if stopping:
                accuracy = self.accuracy(held_out)
                report.say("Using 1 threads for prediction!")
                report.say(f"Validation accuracy: {accuracy:.4f}")
                if patience.better(-accuracy):
                    report.say("Validation accuracy improved! Storing best weights...")
                    course.keep()
                else:
                    waited = epoch - patience.best_look
                    report.say(f"Validation accuracy has not improved for last {waited} epochs.")
                    if waited >= params["patience"] and epoch + 1 >= params["min_epochs"]:
                        report.say("Reached patience. Terminating training.")
                        break
        seconds = time.perf_counter() - began
        report.say("Training finished!")
        report.say(f"Average throughput in Million words/sec: {words / max(seconds, 1e-9) / 1e6:.2f}")
        report.say(f"Total training time in seconds: {seconds:.2f}")
        course.settle()

    def _step(self, batch: Sequence[tuple[NDArray[np.int64], list[int]]], rate: float) -> int:
        """A step down the sum of the texts' losses."""
        places = deep.tensor(np.concatenate([p for p, _ in batch]))
        ends = np.cumsum([0, *(len(p) for p, _ in batch[:-1])])
        hidden = self._inputs(places, deep.tensor(ends))
        chances = torch.log_softmax(self._outputs(hidden), dim=1)
        wanted = torch.zeros_like(chances)
        for row, (_, marks) in zip(wanted, batch, strict=True):
            row[marks] = 1 / len(marks)
        loss = -(wanted * chances).sum()
        self._inputs.weight.grad = self._outputs.weight.grad = None
        loss.backward()
        with torch.no_grad():
            for weight in (self._inputs.weight, self._outputs.weight):
                slope: Any = weight.grad
                weight.add_(slope, alpha=-rate)
        return len(places)

    @torch.no_grad()
    def accuracy(self, texts: Sequence[Text]) -> float:
        """How often the foremost label is one of the text's."""
        weights, outputs = deep.array(self._inputs.weight), deep.array(self._outputs.weight)
        hits = 0
        for words, labels in texts:
            places = self._places(words)
            hidden = weights[places].mean(axis=0) if len(places) else np.zeros(weights.shape[1], dtype=np.float32)
            hits += self._vocabulary.labels[int((outputs @ hidden).argmax())] in labels
        return hits / max(1, len(texts))

    def model(self) -> Model:
        """As fastText has it."""
        inputs = Rows(self._shape, self._used, deep.array(self._inputs.weight))
        vocabulary = self._vocabulary
        return Model(
            self._args, vocabulary.words, vocabulary.counts, vocabulary.labels, vocabulary.label_counts, inputs,
            deep.array(self._outputs.weight), vocabulary.tokens,
        )  # fmt: skip
