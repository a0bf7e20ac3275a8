"""What an algorithm declares, and what its program has.

An algorithm is a folder beside this module. Its ``declaration`` (which imports nothing heavy, for the platform reads
it too) holds an ``ALGORITHM``; its ``program`` has ``train(job)``, which leaves the model in ``job.model``, and
``load(folder)``, which makes a predictor of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .hyperparameters import Hyperparameter, Params

if TYPE_CHECKING:
    from .requests import Request

RECORDIO, CSV, JSON, JSONLINES = (
    "application/x-recordio-protobuf",
    "text/csv",
    "application/json",
    "application/jsonlines",
)
LIBSVM, PARQUET, TEXT = "text/libsvm", "application/x-parquet", "text/plain"


@dataclass(frozen=True, slots=True)
class Input:
    """A channel that an algorithm takes."""

    name: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that the algorithm logs, and how it is found in the log."""

    name: str
    regex: str


def quality(name: str, words: str, way: str) -> Metric:
    """A ``#quality_metric`` line; ``way`` is loss or score, ``words`` what stands before it."""
    return Metric(name, rf"#quality_metric: host=\S+, {words} <{way}>=(\S+)")


PROGRESS = (
    Metric("train:throughput", r"#throughput_metric: host=\S+, train throughput=(\S+) records/second"),
    Metric("train:progress", r"#progress_metric: host=\S+, completed (\S+) %"),
)
"""What every first-party algorithm logs."""


def _nothing(params: Params) -> None:
    """No rule between hyperparameters."""


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A built-in algorithm."""

    name: str
    title: str
    repositories: tuple[str, ...]  # of its images; any registry, any tag
    hyperparameters: Mapping[str, Hyperparameter]
    channels: tuple[Input, ...] = (Input("train", True), Input("test"))
    metrics: tuple[Metric, ...] = ()
    dimension: str = ""  # what #metrics lines call it
    files: tuple[str, ...] = (RECORDIO, CSV)  # content types of channels; the first is meant when none is given
    requests: tuple[str, ...] = (JSON, JSONLINES, CSV, RECORDIO)
    answers: tuple[str, ...] = (JSON, JSONLINES, RECORDIO)  # the first answers a request that names none
    rules: Callable[[Params], None] = _nothing  # UserError for values that do not go together
    train: str = "clary.algorithms.job:main"
    serve: str = "clary.algorithms.hosting:main"
    needs: tuple[str, ...] = ()  # modules that an optional extra brings
    extra: str = ""  # the extra
    several_hosts: bool = True


Columns = dict[str, Any]
"""An answer: for each field an array or list with an entry a row."""


class Predictor(Protocol):
    """A loaded model that answers rows of numbers. ``columns`` is how many features it takes."""

    columns: int
    outer: str  # the key around the rows of a JSON answer

    def predict(self, features: Any, options: Mapping[str, str]) -> Columns:
        """Answers for float32 [rows, columns], dense or sparse; ``options`` are the parameters of Accept."""


class Responder(Protocol):
    """A loaded model whose requests are no plain rows: it answers each by itself."""

    def answer(self, request: Request) -> tuple[str, bytes]:
        """Content type and body; UserError and Refused as for every algorithm."""


class Program(Protocol):
    """The module that does an algorithm's work."""

    def train(self, job: Any) -> None:
        """Learn; leave the model's files in ``job.model``."""

    def load(self, folder: Path) -> Predictor | Responder:
        """A model, ready to answer."""
