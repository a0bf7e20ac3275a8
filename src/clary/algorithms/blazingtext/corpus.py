"""Texts: one a line, tokens apart by spaces; those with ``__label__`` in front are labels. Or augmented manifests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import orjson

from ..environment import Channel, UserError
from ..readers import recordio
from ..readers.source import files
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


def _marked(source: Any, label: Any) -> Text:
    """A text and its label, or its labels."""
    return str(source).split(), [f"{LABEL}{one}" for one in (label if isinstance(label, list) else [label])]


def _manifest(line: bytes, where: str) -> Text:
    try:
        row = orjson.loads(line)
        return _marked(row["source"], row["label"])
    except (ValueError, KeyError, TypeError):
        raise UserError(f'{where} is no JSON line of the form {{"source": "a text", "label": 1}}') from None


def _wrapped(data: bytes, where: str) -> Iterator[Text]:
    """What an augmented manifest is in a pipe: a record with the text, one with the label, and so on."""
    found = list(recordio.frames(data))
    if len(found) % 2:
        raise UserError(f"{where} has {len(found)} records; its AttributeNames must be source and label, in this order")
    for source, label in zip(found[::2], found[1::2], strict=True):
        try:
            text = orjson.loads(source) if source.startswith(b'"') else source.decode("utf-8", "replace")
            yield _marked(text, orjson.loads(label))
        except ValueError:
            raise UserError(f"{where} has the label {label[:40]!r}, which is neither a number nor a list") from None


def read(channel: Channel, spooled: tuple[Path, ...] = ()) -> Iterator[Text]:
    """A channel's texts; a line that begins with a brace is an augmented manifest's, and so are records in a pipe."""
    paths = [*([channel.fifo_of(0)] if channel.pipe else files(channel.folder)), *spooled]
    for path in paths:
        with open(path, "rb") as file:
            head = file.read(len(recordio.HEAD))
            if head == recordio.HEAD:
                yield from _wrapped(head + file.read(), f"the {channel.name} channel")
                continue
            rest = chain((head + file.readline()).splitlines(), file)
            for number, line in ((n, line) for n, line in enumerate(rest, 1) if line.strip()):
                yield _manifest(line, f"line {number} of {path.name}") if line.startswith(b"{") else parse(line)


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
