"""The machine's GPUs: how many there are, and what a process needs to see of them.

Source: NVIDIA's driver makes ``/dev/nvidia<number>`` for each GPU, and ``/dev/nvidiactl`` and others for all of them. A
process with a GPU sees the files of all, and which are its own from a variable: the numbers stay the same in and out of
a sandbox.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .spec import Mount

VARIABLE = "CUDA_VISIBLE_DEVICES"
_DEVICES = Path("/dev")


def count(devices: Path = _DEVICES) -> int:
    """How many GPUs this machine has."""
    return sum(p.name.removeprefix("nvidia").isdigit() for p in devices.glob("nvidia*"))


def mounts(numbers: Sequence[int], devices: Path = _DEVICES) -> list[Mount]:
    """The device files for a process that has some GPUs; nothing for one that has none."""
    found = sorted(p for p in devices.glob("nvidia*") if not p.is_dir()) if numbers else []
    return [Mount(str(path), f"/dev/{path.name}", True) for path in found]


def environment(numbers: Sequence[int], devices: Path = _DEVICES) -> dict[str, str]:
    """What tells CUDA which GPUs are the process's; nothing on a machine without any."""
    return {VARIABLE: ",".join(map(str, numbers))} if count(devices) else {}
