"""Which addresses of this machine's surroundings jobs reach, by programs on their control group (bpf(2), cgroup BPF).

Processes in a home folder's control group may connect to no link-local address (cloud machines have credentials there)
and to no loopback port, except the platform's, those that the operator names, those on which a process of the same job
or endpoint has bound a socket, and DNS. That is decided when a socket connects or sends a datagram; nothing is slower
after that. It needs root, the unified hierarchy and the machine's own control group namespace. A network namespace of
its own is left alone: its loopback is private.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import platform
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from urllib.parse import urlsplit

from . import limits

_SYS_BPF = {"x86_64": 321, "aarch64": 280}
_MAP_CREATE, _PROG_LOAD, _PROG_ATTACH, _PROG_DETACH, _PROG_GET_FD, _MAP_GET_FD, _GET_INFO, _PROG_QUERY = (
    0, 5, 8, 9, 13, 14, 15, 16,
)  # fmt: skip
_LRU_HASH = 9
_CGROUP_SOCK, _CGROUP_SOCK_ADDR = 9, 18
_CONNECT4, _CONNECT6, _POST_BIND4, _POST_BIND6, _SENDMSG4, _SENDMSG6 = 10, 11, 12, 13, 14, 15
_ALLOW_MULTI = 2
_LOOKUP, _UPDATE, _NETNS_COOKIE, _ANCESTOR, _SET_RETURN = 1, 2, 122, 123, 187
_SO_NETNS_COOKIE = 71
_INITIAL_CGROUP_NAMESPACE = 0xEFFFFFFB
_RUN_LEVEL = 3
"""Depth of ``clary/<home>/<run>`` below the hierarchy's root: what is in one such group may speak with itself."""
_KEY, _SOCKETS = 32, 32768
_DNS = 53
_LINK_LOCAL_4, _LINK_LOCAL_6 = 0xA9FE, 0x3FA  # 169.254/16, fe80::/10

_libc = ctypes.CDLL(None, use_errno=True)

Ports = Sequence[tuple[int, int]]
"""Ranges, both ends included."""


def ports(text: str) -> Ports:
    """Read ``8000,9000-9010`` or ``all``; ranges that hold no port are left out."""
    found: list[tuple[int, int]] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        low, _, high = ("1-65535" if part == "all" else part).partition("-")
        first, last = int(low), int(high or low)
        if first <= last:
            found.append((first, min(last, 65535)))
    return found


class _Code:
    """An assembler: instructions with jumps to labels."""

    def __init__(self) -> None:
        self._code: list[tuple[int, int, int, str | int, int]] = []
        self._labels: dict[str, int] = {}

    def add(self, operation: int, to: int = 0, source: int = 0, offset: str | int = 0, value: int = 0) -> None:
        """Add an instruction; ``offset`` is a label for a jump."""
        self._code.append((operation, to, source, offset, value))

    def label(self, name: str) -> None:
        """Name the next instruction."""
        self._labels[name] = len(self._code)

    def set(self, to: int, value: int) -> None:
        """``to = value``."""
        self.add(0xB7, to, value=value)

    def move(self, to: int, source: int) -> None:
        """``to = source``."""
        self.add(0xBF, to, source)

    def load(self, to: int, source: int, offset: int) -> None:
        """``to = *(u32 *)(source + offset)``."""
        self.add(0x61, to, source, offset)

    def store(self, offset: int, source: int, wide: bool = False) -> None:
        """``*(u32 *)(stack + offset) = source``."""
        self.add(0x7B if wide else 0x63, 10, source, offset)

    def swap(self, to: int, bits: int) -> None:
        """Between this machine's and the network's order."""
        self.add(0xDC, to, value=bits)

    def shift(self, to: int, bits: int) -> None:
        """``to >>= bits``."""
        self.add(0x77, to, value=bits)

    def if_equal(self, left: int, value: int, label: str) -> None:
        """Jump if a register has a value of 32 bits."""
        self.add(0x16, left, offset=label, value=value)

    def if_not_equal(self, left: int, value: int, label: str) -> None:
        """Jump if a register has not a value of 32 bits."""
        self.add(0x56, left, offset=label, value=value)

    def jump(self, label: str) -> None:
        """Go on at a label."""
        self.add(0x05, offset=label)

    def call(self, helper: int) -> None:
        """Call one of the kernel's helpers; the answer is in register 0."""
        self.add(0x85, value=helper)

    def map(self, to: int, descriptor: int) -> None:
        """``to = map``."""
        self.add(0x18, to, 1, value=descriptor)
        self.add(0x00)

    def leave(self, value: int) -> None:
        """Return."""
        self.set(0, value)
        self.add(0x95)

    def assemble(self) -> bytes:
        """The program."""
        out = []
        for at, (operation, to, source, offset, value) in enumerate(self._code):
            distance = self._labels[offset] - at - 1 if isinstance(offset, str) else offset
            out.append(struct.pack("=BBhI", operation, to | source << 4, distance, value & 0xFFFFFFFF))
        return b"".join(out)


