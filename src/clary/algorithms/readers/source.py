"""A channel as tables: file by file or from a FIFO, block by block, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ..contract import CSV, LIBSVM, PARQUET, RECORDIO
from ..environment import Channel, UserError
from . import delimited, libsvm, parquet, recordio
from .table import Table, concatenate

_BLOCK = 32 << 20
_KEPT = 1 << 30  # bytes of a channel that are kept between epochs
_NAMES = {
    "csv": CSV, "recordio-protobuf": RECORDIO, "recordio": RECORDIO, "libsvm": LIBSVM, "text/x-libsvm": LIBSVM,
    "parquet": PARQUET,
}  # fmt: skip


def files(folder: Path) -> list[Path]:
    """A channel's files in order, at any depth; what begins with a dot or an underscore is no data."""
    found = [p for p in folder.rglob("*") if p.is_file() and not p.name.startswith((".", "_"))]
    return sorted(found, key=lambda p: p.relative_to(folder).parts)


def parameters(text: str | None) -> tuple[str, dict[str, str]]:
    """A media type and its parameters, in lower case: ``text/csv;label_size=1``."""
    name, *rest = (text or "").lower().split(";")
    pairs = (part.partition("=") for part in rest if part.strip())
    return _NAMES.get(name.strip(), name.strip()), {k.strip(): v.strip().strip('"') for k, _, v in pairs}


