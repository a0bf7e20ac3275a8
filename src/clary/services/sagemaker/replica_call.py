"""Calls an instance from control: batch transform and asynchronous inference, whose requests the front does not see."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from ...serving import frames
from ...sockets import exactly, unlinked
from . import fleet as fleets

_RESTART_SECONDS = 30.0
_PIECE = 1 << 20
_LOOK_MILLISECONDS = 250

Body = bytes | tuple[BinaryIO, int]
"""A request's body: its bytes, or a file from which so many are sent."""


class Caller:
    """Connections to an instance's processes, for one thread. ``over`` says that nobody wants an answer any more."""

    def __init__(self, parts: tuple[fleets.Slot, ...], timeout: float, over: Callable[[float], bool]):
        self._parts = parts  # a request goes through all of them, one after the other
        self._timeout = timeout
        self._over = over  # waits so many seconds for it
        self._channels: dict[str, socket.socket] = {}

    def call(
        self, content_type: str, accept: str, body: Body, custom: str = "", inference_id: str = ""
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer; OSError (TimeoutError) when there is none."""
        status, answer = 200, b""
        for part in self._parts:
            wanted = accept if part is self._parts[-1] else ""
            head = "\0".join((content_type, wanted, custom, inference_id, ""))
            status, content_type, answer = self._exchange(part, head.encode(), body)
            if not 200 <= status < 300:
                break
            body = answer
        return status, content_type, answer

    def execution_parameters(self) -> bytes | None:
        """What the first container would have of a batch transform; None when it does not say."""
        status, _, body = self._exchange(self._parts[0], frames.EXECUTION_PARAMETERS, b"")
        return body if status == 200 else None

    def close(self) -> None:
        """Close the connections."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()

    def _exchange(self, part: fleets.Slot, head: bytes, body: Body) -> tuple[int, str, bytes]:
        channel = self._channel(part)
        try:
            if isinstance(body, bytes):
                channel.sendall(frames.pack([(head, body)]))
            else:
                file, length = body
                channel.sendall(frames.opening(head, length))
                while piece := file.read(_PIECE):
                    channel.sendall(piece)
            self._await(channel)
            size = int.from_bytes(exactly(channel, 4), "little")
            ((answered, answer),) = frames.unpack(exactly(channel, size), 0, size)
        except (OSError, ValueError):
            self._channels.pop(part.stem)
            channel.close()
            raise
        status, content_type, *_ = answered.split(frames.SEPARATOR)
        return int(status), content_type.decode("utf-8", "replace"), answer

    def _await(self, channel: socket.socket) -> None:
        """Wait until the answer begins. TimeoutError, or ConnectionAbortedError when nobody wants it any more."""
        poll, deadline = select.poll(), time.monotonic() + self._timeout
        poll.register(channel, select.POLLIN)
        while not poll.poll(_LOOK_MILLISECONDS):
            if self._over(0.0):
                raise ConnectionAbortedError("the answer is not wanted any more")
            if time.monotonic() > deadline:
                raise TimeoutError("the model did not begin its answer in time")

    def _channel(self, part: fleets.Slot) -> socket.socket:
        """A connection to a process; one that was replaced has another socket, and may still be starting."""
        if (found := self._channels.get(part.stem)) is not None:
            return found
        deadline = time.monotonic() + _RESTART_SECONDS
        while True:
            channel = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            channel.settimeout(self._timeout)
            try:
                with unlinked(str(_newest(part))) as path:
                    channel.connect(path)
            except OSError:
                channel.close()
                if time.monotonic() > deadline or self._over(0.05):
                    raise
                continue
            self._channels[part.stem] = channel
            return channel


def _newest(part: fleets.Slot) -> Path:
    """The socket of a slot's latest process."""
    attempts = [p for p in part.folder.parent.glob(f"{part.stem}.*") if p.suffix[1:].isdigit()]
    return max(attempts, key=lambda p: int(p.suffix[1:]), default=part.folder) / "io" / "s"
