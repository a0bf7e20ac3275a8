"""A process's own view of the machine: its files, its processes, its host name – by Linux namespaces.

The caller is a fresh fork with one thread. ``enter`` leaves it as process 1 of its own process namespace, with a root
that holds the system and the Python installation read-only and nothing of the platform's home folder. Sources:
namespaces(7), mount_namespaces(7), pivot_root(2), mount_setattr(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import stat
import struct
import sys
from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from ..faults import ERRNOS
from . import landlock, seccomp
from .policy import Policy
from .spec import Mount, ProcessSpec

CLONE_NEWNS, CLONE_NEWUTS, CLONE_NEWIPC = 0x00020000, 0x04000000, 0x08000000
CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = 0x10000000, 0x20000000, 0x40000000
_MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
_MS_REMOUNT, _MS_BIND, MS_REC, MS_PRIVATE = 32, 4096, 16384, 1 << 18
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 4, 24, 36, 38
_SYS = {"x86_64": {"pivot_root": 155}, "aarch64": {"pivot_root": 41}}
_SYS_MOUNT_SETATTR = 442
_AT_FDCWD, _AT_RECURSIVE = -100, 0x8000
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1

_SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix", "/opt")
_ETC = (
    "passwd", "group", "nsswitch.conf", "resolv.conf", "ssl", "ca-certificates", "localtime", "timezone", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "alternatives", "mime.types", "fonts", "services", "protocols", "os-release",
)  # fmt: skip
_OWN = ("/dev", "/etc", "/proc", "/sys", "/.old")
"""What the sandbox makes, and nothing else may be shown over."""
_SHORT = ERRNOS - {errno.EROFS} | {errno.EUSERS}  # read-only is what a sandbox shows on purpose
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")


class Unavailable(OSError):
    """This machine does not let us make namespaces; the text says which step failed."""


class Refused(OSError):
    """What the process asks for cannot be shown to it; it must not run, with or without a sandbox."""


_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise Unavailable(number, f"{what}: {os.strerror(number)}")


def passes(error: OSError) -> bool:
    """Return whether a step failed because the machine is short of something now, as against one that forbids it."""
    if error.errno == errno.ENOSPC and _forbids_namespaces():  # unshare(2)'s word for a bound of none at all
        return False
    return error.errno in _SHORT


def _forbids_namespaces() -> bool:
    with contextlib.suppress(OSError):
        return any(p.read_text().strip() == "0" for p in Path("/proc/sys/user").glob("max_*_namespaces"))
    return False


def supported() -> bool:
    """Whether this is a system that could have namespaces."""
    return sys.platform == "linux" and os.uname().machine in _SYS


def separate(spec: ProcessSpec) -> None:
    """Leave the machine's namespaces; the next fork is process 1 of the new one. Raises Unavailable."""
    if not supported():
        raise Unavailable(0, f"no namespaces on {sys.platform}/{os.uname().machine}")
    flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | (0 if spec.network else CLONE_NEWNET)
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and _libc.unshare(flags) == 0:
        return
    unshare(flags | CLONE_NEWUSER)
    with contextlib.suppress(OSError):
        Path("/proc/self/setgroups").write_text("deny")
    try:
        Path("/proc/self/uid_map").write_text(f"{0 if spec.image else uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{0 if spec.image else gid} {gid} 1")
    except OSError as error:
        raise Unavailable(error.errno, f"mapping the user: {error.strerror}") from None


def unshare(flags: int) -> None:
    """Leave namespaces of the machine. Raises Unavailable."""
    _check(_libc.unshare(flags), "unshare")


