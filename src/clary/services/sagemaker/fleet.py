"""A fleet: the replicas of an endpoint's variants, from the artifacts to processes that answer their ping.

A fleet is a plain document kept in the endpoint's row; processes are found by the folder that follows from it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath
from typing import Any

from ...clock import now
from ...executors import accelerators
from ...executors.archives import ArchiveError, unpack
from ...executors.local import uid_of
from ...executors.spec import Mount, ProcessSpec
from ...executors.volumes import MARGIN
from ...provider.platform import Platform
from ...runtimes.container import SETTINGS, socket_folder
from ...serving import frames
from ...serving.container_http import PORT
from ...settings import DEFAULT_PORT
from ...sockets import exactly, unlinked
from ...store.object import Forbidden, NoSuchObject, Unreachable, split_uri
from ...store.rows import Row
from . import models, own_images, packages
from .images import resolve, script
from .instances import instance, memory_limit
from .runtime_environment import base_environment, container_environment

Json = dict[str, Any]
_SECONDS = 10 * 365 * 86400.0
_DEFAULT_VOLUME_GB = 30


class ArtifactError(Exception):
    """Model artifacts that cannot be had; the text is the endpoint's FailureReason."""


@dataclass(frozen=True, slots=True)
class Slot:
    """A process's place in a fleet: one of an instance's containers, most often the only one."""

    variant: Json
    index: int
    attempt: int
    folder: Path
    part: int = 0

    @property
    def key(self) -> str:
        """Its name inside the fleet."""
        return _key(self.variant, self.index, self.part)

    @property
    def container(self) -> Json:
        """The container that it runs."""
        found: Json = self.variant["Containers"][self.part]
        return found

    @property
    def stem(self) -> str:
        """The name of its folder, but for the attempt."""
        return self.folder.name.partition(".")[0]

    @property
    def socket(self) -> Path:
        """Where its replica listens."""
        return self.folder / "io" / "s"


def _key(variant: Json, index: int, part: int) -> str:
    return f"{variant['VariantName']}-{index}" + (f"/{part}" if part else "")


def new(number: int, config: Row, models: dict[str, Row]) -> Json:
    """The fleet that a configuration asks for."""
    shadows = config.spec.get("ShadowProductionVariants") or []
    variants = [
        {
            **_hosting(config, v, models),
            "Serverless": v.get("ServerlessConfig"),
            "Weight": v["InitialVariantWeight"],
            "StartupSeconds": v.get("ContainerStartupHealthCheckTimeoutInSeconds"),
            "VolumeSizeInGB": v.get("VolumeSizeInGB"),
            "Routing": (v.get("RoutingConfig") or {}).get("RoutingStrategy"),
            "Prefix": (v.get("RoutingConfig") or {}).get("PrefixAwareRoutingConfig"),
            "Shadow": v in shadows,
        }
        for v in (*config.spec["ProductionVariants"], *shadows)
    ]
    fleet = {"number": number, "config": config.name, "variants": variants, "slots": {}}
    optional = {"capture": "DataCaptureConfig", "async": "AsyncInferenceConfig"}
    return {**fleet, **{name: config.spec[member] for name, member in optional.items() if config.spec.get(member)}}


def _hosting(config: Row, wanted: Json, models: dict[str, Row]) -> Json:
    """A variant's instances: with its model, or empty ones that inference components are placed on."""
    kind, count = wanted.get("InstanceType", ""), _count(wanted)
    if "ModelName" in wanted:
        return variant(wanted["VariantName"], models[wanted["ModelName"]], kind, count)
    return {
        "VariantName": wanted["VariantName"], "Count": count, "InstanceType": kind, "Containers": [], "Direct": False,
        "Role": config.spec["ExecutionRoleArn"], "Isolated": config.spec.get("EnableNetworkIsolation", False),
        "Managed": wanted.get("ManagedInstanceScaling"),
    }  # fmt: skip


def _count(variant: Json) -> int:
    """How many instances a variant starts with; a serverless one with at least one, which shows that the model loads."""
    if (config := variant.get("ServerlessConfig")) is not None:
        return max(1, config.get("ProvisionedConcurrency") or 0)
    return int(variant["InitialInstanceCount"])


def memory(variant: Json) -> int:
    """The bytes of memory that a process of a variant may use."""
    if config := variant.get("Serverless"):
        return int(config["MemorySizeInMB"]) << 20
    if megabytes := variant.get("MemoryMb"):
        return min(int(megabytes) << 20, memory_limit(variant["InstanceType"]))
    return memory_limit(variant["InstanceType"])


