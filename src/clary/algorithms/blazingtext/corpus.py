"""Texts: one a line, tokens apart by spaces; those with ``__label__`` in front are labels. Or augmented manifests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from ..environment import Channel, UserError
from ..readers.source import lines
from .fasttext import LABEL

Text = tuple[list[str], list[str]]
"""Words and labels."""


def parse(line: bytes) -> Text:
    """A line of text."""
    words: list[str] = []
    labels: list[str] = []
    for token in line.decode("utf-8", "replace").split():
        (labels if token.startswith(LABEL) else words).append(token)
    return words, labels


def _manifest(line: bytes, where: str) -> Text:
    try:
        row = orjson.loads(line)
        label = row["label"]
        labels = [f"{LABEL}{one}" for one in (label if isinstance(label, list) else [label])]
        return str(row["source"]).split(), labels
    except (ValueError, KeyError, TypeError):
        raise UserError(f'{where} is no JSON line of the form {{"source": "a text", "label": 1}}') from None


def read(channel: Channel, spooled: tuple[Path, ...] = ()) -> Iterator[Text]:
    """A channel's texts; a line that begins with a brace is an augmented manifest's."""
    for name, number, line in lines(channel, spooled):
        yield _manifest(line, f"line {number} of {name}") if line.startswith(b"{") else parse(line)


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Words and labels, the commonest first."""

    words: list[str]
    counts: list[int]
    labels: list[str]
    label_counts: list[int]
    tokens: int

    @classmethod
    def of(cls, texts: Iterable[Text], least: int) -> Vocabulary:
        """Of a corpus, without words that are rarer than ``least``."""
        words: Counter[str] = Counter()
        labels: Counter[str] = Counter()
        for text, marks in texts:
            words.update(text)
            labels.update(marks)
        kept = [(w, c) for w, c in words.most_common() if c >= least]
        marked: list[Any] = labels.most_common()
        return cls(
            [w for w, _ in kept], [c for _, c in kept], [w for w, _ in marked], [c for _, c in marked],
            sum(words.values()) + sum(labels.values()),
        )  # fmt: skip
