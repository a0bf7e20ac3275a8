"""What a process of a job or a replica is: its program, its files, its neighbours, its bounds."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or file of this machine, seen by the process at another path."""

    source: str
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process. ``call`` (``module:function``) runs in a fork of the zygote, ``command`` is executed.

    Whether it is sandboxed is not a matter of the spec (``policy.py``).
    """

    id: str
    folder: str  # where its state lies: lock, pid, exit, log
    call: str = ""
    preload: str = ""  # a heavy library that ``call`` needs: a zygote that has it is kept while it is used
    command: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    mounts: tuple[Mount, ...] = ()
    hostname: str = "localhost"
    hosts: dict[str, str] = field(default_factory=dict)  # name → address, for /etc/hosts
    directory: str = "/"
    image: str = ""  # the files of a container image, which it sees instead of this machine's
    user: str = ""  # of the image, as its configuration names it
    network: bool = True
    memory_bytes: int = 0  # 0: no limit
    uid: int = 0  # the user it runs as when the platform runs as root
    processes: int = 0  # most processes and threads; 0: no limit
    disk_bytes: int = 0  # most bytes of one file; 0: no limit (``volumes.py`` adds the files up)

    def dump(self) -> bytes:
        """The spec as it travels."""
        return orjson.dumps(asdict(self))

    @classmethod
    def load(cls, data: bytes) -> ProcessSpec:
        """A spec from its travelling form."""
        raw: dict[str, Any] = orjson.loads(data)
        raw["mounts"] = tuple(Mount(**m) for m in raw["mounts"])
        raw["command"] = tuple(raw["command"])
        return cls(**raw)

    @property
    def path(self) -> Path:
        """Its folder."""
        return Path(self.folder)
