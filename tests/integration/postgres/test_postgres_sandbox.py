"""The sandbox's own server keeps what it promises, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest

from sandbox.postgres import Installation, PostgresServer, postgres_server

STARTER = """
import sys, time
from sandbox.postgres import installations, postgres_server
with postgres_server(installations()[int(sys.argv[1])]) as server:
    print(server.data, server.port, flush=True)
    time.sleep(600)
"""


def gone(path: Path, seconds: float = 15.0) -> bool:
    until = time.monotonic() + seconds
    while path.exists() and time.monotonic() < until:
        time.sleep(0.02)
    return not path.exists()


def test_a_server_starts_stops_comes_back_and_leaves_nothing(installation: Installation) -> None:
    with postgres_server(installation) as server:
        server.sql("CREATE TABLE kept ()")
        for end in (server.stop, server.kill):
            end()
            with pytest.raises(psycopg2.OperationalError, match="refused"):
                server.sql("SELECT 1")
            server.start()
            assert server.sql("SELECT to_regclass('kept')::text") == [("kept",)]
        directory = server.data.parent
    assert not directory.exists()
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        server.sql("SELECT 1")


def test_it_is_set_up_as_its_package_does(postgres: PostgresServer) -> None:
    shown = {name: postgres.sql(f"SHOW {name}")[0][0] for name in ("lc_messages", "wal_level", "autovacuum", "jit")}
    assert shown == {"lc_messages": "C.UTF-8", "wal_level": "replica", "autovacuum": "on", "jit": "on"}
    assert postgres.sql("SELECT datcollate FROM pg_database WHERE datname = 'template1'") == [("C.UTF-8",)]
    assert postgres.sql("SELECT rolname FROM pg_roles WHERE rolsuper AND rolcanlogin AND oid = 10") == [("postgres",)]


def test_a_killed_starter_leaves_no_server_and_no_directory() -> None:
    root = Path(__file__).parents[3]
    with subprocess.Popen(
        [sys.executable, "-c", STARTER, "0"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
    ) as starter:
        assert starter.stdout is not None
        data, port = starter.stdout.readline().split()
        starter.send_signal(signal.SIGKILL)
        starter.wait()
    assert gone(Path(data).parent)
    with pytest.raises(psycopg2.OperationalError, match="refused"):
        psycopg2.connect(host="127.0.0.1", port=port, user="x", password="x", dbname="x")


def test_logins_take_scram_and_statements_are_logged(postgres: PostgresServer) -> None:
    postgres.sql("SELECT 'seen in the log'")
    postgres.sql("SELECT 'kept out of the log'", logged=False)
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        postgres.connect(postgres.admin_user, "wrong")
    log = postgres.log()
    assert "seen in the log" in log
    assert "kept out of the log" not in log
    assert "method=scram-sha-256" in log
