"""Every setting, its environment variable and its default. ``docs/reference/settings.md`` is generated from here."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from .destinations import destinations

DEFAULT_PORT = 4566
DEFAULT_ACCOUNT = "000000000000"
DEFAULT_REGION = "us-east-1"
MAX_HOME = 43 if sys.platform == "linux" else 35
"""Bytes of the home folder's path: a Unix socket's path has 107 (macOS: 103), and a replica's lies 64 below it."""
_PORTS = re.compile(r"(?:all|[1-9][0-9]{0,4}(?:-[1-9][0-9]{0,4})?(?:,[1-9][0-9]{0,4}(?:-[1-9][0-9]{0,4})?)*)?")
EXECUTION_ROLE = "AmazonSageMaker-ExecutionRole"


def _setting(default: Any, about: str) -> Any:
    return field(default=default, metadata={"about": about})


@dataclass(frozen=True, slots=True)
class Settings:
    """One platform's settings. Read from ``CLARY_<NAME>``; the command line overrides them."""

    home: str = _setting("~/.clary", "Folder of everything durable.")
    host: str = _setting("127.0.0.1", "Address to listen on.")
    port: int = _setting(DEFAULT_PORT, "Port of all services; 0 takes a free one.")
    database: str = _setting("", "Database URL (`postgresql://…`); empty means SQLite in the home folder.")
    region: str = _setting(DEFAULT_REGION, "Region of requests that name none.")
    account: str = _setting(DEFAULT_ACCOUNT, "Account that the first start makes.")
    open: bool = _setting(False, "Accept any credentials; loopback only.")
    hosts: str = _setting(
        "",
        "Host names, separated by commas, under which web pages may reach a platform in open mode beside `localhost`, addresses, names without a dot and AWS's names: `clary.example.com`, `*.example.com`, or `*` for all. Pages of these hosts may call it, too.",
    )
    ephemeral: bool = _setting(False, "Keep nothing: a temporary home, no syncing to disk.")
    hold_seconds: float = _setting(8.0, "How long a Describe waits for a transition to end, from its beginning.")
    sandbox: str = _setting("auto", "`auto`, `on` (refuse to run jobs without one) or `off`.")
    hidden: str = _setting(
        "",
        "Folders and files of this machine that jobs, replicas and functions must not see, besides the home folder and that of the platform's user, separated by colons.",
    )
    local_ports: str = _setting(
        "",
        "Ports of this machine's loopback that jobs, replicas and functions may reach besides the platform's and their own, as `5000,8000-8010`, or `all`. Closed are the others where the platform runs as root on Linux with the unified control groups.",
    )
    job_processes: int = _setting(
        2048, "How many processes and threads a job's instance or a replica may have; a function has 1024, as on AWS."
    )
    training_overcommit: float = _setting(
        4.0, "How many times the machine's cores and memory may be promised to training jobs; further ones wait."
    )
    stop_seconds: float = _setting(120.0, "Grace between SIGTERM and SIGKILL when a training job is stopped.")
    drain_seconds: float = _setting(
        500.0,
        "The longest that a replica which gets no more requests may work on those it has; it ends as soon as nobody waits for an answer (an invocation may take 60 seconds, a stream 480).",
    )
    startup_seconds: float = _setting(240.0, "How long a replica may take to answer its first ping.")
    serverless_idle_seconds: float = _setting(
        60.0, "How long a serverless endpoint keeps its processes when no request comes."
    )
    models_gb: float = _setting(
        30.0,
        "Room on disk for the models that one variant of a multi-model endpoint has fetched; those that were not asked for the longest are removed, and fetched again when they are.",
    )
    function_idle_seconds: float = _setting(300.0, "How long a function's process is kept warm when no call comes.")
    function_retry_seconds: float = _setting(
        60.0,
        "How long after its first failure an asynchronous call of a function is repeated; twice as long after that.",
    )
    cognito: str = _setting(
        "",
        "Where user pools are whose tokens REST APIs take, of an emulator for example (`http://localhost:9229`); empty means AWS's own.",
    )
    outbound_allow: str = _setting(
        "",
        "Hosts and networks (`localhost 127.0.0.1:8000 169.254.0.0/16`) that integrations of APIs and issuers of tokens may be at although they are loopback, link-local or otherwise special. Without it these are out of reach, as is this platform itself unless its port is named; addresses of private networks (10.0.0.0/8 and its like) may always be reached.",
    )
    packages_days: float = _setting(
        30.0, "How long packages of users' code stay installed after they were last needed."
    )
    liveness_seconds: float = _setting(
        30.0,
        "How long front or control may do nothing at all, not even turn their event loop, before the supervisor restarts them; 0 never does.",
    )
    log_level: str = _setting("info", "Level of the platform's own log.")
    zygote: bool = _setting(
        True,
        "Keep runtimes with libraries imported, so that jobs start by forking: one with xgboost always, those with scikit-learn, torch and FAISS from their first use until they are idle for ten minutes.",
    )

    @property
    def folder(self) -> Path:
        """The home folder."""
        return Path(self.home).expanduser().absolute()

    @property
    def durable(self) -> bool:
        """Whether an acknowledged write must survive a power cut."""
        return not self.ephemeral

    @property
    def database_url(self) -> str:
        """The database in use."""
        return self.database or f"sqlite:///{self.folder / 'clary.db'}"


def from_environment(environment: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Settings from ``CLARY_*`` variables, with overrides that are not None laid on top; ValueError when unreadable."""
    values: dict[str, Any] = {}
    for spec in fields(Settings):
        text = environment.get(f"CLARY_{spec.name.upper()}")
        if text is not None:
            values[spec.name] = _read(spec.name, type(spec.default), text)
    values |= {k: v for k, v in overrides.items() if v is not None}
    settings = Settings(**values)
    try:
        list(destinations(settings.outbound_allow))
    except ValueError as error:
        raise ValueError(f"CLARY_OUTBOUND_ALLOW cannot be read: {error}") from None
    if settings.open and settings.host not in ("127.0.0.1", "localhost", "::1"):
        raise ValueError(f"open mode accepts any credentials and so listens on loopback only, not on {settings.host}")
    if settings.ephemeral and "home" not in values:
        short = "/tmp" if os.path.isdir("/tmp") else None  # macOS's own temporary folders have long names
        settings = Settings(**{**values, "home": tempfile.mkdtemp(prefix="clary-", dir=short)})
    if not _PORTS.fullmatch(settings.local_ports):
        raise ValueError(f"CLARY_LOCAL_PORTS is {settings.local_ports!r}; it is `all`, or ports as 5000,8000-8010")
    if (length := len(os.fsencode(settings.folder))) > MAX_HOME:
        raise ValueError(
            f"the path of the home folder {settings.folder} has {length} bytes; the sockets in it leave room for {MAX_HOME}. "
            "Set CLARY_HOME to a shorter one"
        )
    return settings


def to_environment(settings: Settings) -> dict[str, str]:
    """The variables from which ``from_environment`` makes the same settings."""
    return {f"CLARY_{spec.name.upper()}": _write(getattr(settings, spec.name)) for spec in fields(Settings)}


def _write(value: Any) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _read(name: str, kind: type, text: str) -> Any:
    if kind is bool:
        return text.strip().lower() in ("1", "true", "yes", "on")
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"CLARY_{name.upper()} is {text!r}, which is not a {kind.__name__}") from None
