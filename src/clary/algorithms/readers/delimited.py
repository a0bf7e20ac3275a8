"""CSV: numbers between delimiters, no header."""

from __future__ import annotations

import io

import numpy as np

from ..environment import UserError
from .table import Floats

_SMALL = 1 << 20


def sniff(data: bytes) -> str:
    """The delimiter of the first line; a comma when nothing else stands out."""
    line = data[:65536].partition(b"\n")[0]
    if b"," in line:
        return ","
    return next((d.decode() for d in (b"\t", b";", b"|", b" ") if d in line.strip()), ",")


def matrix(data: bytes, name: str = "the data", first_line: int = 1) -> Floats:
    """Numbers of a CSV text, float32 [rows, columns]; empty cells are NaN. UserError with the first line that is odd.

    ``first_line`` is the number that the text's first line has in its file.
    """
    delimiter = sniff(data)
    text = data.strip(b"\r\n")
    if not text:
        return np.empty((0, 0), dtype=np.float32)
    if len(data) > _SMALL:
        return _by_arrow(text, delimiter, name, first_line)
    try:
        return np.loadtxt(
            io.BytesIO(text),
            dtype=np.float32,
            delimiter=None if delimiter == " " else delimiter,
            comments=None,
            ndmin=2,
        )
    except ValueError:
        return _line_by_line(text, delimiter, name, first_line)


def _line_by_line(text: bytes, delimiter: str, name: str, first_line: int) -> Floats:
    """For empty cells, quotes, and to say which line is wrong."""
    rows: list[list[float]] = []
    width = 0
    for number, line in enumerate(text.splitlines(), first_line):
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


def _by_arrow(text: bytes, delimiter: str, name: str, first_line: int) -> Floats:
    import pyarrow as pa
    from pyarrow import csv

    width = text.partition(b"\n")[0].count(delimiter.encode()) + 1
    names = [str(i) for i in range(width)]
    try:
        table = csv.read_csv(
            pa.BufferReader(text),
            read_options=csv.ReadOptions(column_names=names),
            parse_options=csv.ParseOptions(delimiter=delimiter),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.float32()),
                null_values=["", "nan", "NaN", "NA"],
                strings_can_be_null=True,
            ),
        )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return _line_by_line(text, delimiter, name, first_line)
    found = np.empty((table.num_rows, width), dtype=np.float32)
    for i, column in enumerate(table.columns):
        found[:, i] = column.to_numpy()
    return found
