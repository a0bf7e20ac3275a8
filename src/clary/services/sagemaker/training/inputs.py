"""Channels to files: copying (File), linking read-only (FastFile), feeding FIFOs (Pipe); checkpoints from S3."""

from __future__ import annotations

import base64
import json
import os
import random
import threading
from pathlib import Path, PurePosixPath
from typing import Any

from ....control.activities import Cancelled
from ....executors.archives import ArchiveError, unpack
from ....executors.local import sweep
from ....executors.sandbox import check_target
from ....executors.spec import Mount, ProcessSpec
from ....provider.platform import Platform
from ....store.object import Forbidden, NoSuchBucket, Object, split_uri
from ....store.rows import Row
from ....wire import bounded
from .. import own_images, packages
from ..images import resolve
from ..input_objects import InputError, Item, list_items, relative
from . import pools
from .contract import (
    Host,
    checkpoint_folder,
    checkpoint_path,
    hosts,
    hyperparameters,
    owner,
    receives,
    run_id,
    write_configuration,
)

Json = dict[str, Any]
STAGED = "staged"


def stage(platform: Platform, row: Row, cancel: threading.Event) -> None:
    """Make every host's folder complete; on a folder that an earlier try left, begin anew."""
    all_hosts = hosts(platform.settings, row)
    root = all_hosts[0].folder.parent
    if (root / STAGED).exists():
        return
    _check_output(platform, row)
    sweep(root)
    root.mkdir(parents=True)
    for host in all_hosts:
        write_configuration(row, all_hosts, host)
    mode = row.spec["AlgorithmSpecification"].get("TrainingInputMode", "File")
    for channel in row.spec.get("InputDataConfig") or ():
        _stage_channel(platform, row, channel, channel.get("InputMode") or mode, all_hosts, cancel)
    if row.spec.get("CheckpointConfig"):
        _check_checkpoints(row)
        for host in all_hosts:
            _fetch_checkpoints(platform, row, checkpoint_folder(row, host), cancel)
    image = resolve(platform, row.account, row.spec["AlgorithmSpecification"]["TrainingImage"])
    if image.image:  # a script's toolkit, if it has one, does the rest itself
        _unpack_image(platform, image.image, root)
    else:
        _fetch_code(platform, row, all_hosts)
        _install_packages(platform, row, all_hosts, image.brings, cancel)
    pools.take(platform.settings, row, all_hosts)
    if uid := owner(row, all_hosts[0]):
        for host in all_hosts:
            _own(host.ml, uid)
            if (host.folder / "checkpoints").exists():
                _own(host.folder / "checkpoints", uid)
    (root / STAGED).touch()


def _check_output(platform: Platform, row: Row) -> None:
    """Raise InputError if the results could not be stored: before the job has run rather than after."""
    places = [row.spec["OutputDataConfig"]["S3OutputPath"], (row.spec.get("CheckpointConfig") or {}).get("S3Uri")]
    for uri in filter(None, places):
        if platform.objects.of(row.account).forbidden(split_uri(uri)[0]):
            raise InputError(f"ClientError: AccessDenied (403): the role {row.spec['RoleArn']} may not write to {uri}.")


def _fetch_code(platform: Platform, row: Row, all_hosts: list[Host]) -> None:
    """Script mode: the source archive that the SDK uploaded, unpacked where the program is run."""
    text = (row.spec.get("HyperParameters") or {}).get("sagemaker_submit_directory", "")
    uri = text.strip().strip('"')
    if not uri.startswith("s3://"):
        _unpack_channel(uri, all_hosts)
        return
    try:
        found = platform.objects.of(row.account).find(*split_uri(uri))
    except Forbidden:
        raise InputError(
            f"ClientError: The source archive {uri} (sagemaker_submit_directory) cannot be read: AccessDenied (403): Access Denied"
        ) from None
    except (LookupError, ValueError):
        raise InputError(
            f"ClientError: The source archive {uri} (sagemaker_submit_directory) does not exist."
        ) from None
    for host in all_hosts:
        archive = host.folder / "source.tar.gz"
        archive.unlink(missing_ok=True)
        platform.objects.copy_to(found, archive)
        try:
            unpack(archive, host.ml / "code")
        except ArchiveError as error:
            raise InputError(f"ClientError: The source archive {uri} cannot be unpacked: {error}") from None
        finally:
            archive.unlink()


