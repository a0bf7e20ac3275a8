"""Who is at the other end of a Unix socket: the credentials that the kernel noted when it connected (unix(7), SO_PEERCRED).

A sandboxed process may have the platform's own user, so a socket of the platform's also asks for its process namespace.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
import sys
from collections.abc import Callable
from typing import Any

_CREDENTIALS = struct.Struct("3i")
_BACKLOG = 16  # connections that are accepted at one look


def credentials(channel: socket.socket) -> tuple[int, int] | None:
    """Return process id and user id of the peer; None where the system does not say."""
    if not hasattr(socket, "SO_PEERCRED"):
        return None
    pid, uid, _ = _CREDENTIALS.unpack(channel.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return pid, uid


def of_platform(channel: socket.socket) -> bool:
    """Return whether the peer runs as the platform's user (or root) outside of any sandbox.

    Outside Linux only the permissions of the home folder keep others away.
    """
    if sys.platform != "linux":
        return True
    try:
        found = credentials(channel)
        if found is None or found[1] not in (0, os.geteuid()):
            return False
        return os.readlink(f"/proc/{found[0]}/ns/pid") == os.readlink("/proc/self/ns/pid")
    except OSError:  # it has ended, or belongs to a user whose processes are not ours to see
        return False


def of_user(uid: int) -> Callable[[socket.socket], bool]:
    """Return a check that accepts one user, and the platform's own."""

    def check(channel: socket.socket) -> bool:
        found = credentials(channel)
        return found is None or found[1] in (uid, os.geteuid())

    return check


class Listener:
    """Accepts connections of permitted peers on a listening socket, and closes all others unread."""

    def __init__(
        self, sock: socket.socket, protocol: Callable[[], asyncio.Protocol], permitted: Callable[[socket.socket], bool]
    ):
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._protocol = protocol
        self._permitted = permitted
        self._tasks: set[asyncio.Task[Any]] = set()
        sock.setblocking(False)
        self._loop.add_reader(sock, self._accept)

    def _accept(self) -> None:
        for _ in range(_BACKLOG):
            try:
                channel, _ = self._sock.accept()
            except OSError:  # none waits, or it has gone already
                return
            if not self._permitted(channel):
                channel.close()
                continue
            channel.setblocking(False)
            task = self._loop.create_task(self._adopt(channel))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _adopt(self, channel: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(self._protocol, channel)
        except OSError:
            channel.close()

    def close(self) -> None:
        """Accept no more; connections that are open stay open."""
        with contextlib.suppress(OSError, ValueError):
            self._loop.remove_reader(self._sock)
        self._sock.close()
