"""The processes that run functions: one call at a time each, kept warm for the next.

A process takes its calls from a Runtime API of its own (``runtime_api.py``). Nothing of it need survive: after a restart of
control the folders of the old ones are swept, and the next call starts a new one.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import secrets
import socket
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from ... import peers
from ...control.shipping import Shipper
from ...executors.local import LocalExecutor, uid_of
from ...executors.spec import Mount, ProcessSpec
from ...executors.volumes import MARGIN, Volume, Volumes, full
from ...provider.platform import Platform
from ...store.logs import StreamKey
from ...store.rows import Row
from ...web import Connection, Connections
from ..process_environment import credentials, system
from . import code, layers
from .node import node, node_program
from .runtime_api import RuntimeApi
from .streams import Stream

log = logging.getLogger(__name__)

Json = dict[str, Any]
STREAM = "stream.json"
"""Where a folder says which log stream its log belongs to: a control that died may not have shipped all of it."""

_INIT_SECONDS = 10.0
_MAX_SIGNED = 10_000
_SESSION_SECONDS = 12 * 3600.0
_AGAIN_SECONDS = 60.0
_PROCESSES = 1024  # AWS's quota of processes and threads
_BACKLOG = 8  # of the Runtime API: a process has one or two connections
_RENEW_SECONDS = 6 * 3600.0
_OURS_MB = 256
"""What a process has mapped before its function's code runs: a fork shares the runtime's memory, but it is counted."""


@dataclass(slots=True)
class Invocation:
    """One call on its way to a process."""

    request_id: str
    arn: str
    event: bytes
    client_context: str = ""
    tail: bool = False  # the end of its log is wanted
    deadline: float = 0.0  # seconds since 1970
    stream: Stream | None = None  # for a caller who takes pieces
    outcome: asyncio.Future[tuple[bytes, bool]] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to: its payload, AWS's word for a failure (empty: none), and the end of its log."""

    payload: bytes
    error: str = ""
    log: bytes = b""
    milliseconds: float = 0.0


class Throttled(Exception):
    """No call more can be taken; the text is AWS's reason."""


def signature(row: Row) -> str:
    """What a process of a function or version was started with; another signature needs another process."""
    spec = {k: v for k, v in row.spec.items() if k not in ("RevisionId", "LastModified", "Description")}
    return hashlib.sha256(orjson.dumps(spec, option=orjson.OPT_SORT_KEYS)).hexdigest()


