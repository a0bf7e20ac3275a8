"""What callers write is bounded before anything looks at it."""

from __future__ import annotations

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.wire import bounded, cbor_body
from clary.wire.message import Malformed, Request
from clary.wire.model import load
from clary.wire.protocols import PROTOCOLS


def test_depth_is_bounded() -> None:
    most = bounded.MAX_DEPTH
    assert bounded.loads("[" * most + "]" * most)
    for text in ("[" * (most + 2) + "]" * (most + 2), '{"a":' * (most + 2) + "1" + "}" * (most + 2), "[" * 100_000):
        with pytest.raises(ValueError):
            bounded.loads(text)
    assert len(bounded.loads("[" + "[]," * 1000 + "[]]")) == 1001  # many are not deep


def test_documents_with_aliases_are_counted_as_written_out() -> None:
    inner: list[object] = [1]
    for _ in range(30):
        inner = [inner, inner]
    with pytest.raises(ValueError, match="more than 1000 values"):
        bounded.check_depth(inner, 1000)


@given(st.text(max_size=25) | st.text("0123456789²٣", max_size=25))
def test_digits_are_those_that_int_takes(text: str) -> None:
    assert bounded.digits(text) == (0 < len(text) < 19 and all(c in "0123456789" for c in text))


@given(st.text(max_size=25))
def test_whole_numbers_are_plain_decimals(text: str) -> None:
    plain = text.removeprefix("-").removeprefix("+") if text[:2] not in ("-+", "+-") else "x"
    good = 0 < len(plain) < 20 and all(c in "0123456789" for c in plain) and text[:2] not in ("--", "++")
    try:
        found = bounded.whole(text, -(10**20), 10**20)
    except ValueError:
        assert not good
    else:
        assert good and found == int(text)


@pytest.mark.parametrize("tag", [0, 2, 4, 28, 29, 30, 35, 36, 37, 258, 260])
def test_only_moments_are_tags_of_cbor(tag: int) -> None:
    with pytest.raises(Malformed):
        cbor_body.loads(cbor2.dumps(cbor2.CBORTag(tag, "1")))
    assert cbor_body.loads(cbor2.dumps({"a": cbor2.CBORTag(1, 5)}))["a"].timestamp() == 5


@pytest.mark.parametrize(
    "params",
    [
        {"Namespace": 1}, {"MetricData": {}}, {"MetricData": [{"MetricName": "a", "Value": "1"}]},
        {"MetricData": [{"MetricName": "a", "Value": True}]}, {"MetricData": [{"MetricName": "a", "Timestamp": "now"}]},
        {"MetricData": [{"MetricName": "a", "Timestamp": 1e18}]}, {"MetricData": [{"MetricName": "a", "Timestamp": float("nan")}]},
        {"MetricData": [{"MetricName": "a", "StorageResolution": 2**31}]}, {"MetricData": [{"MetricName": b"a"}]},
    ],
)  # fmt: skip
def test_types_of_cbor_are_checked(params: object) -> None:
    codec = PROTOCOLS["smithy-rpc-v2-cbor"](load("cloudwatch"))
    path = "/service/GraniteServiceVersion20100801/operation/PutMetricData"
    with pytest.raises(Malformed):
        codec.read(Request("POST", path, "", {}, cbor2.dumps(params)))


@pytest.mark.parametrize(
    "query", ["max-keys=²", "max-keys=1_0", "max-keys=" + "9" * 5000, "max-keys=2147483648", "max-keys="]
)
def test_numbers_in_queries_are_read_with_care(query: str) -> None:
    codec = PROTOCOLS["rest-xml"](load("s3"))
    with pytest.raises(Malformed):
        codec.read(Request("GET", "/b", f"list-type=2&{query}", {}))
