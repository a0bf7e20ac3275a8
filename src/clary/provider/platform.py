"""What all services share in one control process."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..control.signals import Signals
from ..settings import Settings
from ..store.blobs import Blobs
from ..store.credentials import Keyring
from ..store.database import Database

if TYPE_CHECKING:
    from ..store.logs import LogStore
    from ..store.objects import Objects
    from .operation import Provider


@dataclass(slots=True)
class Platform:
    """The store, the signals and the pools; handlers reach it through their context."""

    settings: Settings
    database: Database
    blobs: Blobs
    objects: Objects
    logs: LogStore
    keyring: Keyring
    signals: Signals
    threads: ThreadPoolExecutor
    providers: dict[str, Provider] = field(default_factory=dict)
    services: dict[str, Any] = field(default_factory=dict)  # engines that a service offers to its own handlers
