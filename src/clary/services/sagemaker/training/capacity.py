"""How many jobs run at once: the machine's cores and memory are promised to jobs, the others wait in a line."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ....settings import Settings
from ....store.rows import Key, Row
from ..instances import instance, memory_limit
from .contract import hosts

_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Need:
    """What a job takes of the machine: cores and bytes, no instance more than the machine has."""

    cores: int
    memory_bytes: int


def need(settings: Settings, row: Row) -> Need:
    """Of a job's instances."""
    here = os.cpu_count() or 1
    found = [h.instance_type for h in hosts(settings, row)]
    return Need(sum(min(here, instance(t).cores) for t in found), sum(memory_limit(t) for t in found))


def machine(settings: Settings) -> Need:
    """What may be promised at one time."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        memory = 8 * _GIB
    times = settings.training_overcommit
    return Need(int((os.cpu_count() or 1) * times), int(memory * times))


class Ledger:
    """Who has what, and who waits. Belongs to one control process; asked on its event loop only."""

    def __init__(self, whole: Need):
        self._whole = whole
        self._given: dict[Key, Need] = {}
        self._kept: dict[Key, tuple[Need, str]] = {}  # warm pools by the job before, and whom they suit; oldest first
        self._line: dict[Key, float] = {}  # waiting jobs, and when each was created

    def holds(self, key: Key, wanted: Need) -> None:
        """A job that runs already."""
        self._line.pop(key, None)
        self._given[key] = wanted

    def ask(self, key: Key, created: float, wanted: Need) -> str:
        """Take room for a job; empty when it has it, else what it waits for. Who came first goes first.

        A job that is larger than the machine runs when nothing else does.
        """
        if key in self._given:
            return ""
        self._line[key] = created
        first = self._waiting()[0]
        if first == key and (self._fits(wanted) or not self._given):
            self.holds(key, wanted)
            return ""
        cores, memory = self._taken()
        running = ", ".join(sorted(k.name for k in self._given))
        before = [k.name for k in self._waiting() if k != key and self._line[k] <= created]
        line = f" In line before it: {', '.join(before[:5])}." if before else ""
        return (
            f"Waiting for room: this job needs {wanted.cores} vCPU and {wanted.memory_bytes / _GIB:.1f} GiB; of "
            f"{self._whole.cores} vCPU and {self._whole.memory_bytes / _GIB:.1f} GiB that may be promised at once, "
            f"{cores} and {memory / _GIB:.1f} GiB are taken by {running or 'nobody'}.{line}"
        )

    def _taken(self) -> tuple[int, int]:
        return sum(n.cores for n in self._given.values()), sum(n.memory_bytes for n in self._given.values())

    def _fits(self, wanted: Need) -> bool:
        cores, memory = self._taken()
        return cores + wanted.cores <= self._whole.cores and memory + wanted.memory_bytes <= self._whole.memory_bytes

    # ---- warm pools: room that is kept for a like job, as long as nobody else needs it ------------------------------

    def keep(self, key: Key, wanted: Need, likeness: str) -> list[Key]:
        """A job has ended, and its room is kept; who waits and may ask again."""
        self._given.pop(key, None)
        self._kept[key] = (wanted, likeness)
        return self._waiting()

    def reuse(self, key: Key, likeness: str) -> Key | None:
        """Move the room of a pool that suits to a job; the job before, or None."""
        before = next((k for k, (_, suits) in self._kept.items() if likeness and suits == likeness), None)
        if before is not None:
            self.holds(key, self._kept.pop(before)[0])
        return before

    def crowded(self) -> list[Key]:
        """Pools that there is no room for any more, oldest first; they are kept no longer."""
        gone: list[Key] = []
        while self._kept:
            cores, memory = self._taken()
            cores += sum(n.cores for n, _ in self._kept.values())
            memory += sum(n.memory_bytes for n, _ in self._kept.values())
            if cores <= self._whole.cores and memory <= self._whole.memory_bytes:
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
        if self._given.pop(key, None) is None:
            return []
        return self._waiting()

    def _waiting(self) -> list[Key]:
        return sorted(self._line, key=lambda k: (self._line[k], k))
