"""Looking by logging in: TLS, wrong passwords, and queries that only read."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator

import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AuthenticationFailed, Refused, Server, Tls, Unavailable, Users
from rotated_secrets.databases.redis import RedisEngine
from rotated_secrets.databases.redis.engine import _READ_ONLY
from rotated_secrets.values import Credential, SecretText
from sandbox.redis import RedisServer, redis_server
from sandbox.tls import CertificateAuthority
from tests.integration.redis.conftest import ENGINE, Tenant, reach

CURRENT = Credential("redis", "localhost", "app", SecretText("Kanarienvogel"))
ALONE = Users("app")


@pytest.mark.parametrize("mode", [TlsMode.REQUIRE, TlsMode.VERIFY_CA, TlsMode.VERIFY_FULL])
def test_tls_is_spoken_as_asked_for(secure: Tenant, mode: TlsMode) -> None:
    server = reach(secure.server, tls=Tls(mode, secure.server.ca_pem))
    assert ENGINE.verify(server, secure.current, secure.users) == []


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tls": Tls(TlsMode.VERIFY_FULL, CertificateAuthority.create().certificate)}, "not signed by a trusted"),
        ({"tls": Tls(TlsMode.VERIFY_CA, CertificateAuthority.create().certificate)}, "not signed by a trusted"),
        ({"tls": Tls(TlsMode.REQUIRE, CertificateAuthority.create().certificate)}, "not signed by a trusted"),
        ({"tls": Tls(TlsMode.VERIFY_FULL, None)}, "not signed by a trusted"),
        ({"tls": Tls(TlsMode.VERIFY_CA, None)}, "not signed by a trusted"),
        ({"host": "redis.example.com"}, "for another name"),
        ({"host": "127.0.0.2"}, "for another name"),
    ],
)
def test_a_server_that_is_not_who_it_should_be_gets_no_password(
    secure: Tenant, changes: dict[str, object], told: str
) -> None:
    with pytest.raises(Unavailable, match=told):
        ENGINE.verify(reach(secure.server, **changes), secure.current, secure.users)
    with pytest.raises(Unavailable, match=told):
        ENGINE.open_admin(reach(secure.server, **changes), secure.admin)


def test_require_without_an_authority_asks_nobody(secure: Tenant) -> None:
    server = reach(secure.server, tls=Tls(TlsMode.REQUIRE), host="redis.example.com")
    assert ENGINE.verify(server, secure.current, secure.users) == []


def test_a_name_that_ends_with_a_dot_is_the_same_name(secure: Tenant) -> None:
    assert ENGINE.verify(reach(secure.server, host="localhost."), secure.current, secure.users) == []


def test_the_name_is_verified_where_the_address_is_connected_to() -> None:
    authority = CertificateAuthority.create()
    pair = authority.issue("redis.example.com")
    with redis_server(authority=authority) as server:
        (server.data / "server.pem").write_text(pair.certificate)
        (server.data / "key.pem").write_text(pair.key)
        server.stop()
        with contextlib.suppress(Exception):
            server.start()  # its own clients know another name
        tls = Tls(TlsMode.VERIFY_FULL, authority.certificate)
        named = Server("redis.example.com", ("127.0.0.1",), server.port, tls)
        with pytest.raises(AuthenticationFailed):
            ENGINE.verify(named, CURRENT, ALONE)


def test_certificates_that_are_none_are_refused(secure: Tenant) -> None:
    for text in ("no certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"):
        with pytest.raises(Refused, match="PEM"):
            ENGINE.verify(reach(secure.server, tls=Tls(TlsMode.VERIFY_FULL, text)), secure.current, secure.users)


def test_a_server_without_tls_gets_no_password_unless_plaintext_is_asked_for(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rotated_secrets.databases.redis.wire.CONNECT_SECONDS", 0.5)
    assert tenant.verify(tenant.base, tenant.password) == []
    with pytest.raises(Unavailable, match="no TLS connection"):
        ENGINE.verify(reach(tenant.server, tls=Tls(TlsMode.REQUIRE)), tenant.current, tenant.users)


def test_plaintext_at_a_port_of_tls_is_no_proof_of_anything(secure: Tenant) -> None:
    with pytest.raises(Unavailable):
        ENGINE.verify(reach(secure.server, tls=Tls(TlsMode.DISABLE)), secure.current, secure.users)


def test_the_next_address_is_tried_where_one_does_not_answer(secure: Tenant) -> None:
    server = reach(secure.server, addresses=("127.0.0.9", "127.0.0.1"))
    assert ENGINE.verify(server, secure.current, secure.users) == []
    for addresses in ((), ("127.0.0.9",)):
        with pytest.raises(Unavailable, match="cannot be reached"):
            ENGINE.verify(reach(secure.server, addresses=addresses), secure.current, secure.users)


@pytest.mark.parametrize("user", ["{base}", "nobody_here", "default"])
def test_a_wrong_password_is_certain(tenant: Tenant, user: str) -> None:
    with pytest.raises(AuthenticationFailed):
        tenant.verify(user.format(base=tenant.base), "wrong")


@pytest.mark.parametrize(
    ("query", "failed"),
    [
        ("GET app:health", None),
        ("get 'app:with a space'", None),
        ("PING", "verify query 1 failed at .*: NOPERM"),
        ("GET other:key", "verify query 1 failed at .*: NOPERM"),
        ("LRANGE app:text 0 1", "verify query 1 failed at .*: WRONGTYPE"),
        ("GET", "verify query 1 failed at .*: ERR"),
        ("SET app:x 1", "has to be a command that only reads"),
        ("FLUSHALL", "has to be a command that only reads"),
        ("'GET app:x\r\nFLUSHALL' x", "has to be a command that only reads"),
        ("NOT_A_COMMAND", "has to be a command that only reads"),
        ("EVAL_RO 'return 1' 0", "has to be a command that only reads"),
        ("evalsha_ro e0e1f9fabfc9d4800c877a703b823ac0578ff8db 0", "has to be a command that only reads"),
        ("FCALL_RO f 0", "has to be a command that only reads"),
        ("XREAD BLOCK 30000 STREAMS app:stream $", "has to be a command that only reads"),
        ("GEORADIUS_RO app:text 0 0 1 m", "WRONGTYPE"),
        ("GET 'app", "is not a command: .* quotes in pairs"),
        ("  ", "is not a command"),
        ("GET app:large", "more than 1 MiB"),
    ],
)
def test_queries_are_commands_that_only_read(tenant: Tenant, query: str, failed: str | None) -> None:
    tenant.server.command("ACL", "SETUSER", tenant.base, "+command|info")
    tenant.server.command("SET", "app:text", "Kanarienvogel")
    tenant.server.command("SETRANGE", "app:large", str(1 << 20), "x")
    found = tenant.verify(tenant.base, tenant.password, query)
    tenant.server.command("DEL", "app:large")
    if failed is None:
        assert found == []
    else:
        [sentence] = found
        assert re.search(failed, sentence)
        assert "Kanarienvogel" not in sentence
    assert tenant.server.command("GET", "app:text") == "Kanarienvogel"


def test_a_command_that_is_not_known_to_only_read_takes_the_right_to_ask(tenant: Tenant) -> None:
    [sentence] = tenant.verify(tenant.base, tenant.password, "GEORADIUS_RO app:x 0 0 1 m")
    assert "NOPERM" in sentence


def test_a_program_is_not_run_whatever_the_server_says_of_it(tenant: Tenant) -> None:
    [sentence] = tenant.verify(tenant.base, tenant.password, "EVAL_RO 'while true do end' 0")
    assert "has to be a command that only reads" in sentence
    tenant.server.command("SET", "app:text", "x")  # a server that runs a program for long says BUSY to everybody


def test_what_is_taken_for_reading_the_server_takes_for_reading_too(redis: RedisServer) -> None:
    names = [name for name in _READ_ONLY.split() if name not in ("ping", "lolwut")]
    told = redis.command("COMMAND", "INFO", *names)
    assert [entry[0] for entry in told if "readonly" in entry[2]] == names


def test_queries_that_take_too_long_together_are_cut(tenant: Tenant) -> None:
    members = [f"member {number}" for number in range(50_000)]
    for name in ("app:one", "app:other"):
        tenant.server.command("SADD", name, *members)
    engine = RedisEngine(verify_seconds=0.2)
    queries = ["GET app:x", f"SINTERCARD 1001 app:one {'app:other ' * 1000}", "GET app:x"]
    [sentence] = engine.verify(tenant.reach, tenant.current, tenant.users, queries)
    assert sentence.startswith("verify queries took longer than 0.2 s together (at query 2)")


TRAPS = {
    "silent": b"",
    "endless line": b"+" + b"x" * 100_000,
    "long text": b"$9999999999\r\n" + b"x" * 100_000,
    "deep": b"*1\r\n" * 100_000,
    "wide": b"*999999999\r\n",
    "no protocol": b"SSH-2.0-OpenSSH Kanarienvogel\r\n",
    "no number": b"$x\r\n",
    "another answer": b"+Kanarienvogel\r\n",
    "another error": b"-ERR Kanarienvogel\r\n",
    "too many": b"-ERR max number of clients reached\r\n",
    "loading": b"-LOADING Redis is loading the dataset in memory\r\n",
    "protected": b"-DENIED Redis is running in protected mode\r\n",
}


@contextlib.contextmanager
def trap(answer: bytes) -> Iterator[Server]:
    """A port that sends this to whoever connects, over and over, and listens to nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_all() -> None:
            with contextlib.suppress(OSError):
                while True:
                    caught, _ = listening.accept()
                    with contextlib.suppress(OSError):
                        caught.sendall(answer)
                        kept.append(caught)

        kept: list[socket.socket] = []
        thread = threading.Thread(target=answer_all, daemon=True)
        thread.start()
        yield Server("localhost", ("127.0.0.1",), listening.getsockname()[1], Tls(TlsMode.DISABLE))
        listening.shutdown(socket.SHUT_RDWR)
        for caught in kept:
            caught.close()
        thread.join()


