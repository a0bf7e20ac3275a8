"""The packages that users' code requires: installed once for each set of requirements, then at hand without a network.

A set is known by its content, so an environment never changes; jobs and replicas see it read-only.
"""

from __future__ import annotations

import hashlib
import os
import platform as machine
import shutil
import sys
import threading
from importlib.metadata import distributions
from pathlib import Path

from ...clock import now
from ...control.activities import Cancelled
from ...executors import files
from ...executors.local import LocalExecutor, explain, uid_of
from ...executors.spec import Mount, ProcessSpec
from ...executors.volumes import Volume, Volumes, full
from ...locks import Turns
from ...provider.platform import Platform
from ...runtimes.packages import CACHE, CODE, TARGET
from ..process_environment import system
from .images import python

FILE = "requirements.txt"
NOTE = "packages"  # in a folder of a job or fleet: the digest of the environment that its code needs
_LOOK_SECONDS = 0.05
_MAX_SECONDS = 3600.0
_MAX_BYTES = 1 << 20
_MAX_INSTALLED = 30 << 30
_PASSED = (
    "UV_",
    "PIP_INDEX_URL",
    "PIP_EXTRA_INDEX_URL",
    "PIP_FIND_LINKS",
    "SSL_CERT_FILE",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
)
_TO_UV = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_FIND_LINKS": "UV_FIND_LINKS"}
_turns = Turns()
_volumes = Volumes()


class PackagesError(Exception):
    """Requirements that cannot be met. ``log`` is what the installer printed."""

    def __init__(self, text: str, log: str = ""):
        super().__init__(text)
        self.log = log


def ensure(
    platform: Platform, code: Path, network: bool, cancel: threading.Event, more: tuple[str, ...] = ()
) -> tuple[str, str]:
    """The digest of the environment that a folder's requirements need, and ``more``; and what its making printed.

    Empty where nothing is required. PackagesError when it cannot be made, Cancelled when it must not be.
    """
    if not (code / FILE).is_file() and not more:
        return "", ""
    digest = _digest(code, more)
    turn = _turns.of(digest)
    while not turn.acquire(timeout=0.2):
        if cancel.is_set():
            raise Cancelled
    try:
        if (made := folder(platform, digest)).is_dir():
            os.utime(made)
            return digest, f"Dependencies of {FILE} are installed already ({digest[:12]})\n"
        return digest, _make(platform, code, digest, network, cancel, more)
    finally:
        turn.release()


def folder(platform: Platform, digest: str) -> Path:
    """Where an environment lies."""
    return platform.settings.folder / "environments" / digest


def sweep(platform: Platform, older_than: float) -> int:
    """Remove environments that nobody asked for since; how many there were. Those of jobs and replicas that are there stay."""
    root = platform.settings.folder
    for gone in (root / "environments").glob(".*.gone"):  # a removal that was cut off
        shutil.rmtree(gone)
    old = [p for p in (root / "environments").glob("[0-9a-f]*") if p.stat().st_mtime < now() - older_than]
    if not old:
        return 0
    notes = [*(root / "runs").glob(f"*/{NOTE}"), *(root / "runs").glob(f"*/models/.*.{NOTE}")]
    used = {note.read_text().strip() for note in notes}
    removed = 0
    for path in old:
        turn = _turns.of(path.name)
        if path.name in used or not turn.acquire(blocking=False):
            continue
        try:
            if path.stat().st_mtime < now() - older_than:  # nobody has asked meanwhile
                gone = path.with_name(f".{path.name}.gone")
                os.rename(path, gone)
                shutil.rmtree(gone)
                removed += 1
        finally:
            turn.release()
    return removed


def mounted(platform: Platform, note: Path, environment: dict[str, str]) -> tuple[Mount, ...]:
    """The mount that a process needs whose folder has a note, and the module path in its environment."""
    if not note.is_file() or not (digest := note.read_text().strip()):
        return ()
    own = environment.get("PYTHONPATH", "")
    environment["CLARY_PACKAGES"] = TARGET
    environment["PYTHONPATH"] = f"{TARGET}:{own}".rstrip(":")
    environment["PATH"] = f"{TARGET}/bin:{environment['PATH']}"
    return (Mount(str(folder(platform, digest)), TARGET),)


