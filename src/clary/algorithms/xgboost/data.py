"""Reading channels and request bodies into matrices: CSV, libsvm, Parquet, RecordIO-protobuf."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import recordio
from ..environment import Channel, UserError

Floats = NDArray[np.float32]

_TYPES = {
    "csv": "csv", "text/csv": "csv", "libsvm": "libsvm", "text/libsvm": "libsvm", "text/x-libsvm": "libsvm",
    "parquet": "parquet", "application/x-parquet": "parquet", "recordio-protobuf": "recordio",
    "application/x-recordio-protobuf": "recordio",
}  # fmt: skip
_DEPTH = 3
_SMALL = 1 << 20


@dataclass(slots=True)
class Table:
    """Rows: dense features, or sparse ones in compressed rows; labels, weights and ranking groups where present."""

    features: Any  # float32 [rows, columns], or scipy.sparse.csr_matrix
    labels: Floats | None = None
    weights: Floats | None = None
    groups: NDArray[np.int64] | None = None  # query ids, one a row

    @property
    def rows(self) -> int:
        """How many."""
        return int(self.features.shape[0])

    @property
    def columns(self) -> int:
        """Features a row."""
        return int(self.features.shape[1])


def kind_of(content_type: str | None) -> str:
    """The format that a channel's content type names; absent means libsvm."""
    if not content_type:
        return "libsvm"
    name, _, rest = content_type.lower().partition(";")
    found = _TYPES.get(name.strip())
    if found is None:
        accepted = ", ".join(f"'{t}'" for t in _TYPES)
        raise UserError(f"{content_type} is not an accepted ContentType: {accepted}.")
    for part in rest.split(";"):
        key, _, value = part.partition("=")
        if found == "csv" and key.strip() == "label_size" and value.strip() != "1":
            raise UserError(
                f"{value.strip()} is not an accepted label_size: XGBoost takes one label, in the first column."
            )
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
        data = channel.fifo.read_bytes()
        if data:
            tables.append(_parse(kind, data, weights, f"the {channel.name} channel's pipe"))
    else:
        for path in files(channel.folder):
            if path.stat().st_size:
                tables.append(_read_file(kind, path, weights))
    if not tables:
        where = "training" if channel.name == "train" else channel.name
        raise UserError(f"No data in {where} channel path {channel.folder}")
    return concatenate(tables)


def _read_file(kind: str, path: Path, weights: bool) -> Table:
    if kind == "parquet":
        return _parquet(path, weights)
    return _parse(kind, path.read_bytes(), weights, path.name)


def _parse(kind: str, data: bytes, weights: bool, name: str) -> Table:
    if kind == "csv":
        return _split(csv_matrix(data, name), weights)
    if kind == "libsvm":
        return libsvm(data, name)
    if kind == "recordio":
        features, labels = recordio.read(data)
        if labels is None:
            raise UserError(f"{name} has RecordIO-protobuf records without a label")
        return Table(_tensors(features), labels)
    return _parquet(io.BytesIO(data), weights)


def _split(matrix: Floats, weights: bool) -> Table:
    start = 2 if weights else 1
    if matrix.shape[1] <= start:
        raise UserError(f"The data has {matrix.shape[1]} columns, which leaves no features behind the label.")
    return Table(np.ascontiguousarray(matrix[:, start:]), matrix[:, 0].copy(), matrix[:, 1].copy() if weights else None)


def sniff(data: bytes) -> str:
    """The delimiter of the first line; a comma when nothing else stands out."""
    line = data[:65536].partition(b"\n")[0]
    if b"," in line:
        return ","
    return next((d.decode() for d in (b"\t", b";", b"|", b" ") if d in line.strip()), ",")


def csv_matrix(data: bytes, name: str = "the data") -> Floats:
    """Numbers of a CSV text, float32 [rows, columns]; empty cells are NaN. UserError with the first line that is odd."""
    delimiter = sniff(data)
    text = data.strip(b"\r\n")
    if not text:
        return np.empty((0, 0), dtype=np.float32)
    if len(data) > _SMALL:
        return _arrow_csv(text, delimiter, name)
    try:
        return np.loadtxt(
            io.BytesIO(text),
            dtype=np.float32,
            delimiter=None if delimiter == " " else delimiter,
            comments=None,
            ndmin=2,
        )
    except ValueError:
        return _slow_csv(text, delimiter, name)


def _slow_csv(text: bytes, delimiter: str, name: str) -> Floats:
    """Line by line: for empty cells, quotes, and to say which line is wrong."""
    rows: list[list[float]] = []
    width = 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        cells = line.decode("utf-8", "replace").split(delimiter)
        try:
            row = [float(c.strip().strip('"') or "nan") for c in cells]
        except ValueError as error:
            hint = " Remove the header row." if number == 1 else ""
            raise UserError(
                f"Failed to parse csv data in line {number} of {name}: {error}. The file must have no header and "
                f"hold numbers only, with the label in the first column.{hint}"
            ) from None
        width = width or len(row)
        if len(row) != width:
            raise UserError(
                f"Failed to parse csv data: line {number} of {name} has {len(row)} columns, the first has {width}."
            )
        rows.append(row)
    return np.array(rows, dtype=np.float32)


