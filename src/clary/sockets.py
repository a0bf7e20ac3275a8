"""Reading from blocking sockets, and reaching Unix sockets that others may replace."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator


def exactly(channel: socket.socket, size: int) -> bytes:
    """``size`` bytes; ConnectionError when the other side ends before."""
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise ConnectionError("the other side hung up")
        data += part
    return data


@contextlib.contextmanager
def unlinked(path: str) -> Iterator[str]:
    """A path to connect to while the block runs that leads to the socket of this name itself, never to a link's target.

    A replica's socket is in a folder that the replica may write to: a link there would lead whoever connects, with the
    platform's rights, to a socket of the platform's. OSError when there is no socket.
    """
    if not hasattr(os, "O_PATH"):  # not Linux: the name is looked at, and may be replaced after that
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{path} is not a socket")
        yield path
        return
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"{path} is not a socket")
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)
