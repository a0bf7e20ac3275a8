"""Model files: written as each generation of AWS's container writes them, read whatever wrote them."""

from __future__ import annotations

import json
import os
import pickle
import re
from pathlib import Path
from typing import Any

from ..environment import UserError
from .runtime import library

NAME = "xgboost-model"
_SAFE = {("xgboost.core", "Booster"), ("builtins", "bytearray"), ("_codecs", "encode"), ("collections", "OrderedDict")}


class _BoosterUnpickler(pickle.Unpickler):
    """Reads pickled boosters and refuses everything else a pickle could hold."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _SAFE:
            library()
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"the model file holds {module}.{name}; only an xgboost Booster is loaded")


def version(tag: str) -> tuple[int, ...]:
    """The container version of an image tag: ``1.7-1`` → (1, 7, 1); ``latest`` and ``1`` are the oldest interface."""
    found = re.match(r"(\d+)\.(\d+)-(\d+)", tag)
    return tuple(int(n) for n in found.groups()) if found else (0, 72, 0)


def pickled(tag: str) -> bool:
    """Whether a tag's container stores pickles: those up to 1.2-2."""
    return version(tag) <= (1, 2, 2)


def save(booster: Any, folder: Path, tag: str, name: str = NAME) -> None:
    """Write a booster as the tag's container does, in one step."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f".{name}.new"
    if pickled(tag):
        aside.write_bytes(pickle.dumps(booster, protocol=4))
    else:
        aside.write_bytes(bytes(booster.save_raw("ubj")))
    os.rename(aside, folder / name)


def load(path: Path) -> Any:
    """A booster from a file of any generation: pickle, UBJSON, JSON, old binary; UserError when it is none of them."""
    xgboost = library()
    with open(path, "rb") as file:
        head = file.read(2)
        if head[:1] == b"\x80":
            file.seek(0)
            try:
                found = _BoosterUnpickler(file).load()
            except (pickle.UnpicklingError, EOFError, AttributeError, xgboost.core.XGBoostError) as error:
                raise UserError(f"Unable to load model from {path.name}: {error}") from None
            if not isinstance(found, xgboost.Booster):
                raise UserError(f"Unable to load model from {path.name}: it is not an xgboost Booster")
            return found
    booster = xgboost.Booster()
    try:
        booster.load_model(bytearray(path.read_bytes()))
    except (xgboost.core.XGBoostError, ValueError) as error:
        text = str(error).strip().splitlines()[0] if str(error) else "unknown format"
        raise UserError(f"Unable to load model from {path.name}: {text}") from None
    return booster


def load_all(folder: Path) -> list[Any]:
    """Every model of a folder; several are an ensemble, unless SAGEMAKER_INFERENCE_ENSEMBLE says otherwise."""
    paths = (
        [p for p in sorted(folder.iterdir()) if p.is_file() and not p.name.startswith(".")] if folder.is_dir() else []
    )
    if not paths:
        raise UserError(f"No valid model file exists in {folder}")
    if os.environ.get("SAGEMAKER_INFERENCE_ENSEMBLE", "true").lower() != "true":
        paths = paths[:1]
    return [load(path) for path in paths]


def objective(booster: Any) -> str:
    """The objective that a booster was trained for."""
    config = json.loads(booster.save_config())
    return str(config["learner"]["objective"]["name"])
