"""The table that a run prints."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def show(what: str, value: str, goal: str, met: bool | None) -> None:
    """One line of the table."""
    mark = {True: "ok  ", False: "MISS", None: "    "}[met]
    print(f"{mark} {what:<58} {value:>24}" + (f"   goal {goal}" if goal else ""), flush=True)


def seconds(work: Callable[[], Any]) -> float:
    """How long something takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