def _own_network(code: _Code, cookie: int) -> None:
    """Allow all in a network namespace that is not the machine's."""
    if cookie:
        code.move(1, 6)
        code.call(_NETNS_COOKIE)
        code.set(1, cookie & 0x7FFFFFFF)
        code.add(0x5D, 0, 1, "allow")


def _key(code: _Code, port: int) -> None:
    """Whose key it is, and the port in register ``port``; the address is the caller's to store."""
    code.set(1, _RUN_LEVEL)
    code.call(_ANCESTOR)
    code.store(-32, 0, wide=True)
    code.store(-8, port, wide=True)


def _found(code: _Code, bound: int) -> None:
    """Allow if a process of the job has bound what the key says."""
    code.map(1, bound)
    code.move(2, 10)
    code.add(0x07, 2, value=-_KEY)
    code.call(_LOOKUP)
    code.add(0x55, 0, offset="allow", value=0)


def _address(code: _Code, words: Sequence[int | None], register: int = 0) -> None:
    """The key's address: constants in the network's order, or None for what a register has."""
    for place, word in enumerate(words):
        if word is not None:
            code.set(1, int.from_bytes(word.to_bytes(4, "big"), sys.byteorder))
            code.add(0xBC, 1, 1)  # no sign
        code.store(-24 + 4 * place, register if word is None else 1)


def _close(code: _Code, precise: bool) -> None:
    """Refuse as a port does on which no socket listens: programs that wait for one of their own try again."""
    if precise:
        code.set(1, -errno.ECONNREFUSED)
        code.call(_SET_RETURN)
    code.leave(0)


def _outward(bound: int, allowed: Ports, cookie: int, six: bool, precise: bool) -> bytes:
    """A program for connect and sendmsg; ``precise``: the kernel lets it choose the error (since Linux 5.18)."""
    code = _Code()
    code.move(6, 1)
    code.load(8, 6, 24)
    code.swap(8, 16)
    code.if_equal(8, _DNS, "allow")
    if six:
        for register, offset in ((2, 8), (3, 12), (4, 16), (7, 20)):
            code.load(register, 6, offset)
            code.swap(register, 32)
        code.move(5, 2)
        code.shift(5, 22)
        code.if_equal(5, _LINK_LOCAL_6, "refuse")
        code.if_not_equal(2, 0, "allow")
        code.if_not_equal(3, 0, "allow")
        code.if_equal(4, 0xFFFF, "four")
        code.if_not_equal(4, 0, "allow")
        code.if_equal(7, 1, "six")
        code.if_not_equal(7, 0, "allow")
        code.jump("six")
        code.label("four")
    else:
        code.load(7, 6, 4)
        code.swap(7, 32)
    code.move(2, 7)
    code.shift(2, 16)
    code.if_equal(2, _LINK_LOCAL_4, "refuse")
    code.shift(2, 8)
    code.if_equal(2, 127, "loopback")
    code.if_not_equal(2, 0, "allow")
    code.set(7, 0x7F000001)  # 0.0.0.0 is this machine
    code.label("loopback")
    _local(code, allowed, cookie)
    code.swap(7, 32)
    for words in ((0, 0, 0xFFFF, None), (0, 0, 0xFFFF, 0), (0, 0, 0, 0)):  # it; any IPv4; any
        _address(code, words, 7)
        _found(code, bound)
    _close(code, precise)
    code.label("refuse")
    code.leave(0)
    if six:
        code.label("six")
        _local(code, allowed, cookie)
        for last in (1, 0):
            _address(code, (0, 0, 0, last))
            _found(code, bound)
        _close(code, precise)
    code.label("allow")
    code.leave(1)
    return code.assemble()


