"""A user's program as a child process: executed or, in a process that a zygote forked, forked once more.

A fork finds imported what the zygote has imported; all else is as in an interpreter of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
import re
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import BinaryIO, NoReturn

_TAIL_BYTES = 64 << 10
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
        else subprocess.Popen(command, cwd=folder, env=variables, stderr=subprocess.PIPE)
    )
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    tail: deque[bytes] = deque()
    held = 0

    def copy() -> None:
        nonlocal held
        assert child.stderr is not None
        for line in child.stderr:
            sys.stderr.buffer.write(line)
            sys.stderr.buffer.flush()
            tail.append(line)
            held += len(line)
            while held > _TAIL_BYTES:
                held -= len(tail.popleft())

    reader = threading.Thread(target=copy, daemon=True)
    reader.start()
    status = child.wait()
    reader.join(5)
    code = status if status >= 0 else 128 - status
    return code, b"".join(tail).decode("utf-8", "replace")


class Fork:
    """A script in a fork of this process; used as a ``subprocess.Popen``."""

    def __init__(self, arguments: Sequence[str], folder: Path, variables: Mapping[str, str]):
        sys.stdout.flush()
        sys.stderr.flush()
        ours, theirs = os.pipe()
        self._pid = os.fork()
        if self._pid == 0:
            os.close(ours)
            os.dup2(theirs, 2)
            os.close(theirs)
            _script(arguments, folder, variables)
        os.close(theirs)
        self.stderr: BinaryIO = os.fdopen(ours, "rb")

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
