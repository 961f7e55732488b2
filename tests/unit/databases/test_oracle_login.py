"""How the operator comes to an Oracle listener: never without the TLS that was asked for, never on to another host.

A socket stands for the listener. It gets as far as the driver's first message, which is before any password.
"""

from __future__ import annotations

import logging
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import Server, Tls, Unavailable, Users
from rotated_secrets.databases.oracle import OracleEngine, session
from rotated_secrets.values import Credential, SecretText
from sandbox.tls import CertificateAuthority

CANARY = "Canary-7hT2pQ9xLw4R"
CREDENTIAL = Credential("oracle", "db.example", "APP", SecretText(CANARY), dbname="ORCL")
AUTHORITY = CertificateAuthority.create()
CONNECT, REDIRECT, DATA = 1, 5, 6
"""Types of packets of Oracle Net."""


class Listener:
    """Takes one connection after the other, keeps the first message of each, and answers it once."""

    def __init__(
        self,
        answer: bytes = b"",
        certificate: tuple[Path, Path] | None = None,
        silent: bool = False,
        address: str = "127.0.0.1",
    ) -> None:
        self.messages: list[bytes] = []
        self._answer, self._silent = answer, silent
        self._context = None
        if certificate:
            self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._context.load_cert_chain(*certificate)
        self._socket = socket.create_server((address, 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(5)
        assert CANARY.encode() not in b"".join(self.messages)

    def server(self, mode: TlsMode, ca: str | None = None, host: str = "db.example") -> Server:
        return Server(host, ("127.0.0.1",), self.port, Tls(mode, ca))

    def _serve(self) -> None:
        while True:
            try:
                wire, _ = self._socket.accept()
            except OSError:
                return
            with wire:
                try:
                    self._talk(self._context.wrap_socket(wire, server_side=True) if self._context else wire)
                except OSError:
                    continue

    def _talk(self, wire: socket.socket) -> None:
        with wire:
            wire.settimeout(60)
            message = wire.recv(8192)
            if message:
                self.messages.append(message)
            if self._answer:
                wire.sendall(self._answer)
            while self._silent or self._answer:
                if not wire.recv(8192):
                    return


@pytest.fixture
def certificate(tmp_path: Path) -> Callable[..., tuple[Path, Path]]:
    def issued(*names: str) -> tuple[Path, Path]:
        pair = AUTHORITY.issue(*names)
        (tmp_path / "server.crt").write_text(pair.certificate)
        (tmp_path / "server.key").write_text(pair.key)
        return tmp_path / "server.crt", tmp_path / "server.key"

    return issued


def kind_of(message: bytes) -> int:
    return message[4]


def packet(kind: int, body: bytes) -> bytes:
    return struct.pack(">HHBBH", len(body) + 8, 0, kind, 0, 0) + body


def log_in(server: Server) -> str:
    with pytest.raises(Unavailable) as told:
        OracleEngine().verify(server, CREDENTIAL, Users("APP"))
    assert CANARY not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize(
    ("mode", "name", "host"),
    [
        (TlsMode.VERIFY_FULL, "db.example", "db.example"),
        (TlsMode.VERIFY_FULL, "db.example", "db.example."),
        (TlsMode.VERIFY_FULL, "::1", "::1"),
        (TlsMode.VERIFY_FULL, "*.shop.example", "db.shop.example"),
        (TlsMode.VERIFY_FULL, "127.0.0.1", "127.0.0.1"),
        (TlsMode.VERIFY_CA, "other.example", "db.example"),
    ],
)
def test_the_driver_speaks_once_the_certificate_was_looked_at(
    certificate: Callable[..., tuple[Path, Path]], mode: TlsMode, name: str, host: str
) -> None:
    with Listener(certificate=certificate(name)) as listener:
        log_in(listener.server(mode, AUTHORITY.certificate, host))
        assert [kind_of(message) for message in listener.messages] == [CONNECT]


def test_a_certificate_of_anybody_will_do_where_none_is_verified(
    certificate: Callable[..., tuple[Path, Path]],
) -> None:
    with Listener(certificate=certificate("other.example")) as listener:
        log_in(listener.server(TlsMode.REQUIRE))
        assert [kind_of(message) for message in listener.messages] == [CONNECT]


@pytest.mark.parametrize(
    ("mode", "name", "ca"),
    [
        (TlsMode.VERIFY_FULL, "other.example", AUTHORITY.certificate),
        (TlsMode.VERIFY_FULL, "db.example", CertificateAuthority.create().certificate),
        (TlsMode.VERIFY_CA, "db.example", CertificateAuthority.create().certificate),
        (TlsMode.VERIFY_FULL, "db.example", None),
        (TlsMode.VERIFY_FULL, "db.example", "no certificate"),
    ],
)
def test_nothing_is_said_to_a_wrong_certificate(
    certificate: Callable[..., tuple[Path, Path]], mode: TlsMode, name: str, ca: str | None
) -> None:
    with Listener(certificate=certificate(name)) as listener:
        assert "not with the required TLS" in log_in(listener.server(mode, ca))
        assert listener.messages == []


def test_the_environment_trusts_nobody_and_gets_no_keys(
    certificate: Callable[..., tuple[Path, Path]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ca.crt").write_text(AUTHORITY.certificate)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    with Listener(certificate=certificate("db.example")) as listener:
        assert "not with the required TLS" in log_in(listener.server(TlsMode.VERIFY_FULL, None))
        assert listener.messages == []
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
def test_a_listener_without_tls_gets_a_handshake_and_nothing_else(mode: TlsMode) -> None:
    with Listener() as listener:
        log_in(listener.server(mode, AUTHORITY.certificate))
        assert [message[0] for message in listener.messages] == [22]  # TLS, handshake


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2"])
def test_a_listener_that_sends_on_to_another_place_is_not_followed(host: str) -> None:
    with Listener(address=host) as other:
        where = f"(ADDRESS=(PROTOCOL=tcp)(HOST={host})(PORT={other.port}))\0(CONNECT_DATA=(SERVICE_NAME=ORCL))".encode()
        redirect = packet(REDIRECT, struct.pack(">H", len(where))) + packet(DATA, b"\0\0" + where)
        with Listener(redirect) as listener:
            log_in(listener.server(TlsMode.DISABLE))
            assert [kind_of(message) for message in listener.messages] == [CONNECT]
        assert other.messages == []


def test_a_listener_that_never_answers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "LOGIN_SECONDS", 0.3)
    began = time.monotonic()
    with Listener(silent=True) as listener:
        log_in(listener.server(TlsMode.DISABLE))
        assert time.monotonic() - began < 20
        assert len(listener.messages) == 1


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\xff" * 64])
def test_what_does_not_answer_as_oracle_does_is_unavailable_and_not_repeated(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "LOGIN_SECONDS", 0.3)
    with Listener(answer) as listener:
        assert "HTTP" not in log_in(listener.server(TlsMode.DISABLE))


def test_an_address_that_nobody_listens_at_is_passed_over() -> None:
    with Listener() as listener:
        here = listener.server(TlsMode.DISABLE)
        log_in(Server(here.host, ("127.255.255.254", "127.0.0.1"), here.port, here.tls))
        assert len(listener.messages) == 1


def test_the_loops_leave_no_warning(caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder) -> None:
    caplog.set_level(logging.DEBUG)
    with Listener() as listener:
        log_in(listener.server(TlsMode.DISABLE))
    assert CANARY not in caplog.text
    assert [str(each.message) for each in recwarn] == []
