"""A user's program as a child process: executed or, in a process that a zygote forked, forked once more.

A fork finds imported what the zygote has imported; all else is as in an interpreter of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import IO, NoReturn, cast

_TAIL_BYTES = 64 << 10
_READ_BYTES = 64 << 10  # the most that is read at once, and held of a line that does not end
_INSTALLS = re.compile(rb"\bpip[0-9]*\b.*\binstall\b", re.DOTALL)
_LOOKED_AT = 1 << 20
_EARLY = ("PYTHON", "OMP_", "GOMP_", "MKL_", "KMP_", "OPENBLAS_", "NUMEXPR_", "LD_", "MALLOC_")


def forkable(environment: Mapping[str, str]) -> bool:
    """Whether variables of a user's own can be honoured by a fork: some are read when a program starts only."""
    return not any(name.startswith(_EARLY) for name in environment)


def independent(folder: Path) -> bool:
    """Whether code gets what it would import itself: it installs no packages, and brings no module of a known name."""
    known = {name.partition(".")[0] for name in sys.modules}
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.stem in known and (path.suffix == ".py" or (path / "__init__.py").is_file()):
            return False
    for path in folder.rglob("*.py"):
        with contextlib.suppress(OSError), open(path, "rb") as file:  # what cannot be read cannot be imported either
            if _INSTALLS.search(file.read(_LOOKED_AT)):
                return False
    return True


def run(command: Sequence[str], folder: Path, variables: Mapping[str, str], fork: bool) -> tuple[int, str]:
    """Run a program, pass its output and our SIGTERM on; its exit code and the end of its errors."""
    child = (
        Fork(command[1:], folder, variables)
        if fork and command[1].endswith(".py") and independent(folder)
        else subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    assert child.stdout is not None and child.stderr is not None
    copier = _Copier(child.stdout, child.stderr)
    copier.start()
    status = child.wait()
    copier.join(5)
    code = status if status >= 0 else 128 - status
    return code, copier.errors()


class _Copier(threading.Thread):
    """Copies a program's output to ours by whole lines.

    A ``print`` of several values is several writes; a warning that arrives between them would spoil the line that a
    metric's expression looks for.
    """

    def __init__(self, stdout: IO[bytes], stderr: IO[bytes]):
        super().__init__(daemon=True)
        sys.stdout.flush()
        sys.stderr.flush()
        self._stdout, self._stderr = stdout, stderr
        self._tail = bytearray()

    def errors(self) -> str:
        """The end of what the program wrote to its standard error."""
        return bytes(self._tail[-_TAIL_BYTES:]).decode("utf-8", "replace")

    def run(self) -> None:
        """Copy until both streams end."""
        begun = {self._stderr: b"", self._stdout: b""}
        with selectors.DefaultSelector() as waiting:
            for stream in begun:
                waiting.register(stream, selectors.EVENT_READ)
            while waiting.get_map():
                for stream in [cast("IO[bytes]", key.fileobj) for key, _ in waiting.select()]:
                    data = os.read(stream.fileno(), _READ_BYTES)
                    lines, end, rest = (begun[stream] + data).rpartition(b"\n")
                    if not data or len(rest) > _READ_BYTES:
                        lines, end, rest = lines + end + rest, b"", b""
                    if not data:
                        waiting.unregister(stream)
                    begun[stream] = rest
                    self._write(stream, lines + end)

    def _write(self, stream: IO[bytes], data: bytes) -> None:
        out = (sys.stdout if stream is self._stdout else sys.stderr).buffer
        out.write(data)
        out.flush()
        if stream is self._stderr:
            self._tail += data
            if len(self._tail) > 2 * _TAIL_BYTES:
                del self._tail[:-_TAIL_BYTES]


class Fork:
    """A script in a fork of this process; used as a ``subprocess.Popen``."""

    def __init__(self, arguments: Sequence[str], folder: Path, variables: Mapping[str, str]):
        sys.stdout.flush()
        sys.stderr.flush()
        pipes = {1: os.pipe(), 2: os.pipe()}
        self._pid = os.fork()
        if self._pid == 0:
            for stream, (_, theirs) in pipes.items():
                os.dup2(theirs, stream)
            for end in (end for pipe in pipes.values() for end in pipe):
                os.close(end)
            _script(arguments, folder, variables)
        for _, theirs in pipes.values():
            os.close(theirs)
        self.stdout, self.stderr = (os.fdopen(ours, "rb") for ours, _ in pipes.values())

    def terminate(self) -> None:
        """Ask it to end."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)

    def wait(self) -> int:
        """Its exit code, or the negative number of the signal that ended it."""
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def settle(folder: Path) -> None:
    """What an interpreter does when it starts and a fork has missed: module path, random numbers, threads, streams."""
    added = [str(folder), *(p for p in os.environ.get("PYTHONPATH", "").split(":") if p and p != str(folder))]
    sys.path[:] = [*added, *(p for p in sys.path if p not in ("", *added))]
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(write_through=True)  # type: ignore[union-attr]
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        with contextlib.suppress(ImportError):
            importlib.import_module("threadpoolctl").threadpool_limits(int(threads))
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(int(threads))


def _script(arguments: Sequence[str], folder: Path, variables: Mapping[str, str]) -> NoReturn:
    """Be the interpreter that runs a script, to its end."""
    code = 1
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.environ.clear()
        os.environ.update(variables)
        os.chdir(folder)
        settle(folder)
        sys.argv = list(arguments)
        code = _main(folder / arguments[0])
        threading._shutdown()  # type: ignore[attr-defined]  # as at an interpreter's end: first threads, then exit functions
        atexit._run_exitfuncs()
    except BaseException:  # noqa: BLE001  # of an exit function; nothing may return into the process that forked
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code & 0xFF)


def _main(path: Path) -> int:
    """Run a file as ``__main__``; the exit code."""
    module = ModuleType("__main__")
    module.__file__ = str(path)
    module.__dict__["__builtins__"] = __builtins__
    sys.modules["__main__"] = module
    try:
        exec(compile(path.read_bytes(), str(path), "exec"), module.__dict__)
    except SystemExit as leaving:
        if leaving.code is None or isinstance(leaving.code, int):
            return leaving.code or 0
        print(leaving.code, file=sys.stderr)
        return 1
    except BaseException as error:  # noqa: BLE001  # the script's: it is told as an interpreter tells it
        here = error.__traceback__
        while here is not None and here.tb_frame.f_code.co_filename != str(path):
            here = here.tb_next
        sys.excepthook(type(error), error.with_traceback(here), here)
        return 1
    return 0