def _unpack_channel(path: str, all_hosts: list[Host]) -> None:
    """The source archive that came as an input channel, as it does when the network is isolated."""
    if not path.startswith("/opt/ml/input/data/") or ".." in path:
        return
    for host in all_hosts:
        archive = host.ml / PurePosixPath(path).relative_to("/opt/ml")
        if archive.is_file():
            try:
                unpack(archive, host.ml / "code")
            except ArchiveError as error:
                raise InputError(f"ClientError: The source archive {path} cannot be unpacked: {error}") from None


def _unpack_image(platform: Platform, digest: str, root: Path) -> None:
    try:
        own_images.ensure(platform, digest)
    except own_images.ImageError as error:
        raise InputError(f"ClientError: {error}") from None
    (root / own_images.NOTE).write_text(digest)


def _install_packages(
    platform: Platform, row: Row, all_hosts: list[Host], brings: tuple[str, ...], cancel: threading.Event
) -> None:
    """What the code's requirements.txt names; the log of it begins the hosts' logs."""
    if "sagemaker_program" not in hyperparameters(row):
        return
    network = not row.spec.get("EnableNetworkIsolation", False)
    try:
        digest, said = packages.ensure(platform, all_hosts[0].ml / "code", network, cancel, brings)
    except packages.PackagesError as error:
        (all_hosts[0].folder / "log").write_text(error.log)
        raise InputError(str(error)) from None
    if digest:
        (all_hosts[0].folder.parent / packages.NOTE).write_text(digest)
        for host in all_hosts:
            (host.folder / "log").write_text(said)


def _own(folder: Path, uid: int) -> None:
    os.chown(folder, uid, uid)
    for where, folders, files in os.walk(folder):
        for name in (*folders, *files):
            os.chown(os.path.join(where, name), uid, uid, follow_symlinks=False)


def _stage_channel(
    platform: Platform, row: Row, channel: Json, mode: str, all_hosts: list[Host], cancel: threading.Event
) -> None:
    name, source = channel["ChannelName"], channel.get("DataSource", {}).get("S3DataSource")
    if source is None:
        raise InputError(f"ClientError: Channel {name} has no S3DataSource; file systems cannot be mounted here.")
    receiving = [h for h in all_hosts if receives(h, channel)]
    if source["S3DataType"] == "AugmentedManifestFile":
        if mode != "Pipe":
            raise InputError(f"ClientError: Channel {name}: AugmentedManifestFile needs Pipe mode.")
        _feed_manifest(platform, row, channel, receiving)
        return
    items = list_items(platform, row.account, name, source)
    if (seed := (channel.get("ShuffleConfig") or {}).get("Seed")) is not None:
        random.Random(seed).shuffle(items)
    sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
    for position, host in enumerate(receiving):
        own = items[position :: len(receiving)] if sharded else items
        match mode:
            case "Pipe":
                _feed(platform, row, channel, host, own)
            case "FastFile":
                _link(platform, host, name, own, cancel)
            case _:
                _copy(platform, host, name, own, cancel)


def _place(folder: Path, item: Item) -> Path:
    """An item's file; keys that would leave the channel's folder are refused."""
    parts = PurePosixPath(item.path).parts
    if not parts or any(p in ("..", "/") for p in parts) or "\0" in item.path:
        raise InputError(
            f"ClientError: The key {item.source.key!r} cannot be a file: its path would leave the channel."
        )
    target = folder.joinpath(*parts)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(
            f"ClientError: The key {item.source.key!r} lies below another object of the channel; a file cannot also be a folder."
        ) from None
    return target


def _copy(platform: Platform, host: Host, name: str, items: list[Item], cancel: threading.Event) -> None:
    folder = host.ml / "input" / "data" / name
    folder.mkdir(parents=True, exist_ok=True)
    for item in items:
        if cancel.is_set():
            raise Cancelled
        platform.objects.copy_to(item.source, _place(folder, item))


def _link(platform: Platform, host: Host, name: str, items: list[Item], cancel: threading.Event) -> None:
    """FastFile: a folder of links to the stored bytes, mounted read-only."""
    folder = host.folder / "fast" / name
    folder.mkdir(parents=True, exist_ok=True)
    (host.ml / "input" / "data" / name).mkdir(parents=True, exist_ok=True)
    for item in items:
        if cancel.is_set():
            raise Cancelled
        platform.objects.link_to(item.source, _place(folder, item))


def _feed(platform: Platform, row: Row, channel: Json, host: Host, items: list[Item]) -> None:
    """Pipe: a process of its own writes the objects into one FIFO after another."""
    parts = [_parts(platform, i.source) for i in items]
    wrap = channel.get("RecordWrapperType", "None") == "RecordIO"
    gzip = channel.get("CompressionType", "None") == "Gzip"
    seed = (channel.get("ShuffleConfig") or {}).get("Seed")
    _start_feeder(platform, row, channel, host, {"objects": parts, "gzip": gzip, "recordio": wrap, "seed": seed})


