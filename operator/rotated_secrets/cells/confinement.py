"""What a process gives up for ever before it touches what a tenant chose. Runs in the cell, after the fork."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import struct
import threading

from rotated_secrets.cells.landlock import Landlock
from rotated_secrets.cells.limits import CellLimits
from rotated_secrets.cells.syscalls import refuse_others

_libc = ctypes.CDLL(None, use_errno=True)

# Source: include/uapi/linux/prctl.h and capability.h of the Linux kernel.
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_CAPABILITY_VERSION_3 = 0x20080522
_CAPSET = {"x86_64": 126, "aarch64": 91}
_THREAD_STACK = 512 * 1024
"""Bytes: drivers start threads, whose default of 8 MiB each would count."""


def confine(limits: CellLimits, base: int, landlock: Landlock) -> None:
    """Confine this process. ``base``: bytes of address space that the zygote has.

    Raises:
        OSError: the kernel refused; nothing may run here then.
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _drop_capabilities()
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_AS, base + limits.memory)
    # A second later the kernel ends what ignores the signal of the soft limit.
    _limit(resource.RLIMIT_CPU, limits.cpu_seconds, limits.cpu_seconds + 1)
    _limit(resource.RLIMIT_NOFILE, limits.files)
    # A memfd is a file as well: certificates are given to libraries in one.
    _limit(resource.RLIMIT_FSIZE, limits.memory)
    threading.stack_size(_THREAD_STACK)
    os.nice(limits.niceness)
    landlock.restrict(limits.ports)
    refuse_others()


def hide_memory() -> None:
    """Keep other processes of this user from reading this one's memory, environment and open files in ``/proc``."""
    _prctl(_PR_SET_DUMPABLE, 0)


def _drop_capabilities() -> None:
    """Drop what a process of root has; the operator's own image runs without any."""
    if os.geteuid() != 0:
        return
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = ctypes.create_string_buffer(struct.pack("=Ii", _CAPABILITY_VERSION_3, 0))
    none = ctypes.create_string_buffer(bytes(24))
    if _libc.syscall(_CAPSET[os.uname().machine], header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")


def _prctl(option: int, value: int) -> None:
    arguments = [ctypes.c_ulong(value), ctypes.c_ulong(0), ctypes.c_ulong(0), ctypes.c_ulong(0)]
    if _libc.prctl(option, *arguments) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def _limit(kind: int, soft: int, hard: int | None = None) -> None:
    """Set both limits of a kind; a lower one that is set already stays."""
    _, before = resource.getrlimit(kind)
    resource.setrlimit(kind, (_lower(soft, before), _lower(soft if hard is None else hard, before)))


def _lower(wanted: int, before: int) -> int:
    return wanted if before == resource.RLIM_INFINITY else min(wanted, before)