def enter(spec: ProcessSpec, policy: Policy) -> None:
    """Build the new root and move into it; then drop every privilege. Raises Unavailable, or Refused for a mount."""
    root = Path(os.path.realpath(spec.path)) / "root"
    root.mkdir(exist_ok=True)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", str(root), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=16m")
    system = _system(policy.hidden)
    sources = (*system.sources, *system.behind)
    below = [m for m in spec.mounts if any(s.startswith(m.target + "/") for s in sources)]
    for shown in below:  # a Python installation below /tmp must not be hidden by the process's own /tmp
        _show_asked(shown, root)
    masks = _show_system(system, root)
    _etc(spec, root, policy.hidden)
    devices(root)
    (root / "proc").mkdir()
    mount("proc", str(root / "proc"), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for shown in spec.mounts:
        if shown not in below:
            _show_asked(shown, root)
    for mask in masks:
        mount("none", mask, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | MS_NOSUID | MS_NODEV)
    for name in ("run", "var", "home", "root"):
        (root / name).mkdir(exist_ok=True)
    lock_user_namespaces(root / "proc")
    guard_proc(root / "proc")
    old = root / ".old"
    old.mkdir()
    pivot(root, old)
    unmount("/.old")
    os.rmdir("/.old")
    if not spec.network:
        raise_loopback()
    name_host(spec.hostname)
    os.chdir("/")
    drop_privileges(spec.uid)
    restrict()


@dataclass(frozen=True, slots=True)
class _System:
    """What of the system a sandbox shows, in this order: sources, masks over them, sources behind masks, masks again."""

    sources: tuple[str, ...]
    masks: tuple[str, ...]
    behind: tuple[str, ...]
    masks_behind: tuple[str, ...]  # a home folder inside of a Python installation that is in a masked folder


@lru_cache(8)
def _system(hidden: tuple[str, ...]) -> _System:
    """Look at what is there, once for all processes of a zygote."""
    every = _sources(hidden)
    real = {s: os.path.realpath(s) for s in every}
    behind = tuple(s for s in every if any(_within(real[s], h) for h in hidden))
    again = tuple(h for h in hidden if any(h != real[s] and _within(h, real[s]) for s in behind))
    return _System(tuple(s for s in every if s not in behind), hidden, behind, again)


def prepare(policy: Policy) -> None:
    """Do beforehand what is the same for all processes that a zygote forks."""
    _system(policy.hidden)
    seccomp.program()


def _show_system(system: _System, root: Path) -> list[str]:
    """Show the system, mask what must stay hidden in it, and show what Python needs of the masked folders.

    Returns the masks, which are to become read-only when everything is in its place.
    """
    for source in system.sources:
        _show(Mount(source, source), root)
    masks = [mask for path in system.masks if (mask := _hide(path, root))]
    for source in system.behind:
        _show(Mount(source, source), root)
    return masks + [mask for path in system.masks_behind if (mask := _hide(path, root))]


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _hide(path: str, root: Path) -> str:
    """Lay nothing over a path of the new root; the mask if it is a folder that may still be filled."""
    target = f"{root}{path}"
    if not os.path.lexists(target) or os.path.realpath(target) != target:  # it is not shown, or by another name
        return ""
    if os.path.isdir(target):
        mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755,size=64k")
        return target
    mount("/dev/null", target, None, _MS_BIND)
    return ""


def _show_asked(shown: Mount, root: Path) -> None:
    """Show what the spec names. Raises Refused: a path that a user chose must not decide whether there is a sandbox."""
    check_target(shown)
    if not _within(os.path.realpath(root / shown.target.lstrip("/")), str(root)):
        raise Refused(errno.EINVAL, f"{shown.target} leads out of the sandbox")
    try:
        _show(shown, root)
    except OSError as error:
        raise Refused(error.errno, f"nothing can be shown at {shown.target}: {error.strerror}") from None


def check_target(shown: Mount) -> None:
    """Raise Refused if a mount would take the place of what the sandbox itself is made of, or leave it."""
    target = shown.target
    if not target.startswith("/") or os.path.normpath(target) != target:
        raise Refused(errno.EINVAL, f"{target} is not a path at which something can be shown")
    device = _within(shown.source, "/dev") and _within(target, "/dev/")
    if target == "/" or (any(_within(target, each) for each in _OWN) and not device):
        raise Refused(errno.EINVAL, f"nothing can be shown at {target}, which is the system's")


def _sources(hidden: Iterable[str]) -> list[str]:
    """System folders and the Python installation: what a process must see to run."""
    package = str(Path(__file__).resolve().parents[2])
    python = {str(Path(p).resolve()) for p in (sys.prefix, sys.base_prefix, sys.exec_prefix)} | {sys.prefix, package}
    wanted = [p for p in (*_SYSTEM, *sorted(python)) if os.path.lexists(p)]
    kept: list[str] = []
    for path in wanted:
        above = [k for k in kept if _within(path, k) and not os.path.islink(k)]
        # what one source shows need not be shown again, unless it is in a folder that is masked there
        if all(any(_within(os.path.realpath(path), h) and _within(h, k) for h in hidden) for k in above):
            kept.append(path)
    return kept


def _show(shown: Mount, root: Path) -> None:
    """Make one path of the machine visible under the new root."""
    source = str(shown.source)
    target = root / shown.target.lstrip("/")
    if os.path.islink(source):
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            target.symlink_to(os.readlink(source))
        return
    if source == shown.target == "/opt":  # /opt/ml is the process's own: show the rest of /opt entry by entry
        (root / "opt").mkdir(exist_ok=True)
        for entry in sorted(os.listdir("/opt")):
            if entry != "ml":
                _show(Mount(f"/opt/{entry}", f"/opt/{entry}"), root)
        return
    if stat.S_ISDIR(os.stat(source).st_mode):
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    bind(source, str(target), shown.writable)


def bind(source: str, target: str, writable: bool) -> None:
    """Show a folder or file at another path, which exists."""
    mount(source, target, None, _MS_BIND | MS_REC)
    if not writable:
        _read_only(target)


class _MountAttr(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64), ("attr_clr", ctypes.c_uint64), ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )  # fmt: skip


