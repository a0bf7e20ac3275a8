"""Layers of container images laid over each other, good ones and hostile ones."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import random
import shutil
import tarfile
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clary.executors import files, layers
from clary.executors.archives import ArchiveError
from tests import images


def unpacked(folder: Path, *packed: bytes) -> Path:
    """The files of layers."""
    paths = []
    for number, data in enumerate(packed):
        paths.append(folder / f"layer-{number}")
        paths[-1].write_bytes(data)
    layers.unpack(paths, folder / "files")
    return folder / "files"


def tree(folder: Path) -> list[str]:
    """Every path below a folder."""
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_later_layers_add_replace_and_remove(tmp_path: Path) -> None:
    first = images.layer({"a": None, "a/one": b"1", "a/two": b"2", "b": b"file", "c": None, "c/x": b"x", "link": "a"})
    second = images.layer(
        {"a/.wh.one": b"", "b": None, "b/inside": b"3", "c/.wh..wh..opq": b"", "c/y": b"y", "link/three": b"4"}
    )
    files = unpacked(tmp_path, first, second)
    assert tree(files) == ["a", "a/three", "a/two", "b", "b/inside", "c", "c/y", "link"]
    assert (files / "link").is_symlink() and (files / "link/three").read_bytes() == b"4"


def test_an_opaque_folder_keeps_what_its_own_layer_brings(tmp_path: Path) -> None:
    first, second = images.layer({"d": None, "d/old": b""}), images.layer({"d/new": b"", "d/.wh..wh..opq": b""})
    assert tree(unpacked(tmp_path, first, second)) == ["d", "d/new"]


def test_hard_links_modes_and_owners(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as packed:
        entry = tarfile.TarInfo("tool")
        entry.mode, entry.size, entry.uid = 0o4755, 3, 33
        packed.addfile(entry, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("other")
        link.type, link.linkname, link.mode, link.uid = tarfile.LNKTYPE, "tool", 0o4755, 33
        packed.addfile(link)
        device = tarfile.TarInfo("dev/sda")
        device.type = tarfile.BLKTYPE
        packed.addfile(device)
        closed = tarfile.TarInfo("closed")
        closed.type, closed.mode = tarfile.DIRTYPE, 0o500
        packed.addfile(closed)
        inside = tarfile.TarInfo("closed/file")
        packed.addfile(inside)
    files = unpacked(tmp_path, out.getvalue())
    assert os.stat(files / "tool").st_ino == os.stat(files / "other").st_ino
    assert os.stat(files / "tool").st_mode & 0o7777 == 0o4755 and not (files / "dev/sda").exists()
    assert (files / "closed/file").exists()
    if os.geteuid() == 0:
        assert os.stat(files / "tool").st_uid == layers.FIRST_ID + 33


HOSTILE = {
    "up": {"../../escaped": b"x"},
    "absolute": {"/escaped": b"x"},
    "through a link": {"out": "/", "out/escaped": b"x"},
    "through a link upward": {"out": "../../..", "out/escaped": b"x"},
    "through links of links": {"a": "b", "b": "/tmp/..", "a/escaped": b"x"},
    "whiteout": {"../.wh.kept": b""},
    "whiteout through a link": {"out": "..", "out/.wh.kept": b""},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_leaves_the_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "kept").write_text("")
    before = set(os.listdir("/")) | set(os.listdir("/tmp"))
    files = unpacked(tmp_path, images.layer(HOSTILE[name]))  # type: ignore[arg-type]
    assert (tmp_path / "kept").exists() and not (tmp_path / "escaped").exists()
    assert "escaped" not in (set(os.listdir("/")) | set(os.listdir("/tmp"))) - before
    if any("escaped" in key for key in HOSTILE[name]):
        assert list(files.rglob("escaped"))


PARTS = st.lists(st.sampled_from(["a", "b", "..", ".", "", "c"]), min_size=1, max_size=5).map("/".join)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(PARTS, st.one_of(st.none(), st.just(b"x"), PARTS.map(lambda p: "/" + p), PARTS)), max_size=8))
def test_any_layer_stays_inside(
    tmp_path_factory: pytest.TempPathFactory, entries: list[tuple[str, bytes | str | None]]
) -> None:
    folder = tmp_path_factory.mktemp("layers")
    guard = folder / "in" / "deep"
    guard.mkdir(parents=True)
    with contextlib.suppress(ArchiveError):
        unpacked(guard, images.layer(dict(entries)))
    assert sorted(p.name for p in folder.iterdir()) == ["in"]
    assert [p.name for p in (folder / "in").iterdir()] == ["deep"]
    assert sorted(p.name for p in guard.iterdir()) == ["files", "layer-0"]


BROKEN = {
    "empty": b"", "text": b"no archive", "neither": gzip.compress(b"neither"), "zstd": b"\x28\xb5\x2f\xfdrest",
    "cut off": images.layer({"a": random.Random(0).randbytes(9999)})[:5000],
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_broken_layers_are_told(tmp_path: Path, name: str) -> None:
    with pytest.raises(ArchiveError, match="layer-0"):
        unpacked(tmp_path, BROKEN[name])


def test_loops_of_links_end(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="too many links"):
        unpacked(tmp_path, images.layer({"a": "b", "b": "a", "a/x": b""}))


def test_folders_that_were_locked_are_removed() -> None:
    root = Path(tempfile.mkdtemp(prefix="clary-test-"))
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.geteuid() == 0:
                os.chown(root, 65534, 65534)
                os.setresgid(65534, 65534, 65534)
                os.setresuid(65534, 65534, 65534)
            (root / "a/b/c").mkdir(parents=True)
            (root / "a/b/c/file").touch()
            for locked in ("a/b/c", "a/b"):
                (root / locked).chmod(0)
            files.remove(root / "a")
            code = int((root / "a").exists())
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    shutil.rmtree(root)
