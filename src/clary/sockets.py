"""Reading from blocking sockets."""

from __future__ import annotations

import socket


def exactly(channel: socket.socket, size: int) -> bytes:
    """``size`` bytes; ConnectionError when the other side ends before."""
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise ConnectionError("the other side hung up")
        data += part
    return data