def _read_only(path: str) -> None:
    attributes = _MountAttr(_MS_RDONLY, 0, 0, 0)
    done = _libc.syscall(
        _SYS_MOUNT_SETATTR, _AT_FDCWD, path.encode(), _AT_RECURSIVE, ctypes.byref(attributes), ctypes.sizeof(attributes)
    )
    if done == 0:
        return
    flags = os.statvfs(path).f_flag & (MS_NOSUID | MS_NODEV | MS_NOEXEC)  # older kernels: without what lies below
    mount("none", path, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | flags)


def _etc(spec: ProcessSpec, root: Path, hidden: Iterable[str]) -> None:
    (root / "etc").mkdir()
    for name in _ETC:
        if os.path.lexists(f"/etc/{name}"):
            _show(Mount(f"/etc/{name}", f"/etc/{name}"), root)
    for path in hidden:
        if path.startswith("/etc/"):
            _hide(path, root)
    for name, text in names(spec).items():
        (root / "etc" / name).write_text(text)


def names(spec: ProcessSpec) -> dict[str, str]:
    """The files of /etc that say who this host is and who the others are."""
    lines = ["127.0.0.1 localhost", "::1 localhost ip6-localhost"]
    lines += [f"{address} {name}" for name, address in spec.hosts.items()]
    if spec.hostname not in spec.hosts and spec.hostname != "localhost":
        lines.append(f"127.0.0.1 {spec.hostname}")
    return {"hosts": "\n".join(lines) + "\n", "hostname": spec.hostname + "\n"}


def devices(root: Path, of: str = "/dev") -> None:
    """The devices that every process may use, below a new root."""
    (root / "dev").mkdir(exist_ok=True)
    for name in _DEVICES:
        if os.path.exists(f"{of}/{name}"):
            (root / "dev" / name).touch()
            mount(f"{of}/{name}", str(root / "dev" / name), None, _MS_BIND)
    (root / "dev/shm").mkdir()
    mount("tmpfs", str(root / "dev/shm"), "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777")
    for name, target in (("fd", "self/fd"), ("stdin", "self/fd/0"), ("stdout", "self/fd/1"), ("stderr", "self/fd/2")):
        (root / "dev" / name).symlink_to(f"/proc/{target}")


