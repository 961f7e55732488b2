"""Restrict this process by Landlock: no files but those that libraries read, and no ports but the given ones.

A process so restricted cannot trace another one either, which includes reading its memory and environment in ``/proc``.
Source: "Landlock: unprivileged access control", Linux kernel documentation, and ``include/uapi/linux/landlock.h``.
"""

from __future__ import annotations

import ctypes
import os
import ssl
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_OF_A_FILE = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
"""Rights that a file can have; the others are a folder's."""
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
"""Rights that each version of the interface adds; what is handled and not allowed is refused."""
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPE_ABSTRACT_UNIX_SOCKET, _SCOPE_SIGNAL = 1 << 0, 1 << 1
_NET_SINCE, _SCOPE_SINCE = 4, 6

_SYSTEM_PATHS = (
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/lib",
    "/usr/local/lib",
    "/lib",
    "/lib64",
    "/usr/share/zoneinfo",
    "/etc/localtime",
    "/dev/null",
    "/dev/urandom",
)


def abi() -> int:
    """The version of the interface that this kernel has; 0 where there is none or it is switched off."""
    version: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_CREATE_RULESET_VERSION))
    return max(version, 0)


class Landlock:
    """What cells may read, prepared once: :meth:`restrict` takes some system calls then."""

    def __init__(self, writable: Iterable[str] = ()) -> None:
        """Prepare it. Where the kernel has none :attr:`version` is 0. ``writable``: paths to read and write."""
        self.version = abi()
        self._files = -1
        if self.version:
            rights = sum(bits for since, bits in _FILE_RIGHTS.items() if self.version >= since)
            scoped = _SCOPE_ABSTRACT_UNIX_SOCKET | _SCOPE_SIGNAL if self.version >= _SCOPE_SINCE else 0
            self._files = self._ruleset(rights, 0, scoped)
            for path in readable_paths():
                _allow(self._files, path, _READ_FILE | _READ_DIR)
            for path in map(Path, writable):
                if path.exists():
                    _allow(self._files, path, rights & ~_EXECUTE)

    def move_to(self, descriptor: int) -> None:
        """Keep what is prepared under this descriptor; the caller closes others."""
        if self.version:
            self._files = os.dup2(self._files, descriptor)

    def restrict(self, ports: Iterable[int]) -> None:
        """Restrict this process and its children for ever. Needs "no new privileges".

        Raises:
            OSError: the kernel refused.
        """
        if not self.version:
            return
        _call(_RESTRICT_SELF, ctypes.c_int(self._files), ctypes.c_uint(0))
        os.close(self._files)
        if self.version < _NET_SINCE:
            return
        ruleset = self._ruleset(0, _BIND_TCP | _CONNECT_TCP, 0)
        for port in ports:
            rule = struct.pack("=QQ", _CONNECT_TCP, port)
            _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_RULE_NET_PORT), rule, ctypes.c_uint(0))
        _call(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))
        os.close(ruleset)

    def _ruleset(self, files: int, net: int, scoped: int) -> int:
        size = 8 if self.version < _NET_SINCE else 16 if self.version < _SCOPE_SINCE else 24
        attributes = struct.pack("=QQQ", files, net, scoped)
        return _call(_CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint(0))


def readable_paths() -> Iterator[Path]:
    """Where Python, its libraries, and the system's certificate authorities are."""
    verify = ssl.get_default_verify_paths()
    own = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    certificates = [
        verify.cafile,
        verify.capath,
        verify.openssl_cafile,
        verify.openssl_capath,
        os.environ.get("SSL_CERT_FILE"),
        os.environ.get("SSL_CERT_DIR"),
    ]
    found = {Path(path) for path in (*_SYSTEM_PATHS, *own, *certificates, *sys.path) if path}
    yield from sorted(path for path in found if path.is_absolute() and path != Path("/") and path.exists())


def _allow(ruleset: int, path: Path, rights: int) -> None:
    if not path.is_dir():
        rights &= _OF_A_FILE
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights, handle)
        _call(_ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(_RULE_PATH_BENEATH), rule, ctypes.c_uint(0))
    finally:
        os.close(handle)


def _call(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
