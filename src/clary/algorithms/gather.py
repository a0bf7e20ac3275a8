"""Several hosts: the first one trains on everything, the others hand their part of sharded channels to it.

On one machine more hosts bring no more processors; what counts is that every shard is learnt from.
"""

from __future__ import annotations

import os
import socket
import tempfile
import time
from pathlib import Path

from ..sockets import exactly
from .environment import Channel, TrainingEnvironment, UserError
from .readers.source import files

_PORT = 9098
_PATIENCE = 300.0  # seconds that hosts wait for each other
_BLOCK = 1 << 20


def _sharded(environment: TrainingEnvironment) -> list[Channel]:
    return [c for c in environment.channels.values() if c.sharded]


def give(environment: TrainingEnvironment) -> None:
    """Send this host's shards to the first host. A frame is name and size of a file, then its bytes."""
    with _connect(environment.hosts[0]) as channel:
        for source in _sharded(environment):
            paths = [source.fifo_of(0)] if source.pipe else files(source.folder)
            for path in paths:
                _send(channel, source.name, path)
        channel.sendall(b"\0\0")


def _connect(host: str) -> socket.socket:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            return socket.create_connection((host, _PORT), timeout=_PATIENCE)
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(f"The first host, {host}, cannot be reached: {error}") from None
            time.sleep(0.05)


def _send(channel: socket.socket, name: str, path: Path) -> None:
    """In blocks: a pipe does not say how long it is."""
    label = f"{name}/{path.suffix}".encode()
    channel.sendall(len(label).to_bytes(2, "little") + label)
    with open(path, "rb") as file:
        while block := file.read(_BLOCK):
            channel.sendall(len(block).to_bytes(4, "little") + block)
    channel.sendall(bytes(4))


def take(environment: TrainingEnvironment) -> dict[str, tuple[Path, ...]]:
    """On the first host: the files that the others sent, by channel."""
    others = environment.hosts[1:]
    if not others:
        return {}
    folder = Path(tempfile.mkdtemp(prefix="shards-"))
    found: dict[str, list[Path]] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((environment.current_host, _PORT))
        listener.listen(len(others))
        listener.settimeout(_PATIENCE)
        for _ in others:
            try:
                channel, _address = listener.accept()
            except TimeoutError:
                raise UserError(f"Not all of the hosts {', '.join(others)} came within {_PATIENCE:g} s.") from None
            with channel:
                channel.settimeout(_PATIENCE)
                _receive(channel, folder, found)
    return {name: tuple(paths) for name, paths in found.items()}


def _receive(channel: socket.socket, folder: Path, found: dict[str, list[Path]]) -> None:
    while size := int.from_bytes(exactly(channel, 2), "little"):
        name, _, suffix = exactly(channel, size).decode().partition("/")
        path = folder / f"{len(os.listdir(folder))}{Path(f'x{suffix}').suffix}"
        with open(path, "wb") as file:
            while length := int.from_bytes(exactly(channel, 4), "little"):
                file.write(exactly(channel, length))
        found.setdefault(name, []).append(path)
