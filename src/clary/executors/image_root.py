"""A process's view when it comes from a container image: the image's files, and nothing of this machine's.

The image is shared and never written to; what a process writes lies over it (overlayfs). It is root among its own files
and nobody on this machine: where the platform runs as root, users of the image are users from ``FIRST_ID`` on; where it
does not, the image's root is the platform's own user, and the image has no other. Sources: user_namespaces(7),
overlayfs (Linux' Documentation/filesystems), capabilities(7); the capabilities that are left are those of Docker.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from pathlib import Path

from . import sandbox
from .spec import ProcessSpec

FIRST_ID = 1 << 20
IDS = 1 << 16

_KEPT = frozenset((0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 27, 29, 31))


def enter(spec: ProcessSpec) -> None:
    """Build the new root and move into it, as the image's root user. Raises Unavailable."""
    root, upper, work = (spec.path / name for name in ("root", "upper", "work"))
    for folder in (root, upper, work):
        folder.mkdir(exist_ok=True)
    privileged = os.geteuid() == 0 and sandbox.initial_user_namespace()
    if privileged:
        os.chown(upper, FIRST_ID, FIRST_ID)
    upper.chmod(stat.S_IMODE(os.stat(spec.image).st_mode))
    sandbox.mount("none", "/", None, sandbox.MS_REC | sandbox.MS_PRIVATE)
    options = f"lowerdir={_escaped(spec.image)},upperdir={_escaped(str(upper))},workdir={_escaped(str(work))}"
    if not privileged:
        options += ",userxattr"
    try:
        sandbox.mount("overlay", str(root), "overlay", sandbox.MS_NODEV, options)
    except sandbox.Unavailable as error:
        hint = "the home folder must lie on a file system that overlayfs can write to, which another overlay is not"
        raise sandbox.Unavailable(error.errno, f"laying files over the image: {error.strerror} ({hint})") from None
    resolver = Path("/etc/resolv.conf")
    names = {"resolv.conf": resolver.read_text()} if resolver.exists() else {}
    with _moved(root) as old:
        _fill(spec, old, {**names, **sandbox.names(spec)})
    if not spec.network:
        with contextlib.suppress(OSError):
            Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
        sandbox.raise_loopback()
    sandbox.lock_user_namespaces(Path("/proc"))
    sandbox.guard_proc(Path("/proc"))
    sandbox.name_host(spec.hostname)
    if privileged:
        _leave_users()
    sandbox.limit_capabilities(_KEPT)
    sandbox.restrict()


def _escaped(path: str) -> str:
    if "," in path or ":" in path:
        raise sandbox.Unavailable(0, f"the path {path} has a character that overlayfs cannot be told")
    return path


@contextlib.contextmanager
def _moved(root: Path):  # type: ignore[no-untyped-def]
    """Inside, the image is ``/`` and the machine lies where no link of the image can lead; after it, nowhere."""
    old = root / f".{secrets.token_hex(16)}"
    old.mkdir()
    sandbox.pivot(root, old)
    inside = f"/{old.name}"
    yield inside
    sandbox.unmount(inside)
    os.rmdir(inside)


def _fill(spec: ProcessSpec, old: str, names: dict[str, str]) -> None:
    """What the machine adds to an image: devices, /proc, names of hosts, and what the process is to find."""
    _folder("/dev")
    sandbox.mount("tmpfs", "/dev", "tmpfs", sandbox.MS_NOSUID, "mode=755,size=1m")
    sandbox.devices(Path("/"), f"{old}/dev")
    _folder("/proc")
    sandbox.mount("proc", "/proc", "proc", sandbox.MS_NOSUID | sandbox.MS_NODEV | sandbox.MS_NOEXEC)
    _folder("/tmp", 0o1777)
    _folder("/etc")
    for name, text in names.items():
        path = f"/etc/{name}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        Path(path).write_text(text)
    for mount in spec.mounts:
        sandbox.check_target(mount)
        source = old + mount.source
        if os.path.isdir(source):
            _folder(mount.target)
        else:
            _folder(os.path.dirname(mount.target))
            Path(mount.target).touch()
        sandbox.bind(source, mount.target, mount.writable)


def _folder(path: str, mode: int = 0o755) -> None:
    if not os.path.isdir(path):
        os.makedirs(path, exist_ok=True)
        os.chmod(path, mode)


def _leave_users() -> None:
    """Into a user namespace whose users are ordinary ones of the machine; somebody outside has to say which."""
    ready, go = os.pipe()
    me = os.getpid()
    helper = os.fork()
    if helper == 0:
        code = 1
        try:
            os.close(go)
            os.read(ready, 1)
            for name in ("uid_map", "gid_map"):
                Path(f"/proc/{me}/{name}").write_text(f"0 {FIRST_ID} {IDS}")
            code = 0
        finally:
            os._exit(code)
    os.close(ready)
    sandbox.unshare(sandbox.CLONE_NEWUSER)
    os.write(go, b"g")
    os.close(go)
    if os.waitpid(helper, 0)[1]:
        raise sandbox.Unavailable(0, "the image's users could not be mapped")
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)


def become(user: str) -> None:
    """The user that an image names (``name``, ``id``, each with a ``:group``); names are those of its own files."""
    if not user or user in ("0", "root", "0:0", "root:root"):
        return
    name, _, group = user.partition(":")
    known = _entries("/etc/passwd").get(name) or next(
        (e for e in _entries("/etc/passwd").values() if e[2] == name), None
    )
    if known is None and not name.isdigit():
        raise LookupError(f"the image's user {name} is not in its /etc/passwd")
    uid = int(known[2]) if known else int(name)
    gid = int(known[3]) if known else 0
    if group:
        entry = _entries("/etc/group").get(group)
        if entry is None and not group.isdigit():
            raise LookupError(f"the image's group {group} is not in its /etc/group")
        gid = int(entry[2]) if entry else int(group)
    more = [int(e[2]) for e in _entries("/etc/group").values() if len(e) > 3 and name in e[3].split(",")]
    os.setgroups(more)
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)


def _entries(path: str) -> dict[str, list[str]]:
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return {}
    return {entry[0]: entry for line in lines if len(entry := line.split(":")) > 2 and not line.startswith("#")}
