"""The loop of a built-in replica: batches of requests from the front, batches of answers back."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from ..serving import frames
from ..serving.frames import Item

SOCKET = "CLARY_SOCKET"
_LOOK_SECONDS = 0.05
Predict = Callable[[list[Item]], list[Item]]
"""Answers a batch: heads and bodies in, heads and bodies out, in order."""

Stream = Callable[[bytes, bytes], tuple[Item, Iterable[bytes]]]
"""Answers one request in pieces: the head and first piece, and the pieces after it as they are made."""


Whole = Callable[[bytearray, int, int], bytes | None]
"""Answers a message of the front's as it stands, from where and how long it is; None leaves it to ``Predict``."""


def item(status: int, content_type: str, body: bytes) -> Item:
    """An answer."""
    return frames.SEPARATOR.join((str(status).encode(), content_type.encode(), b"")), body


def execution_parameters(limit: int) -> Item:
    """What batch transform should use where its job does not say; ``limit`` is the largest body in bytes."""
    found = {
        "MaxConcurrentTransforms": os.cpu_count() or 1, "BatchStrategy": "MULTI_RECORD",
        "MaxPayloadInMB": max(1, limit >> 20),
    }  # fmt: skip
    return item(200, "application/json", json.dumps(found).encode())


def serve(predict: Predict, stream: Stream | None = None, whole: Whole | None = None) -> int:
    """Answer on the socket that the platform names; told to stop, finish what those who are connected wait for."""
    path = Path(os.environ[SOCKET])
    path.unlink(missing_ok=True)
    aside = path.with_suffix(".new")
    aside.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(aside))
    aside.chmod(0o666)  # the folder around it is private; the replica may run as a user of its own
    listener.listen(64)
    os.rename(aside, path)  # visible only now that it accepts
    draining = threading.Event()
    told, tell = os.pipe()

    def drain(*_: object) -> None:
        draining.set()
        os.write(tell, b".")

    signal.signal(signal.SIGTERM, drain)
    gc.collect()
    gc.freeze()
    turn = threading.Lock()
    open_now: dict[threading.Thread, socket.socket] = {}
    listener.setblocking(False)
    while not (draining.is_set() and all(_over(*each) for each in open_now.items())):
        if draining.is_set():
            select.select([listener.fileno()], [], [], _LOOK_SECONDS)
        else:
            select.select([listener.fileno(), told], [], [])
        with contextlib.suppress(BlockingIOError):
            channel, _ = listener.accept()
            channel.setblocking(True)
            open_now = {t: c for t, c in open_now.items() if t.is_alive()}
            thread = threading.Thread(target=_converse, args=(channel, predict, stream, whole, turn), daemon=True)
            open_now[thread] = channel
            thread.start()
    if any(thread.is_alive() for thread in open_now):  # at work for nobody: the interpreter would not end quietly
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _over(thread: threading.Thread, channel: socket.socket) -> bool:
    """Whether nobody waits for what a conversation's thread may still be doing."""
    if not thread.is_alive():
        return True
    poll = select.poll()
    try:
        poll.register(channel, 0)  # hang-ups are always told
        return bool(poll.poll(0))
    except (OSError, ValueError):  # the thread closes it just now
        return True


def _converse(
    channel: socket.socket, predict: Predict, stream: Stream | None, whole: Whole | None, turn: threading.Lock
) -> None:
    """One connection: read a message, answer it, again."""
    held = bytearray()
    view = bytearray(1 << 18)
    with channel:
        while True:
            try:
                count = channel.recv_into(view)
            except OSError:
                return
            if not count:
                return
            held += memoryview(view)[:count]
            while len(held) >= 4:
                size = int.from_bytes(held[:4], "little")
                if size > frames.MAX_REQUEST:
                    print("a message is too large; closing the connection", file=sys.stderr, flush=True)
                    return
                if len(held) - 4 < size:
                    break
                with turn:
                    answer = whole(held, 4, size) if whole is not None else None
                items = frames.unpack(held, 4, size) if answer is None else []
                del held[: 4 + size]
                try:
                    if answer is not None:
                        channel.sendall(answer)
                        continue
                    for answers in _answers(items, predict, stream, turn):
                        channel.sendall(frames.pack(answers))
                except OSError:  # nobody waits any more
                    return
                except Exception:  # noqa: BLE001  # a stream broke off: the one who reads it sees its connection close
                    traceback.print_exc()
                    return


def _answers(items: list[Item], predict: Predict, stream: Stream | None, turn: threading.Lock) -> Iterator[list[Item]]:
    """The messages that answer a message. Between two pieces of a stream, others have their turn."""
    head, body = items[0]
    if not head.endswith(frames.IN_PIECES):
        with turn:
            answers = predict(items)
        yield answers
        return
    head = head.removesuffix(frames.IN_PIECES)
    if stream is None:
        with turn:
            answers = predict([(head, body)])
        yield answers
    else:
        with turn:
            first, later = stream(head, body)
        yield [first]
        pieces = iter(later)
        while True:
            with turn:
                piece = next(pieces, None)
            if piece is None:
                break
            yield [(frames.MORE, piece)]
    yield [(frames.END, b"")]
