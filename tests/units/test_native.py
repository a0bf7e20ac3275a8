"""What is written in Cython does what its counterparts in Python do, bit by bit."""

from __future__ import annotations

import socket
from typing import Any

import httptools
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clary.algorithms.randomcutforest import forest as cut_forest
from clary.algorithms.xgboost import serve
from clary.native import load
from clary.serving import authenticate, capture, container_http, doors, frames, meter

trees, requests, signatures = load("trees"), load("requests"), load("signatures")
native_frames, meters, cuts = load("frames"), load("meters"), load("cuts")
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


@given(st.integers(0, 0x7F000000), st.integers(-3, 3), st.integers(15, 20))
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


@given(
    st.lists(
        st.tuples(st.sampled_from([b"h", b"h", b"h", b"i"]), st.lists(st.floats(-9, 9), min_size=2, max_size=3)),
        max_size=5,
    )
)
def test_a_message_of_rows_is_answered_whole(asked: list[tuple[bytes, list[float]]]) -> None:
    limits = np.array([0.5, np.nan, np.nan], dtype=np.float32)
    features, lefts = np.array([1, 0, 0], dtype=np.intp), np.array([1, 1, 2], dtype=np.intp)
    values, one = np.array([0, 0.1, 0.7], dtype=np.float32), np.array([0], dtype=np.intp)
    made = trees.Trees(limits, features, lefts, values, one, one + 1, 2)
    rows, margins = np.empty((4, 2), dtype=np.float32), np.empty(4, dtype=np.float32)
    message = frames._pack([(head, ",".join(map(repr, row)).encode()) for head, row in asked])
    found = trees.answers(message, 4, len(message) - 4, b"h", b"said", made, 0.25, False, rows, margins)
    if 0 < len(asked) <= 4 and all(head == b"h" and len(row) == 2 for head, row in asked):
        sums = np.array([values[2 if np.float32(row[1]) >= 0.5 else 1] for _, row in asked], dtype=np.float32)
        lines = serve._lines(np.float32(0.25) + sums)
        assert found == frames._pack([(b"said", line) for line in lines])
    else:
        assert found is None
    assert trees.answers(message, 4, len(message) - 5, b"h", b"said", made, 0.25, False, rows, margins) is None


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


BYTES = st.binary(max_size=40)
TEXT = st.binary(max_size=40).map(lambda b: b.replace(b"\0", b""))


@given(st.lists(st.tuples(BYTES, BYTES), max_size=5), BYTES)
def test_messages_are_what_they_are_in_python(items: list[tuple[bytes, bytes]], before: bytes) -> None:
    message = native_frames.pack(items)
    assert message == frames._pack(items)
    size, whole = len(message) - 4, bytearray(before + message)
    assert native_frames.unpack(whole, len(before) + 4, size) == frames._unpack(whole, len(before) + 4, size) == items


@given(st.lists(st.tuples(st.integers(0, 10**6), TEXT, BYTES, BYTES), max_size=5))
def test_answers_are_taken_apart(given: list[tuple[int, bytes, bytes, bytes]]) -> None:
    items = [(b"%d\0%b\0%b" % (status, kind, custom), body) for status, kind, custom, body in given]
    message = frames._pack(items)
    assert native_frames.answers(message, 4, len(message) - 4) == given == frames._answers(message, 4, len(message) - 4)


