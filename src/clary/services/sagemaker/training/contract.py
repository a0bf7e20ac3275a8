"""What a training process finds: configuration files, environment, processes of a job. The ``/opt/ml`` contract."""

from __future__ import annotations

import json
import os
import posixpath
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ....executors import accelerators
from ....executors.image_root import FIRST_ID
from ....executors.local import uid_of
from ....executors.spec import Mount, ProcessSpec
from ....executors.volumes import MARGIN
from ....provider.platform import Platform
from ....settings import Settings
from ....store.rows import Row
from .. import own_images, packages
from ..images import resolve, script
from ..instances import instance, memory_limit
from ..runtime_environment import base_environment, container_environment

Json = dict[str, Any]
DEFAULT_CHECKPOINTS = "/opt/ml/checkpoints"
_DEFAULT_VOLUME_GB = 30


@dataclass(frozen=True, slots=True)
class Host:
    """One host of a job."""

    name: str
    index: int
    instance_type: str
    group: str
    folder: Path  # its state: lock, log, exit; its files lie in ml/ and tmp/

    @property
    def ml(self) -> Path:
        """What the process sees as ``/opt/ml``."""
        return self.folder / "ml"


def hosts(settings: Settings, row: Row) -> list[Host]:
    """A job's hosts, ``algo-1`` first."""
    resources = row.spec.get("ResourceConfig", {})
    groups = resources.get("InstanceGroups") or [
        {
            "InstanceGroupName": "homogeneousCluster", "InstanceType": resources.get("InstanceType", "ml.m5.large"),
            "InstanceCount": resources.get("InstanceCount", 1),
        }
    ]  # fmt: skip
    run = settings.folder / "runs" / run_id(row)
    found: list[Host] = []
    for group in groups:
        for _ in range(group["InstanceCount"]):
            index = len(found)
            name = f"algo-{index + 1}"
            found.append(Host(name, index, group["InstanceType"], group["InstanceGroupName"], run / name))
    return found


def run_id(row: Row) -> str:
    """The name of the folder of a job's present attempt: derived, never stored."""
    attempt = row.private.get("attempts", 0)
    return f"job-{row.uid}" + (f"-{attempt}" if attempt else "")


def log_stream(row: Row, host: Host) -> str:
    """The log stream of a host."""
    return f"{row.name}/{host.name}-{int(row.created) + row.private.get('attempts', 0)}"


def hyperparameters(row: Row) -> dict[str, str]:
    """What the program reads, all strings."""
    return dict(row.spec.get("HyperParameters") or {})


def write_configuration(row: Row, all_hosts: list[Host], host: Host) -> None:
    """The files under ``input/config``, and the folders that must be there."""
    config = host.ml / "input" / "config"
    for folder in (
        config,
        host.ml / "input" / "data",
        host.ml / "model",
        host.ml / "output" / "data",
        host.ml / "code",
    ):
        folder.mkdir(parents=True, exist_ok=True)
    (host.folder / "tmp").mkdir(exist_ok=True)
    (host.folder / "tmp").chmod(0o1777)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters(row)))
    mode = row.spec["AlgorithmSpecification"].get("TrainingInputMode", "File")
    (config / "inputdataconfig.json").write_text(
        json.dumps(
            {c["ChannelName"]: _channel(c, mode) for c in row.spec.get("InputDataConfig") or () if receives(host, c)}
        )
    )
    groups = sorted({(h.group, h.instance_type) for h in all_hosts})
    resources = {
        "current_host": host.name, "current_instance_type": host.instance_type, "current_group_name": host.group,
        "hosts": [h.name for h in all_hosts],
        "instance_groups": [
            {
                "instance_group_name": group, "instance_type": kind,
                "hosts": [h.name for h in all_hosts if h.group == group],
            }
            for group, kind in groups
        ],
        "network_interface_name": "lo",
    }  # fmt: skip
    (config / "resourceconfig.json").write_text(json.dumps(resources))


def receives(host: Host, channel: Json) -> bool:
    """Whether a channel is for the hosts of this one's group."""
    groups = (channel.get("DataSource", {}).get("S3DataSource") or {}).get("InstanceGroupNames")
    return not groups or host.group in groups


def _channel(channel: Json, mode: str) -> Json:
    source = channel.get("DataSource", {})
    shown = {
        "TrainingInputMode": channel.get("InputMode") or mode,
        "S3DistributionType": source.get("S3DataSource", {}).get("S3DataDistributionType", "FullyReplicated"),
        "RecordWrapperType": channel.get("RecordWrapperType", "None"),
    }
    return {**shown, "ContentType": channel["ContentType"]} if channel.get("ContentType") else shown


