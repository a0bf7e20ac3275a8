"""Where Node.js is on this machine: what functions of its runtimes are run with."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ...executors.spec import Mount

RUNTIME = re.compile(r"^nodejs\d+\.x$")
_PROGRAM = Path(__file__).parents[2] / "runtimes" / "function.mjs"
_SYSTEM = ("/usr/", "/bin/", "/opt/", "/nix/")  # what every sandbox shows


@dataclass(frozen=True, slots=True)
class Node:
    """The interpreter, and the folders that it needs to see."""

    path: str
    mounts: tuple[Mount, ...]


@lru_cache
def node() -> Node:
    """FileNotFoundError where there is none."""
    found = shutil.which("node")
    if found is None:
        raise FileNotFoundError("node")
    path = Path(found).resolve()
    if str(path).startswith(_SYSTEM):
        return Node(str(path), ())
    home = path.parent.parent  # bin/node, lib/node_modules
    return Node(str(path), (Mount(str(home), str(home)),))


def node_program() -> tuple[str, ...]:
    """The command of a function's process."""
    return (node().path, str(_PROGRAM))


def installed() -> bool:
    """Whether functions in JavaScript can run."""
    return shutil.which("node") is not None
