"""Word vectors, learnt by gensim; and how well they agree with what people say of pairs of words."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..environment import UserError
from ..job import Job
from . import corpus

_SET = "EN-WS-353-ALL.txt"
_LONGEST = 10_000  # words of a sentence that gensim takes


def train(job: Job) -> None:
    """Learn, and write ``vectors.txt``; with subwords also ``vectors.bin``."""
    from gensim.models import FastText, Word2Vec

    params, report = job.params, job.report
    sentences = _Sentences(job)
    options: dict[str, Any] = {
        "vector_size": params["vector_dim"], "alpha": params["learning_rate"], "window": params["window_size"],
        "min_count": params["min_count"], "sample": params["sampling_threshold"],
        "negative": params["negative_samples"], "epochs": params["epochs"], "hs": 0, "seed": 1,
        "sg": 0 if params["mode"] == "cbow" else 1, "workers": os.cpu_count() or 1,
    }  # fmt: skip
    began = time.perf_counter()
    if params["subwords"]:
        model: Any = FastText(
            min_n=params["min_char"], max_n=params["max_char"], bucket=params["buckets"], callbacks=(), **options
        )
    else:
        model = Word2Vec(callbacks=(), **options)
    model.build_vocab(sentences)
    if not len(model.wv):
        raise UserError(f"No word of the train channel occurs min_count ({params['min_count']}) times.")
    report.say(f"number of words in the vocabulary: {len(model.wv)}")
    told = _Told(job, model)
    model.train(sentences, total_examples=model.corpus_count, epochs=params["epochs"], callbacks=[told.callback()])
    seconds = time.perf_counter() - began
    report.say("Training finished!")
    report.say(
        f"Average throughput in Million words/sec: {told.words(params['epochs']) / max(seconds, 1e-9) / 1e6:.2f}"
    )
    report.say(f"Total training time in seconds: {seconds:.2f}")
    model.wv.save_word2vec_format(str(job.model / "vectors.txt"))
    if params["subwords"]:
        from gensim.models.fasttext import save_facebook_model

        save_facebook_model(model, str(job.model / "vectors.bin"))
    if params["evaluation"]:
        _evaluate(job, model.wv)


class _Sentences:
    """The train channel, as often as it is asked for."""

    def __init__(self, job: Job):
        channel = job.environment.channels["train"]
        self._kept: list[list[str]] | None = None
        try:
            self._kept = [words for words, _ in corpus.read(channel, job.spooled("train")) if words]
        except UserError as error:
            raise UserError(f"Unable to read data channel 'train': {error}.") from None
        if not self._kept:
            raise UserError("Unable to read data channel 'train': No data was found.")

    def __iter__(self) -> Iterator[list[str]]:
        for words in self._kept or ():
            for at in range(0, len(words), _LONGEST):
                yield words[at : at + _LONGEST]


class _Told:
    """Progress after each epoch, in the container's words."""

    def __init__(self, job: Job, model: Any):
        self._job = job
        self._model = model
        self._done = 0
        self._began = time.perf_counter()

    def words(self, epochs: int) -> int:
        """That went by."""
        return int(self._model.corpus_total_words) * epochs

    def callback(self) -> Any:
        """For gensim."""
        from gensim.models.callbacks import CallbackAny2Vec

        told = self

        class Epoch(CallbackAny2Vec):  # type: ignore[misc]
            def on_epoch_end(self, model: Any) -> None:
                told.epoch()

        return Epoch()

    def epoch(self) -> None:
        """One more is done."""
        self._done += 1
        epochs = self._job.params["epochs"]
        rate = self.words(self._done) / max(time.perf_counter() - self._began, 1e-9) / 1e6
        alpha = self._job.params["learning_rate"] * (1 - self._done / epochs)
        progress = 100 * self._done / epochs
        self._job.report.say(
            f"##### Alpha: {alpha:.4f}  Progress: {progress:.2f}%  Million Words/sec: {rate:.2f} #####"
        )


def _evaluate(job: Job, vectors: Any) -> None:
    """The rank correlation with WordSim-353 (L. Finkelstein et al., 2002), which gensim ships."""
    from gensim.test.utils import datapath
    from scipy.stats import spearmanr

    ours: list[float] = []
    theirs: list[float] = []
    missing = total = 0
    with open(datapath("wordsim353.tsv")) as lines:
        for line in lines:
            if line.startswith("#"):
                continue
            one, other, score = line.split("\t")
            total += 1
            if one.lower() not in vectors.key_to_index or other.lower() not in vectors.key_to_index:
                missing += 1
                continue
            ours.append(float(vectors.similarity(one.lower(), other.lower())))
            theirs.append(float(score))
    rho = float(spearmanr(ours, theirs).statistic) if len(ours) > 2 else 0.0
    rho = 0.0 if np.isnan(rho) else rho
    found = {_SET: {"not_found": missing, "spearmans_rho": rho, "total_pairs": total}, "mean_rho": rho}
    job.report.say(json.dumps(found))
    job.report.say(f"#mean_rho: {rho:.4f}")
    (job.model / "eval.json").write_text(json.dumps(found))