def variant(name: str, model: Row, instance_type: str, count: int) -> Json:
    """So many instances of a model, with all that is needed of it: a model may be deleted any time."""
    named = zip(models.containers(model), models.hostnames(model), strict=True)
    return {
        "VariantName": name, "Weight": 1.0, "Count": count, "InstanceType": instance_type, "ModelName": model.name,
        "Containers": [{**c, "ContainerHostname": hostname} for c, hostname in named],
        "Direct": (model.spec.get("InferenceExecutionConfig") or {}).get("Mode") == "Direct",
        "Role": model.spec.get("ExecutionRoleArn", ""), "Isolated": model.spec.get("EnableNetworkIsolation", False),
    }  # fmt: skip


def resized(fleet: Json, wanted: dict[str, Json]) -> tuple[Json, Json | None]:
    """The fleet with other weights and counts (by variant), and the instances that it no longer has, as a fleet."""
    variants, surplus = [], []
    for variant in fleet["variants"]:
        change = wanted.get(variant["VariantName"], {})
        variants.append({**variant, **change})
        if variants[-1]["Count"] < variant["Count"]:
            surplus.append({**variant, "First": variants[-1]["Count"]})
        else:
            surplus.append({**variant, "First": variant["Count"]})
    kept = {_key(v, i, part) for v in variants for i in range(v["Count"]) for part in range(len(v["Containers"]))}
    gone = {k: s for k, s in fleet["slots"].items() if k not in kept}
    used = {**fleet.get("used", {}), **{k: s["attempt"] + 1 for k, s in gone.items()}}
    present = {
        **fleet, "variants": variants, "slots": {k: s for k, s in fleet["slots"].items() if k in kept}, "used": used,
    }  # fmt: skip
    return present, {**fleet, "variants": surplus, "slots": gone, "partial": True} if gone else None


def root(platform: Platform, row: Row, fleet: Json) -> Path:
    """A fleet's folder."""
    return platform.settings.folder / "runs" / f"ep-{row.uid}-{fleet['number']}"


def slots(platform: Platform, row: Row, fleet: Json) -> Iterator[Slot]:
    """Every instance that a fleet should have."""
    base = root(platform, row, fleet)
    for number, variant in enumerate(fleet["variants"]):
        for index in range(variant.get("First", 0), variant["Count"]):
            for part in range(len(variant["Containers"])):
                key = _key(variant, index, part)
                # one that comes back while its predecessor still drains needs a folder of its own
                attempt = fleet["slots"].get(key, {}).get("attempt", fleet.get("used", {}).get(key, 0))
                # a socket's path has at most 107 bytes: names, which may be long, stay out of it
                stem = f"v{number}-{index}" + (f"c{part}" if part else "")
                yield Slot(variant, index, attempt, base / f"{stem}.{attempt}", part)


def instances(platform: Platform, row: Row, fleet: Json) -> Iterator[tuple[Slot, ...]]:
    """The processes of every instance that a fleet should have."""
    for _, parts in groupby(slots(platform, row, fleet), key=lambda s: (s.variant["VariantName"], s.index)):
        yield tuple(parts)


def ready(fleet: Json, parts: tuple[Slot, ...]) -> bool:
    """Whether every process of an instance answers."""
    return all(fleet["slots"].get(slot.key, {}).get("ready") for slot in parts)


def instance_id(row: Row, fleet: Json, slot: Slot) -> str:
    """The id that an instance has in log streams."""
    text = f"{row.uid}:{fleet['number']}:{_key(slot.variant, slot.index, 0)}"
    return "i-" + hashlib.sha256(text.encode()).hexdigest()[:17]


def log_stream(row: Row, fleet: Json, slot: Slot) -> str:
    """The log stream of a slot's present process."""
    suffix = f"-{slot.attempt}" if slot.attempt else ""
    several = len(slot.variant["Containers"]) > 1
    part = f"/{slot.container['ContainerHostname']}" if several else ""
    return f"{slot.variant['VariantName']}/{instance_id(row, fleet, slot)}{part}{suffix}"


# ---- artifacts -----------------------------------------------------------------------------------------------------


def stage(platform: Platform, row: Row, fleet: Json, cancel: threading.Event) -> None:
    """Unpack every variant's artifacts; a folder that an earlier try left half-done is made anew."""
    for variant in fleet["variants"]:
        if multi_model(variant):
            library_folder(platform, row, fleet, variant).mkdir(parents=True, exist_ok=True)
        for part, container in enumerate(variant["Containers"]):
            target = models_folder(platform, row, fleet, variant, part)
            if not target.exists():
                _stage_container(platform, row.account, container, variant, target, cancel)


