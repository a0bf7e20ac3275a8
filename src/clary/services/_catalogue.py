"""Finds the services. No list names them: a module or package here that has a ``SERVICE`` is one."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from types import ModuleType

from ..provider.service import Service

_PACKAGE = __name__.rpartition(".")[0]


@cache
def services(package: str = _PACKAGE) -> tuple[Service, ...]:
    """Return every service below a package, in the order of their modules' names, with its operations bound.

    Operations are bound when their modules are imported, so all modules of a service's package are.
    """
    return tuple(_below(import_module(package)))


def _below(package: ModuleType) -> Iterator[Service]:
    for info in sorted(pkgutil.iter_modules(package.__path__, f"{package.__name__}."), key=lambda found: found.name):
        module = import_module(info.name)
        service = getattr(module, "SERVICE", None)
        if isinstance(service, Service):
            for part in pkgutil.walk_packages(module.__path__, f"{info.name}.") if info.ispkg else ():
                import_module(part.name)
            yield service
        elif info.ispkg:  # services that share modules lie in one package
            yield from _below(module)
