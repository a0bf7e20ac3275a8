"""A Python process with xgboost imported that forks a shim for each spec it is given: a start costs milliseconds.

It runs no user code, has one thread and holds no secrets; what it forks enters its sandbox before anything else.
"""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from ..sockets import exactly
from ..supervision import VARIABLE
from . import shim
from .spec import ProcessSpec

_SCRUBBED = ("CLARY_DATABASE",)


def preload() -> None:
    """Import what jobs and replicas need, without what they seldom do (scikit-learn and pandas double the memory)."""
    from ..algorithms.xgboost import runtime

    runtime.preload()
    with contextlib.suppress(ImportError):
        import boto3  # noqa: F401  # what nearly every function imports


def serve(path: Path, lifeline: int | None) -> None:
    """Take specs from a Unix socket until the supervisor is gone."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    listener.listen(64)
    signal.signal(signal.SIGCHLD, _reap)
    stopping: list[bool] = []
    signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ)
    if lifeline is not None:
        selector.register(lifeline, selectors.EVENT_READ)
    gc.collect()
    gc.freeze()
    while not stopping:
        for key, _ in selector.select(1.0):
            if key.fileobj is not listener:
                return
            channel, _ = listener.accept()
            with channel:
                channel.settimeout(5.0)
                with contextlib.suppress(OSError):
                    _start(channel)


def _start(channel: socket.socket) -> None:
    size = int.from_bytes(exactly(channel, 4), "little")
    if size > 1 << 20:
        return
    spec = ProcessSpec.load(exactly(channel, size))
    pid = os.fork()
    if pid == 0:
        _become_shim(spec)
    channel.sendall(pid.to_bytes(4, "little"))


def _become_shim(spec: ProcessSpec) -> NoReturn:
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        shim.main(spec)
    except BaseException:  # noqa: BLE001  # the forked process must not return into the zygote's loop
        traceback.print_exc()
    finally:
        os._exit(1)


def _reap(*_: object) -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def main() -> None:
    """The entry point of the zygote process."""
    run = Path(os.environ["CLARY_HOME"]).expanduser() / "run"
    text = os.environ.get(VARIABLE, "")
    for name in _SCRUBBED:
        os.environ.pop(name, None)
    os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # jobs share cores: a thread that waits must not spin
    preload()
    serve(run / "zygote.sock", int(text) if text.isdigit() else None)


if __name__ == "__main__":
    main()
    sys.exit(0)