def models_folder(platform: Platform, row: Row, fleet: Json, variant: Json, part: int) -> Path:
    """Where the artifacts of one of a variant's containers lie."""
    name: str = variant["VariantName"] + (f".{part}" if part else "")
    return root(platform, row, fleet) / "models" / name


def multi_model(variant: Json) -> bool:
    """Whether a variant serves many models, fetched as they are asked for."""
    return any(c.get("Mode") == "MultiModel" for c in variant["Containers"])


def empty(variant: Json) -> bool:
    """Whether a variant's instances run nothing themselves: inference components are placed on them."""
    return not variant["Containers"]


def library_folder(platform: Platform, row: Row, fleet: Json, variant: Json) -> Path:
    """Where the models of a multi-model variant lie, each in a folder of its own."""
    name: str = variant["VariantName"]
    return root(platform, row, fleet) / "library" / name


def stage_model(platform: Platform, account: str, uri: str, folder: Path) -> None:
    """Fetch one model of many as an account, whole or not at all."""
    aside = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(aside, ignore_errors=True)
    (aside / "model").mkdir(parents=True)
    _fetch_archive(platform, account, uri, aside / "model")
    with contextlib.suppress(OSError):  # there already
        os.rename(aside, folder)
    shutil.rmtree(aside, ignore_errors=True)


def _stage_container(
    platform: Platform, account: str, container: Json, variant: Json, target: Path, cancel: threading.Event
) -> None:
    aside, role = target.with_name(f".{target.name}.new"), variant["Role"]
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    try:
        _fetch(platform, account, container, aside)
    except Forbidden:
        raise ArtifactError(
            f'Could not access model data at {_url(container)}. Please ensure that the role "{role}" exists and that its trust '
            'relationship policy allows the action "sts:AssumeRole" for the service principal "sagemaker.amazonaws.com". Also '
            f'ensure that the role has "s3:GetObject" permissions and that the object is located in the same account. (AccessDenied)'
        ) from None
    except Unreachable:
        raise ArtifactError(
            f'Could not find model data at {_url(container)}. Please ensure that the role "{role}" exists and that '
            "the object exists at the S3 URI."
        ) from None
    runtime = resolve(platform, account, container["Image"])
    if runtime.image:
        try:
            own_images.ensure(platform, runtime.image)
        except own_images.ImageError as error:
            raise ArtifactError(str(error)) from None
        _image_note(target).write_text(runtime.image)
        os.rename(aside, target)
        return
    try:
        brings = runtime.brings
        digest, _ = packages.ensure(platform, aside / "code", not variant["Isolated"], cancel, brings)
    except packages.PackagesError as error:
        raise ArtifactError(str(error)) from None
    _packages_note(target).write_text(digest)
    os.rename(aside, target)


def _packages_note(models: Path) -> Path:
    """Says which packages the code beside a model needs."""
    return models.with_name(f".{models.name}.{packages.NOTE}")


def _image_note(models: Path) -> Path:
    """Says which image of a user's runs beside a model."""
    return models.with_name(f".{models.name}.{own_images.NOTE}")


def image_digest(platform: Platform, row: Row, fleet: Json, slot: Slot) -> str:
    """The digest of the user's image that a process is to run; empty where one of Clary's runtimes does."""
    note = _image_note(models_folder(platform, row, fleet, slot.variant, slot.part))
    return note.read_text().strip() if note.is_file() else ""


def image_of(fleet: Json, slot: Slot) -> str:
    """The same of a process that was started."""
    found: str = fleet["slots"].get(slot.key, {}).get("image", "")
    return found


def deployed_images(variant: Json, fleet: Json) -> list[Json]:
    """A variant's images as they are described: what was asked for, and what that was when it was deployed."""
    found = []
    for part, container in enumerate(variant["Containers"]):
        specified = container["Image"]
        state = fleet["slots"].get(_key(variant, 0, part), {})
        base = specified.partition("@")[0]
        name = base.rpartition(":")[0] if ":" in base.rpartition("/")[2] else base
        resolved = f"{name}@{state['image']}" if state.get("image") else specified
        found.append({"SpecifiedImage": specified, "ResolvedImage": resolved, "ResolutionTime": now()})
    return found


