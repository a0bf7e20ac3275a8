"""XGBoost's rules for its channels: formats, hidden files, where label and weight stand."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from ..contract import CSV, LIBSVM, PARQUET, RECORDIO
from ..environment import Channel, UserError
from ..readers import delimited, libsvm, parquet, recordio
from ..readers.source import parameters
from ..readers.table import Floats, Table, concatenate

ACCEPTED = (LIBSVM, CSV, PARQUET, RECORDIO)
_NAMES = (
    "csv", "text/csv", "libsvm", "text/libsvm", "text/x-libsvm", "parquet", "application/x-parquet",
    "recordio-protobuf", "application/x-recordio-protobuf",
)  # fmt: skip
_DEPTH = 3


def kind_of(content_type: str | None) -> str:
    """The format that a channel's content type names; absent means libsvm."""
    if not content_type:
        return LIBSVM
    found, options = parameters(content_type)
    if found not in ACCEPTED:
        accepted = ", ".join(f"'{t}'" for t in _NAMES)
        raise UserError(f"{content_type} is not an accepted ContentType: {accepted}.")
    size = options.get("label_size", "1")
    if found == CSV and size != "1":
        raise UserError(f"{size} is not an accepted label_size: XGBoost takes one label, in the first column.")
    return found


def files(folder: Path) -> list[Path]:
    """A channel's files in order, three folders deep; hidden files are refused, files that begin with _ skipped."""
    found: list[Path] = []

    def walk(path: Path, depth: int) -> None:
        for entry in sorted(path.iterdir()):
            if entry.name.startswith("."):
                raise UserError("Hidden file found in the data path! Remove that before training.")
            if entry.is_dir():
                if depth < _DEPTH:
                    walk(entry, depth + 1)
            elif not entry.name.startswith("_"):
                found.append(entry)

    if folder.is_dir():
        walk(folder, 0)
    return found


def read_channel(channel: Channel, weights: bool) -> Table:
    """All of a channel; UserError when it holds nothing or cannot be read."""
    kind = kind_of(channel.content_type)
    tables: list[Table] = []
    if channel.pipe:
        data = channel.fifo_of(0).read_bytes()
        if data:
            tables.append(_parse(kind, data, weights, f"the {channel.name} channel's pipe"))
    else:
        for path in files(channel.folder):
            if path.stat().st_size:
                tables.append(_parse(kind, path.read_bytes(), weights, path.name))
    if not tables:
        where = "training" if channel.name == "train" else channel.name
        raise UserError(f"No data in {where} channel path {channel.folder}")
    return concatenate(tables)


def _parse(kind: str, data: bytes, weights: bool, name: str) -> Table:
    if kind == CSV:
        return _split(delimited.matrix(data, name), weights)
    if kind == LIBSVM:
        return libsvm.table(data, name)
    if kind == RECORDIO:
        found = recordio.table(data, name)
        if found.labels is None:
            raise UserError(f"{name} has RecordIO-protobuf records without a label")
        return found
    return _split(np.concatenate(list(parquet.matrices(io.BytesIO(data), name))), weights)


def _split(matrix: Floats, weights: bool) -> Table:
    start = 2 if weights else 1
    if matrix.shape[1] <= start:
        raise UserError(f"The data has {matrix.shape[1]} columns, which leaves no features behind the label.")
    return Table(np.ascontiguousarray(matrix[:, start:]), matrix[:, 0].copy(), matrix[:, 1].copy() if weights else None)


def payload(body: bytes, kind: str) -> Any:
    """The feature matrix of a request; UserError when it cannot be read."""
    if kind == CSV:
        return delimited.matrix(body)
    if kind == LIBSVM:
        return libsvm.request(body)
    return recordio.table(body).features
