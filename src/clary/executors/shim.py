"""The parent of one sandboxed process: takes its lock, starts it, forwards signals, writes down how it ended.

The lock decides who is the one shim of a folder: a second start finds it held, or the ending written, and leaves.
Whoever wants to know about the process needs only the folder, so control may come and go.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import math
import os
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import orjson

from ..locks import held
from . import image_root, limits, sandbox
from .spec import ProcessSpec

_ORPHAN_SECONDS = 120.0
_LOOK_SECONDS = 15.0
_DEFAULT_GRACE = 120.0
_LOOKED_AT_SECONDS = 0.2
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


def main(spec: ProcessSpec) -> NoReturn:
    """Be the shim of a spec in this (forked, single-threaded) process; never returns."""
    with contextlib.suppress(OSError):  # a fresh interpreter that the executor started is a session leader already
        os.setsid()
    folder = spec.path
    lock = _take_lock(folder / "lock")
    if lock is None or (folder / "exit").exists() or (folder / "stop").exists():
        os._exit(0)
    _redirect(folder / "log", keep=lock)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    group = limits.MemoryGroup(spec.id) if spec.memory_bytes else None
    if group is not None and not group.create(spec.memory_bytes):
        group = None
    child = os.fork()
    if child == 0:
        _begin(spec, group)
    _write(folder / "pid", f"{os.getpid()} {child}\n".encode())
    status = _wait(spec, child)
    ran_out = group is not None and group.ran_out()
    _record(folder, status, ran_out)
    if group is not None:
        group.remove()
    os._exit(0)


def _take_lock(path: Path) -> int | None:
    """The folder's lock; None when another shim has it, or when the folder was swept meanwhile.

    Who only looks whether it is held (``locks.held``) has it for microseconds too; a shim has it for its life.
    """
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + _LOOKED_AT_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.001)
        return lock if os.fstat(lock).st_ino == os.stat(path).st_ino else None
    except OSError:
        return None


def _redirect(path: Path, keep: int) -> None:
    """Standard streams to the log, every other descriptor closed."""
    out = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.closerange(3, keep)
    os.closerange(keep + 1, os.sysconf("SC_OPEN_MAX") if os.sysconf("SC_OPEN_MAX") < 65536 else 65536)


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(path.name + ".new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    os.rename(aside, path)


# ---- the parent's side ---------------------------------------------------------------------------------------------


def _wait(spec: ProcessSpec, child: int) -> int:
    """The child's wait status; terminates it on request, and when the platform is gone for long."""
    kill_at: float | None = None
    orphaned_since: float | None = None
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return status
        now = time.monotonic()
        if (kill_at is not None and now >= kill_at) or (
            orphaned_since is not None and now - orphaned_since > _ORPHAN_SECONDS
        ):
            _kill_tree(child)
        pause = _LOOK_SECONDS if kill_at is None else max(0.05, min(1.0, kill_at - now))
        if _signalled(pause) in (signal.SIGTERM, signal.SIGINT):
            if kill_at is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGTERM)
            kill_at = min(kill_at or math.inf, time.monotonic() + _grace(spec.path))
        if _orphaned(spec):
            orphaned_since = orphaned_since or time.monotonic()
        else:
            orphaned_since = None


def _signalled(timeout: float) -> int | None:
    if hasattr(signal, "sigtimedwait"):
        found = signal.sigtimedwait(_SIGNALS, timeout)
        return found.si_signo if found else None
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        for number in signal.sigpending():
            if number in _SIGNALS:
                return int(signal.sigwait(_SIGNALS))
        time.sleep(0.05)
    return None


def _grace(folder: Path) -> float:
    try:
        return float((folder / "stop").read_text())
    except (OSError, ValueError):
        return _DEFAULT_GRACE


def _kill_tree(child: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def _orphaned(spec: ProcessSpec) -> bool:
    """Whether no platform runs on the home folder any more."""
    return bool(spec.supervisor_lock) and not held(spec.supervisor_lock)


def _record(folder: Path, status: int, ran_out: bool) -> None:
    code = os.waitstatus_to_exitcode(status)
    ending = {"code": code if code >= 0 else 128 - code, "ended": time.time(), "out_of_memory": ran_out}
    _write(folder / "exit", orjson.dumps(ending))


# ---- the child's side ----------------------------------------------------------------------------------------------


def _begin(spec: ProcessSpec, group: limits.MemoryGroup | None) -> NoReturn:
    """Enter the sandbox, become its process 1 and start the program."""
    code = 1
    try:
        os.setsid()
        sandbox.die_with_parent()
        limits.common()
        if group is not None:
            group.join()
        elif spec.memory_bytes:
            limits.limit_data(spec.memory_bytes)
        if spec.image and spec.call:
            _function(spec.call)  # inside, none of its modules could be found any more
        if spec.sandbox == "off" and not spec.image:
            code = _unconfined(spec)
        else:
            code = _confined(spec)
    except BaseException:  # noqa: BLE001  # the last frame of this process: tell the log, then leave
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 0xFF)