def _url(container: Json) -> str:
    source = (container.get("ModelDataSource") or {}).get("S3DataSource") or {}
    return str(source.get("S3Uri") or container.get("ModelDataUrl"))


def _fetch(platform: Platform, account: str, container: Json, target: Path) -> None:
    if container.get("Mode") != "MultiModel":
        _fetch_model(platform, account, container, target)
    directory = (container.get("Environment") or {}).get("SAGEMAKER_SUBMIT_DIRECTORY", "")
    if directory.startswith("s3://") and not (target / "code").exists():
        archive = target / ".code"
        platform.objects.copy_to(platform.objects.of(account).find(*split_uri(directory)), archive)
        try:
            unpack(archive, target / "code")
        except ArchiveError as error:
            raise ArtifactError(f"The source archive {directory} cannot be unpacked: {error}") from None
        finally:
            archive.unlink()


def _fetch_model(platform: Platform, account: str, container: Json, target: Path) -> None:
    source = (container.get("ModelDataSource") or {}).get("S3DataSource")
    if source is None:
        return
    bucket, key = split_uri(source["S3Uri"])
    if source["S3DataType"] == "S3Prefix":
        found = [o for o in platform.objects.of(account).under(bucket, key) if not o.key.endswith("/")]
        if not found:
            raise NoSuchObject(source["S3Uri"])
        for item in found:
            path = _below(target, item.key[len(key) :].lstrip("/"))
            path.parent.mkdir(parents=True, exist_ok=True)
            platform.objects.copy_to(item, path)
        return
    if source.get("CompressionType") == "None":
        platform.objects.copy_to(platform.objects.of(account).find(bucket, key), _below(target, key.rpartition("/")[2]))
        return
    _fetch_archive(platform, account, source["S3Uri"], target)


def _fetch_archive(platform: Platform, account: str, uri: str, target: Path) -> None:
    archive = target / ".archive"
    platform.objects.copy_to(platform.objects.of(account).find(*split_uri(uri)), archive)
    try:
        unpack(archive, target)
    except ArchiveError as error:
        raise ArtifactError(f"The model data at {uri} cannot be unpacked: {error}") from None
    finally:
        archive.unlink()


def _below(folder: Path, relative: str) -> Path:
    parts = PurePosixPath(relative).parts
    if not parts or any(p in ("..", "/") for p in parts):
        raise ArtifactError(f"The model data holds a path that leaves its folder: {relative!r}.")
    return folder.joinpath(*parts)


# ---- processes -----------------------------------------------------------------------------------------------------


def process(platform: Platform, row: Row, fleet: Json, slot: Slot) -> ProcessSpec:
    """A replica's process."""
    variant, container = slot.variant, slot.container
    if digest := image_digest(platform, row, fleet, slot):
        return _container(platform, row, fleet, slot, own_images.ensure(platform, digest))
    runtime = resolve(platform, row.account, container["Image"])
    environment = base_environment(platform, row, variant["Role"], _SECONDS)
    environment |= {
        "CLARY_SOCKET": "/run/clary/s", "CLARY_IMAGE_TAG": runtime.tag, "CLARY_ALGORITHM": runtime.name,
        "SAGEMAKER_SAFE_PORT_RANGE": "21000-21999",
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    library: tuple[Mount, ...] = ()
    if multi_model(variant):
        setting = (container.get("MultiModelConfig") or {}).get("ModelCacheSetting", "Enabled")
        environment |= {
            "SAGEMAKER_MULTI_MODEL": "true", "CLARY_MODEL_CACHE": setting,
            "CLARY_MEMORY_BYTES": str(memory(variant)),
        }  # fmt: skip
        library = (Mount(str(library_folder(platform, row, fleet, variant)), "/opt/ml/models"),)
    gpus = range(min(accelerators.count(), instance(variant.get("InstanceType", "")).accelerators))  # all share them
    environment |= accelerators.environment(gpus)
    environment |= container.get("Environment") or {}
    scripted = "SAGEMAKER_PROGRAM" in environment or not runtime.serve
    for name in ("io", "tmp"):
        folder = slot.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o1777)
    artifacts = models_folder(platform, row, fleet, variant, slot.part)
    installed = packages.mounted(platform, _packages_note(artifacts), environment)
    library += installed
    way: Json = {"call": runtime.serve, "preload": runtime.preload}
    if scripted:
        way = script(runtime, "serve", container.get("Environment") or {}, bool(installed))
    return ProcessSpec(
        id=f"{row.uid}-{fleet['number']}-{slot.key}-{slot.attempt}",
        folder=str(slot.folder),
        **way,
        environment=environment,
        mounts=(
            Mount(str(artifacts), "/opt/ml/model"),
            Mount(str(slot.folder / "io"), "/run/clary", True),
            Mount(str(slot.folder / "tmp"), "/tmp", True),
            *accelerators.mounts(gpus),
            *library,
        ),
        hostname=f"{variant['VariantName']}-{slot.index}{f'-{slot.part}' if slot.part else ''}".lower(),
        network=not variant["Isolated"],
        memory_bytes=memory(variant),
        processes=platform.settings.job_processes,
        disk_bytes=volume_bytes(variant) + MARGIN,
        uid=uid_of(f"ep-{row.uid}"),
    )


