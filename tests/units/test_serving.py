"""Parts of the data plane that need no server."""

from __future__ import annotations

import os
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest

from clary.serving import capture, frames, meter
from clary.serving.capture import Captured, Captures
from clary.serving.meter import Meters
from clary.serving.sessions import Sessions
from clary.serving.table import Capture

RULE = Capture("s3://b/p", 100, True, True)
KEY = ("1", "r", "e", "v")


def captured() -> Captured:
    return Captured(b"text/csv", b"", b"id", b"a=b", b"m.tar.gz", 1.25, 0.5, (3, 4))


def test_what_is_captured_is_read_back() -> None:
    assert Captured.read(captured().fields()) == captured()
    plain = Captured(b"", b"", b"", b"", b"", 0.0, 0.0)
    assert Captured.read(plain.fields()) == plain


def test_captures_leave_a_full_disk_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room = namedtuple("room", "total used free")
    captures = Captures(tmp_path / "capture")
    monkeypatch.setattr(capture.shutil, "disk_usage", lambda _: room(100, 99, 1))
    captures.add(captures.of(RULE, KEY), (captured().fields(), b"1"), (b"text/csv", b"2"))
    captures.hand_over()
    assert (captures.dropped, list((tmp_path / "capture").glob("*"))) == (1, [])
    monkeypatch.setattr(capture.shutil, "disk_usage", lambda _: room(100, 50, 50))
    captures.add(captures.of(RULE, KEY), (captured().fields(), b"1"), (b"text/csv", b"2"))
    captures.hand_over()
    assert len(list((tmp_path / "capture").glob("*.captured"))) == 1


def test_what_a_killed_front_captured_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capture, "PIECE", 4)
    folder = tmp_path / "capture"
    killed = Captures(folder)
    for number in range(3):
        gathered = killed.of(RULE, KEY)
        killed.add(gathered, (captured().fields(), b"%d" % number * 5), (b"text/csv", b"2"))
    (path,) = folder.glob("*")
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])  # it was killed while it wrote
    Captures(folder)
    (path,) = folder.glob("*.captured")
    items, end = frames.every(path.read_bytes())
    assert [body for _, body in items[1::2]] == [b"00000", b"11111"]
    assert whole.startswith(frames.pack([items[0]])) and frames.every(whole[:end]) == (items, end)


def test_a_disk_that_takes_a_part_keeps_what_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "capture"
    captures = Captures(folder)
    gathered = captures.of(RULE, KEY)
    captures.add(gathered, (captured().fields(), b"1"), (b"text/csv", b"2"))
    assert gathered.write() == 0
    monkeypatch.setattr(os, "write", _full_after(os.write, 10))
    captures.add(gathered, (captured().fields(), b"3"), (b"text/csv", b"4"))
    captures.hand_over()
    (path,) = folder.glob("*.captured")
    data = path.read_bytes()
    items, end = frames.every(data)
    assert (captures.dropped, end, [body for _, body in items]) == (1, len(data), [b"", b"1", b"2"])


def _full_after(write: Callable[[int, bytes], int], room: int) -> Callable[[int, bytes], int]:
    left = [room]

    def written(file: int, data: bytes) -> int:
        if not left[0]:
            raise OSError(28, "No space left on device")
        count = write(file, data[: left[0]])
        left[0] -= count
        return count

    return written


def test_counts_are_handed_over_once_a_minute_while_control_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [6000.0]
    monkeypatch.setattr(meter.time, "time", lambda: clock[0])
    meters = Meters(tmp_path / "metrics")
    files = lambda: len(list((tmp_path / "metrics").glob("*.json")))  # noqa: E731
    variant = (*KEY, "", "")
    for seconds, away, expected in (
        (0, False, 1),
        (1, False, 2),
        (2, True, 2),
        (59, True, 2),
        (61, True, 3),
        (62, False, 4),
    ):
        clock[0] = 6000.0 + seconds
        meters.of(variant).answered(200, 1, 0.1, 0.1)
        meters.hand_over(away)
        assert files() == expected, seconds


def test_what_a_killed_front_left_half_written_is_removed(tmp_path: Path) -> None:
    (tmp_path / "1-2-3.new").write_bytes(b"[{")
    (tmp_path / "1-2-2.json").write_bytes(b"[]")
    Meters(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["1-2-2.json"]


def test_sessions_outlive_a_front(tmp_path: Path) -> None:
    path = tmp_path / "sessions.jsonl"
    known = Sessions(path)
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60)).encode()
    known.begin("e", b"a; Expires=" + later, "r1")
    known.begin("e", b"b; Expires=2001-01-01T00:00:00Z", "r1")
    known.begin("e", b"c", "r2")
    known.begin("e", b"d; Expires=2001-99-99T00:00:00Z", "r2")
    known.end("e", b"c")
    with path.open("ab") as file:
        file.write(b'["e","torn')
    again = Sessions(path)
    assert path.read_bytes().count(b"\n") == 1
    for sessions in (known, again):
        assert sessions.find("e", b"a") == "r1"
        assert [sessions.find("e", s) for s in (b"b", b"c", b"d")] == [None] * 3
        assert sessions.find("other", b"a") is None


def test_the_file_of_sessions_stays_small(tmp_path: Path) -> None:
    known = Sessions(tmp_path / "s")
    for number in range(3000):
        known.begin("e", b"%d" % number, "r")
        if number >= 10:
            known.end("e", b"%d" % (number - 10))
    assert (tmp_path / "s").read_bytes().count(b"\n") <= 1100
    assert Sessions(tmp_path / "s").find("e", b"2999") == "r"
