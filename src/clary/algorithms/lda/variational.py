"""Variational inference of latent Dirichlet allocation, for all documents of a corpus at once.

Source: D. Blei, A. Ng and M. Jordan, "Latent Dirichlet allocation" (2003); M. Hoffman, D. Blei and F. Bach, "Online
learning for latent Dirichlet allocation" (2010) for the prior on topics.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
_SETTLED = 1e-4
_STEPS = 30
_TRIED = 8  # rounds after which starts are compared


def _raised(parameters: Doubles) -> Doubles:
    """exp(E[log x]) of Dirichlet variables, one a row."""
    from scipy.special import psi

    found: Doubles = np.exp(psi(parameters) - psi(parameters.sum(axis=1, keepdims=True)))
    return found


class Corpus:
    """Word counts of documents, kept as they are needed: one entry for each word of each document."""

    def __init__(self, counts: Any):
        from scipy.sparse import csr_matrix

        self.counts = csr_matrix(counts, dtype=np.float64)
        self.counts.eliminate_zeros()
        documents, self._vocabulary = self.counts.shape
        entries = self.counts.nnz
        owner = np.repeat(np.arange(documents), np.diff(self.counts.indptr))
        self._owner = owner
        ones, each = np.ones(entries), np.arange(entries)
        self._by_document = csr_matrix((ones, (owner, each)), shape=(documents, entries))
        self._by_word = csr_matrix((ones, (self.counts.indices, each)), shape=(self._vocabulary, entries))

    @property
    def documents(self) -> int:
        """How many."""
        return int(self.counts.shape[0])

    def likelihood(self, mixtures: Doubles, topics: Doubles) -> float:
        """The natural logarithm of the chance of all words."""
        chances = (mixtures[self._owner] * topics[:, self.counts.indices].T).sum(axis=1)
        return float((self.counts.data * np.log(np.maximum(chances, 1e-300))).sum())

    def infer(self, words: Doubles, alpha: Doubles, gamma: Doubles, steps: int) -> tuple[Doubles, Doubles]:
        """Mixtures [documents, topics] (as Dirichlet parameters) that fit ``words`` [topics, vocabulary], begun at
        ``gamma``; and how often each topic made each word [topics, vocabulary]."""
        of_entry = words[:, self.counts.indices].T + 1e-300
        shares = of_entry
        for _ in range(steps):
            shares = of_entry * _raised(gamma)[self._owner]
            shares *= (self.counts.data / shares.sum(axis=1))[:, None]
            before, gamma = gamma, alpha + self._by_document @ shares
            if np.abs(gamma - before).mean() < _SETTLED:
                break
        return gamma, np.asarray(self._by_word @ shares).T


def learn(
    corpus: Corpus, topics: int, alpha: Doubles, rounds: int, tolerance: float, starts: int, random: Any
) -> tuple[Doubles, int]:
    """Word chances of each topic [topics, vocabulary], and the rounds that it took; the best of several starts."""
    begun = [_Learning(corpus, topics, alpha, random) for _ in range(starts)]
    for each in begun:
        each.go_on(min(rounds, _TRIED), tolerance)
    best = max(begun, key=lambda each: each.likelihood())
    best.go_on(rounds - best.rounds, tolerance)
    return best.topics(), best.rounds


class _Learning:
    """Topics on their way."""

    def __init__(self, corpus: Corpus, topics: int, alpha: Doubles, random: Any):
        self.rounds = 0
        self._corpus = corpus
        self._alpha = alpha
        self._prior = 1 / topics
        self._made = random.gamma(100.0, 0.01, (topics, corpus.counts.shape[1]))
        self._gamma = np.ones((corpus.documents, topics))
        self._settled = False

    def go_on(self, rounds: int, tolerance: float) -> None:
        """Some rounds, fewer when the topics have settled."""
        for _ in range(rounds):
            if self._settled:
                return
            start = np.ones_like(self._gamma)  # what documents were first thought to be must not bind them
            self._gamma, counted = self._corpus.infer(_raised(self._made), self._alpha, start, _STEPS)
            before, self._made = self._made, self._prior + counted
            self._settled = bool(np.abs(self._made - before).sum() <= tolerance * self._made.sum())
            self.rounds += 1

    def topics(self) -> Doubles:
        """Word chances."""
        found: Doubles = self._made / self._made.sum(axis=1, keepdims=True)
        return found

    def likelihood(self) -> float:
        """Of the corpus."""
        return self._corpus.likelihood(self._gamma / self._gamma.sum(axis=1, keepdims=True), self.topics())
