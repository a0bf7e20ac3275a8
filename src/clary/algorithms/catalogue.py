"""Which algorithms there are: every folder here that declares one."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from functools import cache
from typing import Any

from .contract import Algorithm


@cache
def algorithms() -> dict[str, Algorithm]:
    """All algorithms by name."""
    package = importlib.import_module(__package__ or "")
    found = {}
    for module in pkgutil.iter_modules(package.__path__):
        if module.ispkg and importlib.util.find_spec(f"{package.__name__}.{module.name}.declaration"):
            declared: Algorithm = importlib.import_module(f"{package.__name__}.{module.name}.declaration").ALGORITHM
            found[declared.name] = declared
    return found


@cache
def by_repository() -> dict[str, Algorithm]:
    """All algorithms by the repositories of their images."""
    return {repository: a for a in algorithms().values() for repository in a.repositories}


def missing(algorithm: Algorithm) -> list[str]:
    """The modules that an algorithm needs and that are not installed."""
    return [name for name in algorithm.needs if importlib.util.find_spec(name) is None]


def program(algorithm: Algorithm) -> Any:
    """The module with its ``train`` and ``load``; a Program."""
    folder = algorithm.name.replace("-", "_")
    return importlib.import_module(f"{__package__}.{folder}.program")
