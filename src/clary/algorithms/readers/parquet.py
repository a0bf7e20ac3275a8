"""Parquet: columns of numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..environment import UserError
from .table import Floats

_ROWS = 1 << 16


def matrices(source: Any, name: str = "the data") -> Iterator[Floats]:
    """A file's rows, float32 [rows, columns], some at a time; nulls are NaN."""
    import pyarrow as pa
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(source) as file:
            for batch in file.iter_batches(_ROWS):
                yield np.column_stack(
                    [np.asarray(c.cast(pa.float32()).to_numpy(zero_copy_only=False), dtype=np.float32) for c in batch]
                )
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise UserError(f"Failed to read parquet data of {name}: {error}") from None
