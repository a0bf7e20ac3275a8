"""A Python process with xgboost imported that forks a shim for each spec it is given: a start costs milliseconds.

It runs no user code, has one thread and holds no secrets; what it forks enters its sandbox before anything else. Who
needs a library that is too heavy to be kept for nothing makes it fork a second zygote, which has that one too and ends
when nobody has asked it for some minutes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from pathlib import Path
from typing import NoReturn

from ..peers import of_platform
from ..sockets import exactly
from ..supervision import VARIABLE
from . import sandbox, shim
from .policy import DIGEST, KEY_BYTES, Policy, knows
from .spec import ProcessSpec

_HEAVY = {
    "torch": "clary.algorithms.deep", "sklearn": "clary.runtimes.scikit_learn", "faiss": "clary.algorithms.knn.program",
}  # fmt: skip
"""What a spec may ask to be preloaded, and the module whose ``preload`` does it."""
_IDLE_SECONDS = 600.0
_MAX_SPEC = 1 << 20
_BEAT = 1.0
_PAUSE = 0.1


def socket_of(run: Path, library: str = "") -> Path:
    """Where a zygote listens: the one that is always there, or that of a heavy library."""
    return run / (f"zygote-{library}.sock" if library else "zygote.sock")


def preload() -> None:
    """Import what jobs and replicas need, without what they seldom do (scikit-learn and pandas double the memory)."""
    from ..algorithms.xgboost import runtime

    runtime.preload()
    with contextlib.suppress(ImportError):
        import boto3  # noqa: F401  # what nearly every function imports


class Zygote:
    """Takes specs from a Unix socket."""

    def __init__(self, policy: Policy, digest: str, lifeline: int | None, library: str = ""):
        self._policy = policy
        self._digest = digest
        self._run = policy.home / "run"
        self._lifeline = lifeline
        self._library = library
        self._parent = os.getppid()
        self._heavy: dict[str, int] = {}  # zygotes of libraries, by their process ids
        self._stopping = False
        self._asked = time.monotonic()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)

    def serve(self) -> None:
        """Until the supervisor is gone; that of a library also until it is used no more."""
        try:
            self._serve()
        finally:
            self._end_heavy()

    def _end_heavy(self) -> None:
        """None of a library's outlives this one, also when it is still importing."""
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for pid in self._heavy.values():
            with contextlib.suppress(ChildProcessError):  # it has ended, and its number may be another process's
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    os.kill(pid, signal.SIGKILL)
                    os.waitpid(pid, 0)

    def _serve(self) -> None:
        path = socket_of(self._run, self._library)
        path.unlink(missing_ok=True)
        self._listener.bind(str(path))
        path.chmod(0o600)
        self._listener.listen(64)
        signal.signal(signal.SIGCHLD, self._reap)
        signal.signal(signal.SIGTERM, self._stop)
        selector = selectors.DefaultSelector()
        selector.register(self._listener, selectors.EVENT_READ)
        if self._lifeline is not None:
            selector.register(self._lifeline, selectors.EVENT_READ)
        gc.collect()
        gc.enable()
        gc.freeze()
        while not self._stopping and not self._needless():
            for key, _ in selector.select(_BEAT):
                if key.fileobj is not self._listener:
                    return
                try:
                    channel, _ = self._listener.accept()
                except OSError as error:  # no descriptor is free; the client waits
                    _say(f"a request waits: {error}")
                    time.sleep(_PAUSE)
                    continue
                with channel:
                    channel.settimeout(5.0)
                    try:
                        self._start(channel)
                    except (ConnectionError, TimeoutError):
                        pass
                    except (OSError, ValueError, TypeError, KeyError) as error:  # of a client that may be anybody
                        _say(f"a request was refused: {error!r}")
        if self._library:
            path.unlink(missing_ok=True)

    def _needless(self) -> bool:
        """Whether a library's zygote has nobody any more who made it or asks it."""
        idle = time.monotonic() - self._asked
        return bool(self._library) and (os.getppid() != self._parent or idle > _IDLE_SECONDS)

    def _stop(self, *_: object) -> None:
        self._stopping = True

    def _start(self, channel: socket.socket) -> None:
        """Fork a shim for the spec of a client that is the platform itself. Raises for any other."""
        if not of_platform(channel):
            raise PermissionError("the client is not a process of the platform")
        if not knows(_exactly(channel, KEY_BYTES), self._digest):
            raise PermissionError("the client does not know the key")
        size = int.from_bytes(exactly(channel, 4), "little")
        if size > _MAX_SPEC:
            raise ValueError(f"a spec of {size} bytes")
        spec = ProcessSpec.load(exactly(channel, size))
        self._policy.check(spec)
        self._asked = time.monotonic()
        if (pid := os.fork()) == 0:
            _become_shim(spec, self._policy)
        channel.sendall(pid.to_bytes(4, "little"))
        if spec.preload in _HEAVY and not self._library and spec.preload not in self._heavy:
            if (pid := os.fork()) == 0:
                self._become_zygote(spec.preload, channel)
            self._heavy[spec.preload] = pid

    def _become_zygote(self, library: str, channel: socket.socket) -> NoReturn:
        """For those who come after the one that asked; that one imports the library itself meanwhile."""
        try:
            channel.close()
            self._listener.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            sandbox.die_with_parent()
            importlib.import_module(_HEAVY[library]).preload()
            Zygote(self._policy, self._digest, self._lifeline, library).serve()
        except BaseException:  # noqa: BLE001  # as for a shim: it must not return into the other zygote's loop
            traceback.print_exc()
        finally:
            os._exit(0)

    def _reap(self, *_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self._heavy = {k: v for k, v in self._heavy.items() if v != pid}


def _say(text: str) -> None:
    """Write to the platform's log, if that is possible: its disk may be full."""
    with contextlib.suppress(OSError):
        os.write(2, f"zygote: {text}\n".encode())


def _exactly(channel: socket.socket, size: int) -> bytearray:
    """``size`` bytes that can be overwritten. ConnectionError when the other side ends before."""
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size:
        if not (count := channel.recv_into(view[at:])):
            raise ConnectionError("the other side hung up")
        at += count
    return data


def _become_shim(spec: ProcessSpec, policy: Policy) -> NoReturn:
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        shim.main(spec, policy)
    except BaseException:  # noqa: BLE001  # the forked process must not return into the zygote's loop
        traceback.print_exc()
    finally:
        os._exit(1)


def main() -> None:
    """The entry point of the zygote process."""
    policy, digest = Policy.from_environment(), os.environ[DIGEST]
    text = os.environ.get(VARIABLE, "")
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    # jobs share cores: a thread spins for some 30 µs, not for milliseconds, before it sleeps; one that slept at once
    # would make small networks four times as slow
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    preload()
    sandbox.prepare(policy)
    Zygote(policy, digest, int(text) if text.isdigit() else None).serve()


if __name__ == "__main__":
    main()
    sys.exit(0)
