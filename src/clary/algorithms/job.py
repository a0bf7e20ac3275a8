"""A training job of a built-in algorithm: what its program is given, and what is done around it."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from . import catalogue, gather
from .checkpoints import Checkpoint, Stateful
from .contract import Algorithm
from .environment import TrainingEnvironment, UserError, fail, training
from .hyperparameters import Params, validate
from .readers.source import Source, files
from .report import Report

ALGORITHM = "CLARY_ALGORITHM"
ARTIFACT = "model_algo-1"
"""The name of the model's file in AWS's archives."""


class Job:
    """What ``train`` works with."""

    def __init__(self, algorithm: Algorithm, environment: TrainingEnvironment, params: Params, report: Report):
        self.algorithm = algorithm
        self.params = params
        self.report = report
        self.random = np.random.default_rng(0)
        self._environment = environment
        self._spooled: dict[str, tuple[Path, ...]] = {}
        self._sources: dict[str, Source] = {}
        self._learning = self._stopping = False
        signal.signal(signal.SIGTERM, self._stop)

    def _stop(self, *_: object) -> None:
        """Between epochs there is a model to keep; a program that has none yet, or learns in one go, ends here."""
        if not self._learning:
            raise SystemExit(128 + signal.SIGTERM)
        self._stopping = True

    @property
    def model(self) -> Path:
        """The folder that becomes ``model.tar.gz``."""
        return self._environment.model

    @property
    def artifact(self) -> Path:
        """The model's file."""
        return self.model / ARTIFACT

    @property
    def environment(self) -> TrainingEnvironment:
        """Hosts, channels and folders."""
        return self._environment

    def has(self, channel: str) -> bool:
        """Whether the job has a channel, with something in it."""
        found = self._environment.channels.get(channel)
        if found is None:
            return False
        return found.pipe or bool(files(found.folder)) or bool(self._spooled.get(channel))

    def source(self, channel: str) -> Source:
        """A channel as tables of numbers."""
        if channel not in self._sources:
            found = self._environment.channels[channel]
            self._sources[channel] = Source(found, self.algorithm.files, self.spooled(channel))
        return self._sources[channel]

    def spooled(self, channel: str) -> tuple[Path, ...]:
        """What the other hosts had of a channel."""
        return self._spooled.get(channel, ())

    def gathered(self, spooled: dict[str, tuple[Path, ...]]) -> None:
        """Take what the other hosts had."""
        self._spooled = spooled

    def epochs(self, count: int, *parts: Stateful) -> Iterator[int]:
        """Epoch numbers; none follows once the job is being stopped, so that what was learnt can be saved.

        Where the job has checkpoints, ``parts`` are all that learns: they are stored between two epochs, and a job that
        finds them goes on with the next one. After the last epoch nothing is stored, so one is always left to do.
        """
        checkpoint = self._checkpoint() if parts else None
        first = self._resumed(checkpoint, count, parts) if checkpoint else 0
        self._learning = True
        for epoch in range(first, count):
            yield epoch
            self.report.progress(epoch + 1, count)
            if checkpoint and epoch + 1 < count and (self._stopping or checkpoint.due()):
                checkpoint.write(epoch + 1, [self.random.bit_generator.state, *(p.state() for p in parts)])
            if self._stopping:
                self.report.warn(f"The job is being stopped: the model is saved as it is after epoch {epoch}.")
                return

    def _checkpoint(self) -> Checkpoint | None:
        if (folder := self._environment.checkpoints) is None:
            return None
        mark = {k: v for k, v in self.params.items() if k != "epochs"}
        return Checkpoint(folder, self.algorithm.name, mark)

    def _resumed(self, checkpoint: Checkpoint, count: int, parts: tuple[Stateful, ...]) -> int:
        """The first epoch to do."""
        if (found := checkpoint.read()) is None:
            return 0
        epochs, (random, *states) = found
        if epochs >= count:
            self.report.warn(f"The checkpoint {checkpoint.path.name} is that of epoch {epochs}: it is not used.")
            return 0
        self.random.bit_generator.state = random
        for part, state in zip(parts, states, strict=True):
            part.restore(state)
        self.report.say(f"Resuming from checkpoint {checkpoint.path.name} after {epochs} of {count} epochs")
        return epochs

    def dimension(self, columns: int, name: str = "feature_dim") -> int:
        """The number of features, checked against the hyperparameter where it is given."""
        wanted = self.params.get(name)
        if wanted is not None and wanted != columns:
            raise UserError(
                f"The hyperparameter {name} is {wanted}, but the rows of the train channel have {columns} features. "
                "(Is the label in the first column, and does the content type say label_size?)"
            )
        return columns


def main() -> int:
    """Train the algorithm that the environment names; the exit code."""
    algorithm = catalogue.algorithms()[os.environ[ALGORITHM]]
    try:
        _run(algorithm, training())
    except UserError as error:
        return fail(f"ClientError: {error}")
    return 0


def _run(algorithm: Algorithm, environment: TrainingEnvironment) -> None:
    report = Report(environment.current_host, algorithm.dimension or algorithm.title)
    began = time.time()
    print("Docker entrypoint called with argument(s): train", flush=True)
    print("Running default environment configuration script", flush=True)
    params = _configure(algorithm, environment, report)
    _check_channels(algorithm, environment)
    if not environment.first:
        gather.give(environment)
        report.say(f"{environment.current_host} gave its part of the data to {environment.hosts[0]}, which trains.")
        return
    job = Job(algorithm, environment, params, report)
    job.gathered(gather.take(environment))
    job.model.mkdir(parents=True, exist_ok=True)
    setup = time.time()
    catalogue.program(algorithm).train(job)
    if "test" not in environment.channels and any(c.name == "test" for c in algorithm.channels):
        print("Test data is not provided.", flush=True)
    report.metrics({"setuptime": (setup - began) * 1000, "totaltime": (time.time() - began) * 1000})


def _configure(algorithm: Algorithm, environment: TrainingEnvironment, report: Report) -> Params:
    defaults = {n: h.default for n, h in algorithm.hyperparameters.items() if h.default is not None}
    given = environment.hyperparameters
    report.say(f"Reading default configuration: {_shown(defaults)}")
    report.say(f"Merging with provided configuration from /opt/ml/input/config/hyperparameters.json: {_shown(given)}")
    params = validate(algorithm.hyperparameters, given)
    algorithm.rules(params)
    report.say(f"Final configuration: {_shown({k: v for k, v in params.items() if v is not None})}")
    return params


def _shown(values: Any) -> str:
    return json.dumps(values, default=str)


def _check_channels(algorithm: Algorithm, environment: TrainingEnvironment) -> None:
    known = [c.name for c in algorithm.channels]
    if unknown := sorted(set(environment.channels) - set(known)):
        raise UserError(
            f"Additional properties are not allowed ('{unknown[0]}' was unexpected): {algorithm.title} has the "
            f"channels {', '.join(known)}."
        )
    for channel in algorithm.channels:
        if channel.required and channel.name not in environment.channels:
            raise UserError(f"'{channel.name}' is a required property: {algorithm.title} needs a channel of that name.")
    if len(environment.hosts) > 1 and not algorithm.several_hosts:
        raise UserError(f"{algorithm.title} trains on one instance; this job has {len(environment.hosts)}.")
