"""Logins, locks, sessions, verify queries: what is certain, what is doubtful, and what ends by itself."""

from __future__ import annotations

import contextlib
import dataclasses
import re
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Server, SessionCount, Tls, Unavailable, Users
from rotated_secrets.databases.mysql import MySqlEngine
from rotated_secrets.databases.mysql.errors import ConnectionLost
from rotated_secrets.databases.mysql.login import log_in
from rotated_secrets.values import Credential, SecretText
from sandbox.mysql import mysql_server
from sandbox.mysqld import MysqldServer
from sandbox.waiting import eventually
from tests.integration.mysql.conftest import ENGINE, QUICK, Tenant, make_tenant


@pytest.mark.parametrize(
    "change", ["DROP USER {base}", "ALTER USER {base} ACCOUNT LOCK", "ALTER USER {base} REQUIRE X509"]
)
def test_a_user_that_the_server_does_not_accept_is_an_authentication_failure(tenant: Tenant, change: str) -> None:
    tenant.sql(change)
    with pytest.raises(AuthenticationFailed, match=tenant.base):
        tenant.verify(tenant.base, tenant.password)


def test_a_wrong_password_is_certain_and_not_told(tenant: Tenant) -> None:
    for password in ("Kanarienvogel", "Kanarienvögel €"):
        with pytest.raises(AuthenticationFailed) as told:
            tenant.verify(tenant.base, password)
        assert "Kanarien" not in str(told.value)
        with pytest.raises(AuthenticationFailed):
            tenant.open(tenant.credential(tenant.base, password))


def test_half_a_credential_reaches_no_server() -> None:
    nowhere = Server("db.example", ("127.0.0.1",), 1, Tls())
    for user, password in (("", "x"), ("app", ""), ("app", "\ud800"), ("\udfff", "x")):
        with pytest.raises(AuthenticationFailed):
            ENGINE.verify(nowhere, Credential("mysql", "db.example", user, SecretText(password)), Users(user))


def test_a_database_that_does_not_let_the_user_in_is_a_failed_check(tenant: Tenant) -> None:
    for database in ("mysql", "not`there'"):
        (failed,) = ENGINE.verify(
            tenant.reach, tenant.credential(tenant.base, tenant.password, dbname=database), tenant.users
        )
        assert database in failed
        with pytest.raises(AuthenticationFailed):
            ENGINE.verify(tenant.reach, tenant.credential(tenant.base, "wrong", dbname=database), tenant.users)


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


def test_a_query_cannot_write_by_a_function(tenant: Tenant) -> None:
    tenant.as_base(
        "CREATE TABLE prices (amount int)",
        "CREATE FUNCTION spoil() RETURNS int MODIFIES SQL DATA BEGIN INSERT INTO prices VALUES (2); RETURN 1; END",
    )
    (failed,) = tenant.verify(tenant.base, tenant.password, "SELECT spoil()")
    assert "1792" in failed
    assert tenant.as_base("SELECT count(*) FROM prices") == [(0,)]


INTO = "{query} was not run: it holds the word INTO, which could write a file; leave it out"


@pytest.mark.parametrize(
    "query",
    [
        "SELECT 1 INTO OUTFILE '{path}'",
        "SELECT 1 INTO OUTFILE '{path}' FROM dual",
        "SELECT 'a\\'' , 1 into/**/dumpfile '{path}'",
        "TABLE prices INTo\n  OUTFILE '{path}'",
        "SELECT 1 /*!INTO OUTFILE '{path}'*/",
        "SELECT 1 /*!80000into*/ OUTFILE '{path}'",
        "(SELECT 1)INTO OUTFILE '{path}'",
        "SELECT 1 INTO @a",
    ],
)
def test_a_query_writes_no_file(tenant: Tenant, query: str) -> None:
    tenant.as_base("CREATE TABLE prices (amount int)")
    path = tenant.server.directory / "written"
    failed = ENGINE.verify(tenant.reach, tenant.superuser, tenant.users, [query.format(path=path)])
    assert not path.exists()
    assert failed == [INTO.format(query="verify query 1")]
    assert tenant.verify(tenant.base, tenant.password, "SELECT 1 AS intonation, 2 AS _into, 3 AS goes_into") == []


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


@pytest.mark.parametrize("slow", ["SELECT SLEEP(0.3)", "SELECT BENCHMARK(1e10, SHA2('x', 512))"])
def test_queries_that_take_too_long_together_are_a_failed_check(tenant: Tenant, slow: str) -> None:
    hasty = MySqlEngine(verify_seconds=0.7)
    begun = time.monotonic()
    (failed,) = hasty.verify(tenant.reach, tenant.current, tenant.users, [slow] * 9)
    assert re.fullmatch(
        r"verify queries took longer than 0\.7 s together \(at query [123]\); make them cheaper", failed
    )
    assert time.monotonic() - begun < 5


def test_a_query_that_waits_for_a_lock_is_tried_again(tenant: Tenant) -> None:
    tenant.as_base("CREATE TABLE prices (amount int)")
    hasty = MySqlEngine(verify_seconds=3.0)
    with contextlib.closing(tenant.server.connect(tenant.base, tenant.password, tenant.schema)) as migration:
        migration.cursor().execute("LOCK TABLES prices WRITE")
        with pytest.raises(Unavailable, match="lock"):
            hasty.verify(tenant.reach, tenant.current, tenant.users, ["SELECT * FROM prices"])


