"""fastText's hashing and its ``.bin`` files, so that models can be exchanged with it.

Source: the format and the hash functions of fastText 0.9 (MIT), as its documentation and files show them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..environment import UserError

Floats = NDArray[np.float32]
END, LABEL = "</s>", "__label__"
_MAGIC, _VERSION = 793712314, 12
_ARGS = (
    "dim",
    "ws",
    "epoch",
    "minCount",
    "neg",
    "wordNgrams",
    "loss",
    "model",
    "bucket",
    "minn",
    "maxn",
    "lrUpdateRate",
)
_SOFTMAX, SUPERVISED = 3, 3
_PRIME, _OFFSET, _MULTIPLIER = 16777619, 2166136261, 116049371
_WORD, _IS_LABEL = 0, 1
_U32, _U64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF


def hashed(text: str) -> int:
    """FNV-1a, with bytes taken as signed numbers, as fastText does."""
    found = _OFFSET
    for byte in text.encode():
        found = ((found ^ (byte if byte < 128 else byte | 0xFFFFFF00)) * _PRIME) & _U32
    return found


def phrases(words: Sequence[str], length: int, buckets: int) -> list[int]:
    """The buckets of all runs of two to ``length`` words."""
    hashes = [h if h < 1 << 31 else h | 0xFFFFFFFF00000000 for h in map(hashed, words)]
    found: list[int] = []
    for i, first in enumerate(hashes):
        value = first
        for following in hashes[i + 1 : i + length]:
            value = (value * _MULTIPLIER + following) & _U64
            found.append(value % buckets)
    return found


def pieces(word: str, shortest: int, longest: int, buckets: int) -> list[int]:
    """The buckets of a word's character runs, its edges marked."""
    marked = f"<{word}>"
    return [
        hashed(marked[i : i + n]) % buckets
        for i in range(len(marked))
        for n in range(shortest, longest + 1)
        if i + n <= len(marked) and not (n == 1 and (i == 0 or i + n == len(marked)))
    ]


@dataclass(slots=True)
class Model:
    """A model: its arguments, its words and labels with their counts, and two matrices."""

    args: dict[str, int]
    words: list[str]
    counts: list[int]
    labels: list[str]
    label_counts: list[int]
    inputs: Any  # [words + buckets, dim]; the rows of buckets that nothing was learnt of are zero
    outputs: Floats  # [labels or words, dim]
    tokens: int = 0
    sampling: float = 1e-4
    index: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.index = {word: i for i, word in enumerate(self.words)}

    @property
    def supervised(self) -> bool:
        """Whether it tells labels."""
        return self.args["model"] == SUPERVISED

    def rows(self, words: Sequence[str]) -> list[int]:
        """The input rows of a text."""
        found = [self.index[w] for w in words if w in self.index]
        if self.args["wordNgrams"] > 1 and self.args["bucket"]:
            found += (len(self.words) + b for b in phrases(words, self.args["wordNgrams"], self.args["bucket"]))
        return found

    def vector(self, word: str) -> Floats:
        """A word's vector, made of its pieces where the model has them; zeros for what it knows nothing of."""
        rows = [self.index[word]] if word in self.index else []
        if self.args["maxn"] and self.args["bucket"] and word != END:
            found = pieces(word, self.args["minn"], self.args["maxn"], self.args["bucket"])
            rows += (len(self.words) + b for b in found)
        if not rows:
            return np.zeros(self.args["dim"], dtype=np.float32)
        mean: Floats = np.asarray(self.inputs[rows]).mean(axis=0)
        return mean


