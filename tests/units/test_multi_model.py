"""Which of many models stay loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from clary.algorithms import multi_model
from clary.serving.frames import PING, SEPARATOR, Item


def request(name: str) -> Item:
    return SEPARATOR.join((b"text/csv", b"", b"", b"", f"{name}:{name}.tar.gz".encode())), b"1"


class Loader:
    """Counts loads; each model takes a part of the memory."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path):
        self.folder = folder
        self.loads: list[str] = []
        self.fail: set[str] = set()
        monkeypatch.setenv("CLARY_MEMORY_BYTES", "100")
        self.models = multi_model.MultiModel(self.load, folder)
        monkeypatch.setattr(multi_model, "_resident_bytes", lambda: 25 * len(self.models._loaded))

        for name in "abcde":
            (folder / name).mkdir()

    def load(self, folder: Path) -> multi_model.Predict:
        name = folder.parent.name
        self.loads.append(name)
        if name in self.fail:
            self.fail.discard(name)
            raise MemoryError
        return lambda items: [(b"200\0text/csv\0", name.encode()) for _ in items]


def test_the_least_recently_used_goes_when_memory_is_full(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loader = Loader(monkeypatch, tmp_path)
    for name in ("a", "b", "c", "a", "d", "e", "a"):
        ((_, body),) = loader.models.batch([request(name)])
        assert body == name.encode()
    assert loader.loads == ["a", "b", "c", "d", "e"]
    loader.models.batch([request("b")])
    assert loader.loads[-1] == "b"


def test_a_batch_of_several_models_is_answered_in_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loader = Loader(monkeypatch, tmp_path)
    answers = loader.models.batch([request("a"), request("b"), (PING, b""), request("a")])
    assert [body for _, body in answers] == [b"a", b"b", b"", b"a"]
    loaded = [head.split(SEPARATOR)[3:] for head, _ in answers]
    assert loaded[0][0].endswith(b",1,0")
    assert loaded[1][0].endswith(b",2,0")
    assert loaded[3] == [b"model=0,2,0"]


def test_a_model_that_needs_more_room_gets_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loader = Loader(monkeypatch, tmp_path)
    for name in ("a", "b"):
        loader.models.batch([request(name)])
    loader.fail = {"c"}
    ((head, body),) = loader.models.batch([request("c")])
    assert (head[:3], body) == (b"200", b"c")
    assert loader.loads == ["a", "b", "c", "c"]


def test_a_model_whose_files_are_gone_does_not_stay_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    loader = Loader(monkeypatch, tmp_path)
    for name in ("a", "b"):
        loader.models.batch([request(name)])
    (tmp_path / "a").rmdir()
    ((head, _),) = loader.models.batch([request("c")])
    assert head.split(b",")[1] == b"2"
    assert list(loader.models._loaded) == ["b", "c"]