def test_a_lock_is_one_base_users_and_one_sessions(tenant: Tenant) -> None:
    with tenant.open() as first, tenant.open(tenant.superuser) as second:
        assert first.try_lock(tenant.base)
        assert first.try_lock(tenant.base)
        assert not second.try_lock(tenant.base)
        assert second.try_lock(tenant.base + "_other")
    with tenant.open() as third:
        assert third.try_lock(tenant.base)


def test_the_lock_of_a_frozen_holder_is_freed_and_its_late_statement_fails(tenant: Tenant) -> None:
    impatient = MySqlEngine(idle_seconds=1)
    with impatient.open_admin(tenant.reach, tenant.admin) as frozen, tenant.open() as next_one:
        assert frozen.try_lock(tenant.base)
        assert not next_one.try_lock(tenant.base)
        eventually(lambda: next_one.try_lock(tenant.base), "the lock is free")
        with pytest.raises(Unavailable):
            frozen.set_password(tenant.users, tenant.credential(tenant.base, "late"), Rights.ENFORCE)
        with pytest.raises(Unavailable):
            frozen.try_lock(tenant.base)
    assert tenant.verify(tenant.base, tenant.password) == []


@pytest.mark.parametrize("sees", ["threads", "PROCESS", "nothing"])
def test_sessions_are_counted_by_client_and_database_or_unknown(tenant: Tenant, sees: str) -> None:
    tenant.set_clone("first")
    if sees != "threads":
        tenant.sql("REVOKE SELECT ON performance_schema.threads FROM {admin}")
    if sees == "PROCESS":
        tenant.sql("GRANT PROCESS ON *.* TO {admin}")
    with (
        contextlib.closing(tenant.server.connect(tenant.clone, "first", tenant.schema)),
        contextlib.closing(tenant.server.connect(tenant.clone, "first", tenant.schema)),
        contextlib.closing(tenant.server.connect(tenant.clone, "first")),
        tenant.open() as session,
    ):
        if sees == "nothing":
            assert session.sessions_of(tenant.clone) is None
        else:
            assert session.sessions_of(tenant.clone) == (
                SessionCount("127.0.0.1", "", 1),
                SessionCount("127.0.0.1", tenant.schema, 2),
            )
            assert session.sessions_of(tenant.base) == ()


def test_a_session_does_not_count_itself(tenant: Tenant) -> None:
    with tenant.open() as session:
        assert session.sessions_of(tenant.admin.username) == ()


def test_what_takes_too_long_is_cut(tenant: Tenant) -> None:
    begun = time.monotonic()
    with log_in(tenant.reach, tenant.current) as session, pytest.raises(ConnectionLost):
        session.ask("DO SLEEP(60)", seconds=0.2)
    assert time.monotonic() - begun < 5


# What was committed is there after a crash of the server's process.
BREAKABLE = {**QUICK, "max-connections": "12", "performance-schema": "OFF", "innodb-flush-log-at-trx-commit": "2"}


@pytest.fixture(scope="module")
def small() -> Iterator[MysqldServer]:
    """A server of this module's own, to break."""
    with mysql_server(settings=BREAKABLE) as server:
        yield server


def test_a_full_server_is_unavailable(small: MysqldServer) -> None:
    tenant = make_tenant(small)
    with contextlib.ExitStack() as stack:
        for _ in range(12):
            stack.enter_context(contextlib.closing(small.connect(tenant.base, tenant.password)))
        with pytest.raises(Unavailable, match="too many connections"):
            tenant.verify(tenant.base, tenant.password)
        with pytest.raises(Unavailable, match="too many connections"):
            tenant.open()


def test_a_user_at_its_limit_is_unavailable(small: MysqldServer) -> None:
    tenant = make_tenant(small)
    tenant.sql("ALTER USER {base} WITH MAX_USER_CONNECTIONS 1")
    with (
        contextlib.closing(small.connect(tenant.base, tenant.password)),
        pytest.raises(Unavailable, match="resource limits"),
    ):
        tenant.verify(tenant.base, tenant.password)


def test_without_a_performance_schema_sessions_are_seen_or_unknown(small: MysqldServer) -> None:
    tenant = make_tenant(small)
    with contextlib.closing(small.connect(tenant.base, tenant.password)), tenant.open() as session:
        assert session.sessions_of(tenant.base) is None
    with contextlib.closing(small.connect(tenant.base, tenant.password)), tenant.open(tenant.superuser) as session:
        assert session.sessions_of(tenant.base) == (SessionCount("127.0.0.1", "", 1),)


def test_an_outage_in_the_middle_is_unavailable_and_over_when_the_server_is_back(small: MysqldServer) -> None:
    tenant = make_tenant(small)
    with tenant.open() as session:
        small.kill()
        with pytest.raises(Unavailable):
            session.check_users(tenant.users)
        with pytest.raises(Unavailable):
            session.try_lock(tenant.base)
    with pytest.raises(Unavailable, match="cannot be reached"):
        tenant.verify(tenant.base, tenant.password)
    small.start()
    assert tenant.verify(tenant.base, tenant.password) == []


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
