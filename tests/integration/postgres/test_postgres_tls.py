"""A connection is as protected as it was asked to be, or is not made.

What is the same for every engine is in tests/life/test_life_tls_modes.py.
"""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator

import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Server, Tls, Unavailable, Users
from rotated_secrets.values import Credential, SecretText
from sandbox.postgres import Installation, PostgresServer, postgres_server
from sandbox.tls import CertificateAuthority
from tests.integration.postgres.conftest import ENGINE


@pytest.fixture(scope="module")
def plain(tls_installation: Installation) -> Iterator[PostgresServer]:
    with postgres_server(tls_installation, tls=False) as running:
        yield running


def look(server: PostgresServer, mode: TlsMode, ca: str | None) -> list[str]:
    where = Server("localhost", ("127.0.0.1",), server.port, Tls(mode, ca))
    admin = Credential("postgres", "localhost", server.admin_user, SecretText(server.admin_password))
    return ENGINE.verify(where, admin, Users(server.admin_user))


@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
def test_a_server_without_tls_is_never_spoken_to_in_the_clear(plain: PostgresServer, mode: TlsMode) -> None:
    with pytest.raises(Unavailable, match="offers no TLS"):
        look(plain, mode, CertificateAuthority.create().certificate)
    assert "connection authenticated" not in plain.log().rpartition("ready to accept")[2]


def test_a_server_that_asks_for_the_text_of_the_password_does_not_get_it() -> None:
    """AuthenticationCleartextPassword from whoever answers without verified TLS."""
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def ask() -> None:
            wire, _ = listener.accept()
            with wire:
                wire.recv(4096)
                wire.sendall(b"R" + struct.pack("!ii", 8, 3))
                received.append(wire.recv(4096))

        thief = threading.Thread(target=ask, daemon=True)
        thief.start()
        where = Server("localhost", ("127.0.0.1",), listener.getsockname()[1], Tls(TlsMode.DISABLE))
        credential = Credential("postgres", "localhost", "app", SecretText("Kanarienvogel"))
        with pytest.raises(Unavailable, match="in a way that would show it"):
            ENGINE.verify(where, credential, Users("app"))
        thief.join(10)
    assert received == [b""]


def test_an_answer_that_is_not_postgresql_is_not_repeated() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            wire, _ = listener.accept()
            with wire:
                wire.recv(4096)
                wire.sendall(b"-ERR canary of another service\r\n")

        threading.Thread(target=answer, daemon=True).start()
        where = Server("localhost", ("127.0.0.1",), listener.getsockname()[1], Tls(TlsMode.DISABLE))
        credential = Credential("postgres", "localhost", "app", SecretText("Kanarienvogel"))
        with pytest.raises(Unavailable) as told:
            ENGINE.verify(where, credential, Users("app"))
    assert "canary" not in str(told.value)
