"""A filter on system calls: what a sandboxed process has no use for, and what makes a fault of the kernel its own.

The program is assembled here, for x86-64 and arm64, so that it depends on no library: a table of refused calls becomes a
tree of comparisons (seccomp(2), "Seccomp BPF" in Linux' documentation). The kernel keeps the answers for calls that are
always allowed, so they cost nothing.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from dataclasses import dataclass
from functools import lru_cache

_PR_SET_SECCOMP, _PR_GET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 21, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _JUMP_EQUAL, _JUMP_NOT_LESS, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE = 0, 4
_X32 = 0x40000000
_MAX_JUMP = 255

_NAMESPACES = 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | 0x00020000
"""``CLONE_NEW*``: control group, host name, IPC, user, process, network, mount."""
_NEW_TIME = 0x00000080
"""``CLONE_NEWTIME``, for unshare only: clone takes these bits for a signal."""
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_PTRACE_ATTACH, _PTRACE_SEIZE = 16, 0x4206
_FAMILIES = (0, 1, 2, 10, 16)
"""Sockets that may be made: none, Unix, IPv4, IPv6, netlink. Not those to the hypervisor, the kernel's ciphers, frames."""
_PROTOCOLS = (33, 132, 136, 262)
"""DCCP, SCTP, UDP-Lite, MPTCP: control groups cannot say where these connect to."""

_EPERM, _ENOSYS, _UNSUPPORTED, _FAMILY = errno.EPERM, errno.ENOSYS, errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT

