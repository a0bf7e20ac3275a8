"""Connections to a replica that works on many requests at once, as containers do: one for each, no batches.

Where the replica has doors (``doors.py``) a connection leads to the container's server itself and speaks HTTP; elsewhere it
leads to the process beside it and speaks frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from ..native import load
from ..sockets import unlinked
from . import doors, frames
from .container_http import CUT_SHORT, Response, fields, invocation
from .link import Link, Pace, Ticket
from .peer import Peer
from .table import Replica

_native = load("requests")
_read_answer: Final[Any] = _native.Reader().answer if _native is not None else None
MAX_LANES = 256


class Lanes(Link):
    """A replica's connections. One more is opened when all are in use."""

    def __init__(
        self,
        replica: Replica,
        lost: Callable[[str], None],
        found: Callable[[], None],
        pace: Pace,
        known_good: bool = True,
    ):
        self._free: list[Lane] = []
        self._all: set[Lane] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._doors: doors.Doors | None = None
        super().__init__(replica, lost, found, pace, known_good)

    async def _connect(self) -> None:
        """The first connection: by it we know that the replica is there."""
        self._doors = doors.find(self.replica.socket, self._no_doors)
        if self._doors is None:
            await self._open_lane()
            return
        self.alive = True
        self._found()
        self._serve_queue()

    def _no_doors(self) -> None:
        self._doors = None
        if not self._closing:
            # what is under way has connections to the server itself, and hears from them what becomes of it
            under_way = self.outstanding - len(self._queue)
            self._fall("the model's process ended while it worked on the request")
            self.outstanding = under_way

    async def _open_lane(self) -> None:
        if self._doors is not None:
            told, sock = await self._doors.connection()
            if sock is None:
                self._refused(told)
                return
            try:
                await self._loop.create_connection(lambda: _Direct(self).as_protocol(), sock=sock)
            except OSError as error:
                sock.close()
                self._refused(doors.REFUSED + str(error).encode())
            return
        try:
            with unlinked(self.replica.socket) as path:
                await self._loop.create_unix_connection(lambda: _Framed(self).as_protocol(), path)
        except OSError as error:
            if not self._all:
                self._fall(f"the replica does not accept connections: {error}")

    def _refused(self, told: bytes) -> None:
        """There is no connection to the server for a request that waits for one."""
        if told == doors.ENDED:
            self.gave_up()
        while self._queue:
            ticket = self._queue.popleft()
            self.outstanding -= 1
            if ticket.asker is not None:
                if told == doors.ENDED:
                    ticket.asker.failed("the container does not take requests", False)
                else:
                    ticket.asker.answered(500, b"text/plain", b"", told[1:])
                break

    def _serve_queue(self) -> None:
        for _ in range(len(self._queue)):  # what came before the first connection was there
            self._open()

    def opened(self, lane: Lane) -> None:
        """A connection is there."""
        self._all.add(lane)
        if not self.alive or (self._doors is None and len(self._all) == 1):
            self.alive = True
            self._found()
        self.freed(lane)
        if self._doors is None:
            self._serve_queue()

    def freed(self, lane: Lane) -> None:
        """A connection has nothing to do."""
        while self._queue:
            ticket = self._queue.popleft()
            if ticket.asker is not None:
                lane.send(ticket)
                return
            self.outstanding -= 1
        if self._closing:
            lane.close()
        else:
            self._free.append(lane)

    def gave_up(self) -> None:
        """The replica says that it takes no requests any more: it is looked at again in a moment."""
        self.alive = False
        if not self._closing:
            self._lost(self.replica.id)

    def closed(self, lane: Lane) -> None:
        """A connection is gone; with the last one the replica is, unless its doors say otherwise."""
        if lane not in self._all:
            return
        self._all.remove(lane)
        if lane in self._free:
            self._free.remove(lane)
        if self._doors is not None:
            if self._queue:
                self._open()
        elif not self._all and not self._opening:
            self._fall("the model's process ended while it worked on the request")
        self._settle()

    def forget(self, lane: Lane) -> None:
        """A connection is closed by us, which says nothing about the replica."""
        self._all.discard(lane)
        if self._queue or (self._doors is None and not self._all):
            self._open()
        self._settle()

    def full(self) -> bool:
        """Never: how many requests at once are too many is the server's to say."""
        return False

    def submit(self, ticket: Ticket) -> None:
        """Send a request, now or when a connection is free."""
        self.outstanding += 1
        while self._free:
            lane = self._free.pop()
            if lane.usable():
                lane.send(ticket)
                return
            self._all.discard(lane)
            lane.close()
        self._queue.append(ticket)
        if self._all or self._doors is not None:
            self._open()

    def _open(self) -> None:
        if len(self._all) + len(self._opening) < MAX_LANES:
            task = self._loop.create_task(self._open_lane())
            self._opening.add(task)
            task.add_done_callback(self._opened_or_not)

    def _opened_or_not(self, task: asyncio.Task[None]) -> None:
        self._opening.discard(task)
        if self._queue and self._doors is not None and not self._all and not self._opening:
            self._open()
        self._settle()

    def close(self) -> None:
        """Close once everything under way is answered."""
        self._closing = True
        free, self._free = self._free, []
        for lane in free:
            lane.close()
        if not self._all and self._doors is None:
            self._connecting.cancel()
        self._settle()

    def _settle(self) -> None:
        """Closed, and nothing is under way: the doors are not needed any more."""
        if self._closing and self._doors is not None and not (self._all or self._opening or self._queue):
            self._doors.close()


