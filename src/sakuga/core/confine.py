"""What a process gives up before it reads a stranger's file: the network, files, programs, much memory, much time.

Each step is one of several walls, and those that the system does not have are left out: whoever gets past Python's own
(the audit hook, on every system) still stands before Linux's.
"""

import ctypes
import os
import struct
import sys
from typing import Any

# Python's own events that reach nothing outside of the process; any other is refused.
HARMLESS = {"builtins.id", "object.__getattr__", "sys._getframe", "sys._getframemodulename"}

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_NO_NEW_PRIVS = 38
_CREATE_RULESET, _RESTRICT_SELF = 444, 446  # the same numbers on every processor
_VERSION = 1  # a flag of the first: tell which Landlock the kernel has


def confine(most_bytes: int, most_seconds: int) -> None:
    """From here on this process only computes, and reads and writes what is open already. There is no way back.

    Everything that will be needed must have been imported. Threads that are there already are not held by all of it.
    """
    if os.name == "posix":
        _limit(most_bytes, most_seconds)
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        _leave_network(libc)
        _close_files(libc)
    sys.addaudithook(_refuse)


def _refuse(event: str, arguments: tuple[Any, ...]) -> None:
    if event not in HARMLESS:
        raise PermissionError(f"a process that reads a stranger's file may not do this: {event}")


def _limit(most_bytes: int, most_seconds: int) -> None:
    """Memory and seconds of the processor; nothing may be written to a file, and a crash leaves none."""
    import resource

    limits = {"RLIMIT_DATA": most_bytes, "RLIMIT_CPU": most_seconds, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0}
    for name, most in limits.items():
        kind = getattr(resource, name)
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))


def _leave_network(libc: Any) -> None:
    """A network of its own, with nothing in it, where the kernel allows that to anybody or to this process."""
    if libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)


def _close_files(libc: Any) -> None:
    """No file may be opened, made, removed or run any more, and no connection opened (Landlock)."""
    version = libc.syscall(_CREATE_RULESET, None, 0, _VERSION)
    if version < 1:
        return
    files = (1 << {1: 13, 2: 14}.get(version, 15)) - 1  # each version knew more that can be forbidden
    connections = 0b11 if version >= 4 else 0
    rules = struct.pack("QQ", files, connections)
    handle = libc.syscall(_CREATE_RULESET, rules, len(rules), 0)
    if handle >= 0:
        libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        libc.syscall(_RESTRICT_SELF, handle, 0)