_REFUSED: dict[str, tuple[tuple[int, int], int]] = {
    # name: numbers on x86-64 and arm64 (-1: there is none), error
    "mount": ((165, 40), _EPERM), "umount2": ((166, 39), _EPERM), "pivot_root": ((155, 41), _EPERM),
    "move_mount": ((429, 429), _EPERM), "open_tree": ((428, 428), _EPERM), "open_tree_attr": ((467, 467), _EPERM),
    "fsopen": ((430, 430), _EPERM), "fsconfig": ((431, 431), _EPERM), "fsmount": ((432, 432), _EPERM),
    "fspick": ((433, 433), _EPERM), "mount_setattr": ((442, 442), _EPERM), "swapon": ((167, 224), _EPERM),
    "swapoff": ((168, 225), _EPERM), "quotactl": ((179, 60), _EPERM), "quotactl_fd": ((443, 443), _EPERM),
    "setns": ((308, 268), _EPERM), "clone3": ((435, 435), _ENOSYS),  # its flags are in memory: libc then calls clone
    "io_uring_setup": ((425, 425), _ENOSYS), "io_uring_enter": ((426, 426), _ENOSYS),
    "io_uring_register": ((427, 427), _ENOSYS), "bpf": ((321, 280), _EPERM), "perf_event_open": ((298, 241), _EPERM),
    "add_key": ((248, 217), _EPERM), "request_key": ((249, 218), _EPERM), "keyctl": ((250, 219), _EPERM),
    "kexec_load": ((246, 104), _EPERM), "kexec_file_load": ((320, 294), _EPERM), "init_module": ((175, 105), _EPERM),
    "finit_module": ((313, 273), _EPERM), "delete_module": ((176, 106), _EPERM), "create_module": ((174, -1), _EPERM),
    "userfaultfd": ((323, 282), _EPERM), "process_vm_readv": ((310, 270), _EPERM),
    "process_vm_writev": ((311, 271), _EPERM), "pidfd_getfd": ((438, 438), _EPERM), "kcmp": ((312, 272), _EPERM),
    "fanotify_init": ((300, 262), _EPERM), "open_by_handle_at": ((304, 265), _EPERM), "acct": ((163, 89), _EPERM),
    "reboot": ((169, 142), _EPERM), "syslog": ((103, 116), _EPERM), "vhangup": ((153, 58), _EPERM),
    "lookup_dcookie": ((212, 18), _EPERM), "iopl": ((172, -1), _EPERM), "ioperm": ((173, -1), _EPERM),
    "uselib": ((134, -1), _EPERM), "modify_ldt": ((154, -1), _EPERM), "settimeofday": ((164, 170), _EPERM),
    "clock_settime": ((227, 112), _EPERM), "clock_adjtime": ((305, 266), _EPERM),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Test:
    """Refuse a call with ``error`` if the low half of an argument is as ``jump`` says of one of ``values``."""

    argument: int
    jump: int
    values: tuple[int, ...]
    error: int
    otherwise: bool = False  # refuse if it is as said of none of them


_EXAMINED: dict[str, tuple[tuple[int, int], tuple[Test, ...]]] = {
    "clone": ((56, 220), (Test(0, _JUMP_ANY_BIT, (_NAMESPACES,), _EPERM),)),
    "unshare": ((272, 97), (Test(0, _JUMP_ANY_BIT, (_NAMESPACES | _NEW_TIME,), _EPERM),)),
    "ioctl": ((16, 29), (Test(1, _JUMP_EQUAL, (_TIOCSTI, _TIOCLINUX), _EPERM),)),
    "ptrace": ((101, 117), (Test(0, _JUMP_EQUAL, (_PTRACE_ATTACH, _PTRACE_SEIZE), _EPERM),)),
    "socket": (
        (41, 198),
        (
            Test(0, _JUMP_EQUAL, _FAMILIES, _FAMILY, otherwise=True),
            Test(2, _JUMP_EQUAL, _PROTOCOLS, _UNSUPPORTED),
        ),
    ),
}
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Which of the numbers, and how the kernel calls the architecture."""

_libc = ctypes.CDLL(None, use_errno=True)


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


Instruction = tuple[int, int, int, int]
"""Operation, distance if true, distance if false, constant."""


@lru_cache
def program(machine: str = os.uname().machine) -> bytes:
    """Assemble the filter for a machine; empty for one that has none."""
    if machine not in _MACHINES:
        return b""
    column, architecture = _MACHINES[machine]
    body: dict[int, list[Instruction]] = {}
    for numbers, error in _REFUSED.values():
        if numbers[column] >= 0:
            body[numbers[column]] = [(_RETURN, 0, 0, _ERRNO | error)]
    for numbers, tests in _EXAMINED.values():
        body[numbers[column]] = _examination(tests)
    head: list[Instruction] = [
        (_LOAD, 0, 0, _ARCHITECTURE), (_JUMP_EQUAL, 1, 0, architecture), (_RETURN, 0, 0, _ERRNO | _ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
    ]  # fmt: skip
    if machine == "x86_64":  # another calling convention with other numbers
        head += [(_JUMP_NOT_LESS, 0, 1, _X32), (_RETURN, 0, 0, _ERRNO | _ENOSYS)]
    whole = head + _tree(sorted(body), body)
    return b"".join(struct.pack("=HBBI", *each) for each in whole)


def _examination(tests: tuple[Test, ...]) -> list[Instruction]:
    """Each test in turn; allowed if none refuses."""
    found: list[Instruction] = []
    for test in tests:
        found.append((_LOAD, 0, 0, 16 + 8 * test.argument))
        count = len(test.values)
        for index, value in enumerate(test.values):
            left = count - index - 1
            # behind the values is the refusal; to refuse is to jump to it, or to come to it without having jumped over
            found.append((test.jump, left + 1 if test.otherwise else left, 0 if test.otherwise or left else 1, value))
        found.append((_RETURN, 0, 0, _ERRNO | test.error))
    return [*found, (_RETURN, 0, 0, _ALLOW)]


def _tree(numbers: list[int], body: dict[int, list[Instruction]]) -> list[Instruction]:
    """Compare the number in the middle first, so that few comparisons find any."""
    if len(numbers) == 1:
        return [(_JUMP_EQUAL, 1, 0, numbers[0]), (_RETURN, 0, 0, _ALLOW), *body[numbers[0]]]
    middle = len(numbers) // 2
    low, high = _tree(numbers[:middle], body), _tree(numbers[middle:], body)
    if len(low) <= _MAX_JUMP:
        return [(_JUMP_NOT_LESS, len(low), 0, numbers[middle]), *low, *high]
    jump = 0x05  # always, by a distance of any length
    return [(_JUMP_NOT_LESS, 0, 1, numbers[middle]), (jump, 0, 0, len(low)), *low, *high]


def supported() -> bool:
    """Return whether this kernel can filter system calls, and a filter exists for its machine."""
    if sys.platform != "linux" or not program():
        return False
    return bool(_libc.prctl(_PR_GET_SECCOMP, 0, 0, 0, 0) >= 0)


def install() -> bool:
    """Filter the calls of this process and of all that come after it; False where the kernel cannot.

    The caller has given up the right to gain privileges (PR_SET_NO_NEW_PRIVS).
    """
    if sys.platform != "linux" or not (text := program()):
        return False
    filter_ = _Program(len(text) // 8, text)
    return bool(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_), 0, 0) == 0)