class Environment:
    """A process of one function or version."""

    def __init__(
        self,
        platform: Platform,
        executor: LocalExecutor,
        shipper: Shipper,
        pool: Connections,
        volumes: Volumes,
        row: Row,
        why: str,
    ):
        self.row = row
        self._why = why  # on-demand or provisioned-concurrency
        self.signature = signature(row)
        self.dead = False
        self.idle_since = time.monotonic()
        self.born = time.monotonic()
        self._platform = platform
        self._executor = executor
        self._shipper = shipper
        self._pool = pool
        name = secrets.token_hex(16)
        self._folder = platform.settings.folder / "runs" / f"fn-{row.uid[:12]}-{name[:12]}"
        day = datetime.now(UTC).strftime("%Y/%m/%d")
        self.stream = f"{day}/[{row.spec['Version']}]{name}"
        self.group = row.spec["LoggingConfig"].get("LogGroup") or f"/aws/lambda/{row.spec['FunctionName']}"
        self._server: peers.Listener | None = None
        self._log = -1
        self._program = 0
        self._init_seconds = 0.0
        self._told_init = False
        self._ended = asyncio.Event()
        self._settle: Callable[[], None] | None = None  # ends the wait for a call's outcome
        self.api = RuntimeApi()
        self._volumes = volumes
        self._volume = (Volume(self._folder, (self._folder / "tmp",), _storage(row)),)

    async def start(self) -> None:
        """Start the process; it fetches its first call when its handler is loaded."""
        began = time.perf_counter()
        for name in ("io", "tmp"):
            (self._folder / name).mkdir(parents=True)
            (self._folder / name).chmod(0o1777)
        loop = asyncio.get_running_loop()
        path = self._folder / "io" / "api"
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o666)
        listener.listen(_BACKLOG)
        user = uid_of(f"fn-{self.row.uid}")
        self._server = peers.Listener(listener, lambda: Connection(self.api, self._pool), peers.of_user(user))
        key = StreamKey(self.row.account, self.row.region, self.group, self.stream)
        (self._folder / STREAM).write_bytes(orjson.dumps(key))
        self._log = os.open(self._folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        runtime = re.sub(r"^([a-z]+)", r"\1:", self.row.spec["Runtime"].removesuffix(".x"))
        arn = f"arn:aws:lambda:{self.row.region}::runtime:{hashlib.sha256(runtime.encode()).hexdigest()}"
        self._write(f"INIT_START Runtime Version: {runtime}.v1\tRuntime Version ARN: {arn}")
        await self._shipper.follow(self._folder / "log", key)
        spec = await asyncio.to_thread(self._spec)
        await asyncio.to_thread(self._executor.start, spec)
        pid = await asyncio.to_thread(self._pid)
        self._watch(pid)
        waiting = [loop.create_task(e.wait()) for e in (self.api.ready, self._ended)]
        await asyncio.wait(waiting, timeout=_INIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        for task in waiting:
            task.cancel()
        self._init_seconds = time.perf_counter() - began
        self._program = await asyncio.to_thread(_deepest, pid)

    def _pid(self) -> int:
        """The process's shim, once it has written down its number; 0 when it has ended."""
        deadline = time.monotonic() + _INIT_SECONDS
        while True:
            sight = self._executor.see(self._folder)
            if sight.pid or sight.state != "running" or time.monotonic() > deadline:
                return sight.pid
            time.sleep(0.001)  # the shim has its lock, and writes its number next

    def _spec(self) -> ProcessSpec:
        spec, name = self.row.spec, self.row.spec["FunctionName"]
        role = credentials(
            self._platform, self.row.account, self.row.region, spec["Role"], name, _SESSION_SECONDS
        )  # fmt: skip
        environment = {
            **system(), **role, "AWS_EXECUTION_ENV": f"AWS_Lambda_{spec['Runtime']}", "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_VERSION": spec["Version"], "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(spec["MemorySize"]),
            "AWS_LAMBDA_INITIALIZATION_TYPE": self._why, "AWS_LAMBDA_LOG_GROUP_NAME": self.group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self.stream, "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR", "TZ": ":UTC",
            "LAMBDA_TASK_ROOT": "/var/task", "LAMBDA_RUNTIME_DIR": "/var/runtime", "_HANDLER": spec["Handler"],
            "AWS_LAMBDA_LOG_FORMAT": spec["LoggingConfig"].get("LogFormat", "Text"), "PWD": "/var/task",
            "CLARY_RUNTIME_API": "/run/clary/api", **((spec.get("Environment") or {}).get("Variables") or {}),
        }  # fmt: skip
        mounts = [
            Mount(str(code.folder(self._platform, spec["CodeSha256"]) / "files"), "/var/task"),
            Mount(str(self._folder / "io"), "/run/clary"),
            Mount(str(self._folder / "tmp"), "/tmp", True),
        ]
        if (opt := layers.merged(self._platform, spec.get("Layers") or [])) is not None:
            mounts += [Mount(str(entry), f"/opt/{entry.name}") for entry in sorted(opt.iterdir())]
        way: Json = {"call": "clary.runtimes.function:main"}
        if spec["Runtime"].startswith("nodejs"):
            way = {"command": node_program()}
            mounts += node().mounts
            environment["NODE_PATH"] = "/opt/nodejs/node_modules:/var/task/node_modules"
        return ProcessSpec(
            id=self._folder.name, folder=str(self._folder), **way, environment=environment,
            mounts=tuple(mounts), hostname="function", directory="/var/task",
            memory_bytes=(spec["MemorySize"] + _OURS_MB) << 20, processes=_PROCESSES, disk_bytes=_storage(self.row) + MARGIN, uid=uid_of(f"fn-{self.row.uid}"),
        )  # fmt: skip

    def _watch(self, pid: int) -> None:
        """Notice when the process ends."""
        loop = asyncio.get_running_loop()
        try:
            fd = os.pidfd_open(pid)
        except (OSError, AttributeError):
            self._poll(pid)
            return

        def ended() -> None:
            loop.remove_reader(fd)
            os.close(fd)
            self._end()

        loop.add_reader(fd, ended)

    def _poll(self, pid: int) -> None:
        try:
            os.kill(pid, 0) if pid else None
        except ProcessLookupError:
            pid = 0
        if pid:
            asyncio.get_running_loop().call_later(0.2, self._poll, pid)
        else:
            self._end()

    def _end(self) -> None:
        self.dead = True
        self._ended.set()
        if self._settle is not None:
            self._settle()

    @property
    def stale(self) -> bool:
        """Whether its credentials should be renewed."""
        return time.monotonic() - self.born > _RENEW_SECONDS

    def _write(self, line: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._log, line.encode("utf-8", "replace") + b"\n")

    # ---- a call ----------------------------------------------------------------------------------------------------

    async def invoke(self, call: Invocation) -> Answer:
        """Run one call to its end, and write its lines of the log."""
        spec, timeout = self.row.spec, float(self.row.spec["Timeout"])
        offset = os.fstat(self._log).st_size
        self._write(f"START RequestId: {call.request_id} Version: {spec['Version']}")
        began = time.perf_counter()
        call.deadline = time.time() + timeout
        self._volumes.watch(str(self._folder), self._volume)
        self.api.offer(call)
        await self._over(call.outcome, timeout)
        self._volumes.forget(str(self._folder))
        seconds = time.perf_counter() - began
        payload, error, status = await self._judge(call, timeout)
        self._write(f"END RequestId: {call.request_id}")
        self._report(call, min(seconds, timeout) if status == "timeout" else seconds, status)
        self.idle_since = time.monotonic()
        return Answer(payload, error, self._tail(offset) if call.tail else b"", seconds * 1000)

    async def _over(self, outcome: asyncio.Future[Any], timeout: float) -> None:
        """Wait until there is an outcome, the process has ended, or the time is up."""
        loop = asyncio.get_running_loop()
        over: asyncio.Future[None] = loop.create_future()

        def settle(*_: object) -> None:
            if not over.done():
                over.set_result(None)

        self._settle = settle
        outcome.add_done_callback(settle)
        timer = loop.call_later(timeout, settle)
        if self.dead:
            settle()
        try:
            await over
        finally:
            timer.cancel()

    async def _judge(self, call: Invocation, timeout: float) -> tuple[bytes, str, str]:
        """Payload, error and status of a call that has ended, one way or another."""
        if call.outcome.done():
            payload, failed = call.outcome.result()
            if failed:
                return payload, "Unhandled", "error"
            return payload, "", ""
        if (told := self.api.init_error) is not None:
            return told, "Unhandled", "error"
        prefix = f"RequestId: {call.request_id} Error: "
        if self.dead:
            sight = await asyncio.to_thread(self._executor.see, self._folder)
            text = f"{prefix}{self._full() or _exit_words(sight.code, sight.out_of_memory)}"
            self._write(text)
            return _fault("Runtime.ExitError", text), "Unhandled", "error"
        await self.close()
        words = f"Task timed out after {timeout:.2f} seconds"
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3]
        self._write(f"{moment}Z {call.request_id} {words}\n")
        return _fault("Sandbox.Timedout", prefix + words), "Unhandled", "timeout"

    def _full(self) -> str:
        """Why a process was ended whose /tmp was full; empty when it was not."""
        if not (found := full(self._folder)):
            return ""
        return (
            f"[Errno 28] No space left on device: /tmp held {found / 2**20:.0f} MB, "
            f"EphemeralStorage is {_storage(self.row) >> 20} MB"
        )

    def _report(self, call: Invocation, seconds: float, status: str) -> None:
        milliseconds = seconds * 1000
        parts = [
            f"REPORT RequestId: {call.request_id}", f"Duration: {milliseconds:.2f} ms",
            f"Billed Duration: {int(milliseconds) + 1} ms", f"Memory Size: {self.row.spec['MemorySize']} MB",
            f"Max Memory Used: {_peak_mb(self._program)} MB",
        ]  # fmt: skip
        if not self._told_init:
            self._told_init = True
            parts.append(f"Init Duration: {self._init_seconds * 1000:.2f} ms")
        if status:
            parts.append(f"Status: {status}")
        self._write("\t".join(parts) + "\t")

    def _tail(self, offset: int) -> bytes:
        with (self._folder / "log").open("rb") as file:
            file.seek(max(offset, os.fstat(self._log).st_size - 4096))
            return file.read(4096)

    async def close(self) -> None:
        """End the process, and leave nothing of it."""
        self.dead = True
        if self._server is not None:
            self._server.close()
            self._server = None
        self.api.close()
        await asyncio.to_thread(self._executor.kill, self._folder)

    async def sweep(self) -> None:
        """Ship the rest of the log and remove the folder."""
        await self.close()
        await self._shipper.drain(self._folder / "log")
        if self._log >= 0:
            os.close(self._log)
            self._log = -1
        await asyncio.to_thread(self._executor.sweep, self._folder)


def _storage(row: Row) -> int:
    """The bytes of a function's /tmp."""
    return int((row.spec.get("EphemeralStorage") or {}).get("Size") or 512) << 20


def _fault(kind: str, text: str) -> bytes:
    return orjson.dumps({"errorType": kind, "errorMessage": text})


def _exit_words(exit_code: int, out_of_memory: bool) -> str:
    if out_of_memory or exit_code == 137:
        return "Runtime exited with error: signal: killed"
    if exit_code > 128:
        return f"Runtime exited with error: signal: {exit_code - 128}"
    if exit_code:
        return f"Runtime exited with error: exit status {exit_code}"
    return "Runtime exited without providing a reason"


def _deepest(pid: int) -> int:
    """The last process of a chain: below the shim and the sandbox's process 1, the function's own."""
    while True:
        try:
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except OSError:
            return pid
        if not children:
            return pid
        pid = int(children[0])


def _peak_mb(pid: int) -> int:
    """The most memory that a process has held, in MB; 0 where the system does not say."""
    try:
        with open(f"/proc/{pid}/status", "rb", buffering=0) as file:
            _, _, found = file.read().partition(b"\nVmHWM:")
    except OSError:
        return 0
    return int(found.split(None, 1)[0]) >> 10 if found else 0


class Environments:
    """All of them: takes an idle one for a call, or starts one; ends those that nobody needs."""

    def __init__(self, platform: Platform, executor: LocalExecutor, shipper: Shipper, pool: Connections):
        self._platform = platform
        self._executor = executor
        self._shipper = shipper
        self._pool = pool
        self._volumes = Volumes()
        self._idle: dict[str, deque[Environment]] = {}
        self._busy: dict[tuple[str, str, str], int] = {}  # account, region, function: calls under way
        self._all: set[Environment] = set()
        self._signed: dict[str, tuple[Row, str]] = {}
        self._limit = 16 * (os.cpu_count() or 1)
        self._failing: dict[str, float] = {}  # versions that could not be kept ready, and when to try again
        self._kept: dict[str, tuple[Row, int]] = {}  # versions of which processes are kept ready, and how many
        self._freed = asyncio.Condition()
        self._chores: set[asyncio.Task[None]] = set()
        self._calls: set[asyncio.Task[Answer]] = set()

    async def run(self, row: Row, call: Invocation, reserved: int | None) -> Answer:
        """Run a call; Throttled when the function's concurrency, or this machine's, is used up.

        As on AWS it runs to its end although nobody may wait for it any more.
        """
        task = asyncio.get_running_loop().create_task(self._run(row, call, reserved))
        self._calls.add(task)
        task.add_done_callback(self._over)
        return await asyncio.shield(task)

    def _over(self, task: asyncio.Task[Answer]) -> None:
        self._calls.discard(task)
        if not task.cancelled():
            task.exception()  # whoever still waits has it from the shield

    async def _run(self, row: Row, call: Invocation, reserved: int | None) -> Answer:
        key = (row.account, row.region, row.spec["FunctionName"])
        busy = self._busy.get(key, 0)
        if reserved is not None and busy >= reserved:
            raise Throttled("ReservedFunctionConcurrentInvocationLimitExceeded")
        self._busy[key] = busy + 1
        try:
            environment = await self._take(row)
            try:
                return await environment.invoke(call)
            finally:
                await self._put(environment)
        finally:
            self._busy[key] -= 1
            if not self._busy[key]:
                del self._busy[key]

    def concurrent(self, account: str, region: str, name: str) -> int:
        """How many calls of a function are under way."""
        return self._busy.get((account, region, name), 0)

    # ---- provisioned ------------------------------------------------------------------------------------------------

    @property
    def most_kept(self) -> int:
        """How many processes this machine keeps ready at most: half of what it runs, so that other functions run too."""
        return self._limit // 2

    def keep(self, wanted: dict[str, tuple[Row, int]]) -> None:
        """From now on these processes are ready: start what lacks; what is too many ends when it has idled."""
        self._kept = wanted
        self._failing = {uid: until for uid, until in self._failing.items() if uid in wanted}
        room = self.most_kept
        for uid, (row, count) in wanted.items():
            count = min(count, room)
            room -= count
            if self._failing.get(uid, 0.0) > time.monotonic():
                continue
            for _ in range(count - len(self._of(uid))):
                task = asyncio.get_running_loop().create_task(self._ready(row))
                self._chores.add(task)
                task.add_done_callback(self._chores.discard)

    async def _ready(self, row: Row) -> None:
        try:
            environment = await self._start(row, "provisioned-concurrency")
        except OSError as error:
            log.warning("no process of %s can be kept ready: %s", row.name, error)
            self._failing[row.uid] = time.monotonic() + _AGAIN_SECONDS
            return
        if environment.dead or environment.api.init_error is not None:
            self._failing[row.uid] = time.monotonic() + _AGAIN_SECONDS
        else:
            self._failing.pop(row.uid, None)
        await self._put(environment)

    def _of(self, uid: str) -> list[Environment]:
        return [e for e in self._all if e.row.uid == uid and not e.dead and not e.stale]

    def fails(self, uid: str) -> bool:
        """Whether a version's processes end before their handler is loaded."""
        return uid in self._failing and not self.loaded(uid)

    def loaded(self, uid: str) -> int:
        """How many processes of a version there are whose handler is loaded."""
        return sum(e.api.ready.is_set() and e.api.init_error is None for e in self._of(uid))

    def _signature(self, row: Row) -> str:
        """A row's signature; rows are kept by their callers, so it is mostly the same object."""
        kept = self._signed.get(row.uid)
        if kept is None or kept[0] is not row:
            if len(self._signed) > _MAX_SIGNED:
                self._signed.clear()
            kept = self._signed[row.uid] = (row, signature(row))
        return kept[1]

    async def _take(self, row: Row) -> Environment:
        wanted = self._signature(row)
        deadline = time.monotonic() + float(row.spec["Timeout"])
        while True:
            idle = self._idle.get(row.uid, deque())
            while idle:
                found = idle.pop()
                if found.signature == wanted and not found.dead and not found.stale:
                    return found
                self._discard(found)
            if len(self._all) < self._limit or self._evict():
                return await self._start(row)
            async with self._freed:
                try:
                    await asyncio.wait_for(self._freed.wait(), max(0.0, deadline - time.monotonic()))
                except TimeoutError:
                    raise Throttled("ConcurrentInvocationLimitExceeded") from None

    async def _start(self, row: Row, why: str = "on-demand") -> Environment:
        environment = Environment(self._platform, self._executor, self._shipper, self._pool, self._volumes, row, why)
        self._all.add(environment)
        try:
            await environment.start()
        except BaseException:
            self._discard(environment)
            raise
        return environment

    def _evict(self) -> bool:
        """Make room: end the process that has been idle for longest, of those that need not be kept ready."""
        every = [e for uid, idle in self._idle.items() if uid not in self._kept for e in idle]
        if not every:
            return False
        oldest = min(every, key=lambda e: e.idle_since)
        self._idle[oldest.row.uid].remove(oldest)
        self._discard(oldest)
        return True

    async def _put(self, environment: Environment) -> None:
        if environment.dead or environment.api.init_error is not None:
            self._discard(environment)
        else:
            self._idle.setdefault(environment.row.uid, deque()).append(environment)
        async with self._freed:
            self._freed.notify()

    def _discard(self, environment: Environment) -> None:
        self._all.discard(environment)
        task = asyncio.get_running_loop().create_task(environment.sweep())
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def reap(self, idle_seconds: float) -> None:
        """End the processes that have not been asked for long, whose function is no more, or that have ended."""
        if not self._idle:
            return
        present = await asyncio.to_thread(self._present)
        now = time.monotonic()
        for uid, idle in list(self._idle.items()):
            _, kept = self._kept.get(uid, (None, 0))
            for environment in list(idle):
                old = now - environment.idle_since > idle_seconds and len(self._of(uid)) > kept
                if environment.dead or old or environment.stale or uid not in present:
                    idle.remove(environment)
                    self._discard(environment)
            if not idle:
                del self._idle[uid]

    async def close_absent(self) -> None:
        """End the idle processes of functions that were removed, and wait until they have ended."""
        await self.reap(float("inf"))
        await asyncio.gather(*self._chores, return_exceptions=True)

    def _present(self) -> set[str]:
        with self._platform.database.read() as tx:
            return {row.uid for kind in ("Function", "FunctionVersion") for row in tx.rows.list(kind)}

    async def close(self) -> None:
        """End all of them."""
        every, self._all = list(self._all), set()
        self._idle.clear()
        await asyncio.gather(*(e.sweep() for e in every), *self._chores, return_exceptions=True)
