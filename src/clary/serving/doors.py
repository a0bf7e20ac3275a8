"""Connections to a container's server, handed out by the process that stands beside it.

The server listens inside its sandbox, where nobody else can reach it; a connection that was made in there works out here. On
a socket that keeps messages apart (``SOCK_SEQPACKET``) the front sends ``C`` for each connection that it wants; the answer
is ``F`` with the connection's descriptor, ``R`` and the reason why the server does not accept, or ``E``: it has ended. A
multi-model container has no such socket: its models are loaded by the process beside it, which sees every request.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import socket
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..native import load
from ..sockets import unlinked

WANTED, FOUND, REFUSED, ENDED = b"C", b"F", b"R", b"E"
_MESSAGE = 512


def path_beside(path: str) -> str:
    """Where the socket of a replica's doors lies, given that of its frames."""
    return f"{path}.doors"


def _quiet(fd: int) -> bool:
    """Whether the other end of a connection has neither closed it nor said anything unasked."""
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    return not waiting.poll(0)


_native = load("requests")
quiet: Final[Callable[[int], bool]] = _native.quiet if _native is not None else _quiet


def listen(path: str) -> socket.socket:
    """Listen where fronts ask for connections; visible once it accepts."""
    aside = f"{path}.new"
    for each in (path, aside):
        Path(each).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.setblocking(False)
    listener.bind(aside)
    Path(aside).chmod(0o666)  # the folder around it is private
    listener.listen(16)
    Path(aside).rename(path)
    return listener


class Doors:
    """The front's end. ``lost`` is called once, when the process beside the server is gone."""

    def __init__(self, channel: socket.socket, lost: Callable[[], None]):
        self._channel = channel
        self._lost: Callable[[], None] | None = lost
        self._asked: deque[asyncio.Future[tuple[bytes, socket.socket | None]]] = deque()
        asyncio.get_running_loop().add_reader(channel, self._told)

    async def connection(self) -> tuple[bytes, socket.socket | None]:
        """A connection to the server; or None, and the message that says why there is none."""
        asked: asyncio.Future[tuple[bytes, socket.socket | None]] = asyncio.get_running_loop().create_future()
        try:
            self._channel.send(WANTED)
        except OSError:
            return ENDED, None
        self._asked.append(asked)
        return await asked

    def _told(self) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._channel, _MESSAGE, 1, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            data, descriptors = b"", []
        found = _connection(descriptors[0]) if descriptors else None
        if not data or (data == FOUND) != (found is not None):
            if found is not None:
                found.close()
            self.close()
            return
        asked = self._asked.popleft() if self._asked else None
        if asked is not None and not asked.done():
            asked.set_result((data, found))
        elif found is not None:
            found.close()

    def close(self) -> None:
        """Ask no more."""
        if (lost := self._lost) is None:
            return
        self._lost = None
        asyncio.get_running_loop().remove_reader(self._channel)
        with contextlib.suppress(OSError):
            self._channel.close()
        for asked in self._asked:
            if not asked.done():
                asked.set_result((ENDED, None))
        lost()


def _connection(descriptor: int) -> socket.socket | None:
    """What was handed over, if it is a connection: it comes from where strangers' programs run."""
    try:
        found = socket.socket(fileno=descriptor)
    except OSError:
        os.close(descriptor)
        return None
    if found.family != socket.AF_INET or found.type != socket.SOCK_STREAM:
        found.close()
        return None
    return found


def find(path: str, lost: Callable[[], None]) -> Doors | None:
    """The doors of the replica with frames at ``path``; None when it has none."""
    channel = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel.setblocking(False)
    try:
        with unlinked(path_beside(path)) as beside:
            channel.connect(beside)
    except OSError:
        channel.close()
        return None
    return Doors(channel, lost)