@pytest.mark.parametrize("answer", TRAPS.values(), ids=list(TRAPS))
def test_what_answers_as_no_redis_does_is_neither_believed_nor_repeated(
    answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rotated_secrets.databases.redis.engine.LOGIN_SECONDS", 0.5)
    with trap(answer) as server, pytest.raises(Unavailable) as raised:
        ENGINE.verify(server, CURRENT, ALONE)
    assert "Kanarienvogel" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_server_older_than_users_is_refused() -> None:
    with trap(b"-ERR wrong number of arguments for 'auth' command\r\n") as server:
        with pytest.raises(Refused, match="Redis 6"):
            ENGINE.open_admin(server, CURRENT)
        with pytest.raises(Refused, match="Redis 6"):
            ENGINE.verify(server, CURRENT, ALONE)


def test_rejection_is_believed_from_the_servers_own_word_alone() -> None:
    with trap(b"-WRONGPASS whatever\r\n") as server, pytest.raises(AuthenticationFailed):
        ENGINE.verify(server, CURRENT, ALONE)


def test_without_an_identity_nobody_is_somebody() -> None:
    """A proxy that logs in as a user of its own."""
    another = pytest.raises(AuthenticationFailed, match="the session belongs to another user")
    with trap(b"+OK\r\n$5\r\nproxy\r\n") as server, another:
        ENGINE.verify(server, CURRENT, ALONE)