def _parts(platform: Platform, source: Object) -> list[Any]:
    """Where the feeder finds an object's bytes: files, or the bytes themselves."""
    found = platform.objects.pieces(source)
    return [{"base64": base64.b64encode(p).decode()} if isinstance(p, bytes) else str(p) for p in found]


def _feed_manifest(platform: Platform, row: Row, channel: Json, receiving: list[Host]) -> None:
    source = channel["DataSource"]["S3DataSource"]
    bucket, key = split_uri(source["S3Uri"])
    try:
        text = platform.objects.read(platform.objects.of(row.account).find(bucket, key)).decode()
        lines = [bounded.loads(line) for line in text.splitlines() if line.strip()]
    except Forbidden:
        raise InputError(f"ClientError: Data download failed: AccessDenied (403): {source['S3Uri']}") from None
    except LookupError:
        raise InputError(f"ClientError: Data download failed: the manifest {source['S3Uri']} does not exist.") from None
    except ValueError:
        raise InputError(
            f"ClientError: Data download failed: the manifest {source['S3Uri']} is not JSON Lines."
        ) from None
    names = source.get("AttributeNames") or []
    records: list[list[Any]] = []
    for line in lines:
        for name in names:
            if name not in line:
                raise InputError(
                    f"ClientError: The manifest {source['S3Uri']} has a line without the attribute {name!r}."
                )
            records.append(_attribute(platform, row.account, name, line[name]))
    wrap = channel.get("RecordWrapperType", "None") == "RecordIO"
    seed = (channel.get("ShuffleConfig") or {}).get("Seed")
    sharded = source.get("S3DataDistributionType") == "ShardedByS3Key"
    width = max(1, len(names))
    rows = [records[i : i + width] for i in range(0, len(records), width)]
    for position, host in enumerate(receiving):
        own = rows[position :: len(receiving)] if sharded else rows
        flat = [part for line in own for part in line]
        _start_feeder(platform, row, channel, host, {"objects": flat, "gzip": False, "recordio": wrap, "seed": seed})


def _attribute(platform: Platform, account: str, name: str, value: Any) -> list[Any]:
    """A record's source: files of the object that a ``-ref`` attribute names, or the attribute's own JSON text."""
    if not name.endswith("-ref"):
        return [{"text": json.dumps(value)}]
    try:
        return _parts(platform, platform.objects.of(account).find(*split_uri(str(value))))
    except Forbidden:
        raise InputError(f"ClientError: Data download failed: AccessDenied (403): {value}") from None
    except (LookupError, ValueError):
        raise InputError(f"ClientError: The manifest refers to {value}, which does not exist.") from None


def _start_feeder(platform: Platform, row: Row, channel: Json, host: Host, plan: Json) -> None:
    name = channel["ChannelName"]
    folder = host.folder.parent / f"feed-{host.name}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    plan_path = folder / "plan.json"
    plan_path.write_text(json.dumps({**plan, "root": str(host.ml), "folder": ["input", "data"], "name": name}))
    first = host.ml / "input" / "data" / f"{name}_0"
    os.mkfifo(first)
    os.chmod(first, 0o666)
    executor = platform.services["executor"]
    executor.start(
        ProcessSpec(
            id=f"{run_id(row)}-feed-{host.name}-{name}", folder=str(folder), call="clary.executors.feeder:main",
            environment={"CLARY_FEED": str(plan_path), "PATH": os.defpath},
        )
    )  # fmt: skip


def _check_checkpoints(row: Row) -> None:
    """Raise InputError if checkpoints cannot be where the job wants them."""
    wanted = checkpoint_path(row)
    try:
        check_target(Mount("", wanted))
    except OSError as error:
        raise InputError(f"ClientError: CheckpointConfig.LocalPath: {error.strerror}.") from None


def _fetch_checkpoints(platform: Platform, row: Row, folder: Path, cancel: threading.Event) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    try:
        bucket, key = split_uri(row.spec["CheckpointConfig"]["S3Uri"])
        found = platform.objects.of(row.account).under(bucket, key)
    except Forbidden as error:
        raise InputError(f"ClientError: The checkpoint location cannot be used: AccessDenied (403): {error}") from None
    except (NoSuchBucket, ValueError) as error:
        raise InputError(f"ClientError: The checkpoint location cannot be read: {error}") from None
    for item in (Item(relative(o.key, key), o) for o in found if not o.key.endswith("/")):
        if cancel.is_set():
            raise Cancelled
        platform.objects.copy_to(item.source, _place(folder, item))
