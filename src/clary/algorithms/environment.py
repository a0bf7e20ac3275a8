"""The ``/opt/ml`` contract as a program inside sees it."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Json = dict[str, Any]


class UserError(Exception):
    """The job's own fault: its text becomes the job's FailureReason."""


@dataclass(frozen=True, slots=True)
class Channel:
    """One input channel."""

    name: str
    folder: Path
    content_type: str | None
    pipe: bool
    sharded: bool = False  # every host has a part of the objects

    def fifo_of(self, epoch: int) -> Path:
        """The FIFO of an epoch."""
        return self.folder.with_name(f"{self.name}_{epoch}")


@dataclass(frozen=True, slots=True)
class TrainingEnvironment:
    """A training job's view: hyperparameters, channels, hosts, where results go."""

    base: Path
    hyperparameters: dict[str, str]
    channels: dict[str, Channel]
    current_host: str
    hosts: tuple[str, ...]
    extra: Json = field(default_factory=dict)

    @property
    def model(self) -> Path:
        """The folder that becomes ``model.tar.gz``."""
        return self.base / "model"

    @property
    def output(self) -> Path:
        """The folder that becomes ``output.tar.gz``."""
        return self.base / "output" / "data"

    @property
    def checkpoints(self) -> Path | None:
        """The checkpoint folder, when the job has one."""
        path = Path(os.environ.get("CLARY_CHECKPOINTS", ""))
        return path if os.environ.get("CLARY_CHECKPOINTS") and path.is_dir() else None

    @property
    def first(self) -> bool:
        """Whether this is the host that writes the model."""
        return self.current_host == self.hosts[0]


def base() -> Path:
    """``/opt/ml``, or where SAGEMAKER_BASE_DIR puts it."""
    return Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml"))


def training() -> TrainingEnvironment:
    """Read the configuration files of a training job."""
    root = base()
    config = root / "input" / "config"
    inputs = json.loads((config / "inputdataconfig.json").read_text())
    resources = json.loads((config / "resourceconfig.json").read_text())
    channels = {
        name: Channel(
            name,
            root / "input" / "data" / name,
            spec.get("ContentType"),
            spec.get("TrainingInputMode") == "Pipe",
            spec.get("S3DistributionType") == "ShardedByS3Key",
        )
        for name, spec in inputs.items()
    }
    return TrainingEnvironment(
        root,
        json.loads((config / "hyperparameters.json").read_text()),
        channels,
        resources["current_host"],
        tuple(resources["hosts"]),
        resources,
    )


def fail(text: str) -> int:
    """Say why the job failed, in the file that the platform reads and in the log; the exit code."""
    path = base() / "output" / "failure"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(text, file=sys.stderr, flush=True)
    return 1


def gpus() -> int:
    """How many GPUs this process has been given."""
    return len([n for n in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if n.strip()])
