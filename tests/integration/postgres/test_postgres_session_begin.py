"""What is said after a session has begun is no doubt of the password: a double says it, as older servers cannot."""

from __future__ import annotations

import socket
import struct
import threading

import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Server, Tls, Unavailable, Users
from rotated_secrets.values import Credential, SecretText
from tests.integration.postgres.conftest import ENGINE


@pytest.mark.parametrize("began", [True, False])
def test_an_error_after_the_session_began_is_a_failed_check(began: bool) -> None:
    """As of an event trigger on login, from PostgreSQL 17 on. A session begins with the report of the version."""
    fields = (b"SFATAL", b"VFATAL", b"CP0001", b"Mcanary", b"")
    said = [(b"R", struct.pack("!i", 0)), *([(b"S", b"server_version\x0017.5\x00")] if began else [])]
    said.append((b"E", b"\x00".join(fields) + b"\x00"))
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            wire, _ = listener.accept()
            with wire:
                wire.recv(4096)
                wire.sendall(b"R" + struct.pack("!ii4s", 12, 5, b"salt"))
                wire.recv(4096)
                wire.sendall(b"".join(kind + struct.pack("!i", len(body) + 4) + body for kind, body in said))

        threading.Thread(target=answer, daemon=True).start()
        where = Server("localhost", ("127.0.0.1",), listener.getsockname()[1], Tls(TlsMode.DISABLE))
        credential = Credential("postgres", "localhost", "app", SecretText("Kanarienvogel"))
        if began:
            (failed,) = ENGINE.verify(where, credential, Users("app"))
            assert "event trigger on login" in failed
            assert "canary" not in failed
        else:
            with pytest.raises(Unavailable, match="SQLSTATE P0001"):
                ENGINE.verify(where, credential, Users("app"))
