"""The parent of one sandboxed process: takes its lock, starts it, forwards signals, writes down how it ended.

The lock decides who is the one shim of a folder: a second start finds it held, or the ending written, and leaves.
Whoever wants to know about the process needs only the folder, so control may come and go.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import gc
import importlib
import math
import os
import select
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

from ..faults import is_fault
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
_PASSING = "\1"  # before the text of one for which the machine is, for now
_TRIES = 12  # to make a sandbox while the machine is short of something
_PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_PATIENCE_SECONDS = 10.0
_SIGNALS = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)


class _Passing(Exception):
    """The machine is short of something, so that a sandbox cannot be made now. Nothing runs without one for that."""


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
    for left in reversed(range(_TRIES)):
        status, again = _try(spec, policy, groups, last=not left)
        if not again or (folder / "stop").exists():
            break
        time.sleep(_PAUSES[min(_TRIES - 1 - left, len(_PAUSES) - 1)])
    ran_out = groups.ran_out()
    with contextlib.suppress(OSError):  # no descriptor is free: who sweeps the folder does it
        groups.kill()  # what has left the sandbox's process tree, or was never in one
    _record(folder, status, ran_out, policy)
    groups.remove()
    os._exit(0)


def _try(spec: ProcessSpec, policy: Policy, groups: limits.Groups, last: bool) -> tuple[int, bool]:
    """Run the process. Return its wait status, and whether it is to be run again: its sandbox could not be made yet."""
    heard, told = os.pipe()
    os.set_blocking(heard, False)
    shim = os.getpid()
    child = os.fork()
    if child == 0:
        os.close(heard)
        _begin(spec, policy, groups, -1 if last else told, shim)
    os.close(told)
    try:
        _write(spec.path / "pid", f"{os.getpid()} {child}\n".encode(), _PATIENCE_SECONDS)
    except OSError:  # what nobody could find again must not run
        groups.kill()
        _kill_tree(child)
        os.waitpid(child, 0)
        groups.remove()
        raise
    status = _wait(policy, spec, child, groups)
    again = False
    with contextlib.suppress(BlockingIOError):  # its processes are just ending, and have said nothing
        again = os.read(heard, 1) == b"!"
    os.close(heard)
    return status, again


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


def _say(text: str) -> None:
    """Write to the process's log, if that is possible: its disk may be full."""
    with contextlib.suppress(OSError):
        os.write(2, f"clary: {text}\n".encode())


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


def _write(path: Path, data: bytes, seconds: float, needless: Callable[[], bool] = lambda: False) -> None:
    """Write a file whole; again for so many seconds while only the machine is in the way."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            _write_once(path, data)
            return
        except OSError as error:
            if not is_fault(error) or time.monotonic() > deadline or needless():
                raise
        time.sleep(_PAUSES[1])


def _write_once(path: Path, data: bytes) -> None:
    aside = path.with_name(path.name + ".new")
    fd = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        if os.write(fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(aside))
        os.fsync(fd)
    finally:
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
    """Whether no platform runs on the home folder any more, as far as can be seen."""
    try:
        return not held(policy.supervisor_lock)
    except OSError:
        return False


def _record(folder: Path, status: int, ran_out: bool, policy: Policy) -> None:
    """Write down how the process ended, when the disk takes it: without that, all that it did would be lost."""
    code = os.waitstatus_to_exitcode(status)
    ending = {"code": code if code >= 0 else 128 - code, "ended": time.time(), "out_of_memory": ran_out}
    _write(folder / "exit", orjson.dumps(ending), math.inf, lambda: _orphaned(policy))


# ---- the child's side ----------------------------------------------------------------------------------------------


def _begin(spec: ProcessSpec, policy: Policy, groups: limits.Groups, told: int, parent: int) -> NoReturn:
    """Enter the sandbox, become its process 1 and start the program; ``told`` hears that it should be tried again."""
    code = 1
    try:
        os.setsid()
        sandbox.die_with_parent()
        if os.getppid() != parent:  # it died just before
            os._exit(1)
        limits.common()
        try:
            groups.join()
        except OSError as error:
            raise _Passing(f"its control group: {error}") from None
        if spec.memory_bytes and not groups.bounds_memory:
            limits.limit_data(spec.memory_bytes)
        if spec.disk_bytes:
            limits.limit_files(spec.disk_bytes)
        if spec.image and spec.call:
            _function(spec.call)  # inside, none of its modules could be found any more
        code = _confined(spec, policy, groups) if policy.confines(spec) else _unconfined(spec, policy)
    except _Passing as problem:
        code = 125
        if told >= 0:
            os.write(told, b"!")
        rest = "CLARY_SANDBOX=off runs processes without one" if told < 0 else "it is tried again"
        _say(f"no sandbox can be made now ({problem}); {rest}")
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
        if sandbox.passes(error):
            raise _Passing(str(error)) from None
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
            mark = _PASSING if sandbox.passes(error) else _REFUSED if isinstance(error, sandbox.Refused) else ""
            os.write(told, f"{mark}{error}".encode())
            os._exit(120)
        sandbox.die_with_parent()  # only now: changing the user cancels it
        if _unheard(told):  # the parent died before
            os._exit(1)
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
    if problem.startswith(_PASSING):
        raise _Passing(problem.removeprefix(_PASSING))
    if problem.startswith(_REFUSED):
        _say(problem.removeprefix(_REFUSED))
        return 125
    return _without_sandbox(spec, policy, problem)


def _unheard(pipe: int) -> bool:
    """Whether nobody reads from a pipe any more."""
    poll = select.poll()
    poll.register(pipe, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def _without_sandbox(spec: ProcessSpec, policy: Policy, why: str) -> int:
    if spec.image:
        _say(f"a container image needs a sandbox, and none can be made here: {why}")
        return 125
    if policy.sandbox == "on":
        _say(f"no sandbox can be made here ({why}) and CLARY_SANDBOX=on forbids running without one")
        return 125
    _say(f"running without a sandbox: {why}")
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
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        sandbox.die_with_parent()
        if spec.call not in UNCONFINED and (policy.sandbox != "off" or (os.geteuid() == 0 and spec.uid)):
            sandbox.drop_privileges(spec.uid)
            sandbox.die_with_parent()  # changing the user has cancelled it
            if policy.sandbox != "off":
                sandbox.restrict()
        if os.getppid() != parent:  # it died before that could be heard of
            os._exit(1)
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