def process(platform: Platform, row: Row, all_hosts: list[Host], host: Host) -> ProcessSpec:
    """The process of a host."""
    algorithm = row.spec["AlgorithmSpecification"]
    if digest := image_digest(host):
        return _container(platform, row, all_hosts, host, own_images.ensure(platform, digest))
    runtime = resolve(platform, row.account, algorithm["TrainingImage"])
    entry, arguments = algorithm.get("ContainerEntrypoint"), algorithm.get("ContainerArguments") or []
    addresses = _addresses(row, all_hosts)
    environment = {
        **base_environment(platform, row, row.spec["RoleArn"], _seconds(row)), "CLARY_ALGORITHM": runtime.name,
        "CLARY_IMAGE_TAG": runtime.tag, **_told(row, host),
    }  # fmt: skip
    mounts = [*_mounts(row, host), Mount(str(host.folder / "tmp"), "/tmp", True)]
    if row.spec.get("CheckpointConfig"):
        environment["CLARY_CHECKPOINTS"] = checkpoint_path(row)
    environment |= row.spec.get("Environment") or {}
    gpus = _gpus(row, host)
    environment = {**accelerators.environment(gpus), **environment}
    mounts += accelerators.mounts(gpus)
    installed = packages.mounted(platform, host.folder.parent / packages.NOTE, environment)
    mounts += installed
    if entry:
        way: Json = {"command": (*entry, *arguments)}
    elif runtime.train and "sagemaker_program" not in hyperparameters(row):
        way = {"call": runtime.train, "preload": runtime.preload}
    else:
        way = script(runtime, "train", row.spec.get("Environment") or {}, bool(installed))
    return ProcessSpec(
        id=f"{run_id(row)}-{host.name}",
        folder=str(host.folder),
        **way,
        environment=environment,
        mounts=tuple(mounts),
        hostname=host.name,
        hosts=addresses,
        directory="/" if way.get("call") == runtime.train else "/opt/ml/code",
        network=not row.spec.get("EnableNetworkIsolation", False) or len(all_hosts) > 1,
        memory_bytes=memory_limit(host.instance_type),
        processes=platform.settings.job_processes,
        disk_bytes=volume_bytes(row) + MARGIN,
        uid=uid_of(run_id(row)),
    )


def volume_bytes(row: Row) -> int:
    """Return the bytes that each instance of a job may hold on its volume."""
    resources = row.spec.get("ResourceConfig") or {}
    return int(resources.get("VolumeSizeInGB") or _DEFAULT_VOLUME_GB) << 30


def _seconds(row: Row) -> float:
    """How long the job may run."""
    return float(row.spec.get("StoppingCondition", {}).get("MaxRuntimeInSeconds", 86400))


def _told(row: Row, host: Host) -> dict[str, str]:
    """What AWS tells every training container by variables."""
    return {
        "TRAINING_JOB_NAME": row.name, "TRAINING_JOB_ARN": row.arn, "CURRENT_HOST": host.name,
        "SAGEMAKER_MANAGED_WARMPOOL_CACHE_DIRECTORY": "/opt/ml/sagemaker/warmpoolcache",
    }  # fmt: skip


def _mounts(row: Row, host: Host) -> list[Mount]:
    """The job's own folders."""
    mounts = [Mount(str(host.ml), "/opt/ml", True)]
    mounts += (Mount(str(path), f"/opt/ml/input/data/{path.name}") for path in sorted((host.folder / "fast").glob("*")))
    local = checkpoint_path(row)
    if row.spec.get("CheckpointConfig") and not local.startswith("/opt/ml/"):
        mounts.append(Mount(str(host.folder / "checkpoints"), local, True))
    return mounts


def image_digest(host: Host) -> str:
    """The digest of the image that a user pushed and the job runs; empty where one of Clary's runtimes does."""
    note = host.folder.parent / own_images.NOTE
    return note.read_text().strip() if note.is_file() else ""


def owner(row: Row, host: Host) -> int:
    """The user on this machine to whom a host's files belong; 0 where that is the platform's."""
    if os.geteuid() == 0 and image_digest(host):
        return FIRST_ID
    return uid_of(run_id(row))


def _container(platform: Platform, row: Row, all_hosts: list[Host], host: Host, image: own_images.Image) -> ProcessSpec:
    """The process of a host that runs an image of a user's: ``docker run IMAGE train``."""
    algorithm = row.spec["AlgorithmSpecification"]
    entry, arguments = algorithm.get("ContainerEntrypoint"), algorithm.get("ContainerArguments")
    gpus = _gpus(row, host)
    environment = {
        "HOME": image.home, **image.environment, **accelerators.environment(gpus),
        **container_environment(platform, row, row.spec["RoleArn"], _seconds(row)), **_told(row, host),
        **(row.spec.get("Environment") or {}),
    }  # fmt: skip
    return ProcessSpec(
        id=f"{run_id(row)}-{host.name}",
        folder=str(host.folder),
        command=image.command(arguments if arguments is not None else [] if entry else ["train"], entry),
        environment=environment,
        mounts=(*_mounts(row, host), *accelerators.mounts(gpus)),
        hostname=host.name,
        hosts=_addresses(row, all_hosts),
        directory=image.directory,
        image=str(image.files),
        user=image.user,
        network=not row.spec.get("EnableNetworkIsolation", False) or len(all_hosts) > 1,
        memory_bytes=memory_limit(host.instance_type),
        processes=platform.settings.job_processes,
        disk_bytes=volume_bytes(row) + MARGIN,
    )


def _gpus(row: Row, host: Host) -> list[int]:
    """A host's part of the job's GPUs; hosts share one where there are more hosts than GPUs."""
    whole, each = row.private.get("gpus") or [], instance(host.instance_type).accelerators
    if not each or not whole:
        return []
    return [n for i, n in enumerate(whole) if i // each == host.index] or [whole[host.index % len(whole)]]


def _addresses(row: Row, all_hosts: list[Host]) -> dict[str, str]:
    """A loopback address for each host, so that the same port can be used on all of them."""
    digest = int(row.uid[:8], 16)
    return {h.name: f"127.{64 + digest % 64}.{digest // 64 % 254 + 1}.{h.index + 1}" for h in all_hosts}


def checkpoint_path(row: Row) -> str:
    """Return where a job finds its checkpoints: the path that it chose, without ``..`` and the like."""
    return posixpath.normpath((row.spec.get("CheckpointConfig") or {}).get("LocalPath") or DEFAULT_CHECKPOINTS)


def checkpoint_folder(row: Row, host: Host) -> Path:
    """Where a host's checkpoints lie on this machine."""
    local = checkpoint_path(row)
    if local.startswith("/opt/ml/"):
        return host.ml / Path(local).relative_to("/opt/ml")
    return host.folder / "checkpoints"
