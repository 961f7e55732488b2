"""The proxy in front of the database counts logins through TLS, and stops a session at any statement."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import psycopg2
import pytest

from sandbox.database_proxy import CONNECT, SEND, DatabaseProxy, database_proxy
from sandbox.postgres import PostgresServer, postgres_server
from sandbox.proxy import Call, Moment


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        server.sql("CREATE TABLE seen (statement int)")
        yield server


@pytest.fixture
def proxy(server: PostgresServer) -> Iterator[DatabaseProxy]:
    with database_proxy(server.host, server.port) as proxy:
        yield proxy


@pytest.fixture
def through(server: PostgresServer, proxy: DatabaseProxy) -> PostgresServer:
    """The same server, by way of the proxy."""
    return replace(server, host=proxy.host, port=proxy.port)


def done(server: PostgresServer) -> set[int]:
    return {statement for (statement,) in server.sql("SELECT statement FROM seen")}


def test_counts_logins(through: PostgresServer, proxy: DatabaseProxy) -> None:
    through.sql("SELECT 1")
    with pytest.raises(psycopg2.OperationalError, match="password"):
        through.connect("nobody", "wrong")
    assert proxy.count(CONNECT) == 2


def test_counts_what_a_session_sends(through: PostgresServer, proxy: DatabaseProxy) -> None:
    with contextlib.closing(through.connect()) as session, session.cursor() as cursor:
        proxy.clear()
        session.autocommit = True
        for _ in range(3):
            cursor.execute("SELECT 1")
        assert proxy.calls == (Call(1, SEND), Call(2, SEND), Call(3, SEND))


@pytest.mark.parametrize(("moment", "statements"), [(Moment.SEEN, {10}), (Moment.ANSWERED, {10, 20})])
def test_stops_a_session_at_a_statement(
    server: PostgresServer, through: PostgresServer, proxy: DatabaseProxy, moment: Moment, statements: set[int]
) -> None:
    server.sql("TRUNCATE seen")
    with contextlib.closing(through.connect()) as session, session.cursor() as cursor:
        session.autocommit = True
        proxy.trap(2, lambda _: None, moment=moment, name=SEND)
        cursor.execute("INSERT INTO seen VALUES (10)")
        with pytest.raises(psycopg2.OperationalError):
            cursor.execute("INSERT INTO seen VALUES (20)")
    assert done(server) == statements


def test_nobody_gets_through_a_partition(through: PostgresServer, proxy: DatabaseProxy) -> None:
    with contextlib.closing(through.connect()) as session, session.cursor() as cursor:
        with proxy.partitioned():
            with pytest.raises(psycopg2.OperationalError):
                cursor.execute("SELECT 1")
            with pytest.raises(psycopg2.OperationalError):
                through.connect()
        through.sql("SELECT 1")