def _local(code: _Code, allowed: Ports, cookie: int) -> None:
    _own_network(code, cookie)
    for number, (first, last) in enumerate(allowed):
        if first == last:
            code.if_equal(8, first, "allow")
        else:
            name = f"{number}-{len(code._code)}"
            code.add(0xA6, 8, offset=name, value=first)  # less
            code.add(0xB6, 8, offset="allow", value=last)  # not more
            code.label(name)
    _key(code, 8)


def _inward(bound: int, cookie: int, six: bool) -> bytes:
    """A program that notes what a process has bound."""
    code = _Code()
    code.move(6, 1)
    _own_network(code, cookie)
    code.load(8, 6, 44)
    _key(code, 8)
    if six:
        for place in range(4):
            code.load(7, 6, 28 + 4 * place)
            code.store(-24 + 4 * place, 7)
    else:
        code.load(7, 6, 24)
        _address(code, (0, 0, 0xFFFF, None), 7)
    code.set(1, 1)
    code.store(-40, 1, wide=True)
    code.map(1, bound)
    code.move(2, 10)
    code.add(0x07, 2, value=-_KEY)
    code.move(3, 10)
    code.add(0x07, 3, value=-40)
    code.set(4, 0)
    code.call(_UPDATE)
    code.label("allow")
    code.leave(1)
    return code.assemble()


def _bpf(command: int, attributes: bytes) -> int:
    """bpf(2). OSError."""
    return _call(command, attributes)[0]


def _call(command: int, attributes: bytes) -> tuple[int, bytes]:
    """bpf(2), with what became of the attributes, in which queries answer. OSError."""
    number = _SYS_BPF.get(platform.machine())
    if number is None or sys.platform != "linux":
        raise OSError(38, "there is no bpf here")
    buffer = ctypes.create_string_buffer(attributes.ljust(144, b"\0"), 144)
    result = int(_libc.syscall(number, command, buffer, 144))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"bpf: {os.strerror(number)}")
    return result, buffer.raw


def _load(program: bytes, kind: int, attach: int) -> int:
    text = ctypes.create_string_buffer(program, len(program))
    licence = ctypes.create_string_buffer(b"Apache-2.0")
    head = struct.pack(
        "IIQQIIQII", kind, len(program) // 8, ctypes.addressof(text), ctypes.addressof(licence), 0, 0, 0, 0, 0
    )
    return _bpf(_PROG_LOAD, head + b"clary".ljust(16, b"\0") + struct.pack("II", 0, attach))


def _attached(group: int, attach: int) -> list[int]:
    """The ids of the programs on a control group."""
    ids = (ctypes.c_uint32 * 64)()
    _, found = _call(_PROG_QUERY, struct.pack("IIIIQI", group, attach, 0, 0, ctypes.addressof(ids), 64))
    return list(ids[: struct.unpack_from("I", found, 24)[0]])