class Lane(Peer):
    """One connection with at most one request."""

    def __init__(self, lanes: Lanes):
        self._lanes = lanes
        self._ticket: Ticket | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._lanes.opened(self)

    def usable(self) -> bool:
        """Whether a request may be sent on it."""
        return True

    def send(self, ticket: Ticket) -> None:
        """Pass a request on."""
        self._ticket = ticket
        ticket.drop = self._abandon
        self._pass_on(ticket)

    def _pass_on(self, ticket: Ticket) -> None:
        """Write it."""

    def _abandon(self) -> None:
        """Nobody waits for the answer: the container sees its client go."""
        if self._ticket is not None:
            self._ticket = None
            self._lanes.outstanding -= 1
            self._lanes.forget(self)
            self._transport.abort()

    def _take(self) -> Ticket | None:
        """The request, which is over."""
        ticket, self._ticket = self._ticket, None
        if ticket is not None:
            ticket.drop = None
            self._lanes.outstanding -= 1
        return ticket

    def close(self) -> None:
        """End the connection."""
        self._transport.close()


class _Framed(Lane):
    """A connection to the process beside the server."""

    def __init__(self, lanes: Lanes):
        super().__init__(lanes)
        self._buffer = bytearray()

    def _pass_on(self, ticket: Ticket) -> None:
        self._transport.write(frames.pack([(ticket.head, ticket.body)]))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if len(self._buffer) < 4:
            return
        size = int.from_bytes(self._buffer[:4], "little")
        if size > frames.MAX_MESSAGE or self._ticket is None:
            self._transport.abort()
            return
        if len(self._buffer) - 4 < size:
            return
        ((head, body),) = frames.unpack(self._buffer, 4, size)
        self._buffer.clear()
        ticket = self._take()
        self._lanes.freed(self)
        if ticket is None or ticket.asker is None:
            return
        if head.endswith(frames.UNSEEN):
            self._lanes.gave_up()
            ticket.asker.failed("the container does not take requests", False)
        else:
            status, content_type, custom = head.split(frames.SEPARATOR, 2)
            ticket.asker.answered(int(status), content_type, custom, body)

    def connection_lost(self, exc: Exception | None) -> None:
        ticket = self._take()
        self._lanes.closed(self)
        if ticket is not None and ticket.asker is not None:
            ticket.asker.failed("the model's process ended while it worked on the request", True)


class _Direct(Lane):
    """A connection to the container's server. What was sent is never sent again: it may be what the server dies of."""

    def __init__(self, lanes: Lanes):
        super().__init__(lanes)
        self._answer: Response | None = None  # one that comes in more than one piece
        self._fd = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._fd = transport.get_extra_info("socket").fileno()
        super().connection_made(transport)

    def usable(self) -> bool:
        return not self._transport.is_closing() and doors.quiet(self._fd)

    def _pass_on(self, ticket: Ticket) -> None:
        self._answer = None
        self._transport.write(invocation(b"/invocations", ticket.head.split(frames.SEPARATOR), ticket.body))

    def data_received(self, data: bytes) -> None:
        if self._ticket is None:  # it speaks without being asked
            self._transport.abort()
            return
        answer = self._answer
        if answer is None:
            if _read_answer is not None and (whole := _read_answer(data)) is not None:
                ticket = self._take()
                self._lanes.freed(self)
                if ticket is not None and ticket.asker is not None:
                    status, headers, body = whole
                    ticket.asker.answered(status, *fields(headers), body)
                return
            answer = self._answer = Response()
        answer.feed(data)
        if answer.complete or answer.broken:
            ticket = self._take()
            if answer.keep_alive:
                self._lanes.freed(self)
            else:
                self._lanes.forget(self)
                self._transport.abort()
            self._tell(ticket, answer)

    def connection_lost(self, exc: Exception | None) -> None:
        ticket = self._take()
        self._lanes.closed(self)
        answer = self._answer or Response()
        answer.end()
        self._tell(ticket, answer)

    def _tell(self, ticket: Ticket | None, answer: Response) -> None:
        if ticket is None or ticket.asker is None:
            return
        if answer.complete:
            _, content_type, custom = answer.head().split(frames.SEPARATOR, 2)
            ticket.asker.answered(answer.status, content_type, custom, answer.body)
        else:
            ticket.asker.answered(500, b"text/plain", b"", (answer.broken or CUT_SHORT).encode())