def _digest(code: Path, more: tuple[str, ...]) -> str:
    """Of the requirements, the files that they name, and what is installed already."""
    text = (code / FILE).read_bytes() if (code / FILE).is_file() else b""
    if len(text) > _MAX_BYTES:
        raise PackagesError(f"ClientError: {FILE} has {len(text)} bytes; it can have {_MAX_BYTES}.")
    found = hashlib.sha256(text + b"\0" + " ".join(more).encode())
    if any(
        line.strip().startswith((b"-r", b"-c", b"-e", b"--req", b"--con", b".", b"/")) or b"file:" in line
        for line in text.splitlines()
    ):
        for path in sorted(p for p in code.rglob("*") if p.is_file() and not p.is_symlink()):
            found.update(str(path.relative_to(code)).encode() + b"\0")
            with open(path, "rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
    found.update(f"{sys.version_info[:2]} {machine.machine()} {sys.platform}".encode())
    found.update("".join(sorted(f"{d.name}=={d.version}\n" for d in distributions())).encode())
    return found.hexdigest()


def _make(
    platform: Platform, code: Path, digest: str, network: bool, cancel: threading.Event, more: tuple[str, ...]
) -> str:
    root = platform.settings.folder
    process = root / "runs" / f"packages-{digest[:24]}" / "installer"
    executor = LocalExecutor(root / "run")
    executor.sweep(process.parent)  # what an earlier try left
    code.mkdir(exist_ok=True)
    target, cache, scratch = process / "target", root / "environments" / ".cache", process / "tmp"
    for each in (target, cache, scratch):
        each.mkdir(parents=True, exist_ok=True)
    uid = uid_of("packages")
    if uid:
        for each in (target, cache, scratch):
            os.chown(each, uid, uid)
    _show(code)
    spec = _installer(platform, code, process, network, uid, more)
    _volumes.watch(digest, [Volume(process, (process,), _MAX_INSTALLED)])
    try:
        code_of_exit = _wait(executor, spec, process, cancel)
        log = files.read_text_tail(process / "log", 1 << 20)
        if code_of_exit:
            raise PackagesError(_told(code_of_exit, log, network), log)
        if uid:
            _own(target)
        os.rename(target, folder(platform, digest))
        return log
    finally:
        _volumes.forget(digest)
        executor.sweep(process.parent)


def _installer(
    platform: Platform, code: Path, process: Path, network: bool, uid: int, more: tuple[str, ...]
) -> ProcessSpec:
    given = {k: v for k, v in os.environ.items() if k.startswith(_PASSED)}
    environment = {
        **system(), **{_TO_UV[k]: v for k, v in given.items() if k in _TO_UV},
        **{k: v for k, v in given.items() if k not in _TO_UV}, "UV_NO_PROGRESS": "1", "UV_LINK_MODE": "copy",
        "UV_PYTHON_DOWNLOADS": "never", "UV_COMPILE_BYTECODE": "1",
    }  # fmt: skip
    environment |= {
        "CLARY_PACKAGES": TARGET,
        "CLARY_CODE": CODE,
        "CLARY_PACKAGE_CACHE": CACHE,
        "CLARY_MORE": "\n".join(more),
    }
    if not network:
        environment["UV_OFFLINE"] = "1"
    return ProcessSpec(
        id=process.parent.name,
        folder=str(process),
        command=(python(), "-m", "clary.runtimes.packages"),
        environment=environment,
        mounts=(
            Mount(str(code), CODE), Mount(str(process / "target"), TARGET, True),
            Mount(str(platform.settings.folder / "environments" / ".cache"), CACHE, True),
            Mount(str(process / "tmp"), "/tmp", True),
        ),
        network=network,
        uid=uid,
        processes=platform.settings.job_processes,
        disk_bytes=_MAX_INSTALLED,
    )  # fmt: skip


def _wait(executor: LocalExecutor, spec: ProcessSpec, process: Path, cancel: threading.Event) -> int:
    """Start the installer, again where it could not be, and wait for its exit code."""
    waited = 0.0
    while True:
        sight = executor.see(process)
        if sight.state == "absent":
            executor.start(spec)
        if sight.state == "exited":
            return sight.code
        if sight.state == "vanished":
            raise PackagesError("InternalServerError: The installation of packages was ended from outside.")
        if cancel.wait(_LOOK_SECONDS):
            raise Cancelled
        waited += _LOOK_SECONDS
        if (found := full(process)) > 0:
            raise PackagesError(
                f"ClientError: No space left on device: the packages of {FILE} take more than {_MAX_INSTALLED >> 30} GiB "
                f"({found / 2**30:.2f} GiB were found)."
            )
        if waited > _MAX_SECONDS:
            raise PackagesError(f"AlgorithmError: {FILE} was not installed within {_MAX_SECONDS:.0f} seconds.")


def _told(code: int, log: str, network: bool) -> str:
    """As AWS's training toolkit says it, and what to do."""
    lines = [line for line in log.strip().splitlines() if line.strip()]
    hint = "" if network else " The network is isolated: only packages that were installed before can be had."
    message = "\n".join(lines[-12:])[-700:]
    return (
        f'AlgorithmError: InstallRequirementsError:\nExitCode {code}\nErrorMessage "{message}"\n'
        f'Command "uv pip install -r {FILE}" ({explain(code)}).{hint}'
    )


def _show(code: Path) -> None:
    """Let the installer read what only its owner may: nobody else gets at the folders above."""
    for where, _, names in os.walk(code):
        os.chmod(where, 0o755)
        for path in (os.path.join(where, n) for n in names):
            if not os.path.islink(path):
                os.chmod(path, os.stat(path).st_mode | 0o444)


def _own(target: Path) -> None:
    """Hand an environment over to the platform: nobody else can change it any more."""
    for where, names, other in os.walk(target):
        for name in (*names, *other):
            os.chown(os.path.join(where, name), 0, 0, follow_symlinks=False)
    os.chown(target, 0, 0)
