"""How many jobs run at once: the machine's cores, memory and GPUs are promised to jobs, the others wait in a line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ....executors import accelerators
from ....settings import Settings
from ....store.rows import Key, Row
from ..instances import instance, memory_limit
from .contract import hosts

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Need:
    """What a job takes of the machine: cores, bytes and GPUs, no instance more than the machine has."""

    cores: int
    memory_bytes: int
    gpus: int = 0

    def __add__(self, other: Need) -> Need:
        return Need(self.cores + other.cores, self.memory_bytes + other.memory_bytes, self.gpus + other.gpus)

    def within(self, whole: Need) -> bool:
        """Whether it is not more than there is."""
        return self.cores <= whole.cores and self.memory_bytes <= whole.memory_bytes and self.gpus <= whole.gpus

    def __str__(self) -> str:
        gpus = f", {self.gpus} GPU" if self.gpus else ""
        return f"{self.cores} vCPU, {self.memory_bytes / _GIB:.1f} GiB{gpus}"


def need(settings: Settings, row: Row) -> Need:
    """Of a job's instances."""
    here, gpus = os.cpu_count() or 1, accelerators.count()
    found = [h.instance_type for h in hosts(settings, row)]
    return Need(
        sum(min(here, instance(t).cores) for t in found), sum(memory_limit(t) for t in found),
        sum(min(gpus, instance(t).accelerators) for t in found),
    )  # fmt: skip


def machine(settings: Settings) -> Need:
    """What may be promised at one time."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = 8 * _GIB
    times = settings.training_overcommit
    return Need(int((os.cpu_count() or 1) * times), int(memory * times), accelerators.count())


class Ledger:
    """Who has what, and who waits. Belongs to one control process; asked on its event loop only."""

    def __init__(self, whole: Need):
        self._whole = whole
        self._given: dict[Key, Need] = {}
        self._gpus: dict[Key, tuple[int, ...]] = {}  # of those that have room
        self._kept: dict[Key, tuple[Need, str]] = {}  # warm pools by the job before, and whom they suit; oldest first
        self._line: dict[Key, float] = {}  # waiting jobs, and when each was created

    def holds(self, key: Key, wanted: Need, gpus: Sequence[int] = ()) -> None:
        """A job that runs already, and the numbers of its GPUs."""
        self._line.pop(key, None)
        self._given[key] = wanted
        self._gpus[key] = tuple(gpus)

    def ask(self, key: Key, created: float, wanted: Need) -> str:
        """Take room for a job; empty when it has it, else what it waits for. Who came first goes first.

        A job that is larger than the machine runs when nothing else does.
        """
        if key in self._given:
            return ""
        self._line[key] = created
        first = self._waiting()[0]
        if first == key and ((self._taken() + wanted).within(self._whole) or not self._given):
            self.holds(key, wanted, self._free(wanted.gpus))
            return ""
        running = ", ".join(sorted(k.name for k in self._given))
        before = [k.name for k in self._waiting() if k != key and self._line[k] <= created]
        line = f" In line before it: {', '.join(before[:5])}." if before else ""
        return (
            f"Waiting for room: this job needs {wanted}; of {self._whole} that may be promised at once, "
            f"{self._taken()} are taken by {running or 'nobody'}.{line}"
        )

    def gpus(self, key: Key) -> tuple[int, ...]:
        """The numbers of a job's GPUs."""
        return self._gpus.get(key, ())

    def _free(self, wanted: int) -> list[int]:
        """As many GPUs of nobody's; a job that is larger than the machine takes them all."""
        taken = {n for numbers in self._gpus.values() for n in numbers}
        return [n for n in range(self._whole.gpus) if n not in taken][:wanted]

    def _taken(self) -> Need:
        return sum(self._given.values(), Need(0, 0))

    # ---- warm pools: room that is kept for a like job, as long as nobody else needs it ------------------------------

    def keep(self, key: Key, wanted: Need, likeness: str) -> list[Key]:
        """A job has ended, and its room is kept; who waits and may ask again."""
        self._given.pop(key, None)
        self._gpus.pop(key, None)
        self._kept[key] = (wanted, likeness)
        return self._waiting()

    def reuse(self, key: Key, likeness: str) -> Key | None:
        """Move the room of a pool that suits to a job; the job before, or None."""
        before = next((k for k, (_, suits) in self._kept.items() if likeness and suits == likeness), None)
        if before is not None:
            wanted = self._kept.pop(before)[0]
            self.holds(key, wanted, self._free(wanted.gpus))
        return before

    def crowded(self) -> list[Key]:
        """Pools that there is no room for any more, oldest first; they are kept no longer."""
        gone: list[Key] = []
        while self._kept:
            if sum((n for n, _ in self._kept.values()), self._taken()).within(self._whole):
                break
            gone.append(oldest := next(iter(self._kept)))
            del self._kept[oldest]
        return gone

    def keeps(self, key: Key) -> bool:
        """Whether a job's room is kept."""
        return key in self._kept

    def has(self, key: Key) -> bool:
        """Whether a job has its room."""
        return key in self._given

    def drop(self, key: Key) -> None:
        """A pool is kept no longer."""
        self._kept.pop(key, None)

    def release(self, key: Key) -> list[Key]:
        """A job needs nothing any more; who waits and may ask again."""
        self._line.pop(key, None)
        self._gpus.pop(key, None)
        if self._given.pop(key, None) is None:
            return []
        return self._waiting()

    def _waiting(self) -> list[Key]:
        return sorted(self._line, key=lambda k: (self._line[k], k))
