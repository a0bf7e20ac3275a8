"""A really running platform for tests: started as a user starts it, with a home folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import boto3
from botocore.config import Config

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
CLARY = str(BIN / "clary")


def until(condition: Callable[[], Any], seconds: float = 60.0, what: str = "") -> Any:
    """Wait for a condition; its value, or a failure that says what was waited for."""
    deadline = time.monotonic() + seconds
    while True:
        if value := condition():
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds:.0f} s: {what or condition}")
        time.sleep(0.02)


class Gate:
    """Holds users' code where it wants to pass until it is opened, so that a test knows what is under way at once."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._listener.settimeout(60)
        self._held: list[socket.socket] = []

    @property
    def code(self) -> str:
        """A Python expression that waits at this gate."""
        return f"__import__('socket').create_connection({self._listener.getsockname()}).recv(1)"

    def wait(self, count: int) -> None:
        """Wait until so many more are held."""
        self._held.extend(self._listener.accept()[0] for _ in range(count))

    def open(self) -> None:
        """Let those that are held pass."""
        while self._held:
            self._held.pop().close()

    def __enter__(self) -> Gate:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()
        self._listener.close()


@dataclass
class Platform:
    """A platform in processes of its own."""

    home: Path
    environment: dict[str, str]
    endpoint: str = ""
    port: int = 0
    prefix: tuple[str, ...] = ()  # of the command that starts it, another user for example
    clients: list[Any] = field(default_factory=list)

    def up(self, *options: str) -> Platform:
        """Start it."""
        run([*self.prefix, CLARY, "up", "-d", "-p", str(self.port), *options], self.environment)
        host, port = (self.home / "run" / "port").read_text().split()
        self.port = int(port)
        self.endpoint = f"http://{host}:{port}"
        return self

    def down(self) -> None:
        """Stop it."""
        for client in self.clients:
            client.close()
        self.clients.clear()
        run([CLARY, "down"], self.environment)

    def kill(self, part: str = "") -> None:
        """End processes at once, all of them as a power cut would, or those of one part.

        They are gone when this returns: until then they may still be handed a request that they never answer.
        """
        pids = self.pids(part)
        assert pids, f"no process of {part or 'the platform'}"
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        until(lambda: not set(pids if part else self.pids()) & set(self.pids(part)), what=f"{part or 'all'} is gone")

    def pids(self, part: str = "") -> list[int]:
        """The platform's processes (supervisor, zygote, control, front, shims and what they run)."""
        mark = f"CLARY_HOME={self.home}\0".encode()
        found = []
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state == "Z":
                    continue
                if part in command and "clary" in command and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
        return found

    def client(self, service: str, key: tuple[str, str] | None = None, **options: Any) -> Any:
        """A boto3 client with the execution role's credentials, or with a long-term key."""
        session = json.loads((self.home / "run" / "session.json").read_text())
        credentials = {
            "aws_access_key_id": session["AccessKeyId"], "aws_secret_access_key": session["SecretAccessKey"],
            "aws_session_token": session["SessionToken"],
        }  # fmt: skip
        if key is not None:
            credentials = {"aws_access_key_id": key[0], "aws_secret_access_key": key[1]}
        config = Config(retries={"max_attempts": 0}, connect_timeout=5, read_timeout=60).merge(
            options.pop("config", Config())
        )
        where = {"endpoint_url": self.endpoint, "region_name": "us-east-1", "config": config}
        made = boto3.client(service, **{**where, **credentials, **options})
        self.clients.append(made)
        return made

    @property
    def root_key(self) -> tuple[str, str]:
        """The root user's access key."""
        root = json.loads((self.home / "run" / "session.json").read_text())["Root"]
        return root["AccessKeyId"], root["SecretAccessKey"]

    def page(self, path: str) -> Any:
        """One of the gateway's own pages."""
        with urlopen(self.endpoint + path, timeout=10) as answer:
            return answer.read().decode()

    def log(self) -> str:
        """The platform's own log."""
        return (self.home / "log" / "clary.log").read_text()


def run(
    command: list[str], environment: dict[str, str], check: bool = True, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run a command; when it fails, its output is the failure's text."""
    found = subprocess.run(
        command,
        env=environment,
        capture_output=True,
        text=True,
        timeout=options.pop("timeout", 600),
        check=False,
        **options,
    )
    if check and found.returncode:
        raise AssertionError(f"{command} ended with {found.returncode}\n{found.stdout}\n{found.stderr}")
    return found


@contextlib.contextmanager
def started(home: Path, *options: str, prefix: tuple[str, ...] = (), **variables: str) -> Iterator[Platform]:
    """A platform that runs while the block does; afterwards nothing of it is left."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "CLARY_"))}
    opened = {"CLARY_LOCAL_PORTS": "all"}  # a Gate listens in the test's own process
    platform = Platform(home, {**kept, "CLARY_HOME": str(home), **opened, **variables}, prefix=prefix)
    platform.up(*options)
    try:
        yield platform
    finally:
        platform.down()
        left = platform.pids()
        told = [
            (p, Path(f"/proc/{p}/cmdline").read_bytes(), Path(f"/proc/{p}/stat").read_text())
            for p in left
            if Path(f"/proc/{p}").exists()
        ]
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(home, ignore_errors=True)
        assert not left, f"processes outlived the platform: {told}"
