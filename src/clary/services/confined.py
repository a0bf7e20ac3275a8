"""Work that callers wrote and that only time and memory can bound, in processes that the platform can lose.

A program reads requests from its standard input and writes answers to its standard output, one after the other; each is a
JSON document behind its length. `serve` is that program's loop, `Crew` is who asks it.
"""

from __future__ import annotations

import contextlib
import math
import os
import queue
import resource
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

CPU_SECONDS = 1
"""Processor time that one request may use; the system counts whole seconds, so it may be a second more."""
WALL_SECONDS = 29.0
"""What an integration may take at most, on AWS as here; a machine under load needs more than the processor time."""
MEMORY_BYTES = 512 << 20
"""Memory that a process may take on top of what it has when it is ready."""
MAX_ANSWER = 10 << 20
_LENGTH = struct.Struct("!I")


class Failed(Exception):
    """A request that the program refused; the text says why."""


class Exceeded(Failed):
    """A request that used up its time or memory; its process is lost with it."""


def serve(operations: Mapping[str, Callable[..., Any]]) -> None:
    """Answer requests until the input ends. Runs in the process of a crew."""
    _limit_memory()
    source, out = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a library prints must not stand between answers
    while head := source.read(_LENGTH.size):
        name, *arguments = orjson.loads(source.read(*_LENGTH.unpack(head)))
        _limit_time()
        try:
            answer = orjson.dumps({"value": operations[name](*arguments)})
            if len(answer) > MAX_ANSWER:
                raise ValueError(f"the result has more than {MAX_ANSWER} bytes")
        except (Exception, RecursionError) as error:  # noqa: BLE001  # the border: whatever it is, the asker is told
            answer = orjson.dumps({"failed": f"{type(error).__name__}: {error}"[:2000]})
        out.write(_LENGTH.pack(len(answer)) + answer)
        out.flush()


def _limit_memory() -> None:
    with contextlib.suppress(OSError, ValueError):  # where there is no /proc the system has no such limit either
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        most = pages * resource.getpagesize() + MEMORY_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _limit_time() -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = math.ceil(used.ru_utime + used.ru_stime) + CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.getrlimit(resource.RLIMIT_CPU)[1]))


class Crew:
    """Keeps a few processes of a program, each of which works on one request at a time."""

    def __init__(self, program: str, most: int = 2):
        self._program = program
        self._room = threading.BoundedSemaphore(most)
        self._idle: queue.LifoQueue[subprocess.Popen[bytes]] = queue.LifoQueue()

    def call(self, name: str, *arguments: Any) -> Any:
        """Return what an operation of the program makes of its arguments; Failed, or Exceeded if it cost too much.

        Blocks: to be called in a thread.
        """
        deadline = time.monotonic() + WALL_SECONDS
        if not self._room.acquire(timeout=WALL_SECONDS):
            raise Exceeded("every process is at work")
        try:
            process = self._taken()
            try:
                answer = _ask(process, orjson.dumps([name, *arguments]), deadline)
            except OSError:
                process.kill()
                process.wait()
                raise Exceeded(f"the work took more than {CPU_SECONDS} s, or more memory than it may have") from None
            self._idle.put(process)
        finally:
            self._room.release()
        if "failed" in answer:
            raise Failed(answer["failed"])
        return answer["value"]

    def _taken(self) -> subprocess.Popen[bytes]:
        while True:
            try:
                process = self._idle.get_nowait()
            except queue.Empty:
                return self._started()
            if process.poll() is None:
                return process

    def _started(self) -> subprocess.Popen[bytes]:
        kept = {k: os.environ[k] for k in ("PATH", "LANG", "PYTHONPATH") if k in os.environ}
        return subprocess.Popen(
            [sys.executable, "-m", self._program], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, env=kept, cwd="/",
        )  # fmt: skip


def _ask(process: subprocess.Popen[bytes], request: bytes, deadline: float) -> Any:
    """Send a request and read its answer; OSError if the process ends or does not answer in time."""
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(_LENGTH.pack(len(request)) + request)
    process.stdin.flush()
    (length,) = _LENGTH.unpack(_read(process, _LENGTH.size, deadline))
    return orjson.loads(_read(process, length, deadline))


def _read(process: subprocess.Popen[bytes], size: int, deadline: float) -> bytes:
    assert process.stdout is not None
    data = b""
    descriptor = process.stdout.fileno()
    poll = select.poll()
    poll.register(descriptor, select.POLLIN | select.POLLHUP)
    while len(data) < size:
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise TimeoutError
        if not (part := os.read(descriptor, size - len(data))):
            raise ConnectionError
        data += part
    return data
