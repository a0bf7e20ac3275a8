"""Texts that ship with Python: the docstrings of its standard library, by module."""

import importlib
import inspect

MODULES = (
    "argparse",
    "asyncio",
    "collections",
    "datetime",
    "decimal",
    "email",
    "json",
    "logging",
    "pathlib",
    "statistics",
)
GROUPS = {"argparse": 0, "logging": 0, "json": 0, "email": 0, "pathlib": 0}  # the others: 1


def docstrings():
    """Pairs of a text and the number of its group."""
    found = []
    for name in MODULES:
        module = importlib.import_module(name)
        for member in vars(module).values():
            parts = [member, *vars(member).values()] if inspect.isclass(member) else [member]
            for part in parts:
                text = inspect.getdoc(part) if callable(part) else None
                if text and len(text) > 60:
                    found.append((" ".join(text.split()), GROUPS.get(name, 1)))
    return sorted(set(found))