def _confined(spec: ProcessSpec) -> int:
    try:
        sandbox.separate(spec)
    except sandbox.Unavailable as error:
        return _without_sandbox(spec, str(error))
    ready, told = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(ready)
        try:
            (image_root if spec.image else sandbox).enter(spec)
        except OSError as error:
            os.write(told, f"{error}".encode())
            os._exit(120)
        sandbox.die_with_parent()  # only now: changing the user cancels it
        os.close(told)
        os._exit(_init(spec) & 0xFF)
    os.close(told)
    problem = b"".join(iter(lambda: os.read(ready, 4096), b""))
    os.close(ready)
    if problem:
        os.waitpid(first, 0)
        return _without_sandbox(spec, problem.decode())
    return _relay(first)


def _without_sandbox(spec: ProcessSpec, why: str) -> int:
    if spec.image:
        print(f"clary: a container image needs a sandbox, and none can be made here: {why}", flush=True)
        return 125
    if spec.sandbox == "on":
        print(
            f"clary: no sandbox can be made here ({why}) and CLARY_SANDBOX=on forbids running without one", flush=True
        )
        return 125
    print(f"clary: running without a sandbox: {why}", file=sys.stderr, flush=True)
    return _unconfined(spec)


def _relay(child: int) -> int:
    """Outside the sandbox: pass SIGTERM in, and take the exit status out."""
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if _signalled(5.0) in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)


def _init(spec: ProcessSpec) -> int:
    """Process 1 of the sandbox: start the program, reap whatever ends, pass signals on."""
    child = os.fork()
    if child == 0:
        _program(spec)
    gc.freeze()
    while True:
        try:
            found, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 1
        if found == child:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
        if not found and _signalled(5.0) in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(child, signal.SIGTERM)


def _unconfined(spec: ProcessSpec) -> int:
    """No namespaces: paths of the contract become paths of this machine, and only file permissions keep jobs apart."""
    spec = replace(
        spec,
        environment={k: _outside_each(spec, k, v) for k, v in spec.environment.items()} | _base(spec),
        command=tuple(_outside(spec, part) for part in spec.command),
        directory=_outside(spec, spec.directory),
    )
    child = os.fork()
    if child == 0:
        if os.geteuid() == 0 and spec.uid:
            sandbox.drop_privileges(spec.uid)
        _program(spec)
    return _relay(child)


def _outside(spec: ProcessSpec, text: str) -> str:
    """A path inside the sandbox as the same place on this machine."""
    for mount in sorted(spec.mounts, key=lambda m: -len(m.target)):
        if text == mount.target or text.startswith(mount.target + "/"):
            return mount.source + text[len(mount.target) :]
    return text


def _outside_each(spec: ProcessSpec, name: str, text: str) -> str:
    """A variable's value; of a list of paths each."""
    if name in ("PATH", "PYTHONPATH"):
        return ":".join(_outside(spec, part) for part in text.split(":"))
    return _outside(spec, text)


def _base(spec: ProcessSpec) -> dict[str, str]:
    found = next((m.source for m in spec.mounts if m.target == "/opt/ml"), None)
    return {"SAGEMAKER_BASE_DIR": found} if found else {}


def _program(spec: ProcessSpec) -> NoReturn:
    """Run the program itself."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
    os.setpgid(0, 0)
    os.environ.clear()
    os.environ.update(spec.environment)
    if os.path.isdir(spec.directory):
        os.chdir(spec.directory)
    code = 1
    try:
        if spec.command:
            found = shutil.which(spec.command[0], path=spec.environment.get("PATH"))
            if found is None:
                print(f"clary: {spec.command[0]}: command not found", file=sys.stderr, flush=True)
                os._exit(127)
            image_root.become(spec.user)
            os.execve(found, list(spec.command), spec.environment)
        code = _function(spec.call)()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:  # noqa: BLE001  # the program's own fault: its traceback belongs in its log
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 0xFF)


def _function(name: str) -> Callable[[], int]:
    module, _, attribute = name.partition(":")
    found: Callable[[], int] = getattr(importlib.import_module(module), attribute)
    return found


if __name__ == "__main__":
    main(ProcessSpec.load(Path(sys.argv[1]).read_bytes()))
