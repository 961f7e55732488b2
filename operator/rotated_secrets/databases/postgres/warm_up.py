"""What a process does once at its first login: libpq and its OpenSSL prepare themselves.

Done before cells are forked, each of them has it: a first login then takes a quarter less of the CPU.
"""

from __future__ import annotations

import contextlib
import os
import socket
from functools import cache
from typing import Final, NoReturn

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import DatabaseError, Server, Tls
from rotated_secrets.databases.postgres.login import log_in
from rotated_secrets.values import Credential, SecretText

_LOOPBACK: Final = "127.0.0.1"
_SECONDS: Final = 5
# Source: "SSLRequest" in "Message Formats", PostgreSQL documentation; section 5.1 of RFC 8446.
_SSL_REQUEST_BYTES, _WILLING, _HANDSHAKE = 8, b"S", 0x16


@cache
def warm_up() -> bool:
    """Begin TLS with a process of ours that does not end it. Returns whether it began. Leaves nothing open."""
    try:
        with socket.create_server((_LOOPBACK, 0)) as listener:
            process = os.fork()  # not a thread: cells are forked from a process that has one
            if process == 0:
                _answer(listener)
            server = Server("localhost", (_LOOPBACK,), listener.getsockname()[1], Tls(TlsMode.REQUIRE))
            with contextlib.suppress(DatabaseError):
                log_in(server, Credential("postgres", "localhost", "warm-up", SecretText("")), "none", {}).close()
            return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 0
    except OSError:  # no loopback, or no further process: each cell does it by itself
        return False


def _answer(listener: socket.socket) -> NoReturn:
    """Say yes to TLS, and close the connection at the first message of it."""
    code = 1
    try:
        listener.settimeout(_SECONDS)
        wire, _ = listener.accept()
        wire.settimeout(_SECONDS)
        wire.recv(_SSL_REQUEST_BYTES, socket.MSG_WAITALL)
        wire.sendall(_WILLING)
        code = int(wire.recv(1) != bytes([_HANDSHAKE]))
    finally:
        os._exit(code)
