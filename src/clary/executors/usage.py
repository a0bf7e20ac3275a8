"""What process trees use of the machine: processor time and memory."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process and everything below it."""

    processor_percent: float  # of one core: two busy cores are 200
    memory_bytes: int  # resident; what forked processes share counts for each


class Meter:
    """Remembers the processor time that trees had used at the last look."""

    def __init__(self) -> None:
        self._before: dict[int, tuple[float, float]] = {}  # pid → when, seconds used

    def look(self, pids: Iterable[int]) -> dict[int, Usage]:
        """The usage of the trees below some processes since the last look; nothing of those that are new or gone."""
        children: dict[int, list[int]] = defaultdict(list)
        used: dict[int, tuple[float, int]] = {}
        for process in psutil.process_iter(["ppid", "cpu_times", "memory_info"]):
            found = process.info
            if found["cpu_times"] is not None and found["memory_info"] is not None:
                children[found["ppid"]].append(process.pid)
                used[process.pid] = (found["cpu_times"].user + found["cpu_times"].system, found["memory_info"].rss)
        at, before, usages = time.monotonic(), self._before, {}
        self._before = {}
        for pid in pids:
            if pid not in used:
                continue
            tree = _tree(pid, children)
            seconds, resident = sum(used[p][0] for p in tree), sum(used[p][1] for p in tree)
            self._before[pid] = (at, seconds)
            if pid in before:
                since, then = before[pid]
                usages[pid] = Usage(max(0.0, seconds - then) / max(at - since, 1e-3) * 100, resident)
        return usages


def _tree(pid: int, children: dict[int, list[int]]) -> list[int]:
    found = [pid]
    for each in found:
        found += children.get(each, ())
    return found