def _arrow_csv(text: bytes, delimiter: str, name: str) -> Floats:
    import pyarrow as pa
    from pyarrow import csv

    read = csv.ReadOptions(autogenerate_column_names=True)
    try:
        table = csv.read_csv(
            io.BytesIO(text), read_options=read, parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=csv.ConvertOptions(null_values=["", "nan", "NaN", "NA"], strings_can_be_null=True),
        )  # fmt: skip
        columns = [np.asarray(c.cast(pa.float32()).to_numpy(), dtype=np.float32) for c in table.columns]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _slow_csv(text, delimiter, name)
    return np.column_stack(columns)


def libsvm(data: bytes, name: str = "the data", labelled: bool = True) -> Table:
    """``label[:weight] [qid:n] index:value …``; indices are offsets, as the training loader takes them."""
    indices: list[int] = []
    values: list[float] = []
    ends = [0]
    labels: list[float] = []
    weights: list[float] = []
    groups: list[int] = []
    for number, line in enumerate(data.splitlines(), 1):
        tokens = line.partition(b"#")[0].split()
        if not tokens:
            continue
        try:
            for position, token in enumerate(tokens):
                key, colon, value = token.partition(b":")
                if position == 0 and labelled:
                    labels.append(float(key))
                    if colon:
                        weights.append(float(value))
                elif key == b"qid":
                    groups.append(int(value))
                elif colon:
                    indices.append(int(key))
                    values.append(float(value))
        except ValueError:
            raise UserError(f"Failed to parse libsvm data in line {number} of {name}: {line[:80]!r}") from None
        ends.append(len(indices))
    if indices and min(indices) < 0:
        raise UserError(f"{name} has a negative feature index")
    features = _csr(np.array(values, dtype=np.float32), indices, ends, (max(indices) + 1) if indices else 0)
    return Table(
        features,
        np.array(labels, dtype=np.float32) if labelled else None,
        np.array(weights, dtype=np.float32) if len(weights) == len(labels) and weights else None,
        np.array(groups, dtype=np.int64) if len(groups) == len(ends) - 1 and groups else None,
    )


def _csr(values: Floats, indices: Any, ends: list[int], columns: int) -> Any:
    from scipy.sparse import csr_matrix

    return csr_matrix((values, np.asarray(indices, dtype=np.int64), np.asarray(ends)), shape=(len(ends) - 1, columns))


def _tensors(tensors: list[recordio.Tensor]) -> Any:
    """Dense rows of equal width as a matrix, sparse ones in compressed rows."""
    if not any(len(t.keys) for t in tensors):
        widths = {len(t.values) for t in tensors}
        if len(widths) > 1:
            raise UserError(f"RecordIO-protobuf records have {len(widths)} different numbers of features")
        return np.stack([t.values for t in tensors])
    columns = max(max(t.columns, int(t.keys.max()) + 1 if len(t.keys) else 0) for t in tensors)
    ends = np.concatenate([[0], np.cumsum([len(t.keys) for t in tensors])]).tolist()
    return _csr(
        np.concatenate([t.values for t in tensors]),
        np.concatenate([t.keys for t in tensors]).astype(np.int64),
        ends,
        columns,
    )


def _parquet(source: Any, weights: bool) -> Table:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(source)
        columns = [np.asarray(c.cast(pa.float32()).to_numpy(), dtype=np.float32) for c in table.columns]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"Failed to read parquet data: {error}") from None
    return _split(np.column_stack(columns), weights)


def concatenate(tables: list[Table]) -> Table:
    """All rows of several tables."""
    if len(tables) == 1:
        return tables[0]
    if isinstance(tables[0].features, np.ndarray):
        widths = {t.columns for t in tables}
        if len(widths) > 1:
            raise UserError(f"The channel's files have different numbers of columns: {sorted(w + 1 for w in widths)}")
        features: Any = np.concatenate([t.features for t in tables])
    else:
        from scipy.sparse import vstack

        width = max(t.columns for t in tables)
        for table in tables:
            table.features.resize((table.rows, width))
        features = vstack([t.features for t in tables], format="csr")

    def joined(name: str) -> Any:
        parts = [getattr(t, name) for t in tables]
        return None if any(p is None for p in parts) else np.concatenate(parts)

    return Table(features, joined("labels"), joined("weights"), joined("groups"))


def payload(body: bytes, content_type: str) -> Any:
    """The feature matrix of a request; UserError when it cannot be read."""
    if content_type == "csv":
        return csv_matrix(body)
    if content_type == "libsvm":
        return _request_libsvm(body)
    return _tensors(recordio.read(body)[0])


def _request_libsvm(body: bytes) -> Any:
    return libsvm(b"\n".join(_featured(body)), labelled=False).features


def _featured(body: bytes) -> Iterator[bytes]:
    """Lines without tokens that are no pairs, as a label is."""
    for line in body.splitlines():
        if line.strip():
            yield b" ".join(t for t in line.split() if b":" in t) or b"0:nan"
