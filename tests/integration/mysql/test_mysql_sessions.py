"""Logins, sessions and verify queries, as far as they are MySQL's own; tests/life has what all engines share."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time

import pytest

from rotated_secrets.databases.base import AuthenticationFailed, Server, SessionCount, Tls, Unavailable, Users
from rotated_secrets.databases.mysql.errors import ConnectionLost
from rotated_secrets.databases.mysql.login import log_in
from rotated_secrets.values import Credential, SecretText
from sandbox.mysql import mysql_server
from tests.integration.mysql.conftest import ENGINE, QUICK, Tenant, make_tenant


def test_half_a_credential_reaches_no_server() -> None:
    nowhere = Server("db.example", ("127.0.0.1",), 1, Tls())
    for user, password in (("", "x"), ("app", ""), ("app", "\ud800"), ("\udfff", "x")):
        with pytest.raises(AuthenticationFailed):
            ENGINE.verify(nowhere, Credential("mysql", "db.example", user, SecretText(password)), Users(user))


def test_without_a_database_none_is_used(tenant: Tenant) -> None:
    credential = tenant.credential(tenant.base, tenant.password, dbname=None)
    assert ENGINE.verify(tenant.reach, credential, tenant.users, ["SELECT 1", "SELECT 1 FROM nowhere"]) == [
        "verify query 2 failed: error 1046 (SQLSTATE 3D000)"
    ]


def test_queries_fail_by_number_and_condition_without_values(tenant: Tenant) -> None:
    tenant.as_base("CREATE TABLE prices (amount int, PRIMARY KEY (amount))", "INSERT INTO prices VALUES (1)")
    failed = tenant.verify(
        tenant.base,
        tenant.password,
        "SELECT amount FROM prices WHERE amount % 2 = 1;",
        "SELECT ST_GeomFromText('canary-value')",
        "SELECT amount FROM nowhere",
        "DELETE FROM prices",
        "WITH found AS (SELECT 1) DELETE FROM prices",
        "SELECT 1; SELECT 2",
        "SELECT 'it''s %s, \\\\ and $$' -- a comment",
        "SELECT amount, amount FROM prices ORDER BY amount DESC LIMIT 5",
        "(SELECT 1) UNION (SELECT 2)",
        "SELECT 1 WHERE false",
        "SHUTDOWN",
        "select amount from prices for share",
    )
    assert failed == [
        "verify query 2 failed: error 3037 (SQLSTATE 22023)",
        "verify query 3 failed: error 1146 (SQLSTATE 42S02)",
        "verify query 4 failed: it has to be one SELECT",
        "verify query 5 failed: error 1792 (SQLSTATE 25006); it has to be one SELECT",
        "verify query 6 failed: error 1064 (SQLSTATE 42000); it has to be one SELECT",
        "verify query 11 failed: it has to be one SELECT",
    ]
    assert tenant.as_base("SELECT count(*) FROM prices") == [(1,)]


def test_queries_are_read_as_the_applications_are(tenant: Tenant) -> None:
    before = tenant.sql("SELECT @@GLOBAL.sql_mode")[0][0]
    tenant.as_base("CREATE TABLE `or``der` (amount int)")
    tenant.sql("SET GLOBAL sql_mode = 'ANSI_QUOTES'")
    try:
        assert tenant.verify(tenant.base, tenant.password, 'SELECT "amount" FROM "or`der"') == []
    finally:
        tenant.sql(f"SET GLOBAL sql_mode = '{before}'")


MANY = "SELECT 1 FROM information_schema.columns a, information_schema.columns b"


@pytest.mark.parametrize("query", ["SELECT repeat('x', 10000000)", f"{MANY} LIMIT 900000"])
def test_what_a_query_brings_is_not_read(tenant: Tenant, query: str) -> None:
    begun = time.monotonic()
    assert tenant.verify(tenant.base, tenant.password, query) == [
        "verify query 1 returns too much; add LIMIT 1, and select fewer columns"
    ]
    assert time.monotonic() - begun < 4


def test_only_the_first_row_is_made_where_there_is_no_limit(tenant: Tenant) -> None:
    assert tenant.verify(tenant.base, tenant.password, MANY) == []


def test_what_takes_too_long_is_cut(tenant: Tenant) -> None:
    begun = time.monotonic()
    with log_in(tenant.reach, tenant.current) as session, pytest.raises(ConnectionLost):
        session.ask("DO SLEEP(60)", seconds=0.2)
    assert time.monotonic() - begun < 5


def test_without_a_performance_schema_sessions_are_seen_or_unknown() -> None:
    with mysql_server(settings={**QUICK, "performance-schema": "OFF"}) as server:
        tenant = make_tenant(server)
        with contextlib.closing(server.connect(tenant.base, tenant.password)), tenant.open() as session:
            assert session.sessions_of(tenant.base) is None
        with contextlib.closing(server.connect(tenant.base, tenant.password)), tenant.open(tenant.superuser) as session:
            assert session.sessions_of(tenant.base) == (SessionCount("127.0.0.1", "", 1),)


def test_a_server_that_never_ends_its_answer_is_cut(tenant: Tenant) -> None:
    """Slowly enough that no single read takes long; fast enough to fill a machine's memory."""

    def flood(wire: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                wire.sendall(b"\xff\xff\xff\x00" + b"x" * 0xFFFFFF)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=lambda: flood(listener.accept()[0]), daemon=True).start()
        there = dataclasses.replace(tenant.reach, port=listener.getsockname()[1])
        with pytest.raises(Unavailable, match="does not answer as MySQL does"):
            ENGINE.verify(there, tenant.current, tenant.users)
