"""The sandbox's Redis is a server to try rotations on: encrypted or not, writing all down, gone at the end."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from redis import AuthenticationError
from redis import ConnectionError as RedisConnectionError

from sandbox.redis import RedisServer, UsersKept, digest, redis_server
from sandbox.servers import ServerStartError
from sandbox.tls import CertificateAuthority


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with redis_server() as running:
        yield running


def test_it_is_redis_with_users(server: RedisServer) -> None:
    assert "redis_version:" in server.command("INFO", "server")
    assert server.command("ACL", "WHOAMI") == server.admin_user


def test_it_speaks_tls_and_nothing_else(server: RedisServer) -> None:
    with server.client(ssl=False) as plain, pytest.raises(RedisConnectionError):
        plain.ping()


def test_its_certificate_is_of_the_authority_that_was_asked_for(server: RedisServer) -> None:
    stranger = CertificateAuthority.create().certificate
    with redis_server(authority=CertificateAuthority.create()) as other:
        assert other.ca_pem not in (server.ca_pem, stranger, None)
        with (
            other.client(ssl_ca_certs=str(server.ca_file)) as client,
            pytest.raises(RedisConnectionError, match="certificate verify failed"),
        ):
            client.ping()


def test_it_is_set_up_as_its_package_does(server: RedisServer) -> None:
    (default,) = [line for line in server.command("ACL", "LIST") if line.startswith("user default ")]
    assert default == "user default on nopass ~* &* +@all"
    assert server.command("CONFIG", "GET", "aclfile") == ["aclfile", ""]
    assert server.command("CONFIG", "GET", "save") == ["save", "3600 1 300 100 60 10000"]


def test_nobody_logs_in_without_a_password_where_the_default_user_is_off() -> None:
    with redis_server(tls=False, default_user=("off",)) as server:
        for user in ("default", server.admin_user):
            with pytest.raises(AuthenticationError):
                server.command("PING", user=user, password="")


def test_it_writes_down_what_it_is_told_and_no_password_of_a_user_that_is_made(server: RedisServer) -> None:
    server.make_user("quiet", "seen by nobody", "+ping")
    server.command("SET", "marked", "by a test")
    assert "marked" in server.written()
    assert digest("seen by nobody") in server.written()
    assert "seen by nobody" not in server.written()
    assert server.admin_password not in server.written()
    assert server.command("PING", user="quiet", password="seen by nobody") == "PONG"


@pytest.mark.parametrize("kept", UsersKept)
def test_it_comes_back_on_its_port_after_a_stop_and_after_a_crash(kept: UsersKept) -> None:
    with redis_server(tls=False, users_kept=kept) as server:
        server.make_user("app", "first", "+ping")
        for end in (server.stop, server.kill):
            end()
            with pytest.raises(RedisConnectionError):
                server.command("PING")
            server.start()
            assert server.command("PING") == "PONG"
            assert bool(server.command("ACL", "GETUSER", "app")) is (kept is not UsersKept.NOWHERE)


def test_a_frozen_server_answers_once_it_is_thawed() -> None:
    with redis_server(tls=False) as server:
        server.freeze()
        with server.client(socket_timeout=0.2) as client, pytest.raises(Exception, match="Timeout"):
            client.ping()
        server.thaw()
        assert server.command("PING") == "PONG"


def test_nothing_is_left_of_it() -> None:
    with redis_server(tls=False) as server:
        directory = server.data.parent
        pid = int((directory / "redis.pid").read_text())
    assert not directory.exists()
    assert subprocess.run(["kill", "-0", str(pid)], capture_output=True, check=False).returncode != 0


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ServerStartError, match="not-a-setting"), redis_server(settings={"not-a-setting": "1"}):
        pass
