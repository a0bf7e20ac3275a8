"""Small parts with rules of their own."""

from __future__ import annotations

import contextlib
import gzip
import os
import stat
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clary.algorithms.environment import UserError
from clary.algorithms.readers import delimited
from clary.algorithms.xgboost import hyperparameters
from clary.control.shipping import escape
from clary.executors import archives, files
from clary.executors.local import explain
from clary.services.sagemaker import images
from clary.services.sagemaker.input_objects import relative
from clary.serving import frames
from clary.settings import from_environment, to_environment
from clary.store.blobs import Blobs
from clary.store.database import Database
from clary.store.migrations import STEPS, NewerDatabase
from tests.platform import Platform


@given(st.lists(st.tuples(st.binary(max_size=50), st.binary(max_size=200)), max_size=20))
def test_frames_come_back_as_they_were_packed(items: list[tuple[bytes, bytes]]) -> None:
    packed = frames.pack(items)
    assert frames.unpack(packed, 4, len(packed) - 4) == items


def test_frames_whose_lengths_lie_are_refused() -> None:
    packed = bytearray(frames.pack([(b"a", b"b")]))
    packed[6] = 9
    with pytest.raises(ValueError, match="do not add up"):
        frames.unpack(packed, 4, len(packed) - 4)


@pytest.mark.parametrize(
    ("key", "prefix", "expected"),
    [
        ("data/train/a.csv", "data/train", "a.csv"), ("data/train/a.csv", "data/train/", "a.csv"),
        ("data/train.csv", "data/tr", "train.csv"), ("data/train.csv", "data/train.csv", "train.csv"),
        ("a/b/c.csv", "a", "b/c.csv"), ("a.csv", "", "a.csv"),
    ],
)  # fmt: skip
def test_keys_become_paths(key: str, prefix: str, expected: str) -> None:
    assert relative(key, prefix) == expected


@pytest.mark.parametrize(
    ("uri", "name", "tag"),
    [
        ("683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", "xgboost", "1.7-1"),
        ("811284229777.dkr.ecr.eu-west-1.amazonaws.com/xgboost:latest", "xgboost", "latest"),
        ("1.dkr.ecr.cn-north-1.amazonaws.com.cn/sagemaker-xgboost:1.5-1@sha256:" + "0" * 64, "xgboost", "1.5-1"),
        ("sagemaker-xgboost", "xgboost", "latest"),
    ],
)
def test_images_are_found_by_repository_and_tag(uri: str, name: str, tag: str) -> None:
    found = images.runtime_of(uri)
    assert (found.name, found.tag) == (name, tag)


def test_control_characters_are_escaped_as_cloudwatch_does() -> None:
    assert escape("[0]\ttrain-rmse:1\x1b[0m") == "[0]#011train-rmse:1#033[0m"


def test_exit_codes_in_words() -> None:
    assert explain(137) == "exit code: 137 (SIGKILL, killed; often for memory)"
    assert explain(3) == "exit code: 3"
    assert "memory limit" in explain(137, out_of_memory=True)


@pytest.mark.parametrize(
    ("text", "rows"),
    [(b"1,2,3\n4,5,6\n", 2), (b"1;2;3\n", 1), (b"1\t2\t3", 1), (b"1,,3\n", 1), (b'"1",2,3\n', 1)],
)
def test_csv(text: bytes, rows: int) -> None:
    found = delimited.matrix(text)
    assert found.shape == (rows, 3)
    assert found[0, 0] == 1 and found[0, 2] == 3


def test_large_and_small_csv_are_read_alike() -> None:
    rows = np.random.default_rng(0).random((30_000, 4)).astype(np.float32)
    text = "\n".join(",".join("" if v < 0.01 else repr(float(v)) for v in row) for row in rows).encode()
    assert len(text) > 1 << 20
    large, small = delimited.matrix(text), delimited._line_by_line(text, ",", "x", 1)
    assert np.array_equal(large, small, equal_nan=True)


@pytest.mark.parametrize("name", sorted(n for n, h in hyperparameters.HYPERPARAMETERS.items() if h.range != "any text"))
def test_every_hyperparameter_refuses_nonsense_with_a_message(name: str) -> None:
    with pytest.raises(UserError, match=f"Hyperparameter {name}: "):
        hyperparameters.validate({"num_round": "1", name: "nonsense"})


@given(st.dictionaries(st.sampled_from(sorted(hyperparameters.HYPERPARAMETERS)), st.text(max_size=8), max_size=4))
def test_any_hyperparameters_are_read_or_refused(values: dict[str, str]) -> None:
    with contextlib.suppress(UserError):
        hyperparameters.for_library(hyperparameters.validate({"num_round": "1", **values}))


def test_blobs_appear_whole_or_not_at_all(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path)
    writer = blobs.create()
    writer.write(b"half")
    assert not list(tmp_path.glob("??/*"))
    writer.discard()
    writer = blobs.create()
    writer.write(b"whole")
    assert blobs.path(writer.commit()).read_bytes() == b"whole"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_links_in_a_jobs_folders_are_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "ml"
    (root / "model" / "sub").mkdir(parents=True)
    (root / "model" / "sub" / "real").write_text("real")
    (root / "model" / "link").symlink_to("/etc/passwd")
    os.mkfifo(root / "model" / "fifo")
    (root / "output").symlink_to("/etc")
    assert [e.path for e in files.walk(root, "model")] == ["sub", "sub/real"]
    assert list(files.walk(root, "output/ssl")) == []
    assert files.read_text(root, "output/passwd", 100) == ""


def test_archives_keep_inside(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        member = tarfile.TarInfo("../x")
        packed.addfile(member)
    with pytest.raises(archives.ArchiveError, match="not safe"):
        archives.unpack(path, tmp_path / "out")


def test_archives_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(5000))
    good = tmp_path / "good.tar.gz"
    with archives.gzipped(good, "wb") as file, tarfile.open(fileobj=file, mode="w") as packed:
        packed.add(tmp_path / "file", "a/b")
    archives.unpack(good, tmp_path / "out")
    assert (tmp_path / "out" / "a" / "b").read_bytes() == (tmp_path / "file").read_bytes()
    with tarfile.open(good, "r:gz") as packed:  # by the standard library
        assert packed.getnames() == ["a/b"]
    whole = good.read_bytes()
    flipped = whole[:60] + bytes(b ^ 255 for b in whole[60:90]) + whole[90:]
    for data in (b"", b"plain", b"\x1f\x8b", whole[:100], flipped, gzip.compress(b"x" * 5000)):
        (tmp_path / "bad").write_bytes(data)
        with pytest.raises(archives.ArchiveError, match=r"^it is not a readable \.tar\.gz archive \([^\n]+\)$"):
            archives.unpack(tmp_path / "bad", tmp_path / "bad-out")


def test_settings_survive_the_environment() -> None:
    found = from_environment({"CLARY_PORT": "0", "CLARY_OPEN": "1"}, region="eu-west-1")
    assert from_environment(to_environment(found)) == found
    with pytest.raises(ValueError, match="CLARY_PORT is 'x'"):
        from_environment({"CLARY_PORT": "x"})


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/db"
    database = Database(url)
    with database.write() as tx:
        tx.connection.exec_driver_sql(f"update schema_version set version={len(STEPS) + 1}")
    database.close()
    with pytest.raises(NewerDatabase, match="upgrade Clary"):
        Database(url)


def test_the_home_folder_is_its_owners_alone(sqlite_platform: Platform) -> None:
    home = sqlite_platform.home
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "run" / "session.json").stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "run" / "routes.json").stat().st_mode) == 0o600