def _map_of(program: int) -> int:
    """A descriptor of a program's map. OSError."""
    ids = (ctypes.c_uint32 * 4)()
    # type, id, tag, two lengths, two addresses, time, user; then how many maps there may be, and where their ids go
    head = struct.pack("=II8sIIQQQIIQ", 0, 0, b"", 0, 0, 0, 0, 0, 0, 4, ctypes.addressof(ids))
    info = ctypes.create_string_buffer(head, 256)
    _bpf(_GET_INFO, struct.pack("IIQ", program, 256, ctypes.addressof(info)))
    return _bpf(_MAP_GET_FD, struct.pack("I", ids[0]))


def indexes(given: Mapping[str, str]) -> Ports:
    """Return the loopback ports of package indexes and proxies that the operator's environment names."""
    found = []
    for name, text in given.items():
        if name.upper().endswith(("_PROXY", "INDEX_URL", "INDEX", "FIND_LINKS")):
            for part in text.split():
                with contextlib.suppress(ValueError):
                    parts = urlsplit(part)
                    if parts.hostname in ("localhost", "127.0.0.1", "::1") and parts.port:
                        found.append((parts.port, parts.port))
    return found


def supported() -> str:
    """Return why addresses cannot be kept from jobs here; empty if they can."""
    if sys.platform != "linux" or platform.machine() not in _SYS_BPF:
        return f"not on {sys.platform}/{platform.machine()}"
    if os.geteuid() != 0:
        return "the platform does not run as root"
    if limits.hierarchies().unified is None:
        return "there is no unified control group hierarchy"
    with contextlib.suppress(OSError):
        if os.stat("/proc/self/ns/cgroup").st_ino == _INITIAL_CGROUP_NAMESPACE:
            return ""
    return "the platform is in a container's control group namespace"


def confine(home: Path, allowed: Ports) -> str:
    """Attach the programs to the control group of a home folder; why that is not possible, or nothing.

    Where an earlier supervisor's are attached, which may have been killed while jobs run, what they have noted is kept.
    """
    if why := supported():
        return why
    unified = limits.hierarchies().unified
    assert unified is not None
    path = unified / limits.of_home(home)
    opened: list[int] = []

    def keep(descriptor: int) -> int:
        opened.append(descriptor)
        return descriptor

    try:
        path.mkdir(parents=True, exist_ok=True)
        group = keep(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        _attach(group, allowed, keep)
    except OSError as error:
        return f"{error.strerror}"
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return ""


def _attach(group: int, allowed: Ports, keep: Callable[[int], int]) -> None:
    kinds = (_CONNECT4, _CONNECT6, _SENDMSG4, _SENDMSG6, _POST_BIND4, _POST_BIND6)
    before = {kind: [keep(_bpf(_PROG_GET_FD, struct.pack("I", i))) for i in _attached(group, kind)] for kind in kinds}
    bound = -1
    for program in before[_POST_BIND4]:
        with contextlib.suppress(OSError):
            bound = keep(_map_of(program))
    if bound < 0:
        bound = keep(_bpf(_MAP_CREATE, struct.pack("IIIII", _LRU_HASH, _KEY, 8, _SOCKETS, 0)))
    cookie = _cookie()
    for kind in kinds:
        six = kind in (_CONNECT6, _SENDMSG6, _POST_BIND6)
        if kind in (_POST_BIND4, _POST_BIND6):
            program = keep(_load(_inward(bound, cookie, six), _CGROUP_SOCK, kind))
        else:
            try:
                program = keep(_load(_outward(bound, allowed, cookie, six, True), _CGROUP_SOCK_ADDR, kind))
            except OSError:
                program = keep(_load(_outward(bound, allowed, cookie, six, False), _CGROUP_SOCK_ADDR, kind))
        _bpf(_PROG_ATTACH, struct.pack("IIII", group, program, kind, _ALLOW_MULTI))
        for old in before[kind]:
            _bpf(_PROG_DETACH, struct.pack("IIII", group, old, kind, 0))


def _cookie() -> int:
    """What the kernel calls the machine's network namespace; 0 where it has no name for it."""
    with contextlib.suppress(OSError), socket.socket() as probe:
        found = int.from_bytes(probe.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
        return found if found < 1 << 31 else 0
    return 0
