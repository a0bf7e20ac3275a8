"""What no client of the executor chooses: whether processes are sandboxed, and what they must never see.

It comes from the environment with which the supervisor starts a zygote, and is read before any spec.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .spec import ProcessSpec

KEY = "zygote.key"
"""File of the run folder: what a client of a zygote must know. Made anew by each supervisor."""
DIGEST = "CLARY_ZYGOTE_DIGEST"
"""The key's SHA-256, in a zygote's environment: its forks run users' code and must not find the key in their memory."""
KEY_BYTES = 32
UNCONFINED = frozenset(("clary.executors.feeder:main",))
"""Calls of the platform's own that read its stored objects and run no users' code."""

_SHOWN = ("environments", "functions", "images", "runs")
_SHOWN_ITSELF = "run/inside"
"""In the home folder: folders of which each entry may be shown to a process, and one that may be shown as it is."""
_SECRET = ("/etc/ssl/private",)

_NAMES = frozenset(
    (
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM", "VIRTUAL_ENV", "SSL_CERT_FILE",
        "SSL_CERT_DIR", "CLARY_HOME", "CLARY_SANDBOX", "CLARY_HIDDEN", "CLARY_COMPILED", "CLARY_LIFELINE", DIGEST,
    )
)  # fmt: skip
_PREFIXES = (
    "LC_", "LD_", "DYLD_", "PYTHON", "OMP_", "GOMP_", "KMP_", "MKL_", "OPENBLAS_", "NUMEXPR_", "MALLOC_", "CUDA_", "NVIDIA_",
)  # fmt: skip


def environment(given: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that a process which forks users' code may have: all others stay with the platform."""
    return {k: v for k, v in given.items() if k in _NAMES or k.startswith(_PREFIXES)}


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for every process of a platform."""

    home: Path
    sandbox: str = "auto"
    hidden: tuple[str, ...] = field(default=())

    @classmethod
    def from_environment(cls, given: Mapping[str, str] = os.environ) -> Policy:
        """Read the settings that the supervisor passed."""
        home = Path(given["CLARY_HOME"]).expanduser().absolute()
        more = [path for path in given.get("CLARY_HIDDEN", "").split(":") if path.startswith("/")]
        return cls(home, given.get("CLARY_SANDBOX", "auto"), hidden(home, more))

    @property
    def runs(self) -> Path:
        """The folder of all processes' folders."""
        return self.home / "runs"

    @property
    def supervisor_lock(self) -> Path:
        """Held while a supervisor runs on the home folder."""
        return self.home / "run" / "supervisor.lock"

    def confines(self, spec: ProcessSpec) -> bool:
        """Return whether a process runs in a sandbox."""
        return bool(spec.image) or (self.sandbox != "off" and spec.call not in UNCONFINED)

    def check(self, spec: ProcessSpec) -> None:
        """Raise PermissionError if a spec would show a process what is the platform's alone, or is not a run's."""
        if self.runs not in spec.path.parents:
            raise PermissionError(f"{spec.folder} is not a folder of {self.runs}")
        for source in (*(m.source for m in spec.mounts), *([spec.image] if spec.image else [])):
            path = Path(os.path.realpath(source))
            if not self._may_show(path):
                raise PermissionError(f"{source} must not be shown to a process")

    def _may_show(self, path: Path) -> bool:
        home = Path(os.path.realpath(self.home))
        if path == home or path in home.parents:
            return False
        if home not in path.parents:
            return True
        inside = path.relative_to(home)
        return str(inside) == _SHOWN_ITSELF or (inside.parts[0] in _SHOWN and len(inside.parts) > 1)


def hidden(home: Path, more: list[str] | None = None) -> tuple[str, ...]:
    """Return the paths that are masked in every sandbox, under each name by which this machine knows them.

    The home folder, the platform user's own folder (credentials of cloud tools, keys), keys of the system's TLS.
    """
    wanted = [str(home), *_SECRET, *(more or ())]
    with contextlib.suppress(KeyError):
        wanted.append(pwd.getpwuid(os.geteuid()).pw_dir)
    wanted.append(os.environ.get("HOME", ""))
    found: list[str] = []
    table = _mounts()
    for path in dict.fromkeys(os.path.realpath(each) for each in wanted if each.startswith("/")):
        if path != "/":
            found += [path, *_aliases(path, table)]
    return tuple(dict.fromkeys(found))


def _mounts() -> list[tuple[str, str, str]]:
    """Device, root within it and mount point of all mounts, in their order (proc_pid_mountinfo(5))."""
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return []
    parts = [line.split(" ") for line in lines]
    return [(p[2], _unescaped(p[3]), _unescaped(p[4])) for p in parts if len(p) > 5]


def _unescaped(text: str) -> str:
    return text.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")


def _aliases(path: str, table: list[tuple[str, str, str]]) -> list[str]:
    """Other paths of the same folder: those by which bind mounts show it."""
    above = [m for m in table if m[2] == "/" or path == m[2] or path.startswith(m[2] + "/")]
    if not above:
        return []
    device, root, point = max(above, key=lambda m: len(m[2]))
    within = os.path.normpath(f"{root}/{path[len(point.rstrip('/')) :]}")
    found = []
    for other, top, where in table:
        if other == device and (top == "/" or within == top or within.startswith(top + "/")):
            alias = os.path.normpath(f"{where}/{within[len(top.rstrip('/')) :]}")
            if alias != path:
                found.append(alias)
    return found


def make_key(run: Path) -> str:
    """Write a new key for the zygotes of a run folder; its digest."""
    key = os.urandom(KEY_BYTES)
    path = run / KEY
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, key)
    finally:
        os.close(fd)
    return hashlib.sha256(key).hexdigest()


def read_key(run: Path) -> bytes:
    """Return the key of a run folder. OSError when there is none."""
    return (run / KEY).read_bytes()


def knows(key: bytearray, digest: str) -> bool:
    """Return whether a key is the one with a digest; the key is overwritten, so that no fork finds it."""
    matches = hmac.compare_digest(hashlib.sha256(key).hexdigest(), digest)
    key[:] = bytes(len(key))
    return matches
