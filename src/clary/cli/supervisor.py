"""The supervisor: binds the port, starts the processes, starts again the one that dies, ends them all together."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..locks import held
from ..settings import Settings, to_environment
from ..supervision import HEARTBEAT, VARIABLE

_PARTS = {"zygote": "clary.executors.zygote", "control": "clary.server", "front": "clary.serving"}
_BEATING = ("control", "front")
_GRACE_SECONDS = 10.0
_START_SECONDS = 120.0  # until the first sign of life, at least
_BLIND_SECONDS = 2.0  # after which the supervisor itself has been away, and knows nothing


class AlreadyRunning(Exception):
    """Another supervisor holds this home folder."""


@dataclass(slots=True)
class _Part:
    name: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    retry_at: float = 0.0
    heartbeat: int = -1  # the reading end of its pipe
    beat_at: float = 0.0
    beats: int = 0


@dataclass(slots=True)
class Supervisor:
    """Holds a home folder's lock while its processes run."""

    settings: Settings
    log: int = 2  # where the processes' own logs go
    _parts: list[_Part] = field(default_factory=list)
    _listeners: list[socket.socket] = field(default_factory=list)
    _lifeline: tuple[int, int] = (-1, -1)
    _lock: int = -1
    _digest: str = ""
    stopping: bool = False
    parts: Mapping[str, str] = field(default_factory=lambda: _PARTS)
    _looked_at: float = 0.0

    @property
    def run(self) -> Path:
        """The folder of sockets and state of the running platform."""
        return self.settings.folder / "run"

    @property
    def owns(self) -> bool:
        """Whether the lock is ours."""
        return self._lock >= 0

    def start(self) -> int:
        """Take the lock, bind the port, start everything; the port."""
        self.run.mkdir(parents=True, exist_ok=True)
        self.settings.folder.chmod(0o700)
        self._lock = os.open(self.run / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            self._lock = -1
            raise AlreadyRunning(str(self.settings.folder)) from None
        (self.run / "ready").unlink(missing_ok=True)
        os.ftruncate(self._lock, 0)
        os.write(self._lock, f"{os.getpid()}\n".encode())
        self._bind()
        self._confine()
        self._lifeline = os.pipe()
        names = [n for n in self.parts if n != "zygote" or self.settings.zygote]
        self._parts = [_Part(name) for name in names]
        for part in self._parts:
            self._spawn(part)
        self._restrict()
        port = int(self._listeners[0].getsockname()[1])
        (self.run / "port").write_text(f"{self.settings.host} {port}\n")
        return port

    def _bind(self) -> None:
        family = socket.AF_INET6 if ":" in self.settings.host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self.settings.host, self.settings.port))
        except OSError:
            sock.close()
            raise
        sock.listen(1024)
        self._listeners = [sock]

    def _confine(self) -> None:
        """Make the zygotes' key, and remove control groups that an earlier supervisor left."""
        from ..executors import limits, policy

        self._digest = policy.make_key(self.run)
        limits.sweep(self.settings.folder, kill=False)

    def _restrict(self) -> None:
        """Keep jobs from this machine's network, while the parts start; say what is weaker here than it can be."""
        from ..executors import abilities, local, network  # noqa: F401  # the end must not need an import

        port = int(self._listeners[0].getsockname()[1])
        open_ports = [(port, port), *network.ports(self.settings.local_ports), *network.indexes(os.environ)]
        failed = network.confine(self.settings.folder, open_ports)
        notes = [a for a in abilities.of_machine(self.settings.folder, self.settings.sandbox) if not a.good]
        if failed and not any(note.subject == "network" for note in notes):
            notes.append(
                abilities.Ability("network", False, f"jobs reach link-local addresses and loopback ports: {failed}")
            )
        for note in notes:
            self._say(f"note: {note.subject}: {note.text}")

    def _say(self, text: str) -> None:
        """Write to the log, if that is possible: its disk may be full."""
        with contextlib.suppress(OSError):
            os.write(self.log, f"{text}\n".encode())

    def _spawn(self, part: _Part) -> None:
        from ..executors import policy

        environment = {
            **os.environ, **to_environment(self.settings), VARIABLE: str(self._lifeline[0]),
            "CLARY_PORT": str(self._listeners[0].getsockname()[1]), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", ""),
        }  # fmt: skip
        if not environment["OMP_NUM_THREADS"]:
            del environment["OMP_NUM_THREADS"]
        if part.name == "zygote":
            environment = policy.environment({**environment, policy.DIGEST: self._digest})
        passed = [self._lifeline[0]]
        if part.name == "front":
            environment["CLARY_LISTEN"] = ",".join(str(s.fileno()) for s in self._listeners)
            passed += [s.fileno() for s in self._listeners]
        told = -1
        if part.name in _BEATING:
            if part.heartbeat >= 0:
                os.close(part.heartbeat)
                part.heartbeat = -1
            part.heartbeat, told = os.pipe()
            os.set_blocking(part.heartbeat, False)
            os.set_blocking(told, False)
            environment[HEARTBEAT] = str(told)
            passed.append(told)
        part.started = part.beat_at = time.monotonic()
        part.beats = 0
        try:
            part.process = subprocess.Popen(
                [sys.executable, "-m", "clary.part", self.parts[part.name]],
                env=environment, pass_fds=passed, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log,
                start_new_session=True,
            )  # fmt: skip
        finally:
            if told >= 0:
                os.close(told)

    def ready(self, timeout: float) -> bool:
        """Wait until the platform answers; False when it did not in time."""
        address = self._listeners[0].getsockname()
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and not self.stopping:
            with contextlib.suppress(OSError), socket.create_connection(address[:2], timeout=1) as probe:
                probe.settimeout(2)
                probe.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                if probe.recv(64).startswith(b"HTTP/1.1 200"):
                    (self.run / "ready").touch()
                    return True
            self.look()
            time.sleep(0.02)
        return False

    def look(self) -> None:
        """Start again what has died; one that dies at once waits longer each time."""
        now = time.monotonic()
        blind, self._looked_at = now - self._looked_at > _BLIND_SECONDS, now
        for part in self._parts:
            self._listen(part, now, blind)
            if part.process is not None and part.process.poll() is not None:
                self._put_off(part, now, now - part.started < 5)
                part.process = None
            if part.process is None and now >= part.retry_at and not self.stopping:
                try:
                    self._spawn(part)
                except OSError as error:  # no memory, no descriptor, no room for processes: the other parts live on
                    self._put_off(part, now, True)
                    self._say(f"supervisor: {part.name} cannot be started: {error}; it is tried again")

    def _put_off(self, part: _Part, now: float, failed: bool) -> None:
        """Start a part at once, or later each time that it failed."""
        part.failures = part.failures + 1 if failed else 0
        part.retry_at = now + (min(30.0, 0.2 * 2**part.failures) if failed else 0.0)

    def _listen(self, part: _Part, now: float, blind: bool) -> None:
        """End a part whose event loop has not turned for too long: stopped, or held by something that never ends."""
        if part.process is None or part.heartbeat < 0:
            return
        with contextlib.suppress(BlockingIOError):
            part.beats += len(os.read(part.heartbeat, 4096))
            part.beat_at = now
        if blind:
            part.beat_at = now
        limit = self.settings.liveness_seconds
        if limit <= 0:
            return
        if now - part.beat_at > (limit if part.beats else max(limit, _START_SECONDS)):
            text = f"{part.name} (process {part.process.pid}) gave no sign of life for {now - part.beat_at:.0f} s; it is restarted"
            self._say(f"{time.strftime('%Y-%m-%d %H:%M:%S')} ERROR supervisor {text}")
            part.process.kill()
            part.process.wait()

    def wait(self, until: Callable[[], bool]) -> None:
        """Watch over the processes until told to stop."""
        while not until():
            self.look()
            time.sleep(0.1)

    def stop(self) -> None:
        """End every process, then what they started, then give up port and lock."""
        self.stopping = True
        with contextlib.suppress(OSError):  # the disk may be broken: what runs is ended all the same
            (self.run / "ready").unlink(missing_ok=True)
        for part in reversed(self._parts):
            if part.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    part.process.terminate()
        deadline = time.monotonic() + _GRACE_SECONDS
        for part in self._parts:
            if part.process is not None:
                try:
                    part.process.wait(max(0.1, deadline - time.monotonic()))
                except subprocess.TimeoutExpired:
                    part.process.kill()
                    part.process.wait()
        from ..executors.local import sweep_all

        sweep_all(self.settings.folder / "runs")
        for sock in self._listeners:
            sock.close()
        for part in self._parts:
            if part.heartbeat >= 0:
                os.close(part.heartbeat)
                part.heartbeat = -1
        for name in ("port", "supervisor.lock"):
            with contextlib.suppress(OSError):
                (self.run / name).unlink(missing_ok=True)
        if self._lock >= 0:
            os.close(self._lock)


def stop_running(settings: Settings, timeout: float = 30.0) -> bool:
    """Stop the platform of a home folder; False when none runs."""
    pid = running_pid(settings)
    if pid is None:
        return False
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        if running_pid(settings) is None:
            _until_gone(pid)
            return True
        time.sleep(0.05)
    raise TimeoutError(f"the platform (process {pid}) did not stop within {timeout:.0f} s")


def _until_gone(pid: int, seconds: float = 2.0) -> None:
    """Wait for the last moments of a supervisor that has given up its lock."""
    deadline = time.monotonic() + seconds
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.kill(pid, 0)
            time.sleep(0.01)


def running_pid(settings: Settings) -> int | None:
    """The supervisor that holds a home folder, if one does."""
    path = settings.folder / "run" / "supervisor.lock"
    if not held(path):
        return None
    try:
        text = path.read_text().strip()
    except FileNotFoundError:  # the supervisor gave it up just now
        return None
    return int(text) if text.isdigit() else None


def address(settings: Settings) -> str | None:
    """The endpoint of the running platform, if one runs."""
    if running_pid(settings) is None:
        return None
    try:
        host, port = (settings.folder / "run" / "port").read_text().split()
    except (OSError, ValueError):
        return None
    return f"http://{host}:{port}"
