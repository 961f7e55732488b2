"""The sandbox's MariaDB is a server to try rotations on: encrypted or not, logging everything, gone at the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pymysql
import pytest

from sandbox.mariadb import mariadb_server
from sandbox.mysqld import MysqldServer
from sandbox.servers import ServerStartError
from sandbox.tls import CertificateAuthority
from sandbox.waiting import eventually

STARTER = """
import time
from sandbox.mariadb import mariadb_server
with mariadb_server() as server:
    print(server.directory, server.port, flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[MysqldServer]:
    with mariadb_server() as running:
        yield running


def test_it_is_mariadb(server: MysqldServer) -> None:
    assert "MariaDB" in server.sql("SELECT VERSION()")[0][0]


def test_it_is_set_up_as_its_installer_does(server: MysqldServer) -> None:
    assert server.sql("SHOW DATABASES LIKE 'test'") == [("test",)]
    assert [line for (line,) in server.sql("SHOW GRANTS FOR PUBLIC") if "`test`.*" in line]
    assert ("", "localhost") in server.sql("SELECT user, host FROM mysql.user")
    assert "unix_socket" in server.sql("SHOW CREATE USER root@localhost")[0][0]
    assert server.sql("SELECT @@character_set_server") == [("utf8mb4",)]


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
    with mariadb_server(tls=False) as running:
        assert running.sql("SHOW GLOBAL VARIABLES LIKE 'have_ssl'") == [("have_ssl", "DISABLED")]
        directory = running.directory
        assert directory.exists()
    assert not directory.exists()
    with pytest.raises(pymysql.OperationalError):
        running.connect()


def test_a_setting_that_it_does_not_know_is_told_with_what_the_server_said() -> None:
    with pytest.raises(ServerStartError, match="no-such-setting"), mariadb_server(settings={"no-such-setting": "1"}):
        pass


def test_a_killed_starter_leaves_no_server_and_no_directory() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", STARTER],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as starter:
        assert starter.stdout is not None
        directory, port = starter.stdout.readline().split()
        starter.send_signal(signal.SIGKILL)
        starter.wait()
    eventually(lambda: not Path(directory).exists(), "the directory is gone")
    with pytest.raises(pymysql.OperationalError):
        pymysql.connect(host="127.0.0.1", port=int(port), user="x", password="x")
