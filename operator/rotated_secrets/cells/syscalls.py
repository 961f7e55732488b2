"""System calls that a cell must not make: what Landlock does not cover. A filter for seccomp, as a program for BPF.

A child process would have limits of its own, and outlive the cell; a process may change the limits and the priority of
every other one of its user, the operator among them, and end it by a signal, which Landlock refuses only from Linux
6.12 on; what System V has of shared memory and queues counts for no process and outlives the cell, so that it would
fill the container; and of the network Landlock limits TCP alone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

# Source: include/uapi/linux/prctl.h, seccomp.h, bpf_common.h, audit.h, sched.h and unistd.h of the Linux kernel.
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_LOAD, _IS, _AT_LEAST, _HAS, _AND, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT, _THIRD_ARGUMENT, _FOURTH_ARGUMENT = 0, 4, 16, 24, 32, 40
_SOCKET_TYPE = 0xF
"""The other bits are flags."""
_CLONE_THREAD = 0x00010000
_OTHER_NUMBERS: Final = 0x40000000
"""From here on x86-64 has its system calls a second time."""

_ARCHITECTURES: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# clone, clone3, prlimit64, kill and tgkill; then what is always refused: fork, vfork, execve, execveat, setpriority,
# sched_setparam, sched_setscheduler, sched_setaffinity, sched_setattr, ioprio_set; io_uring_setup, by which a cell
# could have sockets without the call; shmget, semget, msgget, mq_open; tkill, rt_sigqueueinfo, rt_tgsigqueueinfo and
# pidfd_send_signal.
_CLONE, _CLONE3, _PRLIMIT = ({"x86_64": a, "aarch64": b} for a, b in ((56, 220), (435, 435), (302, 261)))
_KILL: Final = {"x86_64": (62, 234), "aarch64": (129, 131)}
_REFUSED: Final = {
    "x86_64": (57, 58, 59, 322, 141, 142, 144, 203, 314, 251, 425, 29, 64, 68, 240, 200, 129, 297, 424),
    "aarch64": (221, 281, 140, 118, 119, 122, 274, 30, 425, 194, 190, 186, 180, 130, 138, 240, 424),
}
_SOCKET: Final = {"x86_64": 41, "aarch64": 198}
# sendto, sendmsg and sendmmsg, each with where its flags are.
_SENDS: Final = {
    "x86_64": ((44, _FOURTH_ARGUMENT), (46, _THIRD_ARGUMENT), (307, _FOURTH_ARGUMENT)),
    "aarch64": ((206, _FOURTH_ARGUMENT), (211, _THIRD_ARGUMENT), (269, _FOURTH_ARGUMENT)),
}


def refuse_others() -> None:
    """Refuse child processes, changes to other processes and signals to them, memory that outlives this process, and
    all of the network but TCP, in this process for ever.

    Threads and sockets of this machine are allowed. A database's address was resolved before, so DNS is not needed.

    Needs ``no_new_privs``. Does nothing where the kernel has no filters, or the processor is not known.

    Raises: OSError.
    """
    machine = os.uname().machine
    if machine not in _ARCHITECTURES:
        return
    program = b"".join(_program(machine))
    code = ctypes.create_string_buffer(program, len(program))
    length = struct.pack("@HP", len(program) // 8, ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.c_char_p(length)) != 0
    if failed and ctypes.get_errno() != errno.EINVAL:  # the kernel was built without filters
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_SECCOMP) failed")


def _program(machine: str) -> Iterator[bytes]:
    refuse = _step(_RETURN, _ERRNO | errno.EPERM)
    allow = _step(_RETURN, _ALLOW)
    yield _step(_LOAD, _ARCHITECTURE)
    yield _step(_IS, _ARCHITECTURES[machine], yes=1) + refuse
    yield _step(_LOAD, _NUMBER)
    yield _step(_AT_LEAST, _OTHER_NUMBERS, no=1) + refuse
    for number in _REFUSED[machine]:
        yield _step(_IS, number, no=1) + refuse
    # The C library then calls clone, whose flags can be seen.
    yield _step(_IS, _CLONE3[machine], no=1) + _step(_RETURN, _ERRNO | errno.ENOSYS)
    first = _step(_LOAD, _FIRST_ARGUMENT)
    yield _step(_IS, _CLONE[machine], no=4) + first + _step(_HAS, _CLONE_THREAD, no=1) + allow + refuse
    # 0 is the process itself.
    yield _step(_IS, _PRLIMIT[machine], no=4) + first + _step(_IS, 0, no=1) + allow + refuse
    for number in _KILL[machine]:  # a library that aborts sends itself a signal
        yield _step(_IS, number, no=4) + first + _step(_IS, os.getpid(), no=1) + allow + refuse
    # It connects without the call that Landlock checks.
    for number, flags in _SENDS[machine]:
        fast = _step(_LOAD, flags) + _step(_HAS, socket.MSG_FASTOPEN, no=1)
        yield _step(_IS, number, no=4) + fast + refuse + allow
    # A socket of this machine, or TCP: then the first three arguments, of which the kernel reads 32 bits each, say so.
    tcp = (
        _step(_LOAD, _SECOND_ARGUMENT)
        + _step(_AND, _SOCKET_TYPE)
        + _step(_IS, socket.SOCK_STREAM, no=3)
        + _step(_LOAD, _THIRD_ARGUMENT)
        + _step(_IS, 0, yes=2)
        + _step(_IS, socket.IPPROTO_TCP, yes=1)
        + refuse
        + allow
    )
    families = (
        first
        + _step(_IS, socket.AF_UNIX, no=1)
        + allow
        + _step(_IS, socket.AF_INET, yes=1)
        + _step(_IS, socket.AF_INET6, no=6)
    )
    yield _step(_IS, _SOCKET[machine], no=(len(families) + len(tcp)) // 8) + families + tcp
    yield allow


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    """One instruction; a comparison skips ``yes`` or ``no`` of those that follow."""
    return struct.pack("=HBBI", code, yes, no, value)
