"""A connection is as protected as it was asked to be, or is not made.

What is the same for every engine is in tests/life/test_life_tls_modes.py.
"""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AuthenticationFailed, Server, Tls, Unavailable, Users
from rotated_secrets.values import Credential, SecretText
from sandbox.mysql import mysql_server
from sandbox.mysqld import MysqldServer
from sandbox.tls import CertificateAuthority
from tests.integration.mysql.conftest import ENGINE, Tenant, heard, make_tenant

CANARY = SecretText("Kanarienvogel")


def look(server: MysqldServer, mode: TlsMode, ca: str | None) -> list[str]:
    where = Server("localhost", ("127.0.0.1",), server.port, Tls(mode, ca))
    admin = Credential("mysql", "localhost", server.admin_user, SecretText(server.admin_password))
    return ENGINE.verify(where, admin, Users(server.admin_user))


def test_the_environment_has_no_say(
    mysql: MysqldServer, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    keys = tmp_path_factory.mktemp("keys") / "log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(keys))
    monkeypatch.setenv("MYSQL_PWD", "wrong")
    assert look(mysql, TlsMode.VERIFY_FULL, mysql.ca_pem) == []
    assert not keys.exists()


@pytest.fixture(scope="module")
def plain() -> Iterator[MysqldServer]:
    with mysql_server(tls=False) as server:
        yield server


@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
def test_a_server_without_tls_is_never_spoken_to_in_the_clear(plain: MysqldServer, mode: TlsMode) -> None:
    begun = len(heard(plain))
    with pytest.raises(Unavailable, match="offers no TLS"):
        look(plain, mode, CertificateAuthority.create().certificate)
    assert "Connect" not in heard(plain)[begun:]


@pytest.mark.parametrize("plugin", ["caching_sha2_password", "sha256_password"])
def test_without_tls_the_password_goes_encrypted_by_the_servers_key(plain: MysqldServer, plugin: str) -> None:
    tenant = make_tenant(plain, plugin=plugin)
    sent: list[bytes] = []
    with relay(plain.port, sent) as port:
        there = dataclasses.replace(tenant.reach, port=port)
        assert ENGINE.verify(there, tenant.current, tenant.users) == []
    assert tenant.password.encode() not in b"".join(sent)
    tenant.set_clone("first")
    assert tenant.verify(tenant.clone, "first") == []


def test_a_server_that_wants_tls_is_told_so(tenant: Tenant) -> None:
    plain = dataclasses.replace(tenant.reach, tls=Tls(TlsMode.DISABLE))
    tenant.sql("SET GLOBAL require_secure_transport = ON")
    try:
        with pytest.raises(Unavailable, match="require_secure_transport"):
            ENGINE.verify(plain, tenant.current, tenant.users)
    finally:
        tenant.sql("SET GLOBAL require_secure_transport = OFF")


def packet(number: int, payload: bytes) -> bytes:
    return struct.pack("<I", len(payload))[:3] + bytes([number]) + payload


def greeting(plugin: bytes, capabilities: int = 0xFFFFFFFF) -> bytes:
    low, high = struct.pack("<H", capabilities & 0xFFFF), struct.pack("<H", capabilities >> 16)
    fixed = b"\x0a8.0.40\x00" + struct.pack("<I", 7) + b"12345678\x00" + low + b"\xff\x02\x00" + high + b"\x15"
    return packet(0, fixed + bytes(10) + b"123456789012\x00" + plugin + b"\x00")


NO_TLS = 0xFFFFFFFF & ~(1 << 11)
DENIED = b"\xff" + struct.pack("<H", 1045) + b"#28000Access denied for canary of another service"


def ask(plugin: bytes) -> Callable[[socket.socket], bytes]:
    """A server that asks for the password by this plug-in, and what it gets."""

    def speak(wire: socket.socket) -> bytes:
        wire.sendall(greeting(b"caching_sha2_password", NO_TLS))
        wire.recv(4096)
        wire.sendall(packet(2, b"\xfe" + plugin + b"\x00Password: \x00"))
        return wire.recv(4096)

    return speak


def deny_at_once(wire: socket.socket) -> bytes:
    wire.sendall(packet(0, DENIED))
    return b""


def deny_before_tls(wire: socket.socket) -> bytes:
    wire.sendall(greeting(b"caching_sha2_password"))
    wire.sendall(packet(1, DENIED))
    return b""


def speak_another_protocol(wire: socket.socket) -> bytes:
    wire.sendall(b"-ERR canary of another service\r\n")
    return b""


def say_nonsense(wire: socket.socket) -> bytes:
    wire.sendall(packet(0, b"\x0a" + b"\xff" * 100))
    return b""


@contextlib.contextmanager
def impostor(speak: Callable[[socket.socket], bytes]) -> Iterator[tuple[int, list[bytes]]]:
    received: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            wire, _ = listener.accept()
            with wire, contextlib.suppress(OSError):
                received.append(speak(wire))

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield listener.getsockname()[1], received
        thread.join(10)


def look_at_impostor(port: int, mode: TlsMode) -> None:
    where = Server("localhost", ("127.0.0.1",), port, Tls(mode, CertificateAuthority.create().certificate))
    ENGINE.verify(where, Credential("mysql", "localhost", "app", CANARY), Users("app"))


@pytest.mark.parametrize("plugin", [b"mysql_clear_password", b"dialog"])
def test_a_server_that_asks_for_the_text_of_the_password_does_not_get_it(plugin: bytes) -> None:
    with impostor(ask(plugin)) as (port, received), pytest.raises(Unavailable, match="in a way that would show it"):
        look_at_impostor(port, TlsMode.DISABLE)
    assert received == [b""]


@pytest.mark.parametrize("mode", [TlsMode.DISABLE, TlsMode.VERIFY_FULL])
@pytest.mark.parametrize("speak", [deny_at_once, speak_another_protocol, say_nonsense])
def test_whoever_has_not_seen_the_password_says_nothing_about_it(
    speak: Callable[[socket.socket], bytes], mode: TlsMode
) -> None:
    with impostor(speak) as (port, _), pytest.raises(Unavailable) as told:
        look_at_impostor(port, mode)
    assert "canary" not in str(told.value)


def test_whoever_is_in_between_cannot_have_a_password_taken_back() -> None:
    """An error that comes before TLS is anybody's; taken for certain it would roll a rotation back."""
    with impostor(deny_before_tls) as (port, _), pytest.raises(Unavailable):
        look_at_impostor(port, TlsMode.VERIFY_FULL)


def test_an_unknown_plugin_is_doubtful() -> None:
    for plugin in (b"mysql_old_password", b"authentication_kerberos_client", b"\xff\xfe"):
        with impostor(ask(plugin)) as (port, _), pytest.raises(Unavailable):
            look_at_impostor(port, TlsMode.DISABLE)


def test_a_wrong_password_is_certain_on_a_protected_connection_and_without_one(mysql: MysqldServer) -> None:
    tenant = make_tenant(mysql)
    for tls in (tenant.reach.tls, Tls(TlsMode.DISABLE)):
        with pytest.raises(AuthenticationFailed):
            ENGINE.verify(
                dataclasses.replace(tenant.reach, tls=tls), tenant.credential(tenant.base, "no"), tenant.users
            )


@contextlib.contextmanager
def relay(port: int, sent: list[bytes]) -> Iterator[int]:
    """A port that leads to another for one connection, and what went there."""

    def pump(source: socket.socket, sink: socket.socket, seen: list[bytes]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                seen.append(data)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def run(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            there = threading.Thread(target=pump, args=(client, server, sent), daemon=True)
            there.start()
            pump(server, client, [])
            there.join(10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = threading.Thread(target=run, args=(listener,), daemon=True)
        running.start()
        yield listener.getsockname()[1]
        running.join(10)