def save(model: Model, path: Path) -> None:
    """Write a model. Zeros become holes of the file."""
    with open(path, "wb") as file:
        file.write(struct.pack("<ii", _MAGIC, _VERSION))
        file.write(struct.pack(f"<{len(_ARGS)}i", *(model.args[name] for name in _ARGS)))
        file.write(struct.pack("<d", model.sampling))
        total = len(model.words) + len(model.labels)
        file.write(struct.pack("<iiiqq", total, len(model.words), len(model.labels), model.tokens, -1))
        for names, counts, kind in ((model.words, model.counts, _WORD), (model.labels, model.label_counts, _IS_LABEL)):
            for name, count in zip(names, counts, strict=True):
                file.write(name.encode() + b"\0" + struct.pack("<qb", count, kind))
        _write_matrix(file, model.inputs)
        _write_matrix(file, model.outputs)


def _write_matrix(file: BinaryIO, matrix: Any) -> None:
    """``matrix`` is an array, or a pair: the shape, and the rows that are not zero by their numbers."""
    file.write(struct.pack("<?", False))
    if isinstance(matrix, Rows):
        file.write(struct.pack("<qq", *matrix.shape))
        begin, width = file.tell(), 4 * matrix.shape[1]
        for number, row in zip(matrix.numbers.tolist(), matrix.values, strict=True):
            file.seek(begin + number * width)
            file.write(row.astype("<f4").tobytes())
        file.truncate(begin + matrix.shape[0] * width)
        file.seek(0, 2)
    else:
        file.write(struct.pack("<qq", *matrix.shape))
        file.write(np.ascontiguousarray(matrix, dtype="<f4").tobytes())


@dataclass(frozen=True, slots=True)
class Rows:
    """A matrix of mostly zeros."""

    shape: tuple[int, int]
    numbers: NDArray[np.int64]  # ascending
    values: Floats


def load(path: Path) -> Model:
    """Read a model of ours or of fastText's; the large matrix stays in the file until it is looked at."""
    try:
        return _load(path)
    except (struct.error, ValueError, IndexError, UnicodeDecodeError) as error:
        raise UserError(f"{path.name} is no model of fastText: {error}") from None


def _load(path: Path) -> Model:
    with open(path, "rb") as file:
        if struct.unpack("<ii", file.read(8)) != (_MAGIC, _VERSION):
            raise ValueError("it begins otherwise")
        args = dict(zip(_ARGS, struct.unpack(f"<{len(_ARGS)}i", file.read(4 * len(_ARGS))), strict=True))
        (sampling,) = struct.unpack("<d", file.read(8))
        total, words, labels, tokens, pruned = struct.unpack("<iiiqq", file.read(28))
        if pruned > 0:
            raise ValueError("it is quantised")
        names, counts = _entries(file, total)
        inputs = _read_matrix(file, path)
        outputs = np.array(_read_matrix(file, path))
    if words + labels != total:
        raise ValueError("its dictionary does not add up")
    return Model(args, names[:words], counts[:words], names[words:], counts[words:], inputs, outputs, tokens, sampling)


def _entries(file: BinaryIO, total: int) -> tuple[list[str], list[int]]:
    names: list[str] = []
    counts: list[int] = []
    held = b""
    while len(names) < total:
        while (end := held.find(b"\0")) < 0 or len(held) < end + 10:
            block = file.read(1 << 16)
            if not block:
                raise ValueError("it ends early")
            held += block
        at = 0
        while len(names) < total and (end := held.find(b"\0", at)) >= 0 and len(held) >= end + 10:
            names.append(held[at:end].decode())
            counts.append(struct.unpack_from("<q", held, end + 1)[0])
            at = end + 10
        held = held[at:]
    file.seek(-len(held), 1)
    return names, counts


def _read_matrix(file: BinaryIO, path: Path) -> Any:
    quantised, rows, columns = struct.unpack("<?qq", file.read(17))
    if quantised or rows < 0 or columns < 0:
        raise ValueError("it is quantised")
    at, size = file.tell(), 4 * rows * columns
    if path.stat().st_size < at + size:
        raise ValueError("it ends early")
    file.seek(size, 1)
    if not size:
        return np.empty((rows, columns), dtype=np.float32)
    return np.memmap(path, dtype="<f4", mode="r", offset=at, shape=(rows, columns))
