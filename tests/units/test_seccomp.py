"""The filter on system calls, run by an interpreter of its instructions, for both machines."""

from __future__ import annotations

import errno
import struct

import pytest

from clary.executors import seccomp

ALLOWED = 0x7FFF0000
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
OTHER = 0x40000003  # 32-bit x86


def decide(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int:
    """What the kernel would do: 0 to allow, or the error."""
    text = seccomp.program(machine)
    code = [struct.unpack_from("=HBBI", text, at) for at in range(0, len(text), 8)]
    data = struct.pack("=IIQ", number, ARCHITECTURES[machine] if architecture is None else architecture, 0)
    data += struct.pack("=6Q", *(*arguments, *[0] * (6 - len(arguments))))
    at = value = 0
    while True:
        operation, true, false, constant = code[at]
        at += 1
        match operation:
            case 0x20:
                value = struct.unpack_from("=I", data, constant)[0]
            case 0x15:
                at += true if value == constant else false
            case 0x35:
                at += true if value >= constant else false
            case 0x45:
                at += true if value & constant else false
            case 0x05:
                at += constant
            case 0x06:
                return 0 if constant == ALLOWED else constant & 0xFFFF
            case _:
                raise AssertionError(hex(operation))


CALLS = {
    "x86_64": {
        "read": 0, "execve": 59, "fork": 57, "clone": 56, "clone3": 435, "unshare": 272, "setns": 308, "mount": 165,
        "socket": 41, "ptrace": 101, "ioctl": 16, "bpf": 321, "io_uring_setup": 425, "keyctl": 250, "prctl": 157,
        "userfaultfd": 323, "process_vm_writev": 311, "perf_event_open": 298, "memfd_create": 319, "futex": 202,
    },
    "aarch64": {
        "read": 63, "execve": 221, "clone": 220, "clone3": 435, "unshare": 97, "setns": 268, "mount": 40,
        "socket": 198, "ptrace": 117, "ioctl": 29, "bpf": 280, "io_uring_setup": 425, "keyctl": 219, "prctl": 167,
        "userfaultfd": 282, "process_vm_writev": 271, "perf_event_open": 241, "memfd_create": 279, "futex": 98,
    },
}  # fmt: skip


@pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
def test_what_programs_need_is_allowed_and_what_they_do_not_is_refused(machine: str) -> None:
    calls = CALLS[machine]
    for name in ("read", "execve", "prctl", "memfd_create", "futex"):
        assert decide(machine, calls[name]) == 0, name
    for name in ("setns", "mount", "bpf", "keyctl", "userfaultfd", "process_vm_writev", "perf_event_open"):
        assert decide(machine, calls[name]) == errno.EPERM, name
    for name in ("clone3", "io_uring_setup"):
        assert decide(machine, calls[name]) == errno.ENOSYS, name


@pytest.mark.parametrize("machine", sorted(ARCHITECTURES))
def test_arguments_decide(machine: str) -> None:
    calls = CALLS[machine]
    assert decide(machine, calls["clone"], 0x3D0F00) == 0  # a thread
    assert decide(machine, calls["clone"], 17) == 0  # a fork
    for namespace in (0x00020000, 0x10000000, 0x20000000, 0x40000000):
        assert decide(machine, calls["clone"], namespace | 17) == errno.EPERM
        assert decide(machine, calls["unshare"], namespace) == errno.EPERM
    assert decide(machine, calls["unshare"], 0x400) == 0  # its own table of files
    for family, error in ((1, 0), (2, 0), (10, 0), (16, 0), (38, errno.EAFNOSUPPORT), (40, errno.EAFNOSUPPORT)):
        assert decide(machine, calls["socket"], family, 1, 0) == error
    assert decide(machine, calls["socket"], 2, 1, 262) == errno.EPROTONOSUPPORT
    assert decide(machine, calls["socket"], 2, 1, 6) == 0
    assert [decide(machine, calls["ptrace"], each) for each in (0, 16, 0x4206, 7)] == [0, errno.EPERM, errno.EPERM, 0]
    assert [decide(machine, calls["ioctl"], 0, each) for each in (0x5412, 0x5413)] == [errno.EPERM, 0]


def test_other_calling_conventions_have_no_calls() -> None:
    assert decide("x86_64", 1, architecture=OTHER) == errno.ENOSYS
    assert decide("x86_64", 0x40000000 | 1) == errno.ENOSYS
    assert decide("aarch64", 1, architecture=0x40000028) == errno.ENOSYS


def test_each_number_that_is_in_no_list_is_allowed() -> None:
    for machine, column in (("x86_64", 0), ("aarch64", 1)):
        refused = {numbers[column]: error for numbers, error in seccomp._REFUSED.values()}
        for number in range(600):
            assert decide(machine, number, 2) == refused.get(number, 0), (machine, number)
