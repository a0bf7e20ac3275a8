"""What an instance type stands for: cores, memory, accelerators. Source: AWS's public list of ML instance types."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ...wire.bounded import digits

_SIZES = {"medium": 1, "large": 2, "xlarge": 4}
_MEMORY_PER_CORE = {"t2": 2, "t3": 2, "c": 2, "m": 4, "r": 8, "x": 16, "g": 4, "p": 8}
_GIB = 1 << 30
_ACCELERATED = ("p", "g", "inf", "trn", "dl")
_ACCELERATORS = {
    "p2.8xlarge": 8, "p2.16xlarge": 16, "p3.8xlarge": 4, "p3.16xlarge": 8, "p4d.24xlarge": 8, "p4de.24xlarge": 8,
    "p5.48xlarge": 8, "p5e.48xlarge": 8, "p5en.48xlarge": 8, "g4dn.12xlarge": 4, "inf1.6xlarge": 4, "inf1.24xlarge": 16,
    "inf2.24xlarge": 6, "inf2.48xlarge": 12, "trn1.32xlarge": 16, "trn1n.32xlarge": 16, "dl1.24xlarge": 8,
}  # fmt: skip
_BY_SIZE = {"12xlarge": 4, "24xlarge": 4, "48xlarge": 8}  # of the g5, g6 and g6e families


@dataclass(frozen=True, slots=True)
class Instance:
    """Cores, bytes of memory, accelerators (GPUs and AWS's own)."""

    cores: int
    memory_bytes: int
    accelerators: int = 0


def instance(name: str) -> Instance:
    """An instance type's size; a local size for names without one."""
    parts = name.removeprefix("ml.").split(".")
    family, size = parts[0], parts[1] if len(parts) > 1 else "large"
    times, _, rest = size.partition("xlarge")
    cores = int(times) * 4 if digits(times) and size.endswith("xlarge") and not rest else _SIZES.get(size, 2)
    memory = _MEMORY_PER_CORE.get(family, _MEMORY_PER_CORE.get(family[:1], 4)) * cores * _GIB
    return Instance(cores, max(memory, 4 * _GIB), _accelerators(family, size))


def _accelerators(family: str, size: str) -> int:
    if not family.startswith(_ACCELERATED):
        return 0
    if (exact := _ACCELERATORS.get(f"{family}.{size}")) is not None:
        return exact
    return _BY_SIZE.get(size, 1) if family[:2] in ("g5", "g6") else 1


def memory_limit(name: str) -> int:
    """The memory that a process of an instance may use here: the instance's, or this machine's when that is less."""
    wanted = instance(name).memory_bytes
    try:
        here = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return wanted
    return min(wanted, int(here * 0.9))
