"""``clary up``."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from typing import Any

import click

from ..faults import is_fault
from ..settings import Settings, to_environment
from .platform import settings
from .supervisor import AlreadyRunning, Supervisor, address

_READY_SECONDS = 60.0


@click.command("up")
@click.option("-p", "--port", type=int, help="Port of all services (default 4566); 0 takes a free one.")
@click.option("--host", help="Address to listen on (default 127.0.0.1).")
@click.option("-d", "--detach", is_flag=True, help="Return when the platform is ready; it runs in the background.")
@click.option("--open", "open_mode", is_flag=True, default=None, help="Accept any credentials (loopback only; for CI).")
@click.option("--ephemeral", is_flag=True, default=None, help="Keep nothing: a temporary home folder, no syncing.")
@click.option("--database", help="Database URL (postgresql://…) instead of SQLite in the home folder.")
@click.option("--region", help="Region of requests that name none (default us-east-1).")
def command(open_mode: bool | None, detach: bool, **options: Any) -> None:
    """Start the platform; Ctrl-C stops it.

    \b
    Examples:
      clary up                     in the foreground, on port 4566
      clary up -d -p 0             in the background, on a free port
      clary up --open --ephemeral  for CI: any credentials, nothing kept
    """
    found = settings(open=open_mode, **options)
    if detach:
        _detach(found)
        return
    supervisor = Supervisor(found)
    stopping: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda n, _: stopping.append(n))
    try:
        _start(supervisor)
        _announce(found)
        supervisor.wait(lambda: bool(stopping))
    finally:
        if supervisor.owns:
            click.echo("Stopping …")
            supervisor.stop()


def _start(supervisor: Supervisor) -> None:
    found = supervisor.settings
    begun = time.monotonic()
    try:
        supervisor.start()
    except AlreadyRunning:
        where = address(found)
        raise click.ClickException(
            f"a platform already runs on {found.folder} ({where}). Stop it with: clary down"
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise click.ClickException(
                f"port {found.port} on {found.host} is in use. Take a free one with: clary up -p 0"
            ) from None
        if is_fault(error):
            raise click.ClickException(f"cannot start on {found.folder}: {error}") from None
        raise click.ClickException(f"cannot listen on {found.host}:{found.port}: {error}") from None
    if not supervisor.ready(_READY_SECONDS):
        raise click.ClickException("the platform did not become ready; see the messages above")
    click.echo(f"Clary is ready after {time.monotonic() - begun:.1f} s.")


def _announce(found: Settings) -> None:
    endpoint = address(found)
    mode = " (open mode: any credentials)" if found.open else ""
    click.echo(
        f"\n  Endpoint   {endpoint}{mode}\n  Home       {found.folder}\n\n"
        "  Use it     clary run -- python my_script.py\n"
        '  or         eval "$(clary env)"\n'
        "  Stop it    clary down, or Ctrl-C here\n"
    )


def _detach(found: Settings) -> None:
    """Start a supervisor of its own session, and wait until it answers."""
    if (where := address(found)) is not None:
        raise click.ClickException(f"a platform already runs on {found.folder} ({where}). Stop it with: clary down")
    (found.folder / "log").mkdir(parents=True, exist_ok=True)
    path = found.folder / "log" / "clary.log"
    with open(path, "ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "clary", "up"], env={**os.environ, **to_environment(found)}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    begun = time.monotonic()
    while time.monotonic() - begun < _READY_SECONDS:
        if process.poll() is not None:
            tail = path.read_text(errors="replace").strip().splitlines()[-5:]
            raise click.ClickException("the platform did not start:\n  " + "\n  ".join(tail))
        if (found.folder / "run" / "ready").exists() and address(found) is not None:
            click.echo(f"Clary is ready after {time.monotonic() - begun:.1f} s (log: {path}).")
            _announce(found)
            return
        time.sleep(0.02)
    raise click.ClickException(f"the platform did not become ready; see {path}")
