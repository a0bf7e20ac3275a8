"""On which instances the copies of an inference component go. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Room:
    """What an instance has free, or a copy needs: cores, MiB of memory, accelerators."""

    cores: float
    memory: float
    accelerators: float = 0.0

    def holds(self, need: Room) -> bool:
        """Whether so much fits in."""
        return self.cores >= need.cores and self.memory >= need.memory and self.accelerators >= need.accelerators

    def without(self, need: Room) -> Room:
        """What is left beside it."""
        return Room(self.cores - need.cores, self.memory - need.memory, self.accelerators - need.accelerators)


def place(free: list[Room], need: Room, kept: list[int], copies: int, binpack: bool = False) -> list[int]:
    """The instance of each copy, as many as fit. ``free`` leaves this component out; copies stay where they are.

    Copies are spread over the instances, or (``binpack``) put on as few as possible.
    """
    left = list(free)
    placed: list[int] = []
    for instance in kept[:copies]:
        if instance < len(left) and left[instance].holds(need):
            left[instance] = left[instance].without(need)
            placed.append(instance)
    while len(placed) < copies:
        fitting = [n for n, room in enumerate(left) if room.holds(need)]
        if not fitting:
            break
        if binpack:
            chosen = min(fitting, key=lambda n: (n not in placed, left[n].memory, n))
        else:
            chosen = min(fitting, key=lambda n: (placed.count(n), -left[n].memory, n))
        left[chosen] = left[chosen].without(need)
        placed.append(chosen)
    return placed
