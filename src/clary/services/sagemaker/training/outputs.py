"""Results to S3: ``model.tar.gz``, ``output.tar.gz``, checkpoints; final metrics from the log."""

from __future__ import annotations

import contextlib
import json
import os
import tarfile
import threading
from pathlib import Path
from typing import Any

from .... import litter
from ....clock import now
from ....control.shipping import escape
from ....executors import files
from ....executors.archives import gzipped
from ....patterns import Pattern, PatternError, compile_pattern
from ....provider.platform import Platform
from ....store.object import Forbidden, NoSuchBucket, split_uri
from ....store.rows import Row
from .contract import Host, checkpoint_folder, hosts

Json = dict[str, Any]


class OutputError(Exception):
    """Results that cannot be stored; the text is the job's FailureReason."""


def model_uri(row: Row) -> str:
    """Where the model will be."""
    output = row.spec["OutputDataConfig"]
    base = f"{output['S3OutputPath'].rstrip('/')}/{row.name}/output"
    return f"{base}/model" if output.get("CompressionType") == "NONE" else f"{base}/model.tar.gz"


def upload(platform: Platform, row: Row, keep_model: bool, cancel: threading.Event) -> Json:
    """Pack and store everything; what the job's status shows of it."""
    all_hosts = hosts(platform.settings, row)
    roots = [h.ml for h in all_hosts]
    prefix = f"{row.spec['OutputDataConfig']['S3OutputPath'].rstrip('/')}/{row.name}/output"
    try:
        if row.spec.get("CheckpointConfig"):
            for host in all_hosts:
                Mirror(platform, row, host).sync()
        if keep_model:
            _store_model(platform, row, roots, prefix)
        if any(entry.file is not None for root in roots for entry in files.walk(root, "output/data")):
            _store_archive(platform, row, roots, "output/data", f"{prefix}/output.tar.gz")
    except NoSuchBucket as error:
        raise OutputError(
            f"ClientError: Failed to upload the results: the bucket {error} of OutputDataConfig.S3OutputPath does not exist."
        ) from None
    except Forbidden as error:
        raise OutputError(
            f"ClientError: Failed to upload the results: AccessDenied (403): the role {row.spec['RoleArn']} may not write to "
            f"{error}."
        ) from None
    return {"metrics": final_metrics(row, all_hosts)}


def _store_model(platform: Platform, row: Row, roots: list[Path], prefix: str) -> None:
    if row.spec["OutputDataConfig"].get("CompressionType") != "NONE":
        _store_archive(platform, row, roots, "model", f"{prefix}/model.tar.gz")
        return
    bucket, key = split_uri(f"{prefix}/model")
    for root in roots:
        for entry in files.walk(root, "model"):
            if entry.file is not None:
                platform.objects.of(row.account).put_file(bucket, f"{key}/{entry.path}", entry.file)


def _store_archive(platform: Platform, row: Row, roots: list[Path], folder: str, uri: str) -> None:
    """All hosts' files of a folder in one archive, relative to it."""
    bucket, key = split_uri(uri)
    aside = platform.settings.folder / "runs" / f".{os.urandom(6).hex()}.tar.gz"
    try:
        with gzipped(aside, "wb") as packed, tarfile.open(fileobj=packed, mode="w") as archive:
            for root in roots:
                for found in files.walk(root, folder):
                    entry = tarfile.TarInfo(found.path)
                    entry.mtime = int(now())
                    if found.file is None:
                        entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                        archive.addfile(entry)
                    else:
                        entry.size, entry.mode = os.fstat(found.file.fileno()).st_size, 0o644
                        archive.addfile(entry, found.file)
        with open(aside, "rb") as file:
            platform.objects.of(row.account).put_file(bucket, key, file, "application/x-gzip")
    finally:
        litter.remove(aside)


class Mirror:
    """One host's checkpoint folder, repeated in S3 – deletions too."""

    def __init__(self, platform: Platform, row: Row, host: Host):
        self._objects = platform.objects.of(row.account)
        folder = checkpoint_folder(row, host)
        self._root = host.ml if folder.is_relative_to(host.ml) else folder
        self._relative = str(folder.relative_to(self._root))
        self._bucket, self._prefix = split_uri(row.spec["CheckpointConfig"]["S3Uri"].rstrip("/"))
        self._record = host.folder / "mirrored.json"  # what is in S3 because of us, for whoever comes after a crash
        self._known: dict[str, tuple[int, int]] = {}
        with contextlib.suppress(OSError, ValueError):
            self._known = {k: (v[0], v[1]) for k, v in json.loads(self._record.read_text()).items()}

    def sync(self) -> None:
        """Store what is new or changed, delete what is gone."""
        present: dict[str, tuple[int, int]] = {}
        for entry in files.walk(self._root, self._relative):
            if entry.file is None or entry.path.rpartition("/")[2].startswith("."):
                continue  # half-written, by the convention of writing aside
            info = os.fstat(entry.file.fileno())
            present[entry.path] = (info.st_size, info.st_mtime_ns)
            if self._known.get(entry.path) != present[entry.path]:
                self._objects.put_file(self._bucket, f"{self._prefix}/{entry.path}", entry.file)
        for name in self._known.keys() - present.keys():
            self._objects.delete(self._bucket, f"{self._prefix}/{name}")
        if present != self._known:
            self._known = present
            aside = self._record.with_suffix(".new")
            aside.write_text(json.dumps(present))
            os.rename(aside, self._record)


def final_metrics(row: Row, all_hosts: list[Host]) -> list[Json]:
    """The last value of each metric definition in the hosts' logs."""
    definitions = row.spec["AlgorithmSpecification"].get("MetricDefinitions")
    patterns = [(d["Name"], _pattern(d["Regex"])) for d in definitions or ()]
    found: dict[str, tuple[float, float]] = {}
    for host in all_hosts if patterns else ():
        with contextlib.suppress(OSError), open(host.folder / "log", encoding="utf-8", errors="replace") as file:
            at = os.fstat(file.fileno()).st_mtime
            for line in file:
                text = line.rstrip("\n")[:4096]
                for name, pattern in patterns:
                    if pattern is None:
                        continue
                    match = pattern.search(text) or (pattern.search(escape(text)) if "\t" in text else None)
                    if match and len(match) > 1:
                        with contextlib.suppress(ValueError, TypeError):
                            found[name] = (float(match[1] or ""), at)
    return [{"MetricName": name, "Value": value, "Timestamp": at} for name, (value, at) in found.items()]


def _pattern(text: str) -> Pattern | None:
    try:
        return compile_pattern(text)
    except PatternError:
        return None
