"""What an instance type stands for: cores and memory. Source: AWS's public list of ML instance types."""

from __future__ import annotations

import os
from dataclasses import dataclass

_SIZES = {"medium": 1, "large": 2, "xlarge": 4}
_MEMORY_PER_CORE = {"t2": 2, "t3": 2, "c": 2, "m": 4, "r": 8, "x": 16, "g": 4, "p": 8}
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Instance:
    """Cores and bytes of memory."""

    cores: int
    memory_bytes: int


def instance(name: str) -> Instance:
    """An instance type's size; a local size for names without one."""
    parts = name.removeprefix("ml.").split(".")
    family, size = parts[0], parts[1] if len(parts) > 1 else "large"
    times, _, rest = size.partition("xlarge")
    cores = int(times) * 4 if times.isdigit() and size.endswith("xlarge") and not rest else _SIZES.get(size, 2)
    memory = _MEMORY_PER_CORE.get(family, _MEMORY_PER_CORE.get(family[:1], 4)) * cores * _GIB
    return Instance(cores, max(memory, 4 * _GIB))


def memory_limit(name: str) -> int:
    """The memory that a process of an instance may use here: the instance's, or this machine's when that is less."""
    wanted = instance(name).memory_bytes
    try:
        here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return wanted
    return min(wanted, int(here * 0.9))
