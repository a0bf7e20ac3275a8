"""Room for connections: how many descriptors there are, and which connections are closed when a server is full.

A connection that waits for a request costs its client nothing and may be closed. Under attack the attacker has the most
of them and the oldest, so those of the address with the most are closed first, the longest-waiting among them first.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
from collections import Counter
from collections.abc import Iterable
from typing import TypeVar

_WANTED = 65536
_RESERVED = 256
"""Descriptors for everything else: files, replicas, functions, the log."""

T = TypeVar("T")


def connections(most: int) -> int:
    """Raise this process's limit of open files as far as it may; return how many connections that leaves, at most ``most``."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # macOS allows less than it names
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return most if soft == resource.RLIM_INFINITY else max(16, min(most, (soft - _RESERVED) * 3 // 4))


def victims(waiting: Iterable[tuple[str, float, T]], most: int) -> list[T]:
    """Choose up to ``most`` of the waiting connections, each an address, the moment since when it waits, and itself."""
    listed = list(waiting)
    crowd = Counter(address for address, _, _ in listed)
    listed.sort(key=lambda one: (-crowd[one[0]], one[1]))
    return [connection for _, _, connection in listed[:most]]


class Spare:
    """A descriptor kept for the moment when there is no other: with it a connection can be accepted, and be closed."""

    def __init__(self) -> None:
        self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def turn_away(self, listener: socket.socket) -> bool:
        """Accept one connection and close it, for it would be reported as ready for ever; False if that fails, too."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        try:
            listener.accept()[0].close()
        except OSError:
            return False
        finally:
            with contextlib.suppress(OSError):
                self._descriptor = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        return True