@given(st.lists(st.tuples(BYTES, BYTES), max_size=3), st.data())
def test_broken_messages_are_errors(items: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    message = bytearray(frames._pack(items))
    for _ in range(data.draw(st.integers(0, 3))):
        message[data.draw(st.integers(4, len(message) - 1))] = data.draw(st.integers(0, 255))
    size = len(message) - 4 - data.draw(st.integers(0, 3))
    for native, ours in ((native_frames.unpack, frames._unpack), (native_frames.answers, frames._answers)):
        found = []
        for read_message in (native, ours):
            try:
                found.append(read_message(bytes(message), 4, size))
            except Exception:  # noqa: BLE001  # struct.error or ValueError: what is wrong has many names
                found.append(None)
        assert found[0] is None or found[0] == found[1]


HEADERS = st.dictionaries(
    st.sampled_from([b"content-type", b"accept", b"x-amzn-sagemaker-accept", b"x-amzn-sagemaker-session-id",
                     b"x-amzn-sagemaker-custom-attributes", b"x-amzn-sagemaker-inference-id"]), BYTES,
)  # fmt: skip


@given(BYTES, HEADERS, st.sampled_from([b"", b"accept", b"x-amzn-sagemaker-accept"]), BYTES)
def test_heads_of_requests(content_type: bytes, headers: dict[bytes, bytes], accept: bytes, model: bytes) -> None:
    assert native_frames.head(content_type, headers, accept, model) == frames._head(
        content_type, headers, accept, model
    )


@given(
    HEADERS, st.sampled_from([b"accept", b"x-amzn-sagemaker-accept"]), BYTES, st.floats(0, 4e9), st.floats(0, 100),
    st.lists(st.integers(0, 10**6), max_size=3).map(tuple),
)  # fmt: skip
def test_captured_requests(headers: Any, accept: bytes, custom: bytes, at: float, seconds: float, pieces: Any) -> None:
    given = (headers, accept, custom, at, seconds, pieces)
    assert native_frames.captured(*given) == capture._captured(*given)


@given(st.tuples(BYTES, BYTES, BYTES, BYTES, BYTES, st.integers(0, 2**48 - 1), st.binary(max_size=300)))
def test_responses(parts: Any) -> None:
    assert native_frames.response(*parts) == frames._response(*parts)


@given(st.lists(st.floats(0, 1e7), max_size=20))
def test_latencies(seconds: list[float]) -> None:
    ours, native = meter._Latencies(), meters.Latencies()
    for value in seconds:
        ours.add(value)
        native.add(value)
    assert meter._document(native) | {"samples": 0} == meter._document(ours) | {"samples": 0}
    assert native.buckets == ours.buckets


@given(
    st.binary(min_size=1, max_size=64),
    TEXT,
    st.dictionaries(TEXT, BYTES, max_size=4),
    BYTES,
    BYTES,
    st.binary(max_size=300),
)
def test_signatures(
    key: bytes, path: bytes, headers: dict[bytes, bytes], date: bytes, scope: bytes, body: bytes
) -> None:
    if not signatures.AVAILABLE:
        pytest.skip("Python's OpenSSL does not show its functions")
    names = tuple(headers)
    given = (path, names, headers, b";".join(names), date, scope, body)
    assert signatures.Signer(key).signature(*given) == authenticate._Signer(key).signature(*given)
    with pytest.raises(KeyError, match="none"):
        signatures.Signer(key).signature(path, (b"none",), {}, b"none", date, scope, body)


NAMES = st.sampled_from([b"host", b"x-amz-date", b"x-amz-target", b"x-amzn-trace-id", b"x-amz-", b"x", b"x-amz-z"])


@given(st.dictionaries(NAMES, BYTES), st.sets(NAMES))
def test_headers_of_the_service_that_are_not_signed(headers: dict[bytes, bytes], signed: set[bytes]) -> None:
    if not signatures.AVAILABLE:
        pytest.skip("Python's OpenSSL does not show its functions")
    names = tuple(sorted(signed & set(headers)))
    given = (b"/\n", names, headers, b";".join(names), b"", b"", b"")
    found = signatures.Signer(b"key").signature(*given)
    assert found == authenticate._Signer(b"key").signature(*given)
    assert (found is None) == bool({n for n in headers if n.startswith(b"x-amz-")} - signed)


class Parsed:
    """What the parser of HTTP makes of some bytes."""

    def __init__(self, data: bytes):
        self.url, self.headers, self.body, self.complete = b"", dict[bytes, bytes](), b"", 0
        self.twice = False
        parser = httptools.HttpRequestParser(self)
        parser.feed_data(data)
        self.method, self.stays = parser.get_method(), parser.should_keep_alive()

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.twice |= name.lower() in self.headers
        self.headers[name.lower()] = value

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete += 1


LINES = st.one_of(
    st.tuples(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,20}", fullmatch=True), st.text(st.characters(codec="latin-1"), max_size=12)),
    st.tuples(st.sampled_from(["Connection", "Transfer-Encoding", "Expect", "Content-Length", "Host", "TE", "Up grade", ""]),
              st.sampled_from(["keep-alive", "close", "chunked", "100-continue", "3", "+3", " 3 ", "x", "", "0x3"])),
)  # fmt: skip


@given(
    st.lists(LINES, max_size=4), st.binary(max_size=6), st.sampled_from([None, 0, 1, -1]),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/2.0"]), st.sampled_from(["\r\n", "\n", "\r"]),
    st.sampled_from([":", ": ", ":\t", " : "]), st.sampled_from(["POST", "GET", "post"]),
)  # fmt: skip
@example([("Host", "x"), ("A", "b")], b"body", 0, "HTTP/1.1", "\r\n", ": ", "POST")
def test_requests_are_read_as_the_parser_reads_them(
    lines: list[tuple[str, str]], body: bytes, off: int | None, version: str, end: str, colon: str, method: str
) -> None:
    if off is not None:
        lines = [*lines, ("Content-Length", str(len(body) + off))]
    text = f"{method} /endpoints/x/invocations {version}\r\n" + "".join(f"{n}{colon}{v}{end}" for n, v in lines)
    data = f"{text}\r\n".encode("latin-1") + body
    found = requests.Reader().read(data)
    if found is not None:
        parsed = Parsed(data)
        assert (parsed.complete, parsed.method, parsed.stays, parsed.twice) == (1, b"POST", True, False)
        assert found == (parsed.url, parsed.headers, parsed.body)


@given(
    st.lists(LINES, max_size=4), st.binary(max_size=6), st.sampled_from([None, 0, 1, -1]),
    st.sampled_from(["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found", "HTTP/1.0 200 OK", "HTTP/1.1 204 No", "HTTP/1.1 103 Hints",
                     "HTTP/1.1 2000 OK", "HTTP/1.1 200", "HTTP/1.1 20x OK", "HTTP/1.1 200 O\0K"]),
    st.sampled_from(["\r\n", "\n", "\r"]), st.sampled_from([":", ": ", ":\t", " : "]),
)  # fmt: skip
@example([("Content-Type", "x"), ("A", "b")], b"body", 0, "HTTP/1.1 200 OK", "\r\n", ": ")
def test_answers_are_read_as_the_parser_reads_them(
    lines: list[tuple[str, str]], body: bytes, off: int | None, status: str, end: str, colon: str
) -> None:
    if off is not None:
        lines = [*lines, ("Content-Length", str(len(body) + off))]
    text = f"{status}\r\n" + "".join(f"{n}{colon}{v}{end}" for n, v in lines)
    data = f"{text}\r\n".encode("latin-1") + body
    found = requests.Reader().answer(data)
    if found is not None:
        parsed = container_http.Response()
        parsed.feed(data)
        assert (parsed.complete, parsed.broken, parsed.keep_alive) == (True, "", True)
        assert found == (parsed.status, parsed.headers, parsed.body)


def test_a_usual_answer_is_read() -> None:
    found = requests.Reader().answer(b"HTTP/1.1 422 Unprocessable\r\ncontent-type: a/b\r\nContent-Length: 2\r\n\r\nno")
    assert found == (422, {b"content-type": b"a/b", b"content-length": b"2"}, b"no")


def test_a_connection_is_quiet_until_the_other_end_does_something() -> None:
    for quiet in (requests.quiet, doors._quiet):
        ours, theirs = socket.socketpair()
        with ours:
            assert quiet(ours.fileno())
            theirs.close()
            assert not quiet(ours.fileno())


def test_nothing_is_no_value() -> None:
    row = np.zeros((1, 1), dtype=np.float32)
    for call, *parts in (
        (native_frames.pack, [(None, b"")]),
        (native_frames.unpack, None, 0, 2),
        (native_frames.answers, None, 0, 2),
        (native_frames.head, b"", {b"accept": None}, None, b""),
        (native_frames.response, b"", b"", b"", None, b"", 1, b""),
        (requests.Reader().read, None),
        (requests.Reader().answer, None),
        (trees.read_row, None, row, 0),
        (trees.read_row, b"1", None, 0),
        (trees.write, None, 0),
    ):
        with pytest.raises(TypeError):
            call(*parts)


def test_usual_requests_are_read() -> None:
    reader = requests.Reader()
    for kind in (b"text/csv", b"text/csv", b"application/json"):
        head = (
            b"POST /endpoints/some-name/invocations HTTP/1.1\r\nHost: h:1\r\nContent-Type: %b\r\nContent-Length: 3\r\n"
            % kind
        )
        data = head + b"Connection: Keep-Alive\r\n\r\n1,2"
        headers = {b"host": b"h:1", b"content-type": kind, b"content-length": b"3", b"connection": b"Keep-Alive"}
        assert reader.read(data) == (b"/endpoints/some-name/invocations", headers, b"1,2")
        assert reader.read(data[:-1]) is None and reader.read(data + b"3") is None


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 4),
    st.integers(1, 40),
    st.integers(1, 9),
    st.sampled_from([1.0, 1e-3, 1e30]),
)
def test_random_cuts_part_points_alike(seed: int, trees: int, size: int, width: int, scale: float) -> None:
    random = np.random.default_rng(seed)
    samples = [(random.integers(-3, 4, (size, width)) * scale).astype(np.float32) for _ in range(trees)]
    forest = cut_forest.grown(samples, random)
    points = np.concatenate(
        [samples[0], samples[-1] + np.float32(scale / 2), random.normal(0, 5 * scale, (20, width)).astype(np.float32)]
    )
    points[-1, -1] = np.nan
    found = cut_forest.scorer(forest)(points)
    np.testing.assert_allclose(found, forest.scores(points), rtol=2e-6)


@pytest.mark.parametrize(
    ("column", "value"),
    [("left", 10**6), ("left", 0), ("right", -2), ("parent", 5000), ("parent", 3), ("dimension", 2), ("dimension", -1),
     ("roots", 10**6), ("roots", -1), ("mass", 0), ("depth", -1)],
)  # fmt: skip
def test_what_is_no_forest_of_cuts_is_refused(column: str, value: int) -> None:
    random = np.random.default_rng(0)
    forest = cut_forest.grown([random.normal(size=(20, 2)).astype(np.float32)], random)
    values = {f: getattr(forest, f).copy() for f in forest.__slots__}
    made = cuts.Cuts(**values)
    values[column][0] = value
    with pytest.raises(ValueError, match="outside the forest"):
        cuts.Cuts(**values)
    with pytest.raises(ValueError, match="columns"):
        made.add(np.zeros((1, 3), dtype=np.float32), np.zeros(1))
    with pytest.raises(ValueError, match="columns"):
        made.add(np.zeros((2, 2), dtype=np.float32), np.zeros(1))
    values = {**values, "cut": np.zeros(3, dtype=np.float32)}
    with pytest.raises(ValueError, match="differ in length"):
        cuts.Cuts(**values)
