"""What is written in Cython does what its counterparts in Python do, bit by bit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.algorithms.xgboost import serve
from clary.native import load

trees = load("trees")
pytestmark = pytest.mark.skipif(trees is None, reason="native code is not compiled here")

NUMBERS = st.one_of(
    st.integers(-(10**25), 10**25).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{0,25})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
)


def read(read_row, body: bytes, columns: int):  # type: ignore[no-untyped-def]
    rows = np.full((3, columns), 7, dtype=np.float32)
    with np.errstate(over="ignore"):
        taken = read_row(body, rows, 1)
    assert (rows[::2] == 7).all()
    return rows[1].tobytes() if taken else None


@given(
    st.lists(NUMBERS, min_size=1, max_size=5), st.sampled_from([",", ", ", " ,"]), st.sampled_from(["", "\n", "\r\n"])
)
def test_rows_are_read_as_python_reads_them(numbers: list[str], between: str, end: str) -> None:
    body = (between.join(numbers) + end).encode()
    found = read(trees.read_row, body, len(numbers))
    assert found is None or found == read(serve._parse_row, body, len(numbers))
    assert read(trees.read_row, body, len(numbers) + 1) is None


@given(st.integers(0, 0x7F7FFFFE), st.integers(-3, 3), st.integers(15, 20))
def test_numbers_between_two_floats_go_to_the_right_one(bits: int, off: int, digits: int) -> None:
    lower, upper = np.array([bits, bits + 1], dtype=np.uint32).view(np.float32).astype(np.float64)
    middle = np.float64((lower + upper) / 2)
    for _ in range(abs(off)):
        middle = np.nextafter(middle, np.inf if off > 0 else -np.inf)
    body = f"{middle:.{digits}g}".encode()
    assert read(trees.read_row, body, 1) == read(serve._parse_row, body, 1)


@given(st.lists(st.floats(-1e30, 1e30), min_size=1, max_size=5))
def test_plain_rows_are_read(numbers: list[float]) -> None:
    body = ",".join(map(repr, numbers)).encode()
    assert read(trees.read_row, body, len(numbers)) == np.array(numbers, dtype=np.float32).tobytes()


@given(
    st.one_of(st.binary(max_size=30), st.text("0123456789.,-+eE \r\n", max_size=30).map(str.encode)), st.integers(1, 4)
)
def test_other_bodies_are_left_to_python(body: bytes, columns: int) -> None:
    found = read(trees.read_row, body, columns)
    assert found is None or found == read(serve._parse_row, body, columns)


@given(st.lists(st.floats(width=32), max_size=5))
def test_values_are_written_as_python_writes_them(values: list[float]) -> None:
    array = np.array(values, dtype=np.float32)
    assert trees.write(array, len(values)) == serve._lines(array)


def test_a_table_that_is_no_forest_is_refused() -> None:
    def forest(features: list[int], lefts: list[int], roots: list[int], width: int = 2) -> object:
        columns = [np.array(c, dtype=np.intp) for c in (features, lefts)]
        values = np.zeros(len(features), dtype=np.float32)
        ends = [np.array(c, dtype=np.intp) for c in (roots, [1] * len(roots))]
        return trees.Trees(values, *columns, values, *ends, width)

    made = forest([0, 0, 0], [1, 1, 2], [0])
    with pytest.raises(ValueError, match="rows of 3 columns for a forest of 2"):
        made.margins(np.zeros((1, 3), dtype=np.float32), 0.0, np.zeros(1, dtype=np.float32))  # type: ignore[attr-defined]
    for features, lefts, roots in (
        ([0, 0, 0], [2, 1, 2], [0]),
        ([2, 0, 0], [1, 1, 2], [0]),
        ([0, 0, 0], [-1, 1, 2], [0]),
        ([0, 0, 0], [1, 1, 2], [3]),
    ):
        with pytest.raises(ValueError, match="outside the forest"):
            forest(features, lefts, roots)