class Source:
    """One channel's data. ``kind`` is its content type; labels stand in the first column of CSV unless it says not."""

    def __init__(self, channel: Channel, accepted: tuple[str, ...], spooled: tuple[Path, ...] = ()):
        self.name = channel.name
        self._channel = channel
        self._spooled = spooled
        self._kept: list[Table] | None = None
        self._passes = 0
        self.kind, options = parameters(channel.content_type)
        self.kind = self.kind or accepted[0]
        if self.kind not in accepted:
            raise UserError(
                f"Content type {channel.content_type} of the channel {channel.name} is not supported. "
                f"This algorithm reads: {', '.join(accepted)}"
            )
        try:
            self._label_size = int(options.get("label_size", 1))
        except ValueError:
            raise UserError(f"label_size={options['label_size']} of the channel {channel.name} is no number") from None
        if self._label_size not in (0, 1):
            raise UserError(f"label_size={self._label_size} of the channel {channel.name}: it can be 0 or 1")

    def blocks(self) -> Iterator[Table]:
        """All rows, some megabytes at a time. What is small enough is read once and kept."""
        if self._kept is not None:
            yield from self._kept
            return
        kept: list[Table] | None = []
        held = 0
        for block in self._read():
            if kept is not None:
                kept.append(block)
                held += _bytes(block)
                if held > _KEPT:
                    kept = None
            yield block
        self._kept = kept

    def table(self) -> Table:
        """All rows at once; UserError when there are none."""
        blocks = list(self.blocks())
        if not blocks:
            raise self._unreadable("No data was found")
        found = concatenate(blocks)
        if self._kept is not None and len(self._kept) > 1:
            self._kept = [found]
        return found

    def batches(self, size: int, shuffle: np.random.Generator | None = None) -> Iterator[Table]:
        """Tables of ``size`` rows, the last one smaller; shuffled within each block when asked for."""
        rest: Table | None = None
        for block in self.blocks():
            if shuffle is not None:
                block = block.part(shuffle.permutation(block.rows))
            whole = block if rest is None else concatenate([rest, block])
            full = whole.rows // size * size
            for at in range(0, full, size):
                yield whole.part(slice(at, at + size))
            rest = whole.part(slice(full, None)) if full < whole.rows else None
        if rest is not None:
            yield rest

    # ---- reading ---------------------------------------------------------------------------------------------------

    def _read(self) -> Iterator[Table]:
        found, width = False, -1
        for table in self._tables():
            if not table.rows:
                continue
            found = True
            if table.dense:
                if width not in (-1, table.columns):
                    raise self._unreadable(f"its files have rows of {width} and of {table.columns} features")
                width = table.columns
            yield table
        if not found:
            raise self._unreadable("No data was found")

    def _tables(self) -> Iterator[Table]:
        if self._channel.pipe:
            self._passes += 1  # every pass has a FIFO of its own
            with open(self._channel.fifo_of(self._passes - 1), "rb") as fifo:
                yield from self._parse(fifo, f"the {self.name} channel's pipe")
            paths = list(self._spooled)
        else:
            paths = [*files(self._channel.folder), *self._spooled]
        for path in paths:
            with open(path, "rb") as file:
                yield from self._parse(file, path.name)

    def _parse(self, file: BinaryIO, name: str) -> Iterator[Table]:
        try:
            if self.kind == PARQUET:
                for matrix in parquet.matrices(file if file.seekable() else _held(file), name):
                    yield self._labelled(matrix, name, 0)
            elif self.kind == RECORDIO:
                for data in _whole_frames(file):
                    yield self._checked(recordio.table(data, name), name, 0)
            else:
                line = 1
                for data in _whole_lines(file):
                    if self.kind == LIBSVM:
                        yield self._checked(libsvm.table(data, name, first_line=line), name, line)
                    else:
                        yield self._labelled(delimited.matrix(data, name, line), name, line)
                    line += data.count(b"\n")
        except UserError as error:
            if str(error).startswith("Unable to read"):
                raise
            raise self._unreadable(str(error)) from None

    def _labelled(self, matrix: np.ndarray, name: str, line: int) -> Table:
        if not len(matrix) or not self._label_size:
            return self._checked(Table(matrix), name, line)
        if matrix.shape[1] < 2:
            raise UserError(
                f"{name} has one column, which is taken for the label. Data without labels needs the content type "
                "text/csv;label_size=0."
            )
        return self._checked(Table(np.ascontiguousarray(matrix[:, 1:]), matrix[:, 0].copy()), name, line)

    def _checked(self, table: Table, name: str, line: int) -> Table:
        values = table.features if table.dense else table.features.data
        if not np.isfinite(values).all():
            self._blame(table.features if table.dense else None, name, line, "an empty cell, NaN or infinite value")
        if table.labels is not None and not np.isfinite(table.labels).all():
            self._blame(table.labels[:, None], name, line, "a row without a label")
        return table

    def _blame(self, matrix: np.ndarray | None, name: str, line: int, what: str) -> None:
        where = ""
        if matrix is not None:
            bad = int((~np.isfinite(matrix)).any(axis=1).argmax())
            where = f" in line {line + bad}" if line else f" in record {bad}"
        raise UserError(f"{name} has {what}{where}; this algorithm takes none")

    def _unreadable(self, why: str) -> UserError:
        """AWS's sentence, and the cause."""
        return UserError(
            f"Unable to read data channel '{self.name}'. Requested content-type is '{self.kind}'. "
            f"Please verify the data matches the requested content-type. (caused by: {why})"
        )


def _bytes(table: Table) -> int:
    if table.dense:
        return int(table.features.nbytes)
    return int(table.features.data.nbytes + table.features.indices.nbytes)


def _held(file: BinaryIO) -> BinaryIO:
    import io

    return io.BytesIO(file.read())


def _whole_lines(file: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while block := file.read(_BLOCK):
        block = rest + block
        cut = block.rfind(b"\n") + 1
        rest = block[cut:]
        if cut:
            yield block[:cut]
    if rest.strip():
        yield rest


def _whole_frames(file: BinaryIO) -> Iterator[bytes]:
    rest = b""
    while block := file.read(_BLOCK):
        block = rest + block
        cut = recordio.whole(block)
        rest = block[cut:]
        if cut:
            yield block[:cut]
    if rest:
        yield rest  # a last record without its padding, or the half of one


def lines(channel: Channel, spooled: tuple[Path, ...] = (), epoch: int = 0) -> Iterator[tuple[str, int, bytes]]:
    """Every line that is not empty, with the file's name and the line's number."""
    paths = [channel.fifo_of(epoch)] if channel.pipe else files(channel.folder)
    for path in [*paths, *spooled]:
        with open(path, "rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield path.name, number, line
