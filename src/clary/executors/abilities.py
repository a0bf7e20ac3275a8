"""What of a sandbox this machine's kernel can do, said by ``clary doctor`` and at each start."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from . import landlock, limits, network, sandbox, seccomp
from .spec import ProcessSpec


@dataclass(frozen=True, slots=True)
class Ability:
    """One of them: whether it is there, and what that means."""

    subject: str
    good: bool
    text: str


def of_machine(home: Path, wanted: str = "auto") -> Iterator[Ability]:
    """Look at what can be done for the processes of a home folder. ``wanted`` is the setting of the sandbox."""
    if wanted == "off":
        yield Ability("sandbox", False, "switched off (CLARY_SANDBOX=off): file permissions alone keep jobs apart")
    else:
        yield _namespaces()
    groups = limits.Groups(home / "runs" / f"doctor-{os.getpid()}")
    groups.create(64 << 20, 64)
    groups.remove()
    if groups.bounds_memory:
        yield Ability("memory", True, "bounded by control groups")
    else:
        yield Ability("memory", False, "no control group can be made: bounded by setrlimit, for each process alone")
    if groups.bounds_processes:
        yield Ability("processes", True, "bounded by control groups")
    else:
        yield Ability(
            "processes", False, "no control group can be made: bounded by RLIMIT_NPROC (Linux 5.14: a sandbox)"
        )
    yield Ability("disk", True, "added up while jobs run; one that holds too much is ended")
    if seccomp.supported():
        yield Ability("system calls", True, "filtered (seccomp)")
    else:
        yield Ability("system calls", False, "this kernel cannot filter them (seccomp): jobs reach all of the kernel")
    if landlock.supported():
        yield Ability("sockets", True, "abstract Unix sockets of the machine are out of reach (Landlock)")
    else:
        yield Ability(
            "sockets", False, "jobs reach abstract Unix sockets of the machine: that needs Landlock 6 (Linux 6.12)"
        )
    if why := network.supported():
        yield Ability("network", False, f"jobs reach link-local addresses and all loopback ports: {why}")
    else:
        yield Ability("network", True, "link-local addresses and foreign loopback ports are out of reach (cgroup BPF)")


def _namespaces() -> Ability:
    if not sandbox.supported():
        return Ability("sandbox", False, f"none on {sys.platform}: jobs are kept apart by file permissions only")
    pid = os.fork()
    if pid == 0:
        try:
            sandbox.separate(ProcessSpec("doctor", "/nonexistent"))
            os._exit(0)
        except OSError:
            os._exit(1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0:
        return Ability("sandbox", True, "Linux namespaces")
    return Ability(
        "sandbox", False,
        "this machine forbids user namespaces (sysctl kernel.unprivileged_userns_clone, AppArmor): jobs run without a "
        "sandbox",
    )  # fmt: skip
