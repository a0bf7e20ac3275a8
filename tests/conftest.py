"""Fixtures. The platform is real and shared by a worker's tests; each test uses names of its own."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run side by side: libraries in them must not fight for processors

from tests.platform import Platform, run, started, until

_numbers = itertools.count(1)
LOOPBACK = "127.0.0.0/8 localhost"  # where tests put the servers that APIs call


@pytest.fixture
def name() -> str:
    """A name that no other test uses."""
    return f"t{os.getpid()}-{next(_numbers)}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of our own; skipped where none is installed."""
    with postgres_server() as url:
        yield url


@contextmanager
def postgres_server() -> Iterator[str]:
    """A PostgreSQL server that runs while the block does; its URL."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(shutil.which("initdb") or "/nonexistent")
    ]
    initdb = binaries[-1]
    if not initdb.exists():
        pytest.skip("PostgreSQL's server is not installed (initdb)")
    folder = Path(tempfile.mkdtemp(prefix="clary-pg-"))
    user: dict[str, Any] = {"user": "postgres", "group": "postgres"} if os.getuid() == 0 else {}
    if user:
        shutil.chown(folder, "postgres", "postgres")
    environment = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
    data = folder / "data"
    run([str(initdb), "-D", str(data), "-U", "clary", "--auth=trust", "-E", "UTF8"], environment, cwd=folder, **user)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [str(initdb.with_name("postgres")), "-D", str(data), "-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1"],
        env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user,
    )  # fmt: skip
    try:
        until(lambda: _accepts(port), what="PostgreSQL accepts connections")
        yield f"postgresql://clary@127.0.0.1:{port}/postgres"
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _accepts(port: int) -> bool:
    import psycopg

    try:
        psycopg.connect(f"postgresql://clary@127.0.0.1:{port}/postgres", connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.fixture(scope="session")
def sqlite_platform() -> Iterator[Platform]:
    """A running platform on SQLite."""
    with started(
        Path(tempfile.mkdtemp(prefix="clary-test-")), CLARY_FUNCTION_RETRY_SECONDS="0.5", CLARY_OUTBOUND_ALLOW=LOOPBACK
    ) as platform:
        yield platform


@pytest.fixture(scope="session")
def postgres_platform(postgres: str) -> Iterator[Platform]:
    """A running platform on PostgreSQL, whose data plane is not compiled."""
    with started(
        Path(tempfile.mkdtemp(prefix="clary-test-")),
        "--database",
        postgres,
        CLARY_FUNCTION_RETRY_SECONDS="0.5",
        CLARY_OUTBOUND_ALLOW=LOOPBACK,
        CLARY_COMPILED="0",
    ) as platform:
        yield platform


@pytest.fixture(scope="session", params=["sqlite", "postgres"])
def platform(request: pytest.FixtureRequest) -> Platform:
    """A running platform, once on each store."""
    found: Platform = request.getfixturevalue(f"{request.param}_platform")
    return found


@pytest.fixture
def home() -> Iterator[Path]:
    """A home folder whose path is short enough for the sockets in it, as pytest's own folders are not."""
    with tempfile.TemporaryDirectory(prefix="clary-test-") as folder:
        yield Path(folder)


@pytest.fixture
def own_platform(request: pytest.FixtureRequest, name: str) -> Iterator[Platform]:
    """A running platform for one test, to be killed and started again; on SQLite unless the test wants ``BOTH_STORES``."""
    variables = {"CLARY_FUNCTION_RETRY_SECONDS": "0.5", "CLARY_OUTBOUND_ALLOW": LOOPBACK}
    if getattr(request, "param", "sqlite") == "postgres":
        variables["CLARY_DATABASE"] = _database_of_its_own(request.getfixturevalue("postgres"), name)
    with started(Path(tempfile.mkdtemp(prefix="clary-test-")), **variables) as platform:
        yield platform


def _database_of_its_own(server: str, name: str) -> str:
    import psycopg

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
    return server.rpartition("/")[0] + f"/{name}"
