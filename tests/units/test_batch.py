"""The pure parts of batch transform: paths, records, payloads."""

from __future__ import annotations

import io
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.algorithms.readers import recordio
from clary.services.jsonpath import PathError, compile_path
from clary.services.sagemaker.transform.execution import Parameters, parameters
from clary.services.sagemaker.transform.records import RecordError, bare, payloads, records

ROW = ["7", "1.5", "2.5", "0.9"]
DOCUMENT = {"id": 7, "f": [1, 2, 3], "in": {"a": {"x": 1}, "b": {"x": 2}}, "it's": 5}


@pytest.mark.parametrize(
    ("path", "value", "found"),
    [
        ("$", ROW, ROW),
        ("$[1]", ROW, "1.5"),
        ("$[-1]", ROW, "0.9"),
        ("$[0,-1]", ROW, ["7", "0.9"]),
        ("$[1:]", ROW, ROW[1:]),
        ("$[:2]", ROW, ROW[:2]),
        ("$[1:3]", ROW, ROW[1:3]),
        ("$[0,2:]", ROW, ["7", "2.5", "0.9"]),
        ("$[*]", ROW, ROW),
        ("$.f[1]", DOCUMENT, 2),
        ("$.f[0,2]", DOCUMENT, [1, 3]),
        ("$['id','f']", DOCUMENT, {"id": 7, "f": [1, 2, 3]}),
        ("$['it\\'s']", DOCUMENT, 5),
        ("$.in.*.x", DOCUMENT, [1, 2]),
        ("$['in']['b']", DOCUMENT, {"x": 2}),
    ],
)
def test_paths(path: str, value: Any, found: Any) -> None:
    assert compile_path(path)(value) == found


@pytest.mark.parametrize("path", ["", "a", "$[", "$[]", "$[a]", "$..a", "$[?(@.a)]", "$['a'", "$[1,]", "$[1::2]", "$ "])
def test_what_is_no_path(path: str) -> None:
    with pytest.raises(PathError):
        compile_path(path)


def test_paths_have_bounds() -> None:
    deep: list[Any] = []
    deep.append(deep)
    with pytest.raises(PathError, match="more than 1000000 values"):
        compile_path("$" + "[0:,0:]" * 60)(deep)
    for path in ("$." + "a" * 5000, "$[" + "9" * 5000 + "]", "$[0:" + "9" * 11 + "]"):
        with pytest.raises(PathError):
            compile_path(path)


@pytest.mark.parametrize("path", ["$[9]", "$.a", "$['a','id']", "$.f.x", "$.id[0]"])
def test_paths_that_lead_nowhere(path: str) -> None:
    with pytest.raises(PathError, match="does not exist in a record"):
        compile_path(path)(DOCUMENT if path != "$[9]" else ROW)


@given(st.lists(st.binary(max_size=20), max_size=20), st.integers(20, 60), st.booleans())
def test_payloads_hold_every_record_once_in_order_and_within_the_limit(
    items: list[bytes], limit: int, together: bool
) -> None:
    groups = list(payloads(items, together, limit))
    assert [r for g in groups for r in g] == items
    assert all(g and (len(g) == 1 or (together and sum(map(len, g)) <= limit)) for g in groups)


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_framed_records_come_back(items: list[bytes]) -> None:
    framed = b"".join(recordio.frame(i) for i in items)
    assert [bare(r, "RecordIO") for r in records(io.BytesIO(framed), "RecordIO", 0)] == items
    tf = b"".join(struct.pack("<Q", len(i)) + b"crc." + i + b"crc." for i in items)
    assert [bare(r, "TFRecord") for r in records(io.BytesIO(tf), "TFRecord", 0)] == items
    assert b"".join(records(io.BytesIO(tf), "TFRecord", 0)) == tf


@given(st.binary(max_size=200))
def test_lines_are_whole(text: bytes) -> None:
    lines = list(records(io.BytesIO(text), "Line", 0))
    assert b"".join(lines) == text
    assert all(line.endswith(b"\n") for line in lines[:-1])


@pytest.mark.parametrize("split", ["None", "Line", "RecordIO", "TFRecord"])
def test_a_record_over_the_limit_is_refused(split: str) -> None:
    data = {"RecordIO": recordio.frame(b"x" * 99), "TFRecord": struct.pack("<Q", 99) + b"crc." + b"x" * 103}
    with pytest.raises(RecordError, match="larger than MaxPayloadInMB"):
        list(records(io.BytesIO(data.get(split, b"x" * 99)), split, 50))


def test_a_cut_off_or_foreign_record_is_refused() -> None:
    for split, data in (("RecordIO", recordio.frame(b"abc")[:-1]), ("TFRecord", b"12"), ("RecordIO", b"\0" * 12)):
        with pytest.raises(RecordError):
            list(records(io.BytesIO(data), split, 0))


@pytest.mark.parametrize(
    ("spec", "told", "found"),
    [
        ({}, None, Parameters(1, 6 << 20, True)),
        (
            {},
            b'{"MaxConcurrentTransforms": 4, "BatchStrategy": "SINGLE_RECORD", "MaxPayloadInMB": 9}',
            Parameters(4, 9 << 20, False),
        ),
        (
            {"MaxConcurrentTransforms": 2, "MaxPayloadInMB": 1},
            b'{"MaxConcurrentTransforms": 4, "MaxPayloadInMB": 9}',
            Parameters(2, 1 << 20, True),
        ),
        ({}, b'{"MaxConcurrentTransforms": 64, "MaxPayloadInMB": 50}', Parameters(2, 50 << 20, True)),
        ({"MaxPayloadInMB": 0}, b'{"MaxConcurrentTransforms": 3}', Parameters(1, 255 << 20, True)),
        (
            {},
            b'{"MaxConcurrentTransforms": "8", "MaxPayloadInMB": -1, "BatchStrategy": 3}',
            Parameters(1, 6 << 20, True),
        ),
        ({}, b"not json", Parameters(1, 6 << 20, True)),
        ({"BatchStrategy": "MultiRecord"}, b'{"BatchStrategy": "SINGLE_RECORD"}', Parameters(1, 6 << 20, True)),
    ],
)
def test_a_job_overrules_its_container(spec: dict[str, Any], told: bytes | None, found: Parameters) -> None:
    assert parameters({"TransformInput": {"SplitType": "Line"}, **spec}, told) == found


def test_without_records_a_container_cannot_have_them_one_by_one() -> None:
    assert parameters({"TransformInput": {}}, b'{"BatchStrategy": "SINGLE_RECORD"}').together
