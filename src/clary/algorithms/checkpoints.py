"""Checkpoints: what has been learnt after an epoch, as one file of numpy's arrays from which a job goes on.

Nothing in the file is code: it is read from wherever the job's CheckpointConfig points.
"""

from __future__ import annotations

import json
import os
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from .environment import UserError

Tree = Any
"""None, numbers, texts, arrays, and lists and dictionaries (with texts as keys) of them."""
_EVERY = 1.0  # seconds between two files, however short epochs are
_TREE, _ARRAY = "tree", "\0array"


class Stateful(Protocol):
    """What takes part in learning and must be as it was when a job goes on."""

    def state(self) -> Tree:
        """All that was learnt."""

    def restore(self, state: Tree) -> None:
        """Be as that state; UserError when it is that of another job."""


class Learnt:
    """An object whose state are some of its attributes; those that have a state themselves are asked for it."""

    LEARNT: ClassVar[tuple[str, ...]] = ()

    def state(self) -> Tree:
        """The attributes."""
        found = {name: getattr(self, name) for name in self.LEARNT}
        return {name: value.state() if isinstance(value, Learnt) else value for name, value in found.items()}

    def restore(self, state: Tree) -> None:
        """Set them."""
        for name in self.LEARNT:
            before, after = getattr(self, name), state[name]
            if isinstance(before, Learnt):
                before.restore(after)
                continue
            if isinstance(before, np.ndarray) and before.size and np.shape(after) != before.shape:
                raise UserError(
                    f"The checkpoint has {np.shape(after)} numbers where the data of this job has {before.shape}. Give "
                    "the job an empty CheckpointConfig.S3Uri, or the data it began with."
                )
            setattr(self, name, after)


class Checkpoint:
    """A job's file. ``mark`` is what must not change between the job that wrote it and the one that reads it."""

    def __init__(self, folder: Path, name: str, mark: Mapping[str, Any]):
        self.path = folder / f"{name}-checkpoint.npz"
        self._mark = json.loads(json.dumps(mark, default=str))
        self._written = time.monotonic()

    def read(self) -> tuple[int, Tree] | None:
        """Finished epochs and the state after them; None when there is none. UserError when it is no checkpoint."""
        if not self.path.is_file():
            return None
        try:
            with open(self.path, "rb") as file, np.load(file, allow_pickle=False) as arrays:
                found = json.loads(arrays[_TREE].tobytes())
                tree = _unpack(found, arrays)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise UserError(f"The checkpoint {self.path.name} cannot be read: {error}.") from None
        if other := sorted(k for k in self._mark if tree["mark"].get(k) != self._mark[k]):
            raise UserError(
                f"The checkpoint {self.path.name} was written with other hyperparameters ({', '.join(other)}). Give the "
                "job an empty CheckpointConfig.S3Uri, or the hyperparameters it began with."
            )
        return int(tree["epochs"]), tree["state"]

    def due(self) -> bool:
        """Whether the last file is old enough for another one."""
        return time.monotonic() - self._written >= _EVERY

    def write(self, epochs: int, state: Tree) -> None:
        """Replace the file; whoever looks sees the old one or the new one."""
        arrays: dict[str, Any] = {}
        packed = json.dumps(_pack({"mark": self._mark, "epochs": epochs, "state": state}, arrays))
        aside = self.path.with_name(f".{self.path.name}.new")
        arrays[_TREE] = np.frombuffer(packed.encode(), dtype=np.uint8)
        with open(aside, "wb") as file:
            np.savez(file, **arrays)
        os.rename(aside, self.path)
        self._written = time.monotonic()


def _pack(value: Tree, arrays: dict[str, Any]) -> Any:
    """A tree as JSON, its arrays put beside it."""
    if isinstance(value, np.ndarray):
        arrays[name := f"a{len(arrays)}"] = value
        return {_ARRAY: name}
    if isinstance(value, Mapping):
        return {k: _pack(v, arrays) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(v, arrays) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def _unpack(value: Any, arrays: Any) -> Tree:
    if isinstance(value, dict):
        return arrays[value[_ARRAY]] if _ARRAY in value else {k: _unpack(v, arrays) for k, v in value.items()}
    return [_unpack(v, arrays) for v in value] if isinstance(value, list) else value