def _container(platform: Platform, row: Row, fleet: Json, slot: Slot, image: own_images.Image) -> ProcessSpec:
    """The process of a replica that runs an image of a user's: its server, on a network of its own."""
    variant, container = slot.variant, slot.container
    port = 0 if variant["Isolated"] else platform.settings.port if platform.settings.port != PORT else DEFAULT_PORT
    own = container.get("Environment") or {}
    environment = {"HOME": image.home, **image.environment}
    environment |= container_environment(platform, row, variant["Role"], _SECONDS, f"http://127.0.0.1:{port}")
    environment["SAGEMAKER_SAFE_PORT_RANGE"] = "21000-21999"
    if len(variant["Containers"]) > 1:
        environment["SAGEMAKER_BIND_TO_PORT"] = str(PORT)
    library: tuple[Mount, ...] = ()
    if multi_model(variant):
        setting = (container.get("MultiModelConfig") or {}).get("ModelCacheSetting", "Enabled")
        environment |= {"SAGEMAKER_MULTI_MODEL": "true", "CLARY_MODEL_CACHE": setting}
        library = (Mount(str(library_folder(platform, row, fleet, variant)), "/opt/ml/models"),)
    started = {
        "command": image.command(["serve"]), "user": image.user, "directory": image.directory, "platform": port,
    }  # fmt: skip
    io = slot.folder / "io"
    io.mkdir(parents=True, exist_ok=True)
    io.chmod(0o1777)
    run = platform.settings.folder / "run"
    inward = (Mount(str(socket_folder(run)), "/run/clary-platform"),) if port else ()
    return ProcessSpec(
        id=f"{row.uid}-{fleet['number']}-{slot.key}-{slot.attempt}",
        folder=str(slot.folder),
        call="clary.runtimes.container:serve",
        environment={**environment, **own, SETTINGS: json.dumps(started), "CLARY_SOCKET": "/run/clary/s"},
        mounts=(
            Mount(str(models_folder(platform, row, fleet, variant, slot.part)), "/opt/ml/model"),
            Mount(str(io), "/run/clary", True), *inward, *library,
        ),
        hostname=f"{variant['VariantName']}-{slot.index}{f'-{slot.part}' if slot.part else ''}".lower(),
        image=str(image.files),
        network=False,
        memory_bytes=memory(variant),
        processes=platform.settings.job_processes,
        disk_bytes=volume_bytes(variant) + MARGIN,
    )  # fmt: skip


def volume_bytes(variant: Json) -> int:
    """Return the bytes that an instance of a variant may write."""
    return int(variant.get("VolumeSizeInGB") or _DEFAULT_VOLUME_GB) << 30


def ping(path: Path, timeout: float = 2.0) -> bool:
    """Whether a replica answers."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
            channel.settimeout(timeout)
            with unlinked(str(path)) as there:
                channel.connect(there)
            channel.sendall(frames.pack([(frames.PING, b"")]))
            head = exactly(channel, 4)
            answer = exactly(channel, int.from_bytes(head, "little"))
            return frames.unpack(answer, 0, len(answer))[0][0].startswith(b"200")
    except (OSError, ValueError, IndexError):
        return False


def started(fleet: Json, slot: Slot, image: str) -> Json:
    """The fleet with a slot's process begun, and the digest of the image that it runs if that is a user's."""
    state = {**fleet["slots"].get(slot.key, {}), "attempt": slot.attempt, "since": now(), "ready": False}
    if image:
        state["image"] = image
    return {**fleet, "slots": {**fleet["slots"], slot.key: state}}


def changed(fleet: Json, key: str, **changes: Any) -> Json:
    """The fleet with a slot's state changed."""
    return {**fleet, "slots": {**fleet["slots"], key: {**fleet["slots"][key], **changes}}}