def lock_user_namespaces(proc: Path) -> None:
    """Allow no further user namespaces below one's own; the machine's own has no such lock."""
    if not initial_user_namespace():
        with contextlib.suppress(OSError):
            (proc / "sys/user/max_user_namespaces").write_text("0")


def initial_user_namespace() -> bool:
    """Return whether this is the machine's own user namespace (in a new one only a single user exists)."""
    return int(Path("/proc/self/uid_map").read_text().split()[2]) > 1


def restrict() -> None:
    """Give up system calls and sockets that a sandboxed process has no use for, as far as the kernel can."""
    landlock.install()
    seccomp.install()


def guard_proc(proc: Path) -> None:
    """The kernel's switches stay out of reach, also for a process that is root outside."""
    for name in ("sys", "irq", "bus", "fs"):
        if (proc / name).is_dir():
            mount(str(proc / name), str(proc / name), None, _MS_BIND)
            _read_only(str(proc / name))
    for name in ("sysrq-trigger", "kcore", "keys", "timer_list"):
        if (proc / name).exists():
            mount("/dev/null", str(proc / name), None, _MS_BIND)


def pivot(root: Path, old: Path) -> None:
    """Make a folder ``/``; what was it lies at ``old``, which is below."""
    number = _SYS[os.uname().machine]["pivot_root"]
    _check(_libc.syscall(number, str(root).encode(), str(old).encode()), "pivot_root")
    os.chdir("/")


def unmount(path: str) -> None:
    """Take a mount away, now or when its last user has gone."""
    _check(_libc.umount2(path.encode(), _MNT_DETACH), "umount")


def name_host(name: str) -> None:
    """The name that this host has for itself."""
    _libc.sethostname(name.encode(), len(name.encode()))


def mount(source: str, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    """mount(2). Raises Unavailable."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags),
        options.encode() if options else None,
    )  # fmt: skip
    _check(result, f"mounting {target}")


def raise_loopback() -> None:
    """A new network namespace has only ``lo``, and that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14s", b"lo", 0, b"\0" * 14)
        flags = struct.unpack("16sH14s", fcntl.ioctl(sock, _SIOCGIFFLAGS, request))[1]
        fcntl.ioctl(sock, _SIOCSIFFLAGS, struct.pack("16sH14s", b"lo", flags | _IFF_UP, b"\0" * 14))


def drop_privileges(uid: int) -> None:
    """Become an ordinary user, lose every capability, never gain one again."""
    if os.geteuid() == 0 and uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
    if sys.platform == "linux":
        for capability in range(_capabilities()):
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if os.geteuid() == 0 and uid:
        os.setresuid(uid, uid, uid)
    if sys.platform == "linux":
        header = (ctypes.c_uint32 * 2)(0x20080522, 0)
        _libc.capset(header, (ctypes.c_uint32 * 6)())
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def limit_capabilities(kept: Container[int]) -> None:
    """Lose all capabilities but some, in a user namespace of one's own, and never gain one again."""
    for capability in range(_capabilities()):
        if capability not in kept:
            _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    low = sum(1 << c for c in range(32) if c in kept)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    _check(_libc.capset(header, (ctypes.c_uint32 * 6)(low, low, 0, 0, 0, 0)), "capset")
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def die_with_parent() -> None:
    """Be killed when the parent ends, however it ends (Linux; prctl(2), PR_SET_PDEATHSIG)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, 9, 0, 0, 0)


def guard_memory(guarded: bool) -> None:
    """Keep processes of the same user from this one's memory, descriptors and environment (PR_SET_DUMPABLE)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_DUMPABLE, int(not guarded), 0, 0, 0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that they can be found (PR_SET_CHILD_SUBREAPER)."""
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@lru_cache
def _capabilities() -> int:
    """How many capabilities the kernel knows."""
    try:
        return int(Path("/proc/sys/kernel/cap_last_cap").read_text()) + 1
    except OSError:
        return 41
