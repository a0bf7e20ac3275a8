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
from ..processes import children_of, kill_descendants
from . import image_root, limits, sandbox
from .policy import UNCONFINED, Policy
from .spec import ProcessSpec

_ORPHAN_SECONDS = 120.0
_LOOK_SECONDS = 15.0
_DEFAULT_GRACE = 120.0
_LOOKED_AT_SECONDS = 0.2
_REFUSED = "\0"  # before the text of a problem for which the process itself is to blame
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


def main(spec: ProcessSpec, policy: Policy) -> NoReturn:
    """Be the shim of a spec in this (forked, single-threaded) process; never returns."""
    with contextlib.suppress(OSError):  # a fresh interpreter that the executor started is a session leader already
        os.setsid()
    folder = spec.path
    lock = _take_lock(folder / "lock")
    if lock is None or (folder / "exit").exists() or (folder / "stop").exists():
        os._exit(0)
    _redirect(folder / "log", keep=lock)
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    groups = limits.Groups(folder)
    groups.create(spec.memory_bytes, spec.processes)
    child = os.fork()
    if child == 0:
        _begin(spec, policy, groups)
    _write(folder / "pid", f"{os.getpid()} {child}\n".encode())
    status = _wait(policy, spec, child, groups)
    ran_out = groups.ran_out()
    groups.kill()  # what has left the sandbox's process tree, or was never in one
    _record(folder, status, ran_out)
    groups.remove()
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
    os.closerange(keep + 1, _most_descriptors())


def _most_descriptors() -> int:
    """One more than the highest descriptor that may be open (Linux closes any range at once)."""
    most = os.sysconf("SC_OPEN_MAX")
    return most if sys.platform == "linux" or most < 65536 else 65536


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(path.name + ".new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    os.write(fd, data)
    os.fsync(fd)
    os.close(fd)
    os.rename(aside, path)


# ---- the parent's side ---------------------------------------------------------------------------------------------


def _wait(policy: Policy, spec: ProcessSpec, child: int, groups: limits.Groups) -> int:
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
            groups.kill()
            _kill_tree(child)
        pause = _LOOK_SECONDS if kill_at is None else max(0.05, min(1.0, kill_at - now))
        if _signalled(pause) in (signal.SIGTERM, signal.SIGINT):
            if kill_at is None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGTERM)
            kill_at = min(kill_at or math.inf, time.monotonic() + _grace(spec.path))
        if _orphaned(policy):
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
    kill_descendants(child)
    with contextlib.suppress(ProcessLookupError):
        os.kill(child, signal.SIGKILL)


def _orphaned(policy: Policy) -> bool:
    """Whether no platform runs on the home folder any more."""
    return not held(policy.supervisor_lock)


def _record(folder: Path, status: int, ran_out: bool) -> None:
    code = os.waitstatus_to_exitcode(status)
    ending = {"code": code if code >= 0 else 128 - code, "ended": time.time(), "out_of_memory": ran_out}
    _write(folder / "exit", orjson.dumps(ending))


# ---- the child's side ----------------------------------------------------------------------------------------------


def _begin(spec: ProcessSpec, policy: Policy, groups: limits.Groups) -> NoReturn:
    """Enter the sandbox, become its process 1 and start the program."""
    code = 1
    try:
        os.setsid()
        sandbox.die_with_parent()
        limits.common()
        groups.join()
        if spec.memory_bytes and not groups.bounds_memory:
            limits.limit_data(spec.memory_bytes)
        if spec.disk_bytes:
            limits.limit_files(spec.disk_bytes)
        if spec.image and spec.call:
            _function(spec.call)  # inside, none of its modules could be found any more
        code = _confined(spec, policy, groups) if policy.confines(spec) else _unconfined(spec, policy)
    except BaseException:  # noqa: BLE001  # the last frame of this process: tell the log, then leave
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code & 0xFF)


def _confined(spec: ProcessSpec, policy: Policy, groups: limits.Groups) -> int:
    try:
        sandbox.separate(spec)
    except sandbox.Unavailable as error:
        return _without_sandbox(spec, policy, str(error))
    ready, told = os.pipe()
    first = os.fork()
    if first == 0:
        os.close(ready)
        try:
            if spec.image:
                image_root.enter(spec)
            else:
                sandbox.enter(spec, policy)
        except OSError as error:
            mark = _REFUSED if isinstance(error, sandbox.Refused) else ""
            os.write(told, f"{mark}{error}".encode())
            os._exit(120)
        sandbox.die_with_parent()  # only now: changing the user cancels it
        if spec.processes and not groups.bounds_processes:
            limits.limit_processes(spec.processes)
        os.close(told)
        os._exit(_init(spec) & 0xFF)
    os.close(told)
    problem = b"".join(iter(lambda: os.read(ready, 4096), b"")).decode()
    os.close(ready)
    if not problem:
        return _relay(first)
    os.waitpid(first, 0)
    if problem.startswith(_REFUSED):
        print(f"clary: {problem.removeprefix(_REFUSED)}", flush=True)
        return 125
    return _without_sandbox(spec, policy, problem)


def _without_sandbox(spec: ProcessSpec, policy: Policy, why: str) -> int:
    if spec.image:
        print(f"clary: a container image needs a sandbox, and none can be made here: {why}", flush=True)
        return 125
    if policy.sandbox == "on":
        print(
            f"clary: no sandbox can be made here ({why}) and CLARY_SANDBOX=on forbids running without one", flush=True
        )
        return 125
    print(f"clary: running without a sandbox: {why}", file=sys.stderr, flush=True)
    return _unconfined(spec, policy)


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
    sandbox.guard_memory(True)  # it has the shim's lock, and the program may have the same user
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


def _unconfined(spec: ProcessSpec, policy: Policy) -> int:
    """No namespaces: paths of the contract become paths of this machine, and only file permissions keep jobs apart."""
    spec = replace(
        spec,
        environment={k: _outside_each(spec, k, v) for k, v in spec.environment.items()} | _base(spec),
        command=tuple(_outside(spec, part) for part in spec.command),
        directory=_outside(spec, spec.directory),
    )
    sandbox.adopt_orphans()
    sandbox.guard_memory(True)
    child = os.fork()
    if child == 0:
        sandbox.die_with_parent()
        if spec.call not in UNCONFINED and (policy.sandbox != "off" or (os.geteuid() == 0 and spec.uid)):
            sandbox.drop_privileges(spec.uid)
            sandbox.die_with_parent()  # changing the user has cancelled it
            if policy.sandbox != "off":
                sandbox.restrict()
        _program(spec)
    code = _relay(child)
    _end_orphans()
    return code


def _end_orphans() -> None:
    """Kill what a program left behind; its descendants became ours when their parents ended."""
    while children := children_of(os.getpid()):
        for pid in children:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(-1, 0)


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
    """Run the program itself, with its standard streams and no other descriptor."""
    os.closerange(3, _most_descriptors())
    sandbox.guard_memory(False)
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
    main(ProcessSpec.load(Path(sys.argv[1]).read_bytes()), Policy.from_environment())
