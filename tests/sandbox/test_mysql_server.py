"""The sandbox's MySQL is a server to try rotations on: encrypted or not, logging everything, gone at the end."""

from __future__ import annotations

from collections.abc import Iterator

import pymysql
import pytest

from sandbox.mysql import mysql_server
from sandbox.mysqld import MysqldServer
from sandbox.tls import CertificateAuthority


@pytest.fixture(scope="module")
def server() -> Iterator[MysqldServer]:
    with mysql_server() as running:
        yield running


def test_it_is_mysql(server: MysqldServer) -> None:
    assert "MariaDB" not in server.sql("SELECT VERSION()")[0][0]


def test_it_is_set_up_as_its_package_does(server: MysqldServer) -> None:
    root = ("root", "localhost", "auth_socket")
    assert server.sql("SELECT user, host, plugin FROM mysql.user WHERE user = 'root'") == [root]
    assert server.sql("SHOW DATABASES LIKE 'test'") == []


def test_logins_are_possible_with_and_without_tls(server: MysqldServer) -> None:
    for encrypted in (True, False):
        with server.connect(ssl_disabled=not encrypted) as connection, connection.cursor() as cursor:
            cursor.execute("SHOW SESSION STATUS LIKE 'Ssl_cipher'")
            assert bool((cursor.fetchone() or ("", ""))[1]) is encrypted


def test_its_certificate_is_of_the_authority_that_was_asked_for(server: MysqldServer) -> None:
    stranger = server.directory / "stranger.pem"
    stranger.write_text(CertificateAuthority.create().certificate)
    with pytest.raises(pymysql.OperationalError, match="certificate verify failed"):
        server.connect(ssl_ca=str(stranger))


def test_statements_are_in_both_logs_and_the_admins_password_is_in_none(server: MysqldServer) -> None:
    server.sql("CREATE DATABASE `marked by a test`")
    assert "marked by a test" in server.log()
    assert b"marked by a test" in server.binlog()
    assert server.admin_password not in server.log()
    assert server.admin_password.encode() not in server.binlog()


def test_what_is_not_to_be_logged_is_not(server: MysqldServer) -> None:
    server.sql("CREATE USER quiet IDENTIFIED BY 'seen by nobody'", logged=False)
    assert "seen by nobody" not in server.log()
    assert b"seen by nobody" not in server.binlog()


def test_nobody_logs_in_without_a_password(server: MysqldServer) -> None:
    for user in ("root", ""):
        with pytest.raises(pymysql.OperationalError, match="Access denied"):
            server.connect(user, "")


def test_it_comes_back_with_its_data_after_a_stop_and_after_a_crash(server: MysqldServer) -> None:
    for number, outage in enumerate((server.stop, server.kill)):
        server.sql(f"CREATE DATABASE outage_{number}")
        outage()
        with pytest.raises(pymysql.OperationalError):
            server.connect()
        server.start()
        assert server.sql("SHOW DATABASES LIKE %s", params=(f"outage_{number}",)) == [(f"outage_{number}",)]


def test_it_can_have_no_tls_at_all_and_nothing_of_it_is_left_at_the_end() -> None:
    with mysql_server(tls=False) as running:
        assert running.sql("SHOW GLOBAL VARIABLES LIKE 'tls_version'") == [("tls_version", "")]
        directory = running.directory
        assert directory.exists()
    assert not directory.exists()
    with pytest.raises(pymysql.OperationalError):
        running.connect()
