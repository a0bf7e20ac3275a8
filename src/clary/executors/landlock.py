"""Abstract Unix sockets and signals of other processes, out of reach by Landlock (landlock(7), "Scope").

A sandbox shares the machine's network, and with it the names of abstract sockets: desktops, container engines and
databases listen on some. Nothing else is ruled here; files are a matter of the mounts.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

_CREATE_RULESET, _RESTRICT_SELF = 444, 446
_VERSION = 1
_SCOPED_SINCE = 6
_ABSTRACT_UNIX_SOCKET, _SIGNAL = 1, 2

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Return the kernel's version of Landlock; 0 where it has none."""
    if sys.platform != "linux":
        return 0
    return max(0, int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))))


def supported() -> bool:
    """Return whether the kernel can keep a process from abstract sockets."""
    return version() >= _SCOPED_SINCE


def install() -> bool:
    """Keep this process and all that come after it from the abstract sockets of others; False where the kernel cannot.

    The caller has given up the right to gain privileges (PR_SET_NO_NEW_PRIVS).
    """
    if not supported():
        return False
    attributes = struct.pack("QQQ", 0, 0, _ABSTRACT_UNIX_SOCKET | _SIGNAL)
    ruleset = int(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)))
    if ruleset < 0:
        return False
    try:
        return bool(_libc.syscall(_RESTRICT_SELF, ruleset, ctypes.c_uint32(0)) == 0)
    finally:
        os.close(ruleset)
