"""Importing the library the light way: without scikit-learn and pandas, which it only wants for wrappers unused here."""

from __future__ import annotations

import importlib
import sys
from importlib.abc import MetaPathFinder
from typing import Any

_HIDDEN = ("sklearn", "pandas", "modin", "cudf", "dask", "polars")


class _Hide(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in _HIDDEN:
            raise ImportError(f"{name} is not loaded in this process")


def library() -> Any:
    """The ``xgboost`` module."""
    if "xgboost" in sys.modules:
        return sys.modules["xgboost"]
    hide = _Hide()
    sys.meta_path.insert(0, hide)
    try:
        return importlib.import_module("xgboost")
    finally:
        sys.meta_path.remove(hide)


def preload() -> None:
    """Import everything that training and serving need."""
    library()
    for name in ("scipy.sparse", "orjson", "clary.algorithms.xgboost.train", "clary.algorithms.xgboost.serve"):
        importlib.import_module(name)
