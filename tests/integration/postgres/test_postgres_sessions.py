"""Logins, sessions and verify queries, as far as they are PostgreSQL's own; tests/life has what engines share."""

from __future__ import annotations

import contextlib
import dataclasses
import socket
import threading
import time
from collections.abc import Callable, Iterator

import psycopg2
import pytest

from rotated_secrets.databases.base import AuthenticationFailed, Refused, Unavailable, Users
from rotated_secrets.databases.postgres import PostgresEngine, engine
from rotated_secrets.databases.postgres.admin import PostgresAdminSession
from rotated_secrets.databases.postgres.login import deadline, log_in
from sandbox.postgres import Installation, installations, postgres_server
from tests.integration.postgres.conftest import ENGINE, Tenant, make_tenant, reach

# What a session goes through is the same in every version; rights and passwords are not.
pytestmark = pytest.mark.parametrize("installation", installations()[:1], indirect=True, ids=str)


@contextlib.contextmanager
def logins(tenant: Tenant) -> Iterator[Callable[[], int]]:
    """How many connections the tenant's users and admin began since."""
    before = len(tenant.server.log())
    yield lambda: sum("connection received" in line for line in tenant.server.log()[before:].splitlines())


def test_each_call_that_logs_in_does_so_once(tenant: Tenant) -> None:
    with logins(tenant) as count:
        tenant.verify(tenant.base, tenant.password, "SELECT 1", "SELECT 2")
        assert count() == 1
        tenant.set_clone("first")
        assert count() == 2
        with pytest.raises(AuthenticationFailed):
            tenant.verify(tenant.clone, "wrong")
        assert count() == 3


def test_a_wrong_password_is_tried_at_one_address_alone(tenant: Tenant) -> None:
    twice = dataclasses.replace(tenant.reach, addresses=("127.0.0.1", "127.0.0.1"))
    with logins(tenant) as count, pytest.raises(AuthenticationFailed):
        ENGINE.verify(twice, tenant.credential(tenant.base, "wrong"), tenant.users)
    assert count() == 1


def test_the_next_address_is_tried_when_one_does_not_answer(tenant: Tenant) -> None:
    # Nothing listens on 127.0.0.2.
    second = dataclasses.replace(tenant.reach, addresses=("127.0.0.2", "127.0.0.1"))
    assert ENGINE.verify(second, tenant.current, tenant.users) == []


def test_queries_fail_by_number_and_condition_without_values(tenant: Tenant) -> None:
    tenant.as_base("CREATE TABLE prices (amount int)", "INSERT INTO prices VALUES (1)")
    failed = tenant.verify(
        tenant.base,
        tenant.password,
        "SELECT amount FROM prices WHERE amount % 2 = 1;",
        "SELECT 'canary-value'::int",
        "SELECT amount FROM nowhere",
        "DELETE FROM prices",
        "SELECT nextval('no')",
        "SELECT repeat('x', 1000) FROM generate_series(1, 10000) a, generate_series(1, 10000) b",
        "SELECT 1; SELECT 2",
        "SELECT 'it''s %s, \\ and $$'; -- a comment",
        "SELECT 1 / (n - 3) FROM generate_series(1, 5) n WHERE n > 2",
        "SELECT 1 WHERE false",
    )
    assert failed == [
        "verify query 2 failed: SQLSTATE 22P02 (InvalidTextRepresentation)",
        "verify query 3 failed: SQLSTATE 42P01 (UndefinedTable)",
        "verify query 4 failed: SQLSTATE 42P11 (InvalidCursorDefinition); it has to be one SELECT",
        "verify query 5 failed: SQLSTATE 42P01 (UndefinedTable)",
        "verify query 7 failed: SQLSTATE 42P11 (InvalidCursorDefinition); it has to be one SELECT",
        "verify query 9 failed: SQLSTATE 22012 (DivisionByZero)",
    ]
    assert tenant.as_base("SELECT count(*) FROM prices") == [(1,)]


def test_a_query_cannot_leave_its_transaction(tenant: Tenant) -> None:
    tenant.as_base("CREATE TABLE prices (amount int)")
    (failed,) = tenant.verify(tenant.base, tenant.password, "SELECT 1; COMMIT; INSERT INTO prices VALUES (1)")
    assert "has to be one SELECT" in failed
    assert tenant.as_base("SELECT count(*) FROM prices") == [(0,)]


@contextlib.contextmanager
def relay(port: int) -> Iterator[tuple[int, list[int]]]:
    """A port that leads to another for one connection, and the sizes of what came from there."""
    sizes: list[int] = []

    def pump(source: socket.socket, sink: socket.socket, sizes: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sizes.append(len(data))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def run(listener: socket.socket) -> None:
        client, _ = listener.accept()
        with client, socket.create_connection(("127.0.0.1", port)) as server:
            there = threading.Thread(target=pump, args=(client, server, []), daemon=True)
            there.start()
            pump(server, client, sizes)
            there.join(10)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        running = threading.Thread(target=run, args=(listener,), daemon=True)
        running.start()
        yield listener.getsockname()[1], sizes
        running.join(10)


@pytest.mark.parametrize("query", ["SELECT repeat('x', 10000000)", "SELECT 1; SELECT repeat('x', 10000000)"])
def test_not_even_one_row_of_a_query_is_brought(tenant: Tenant, query: str) -> None:
    with relay(tenant.server.port) as (port, sizes):
        ENGINE.verify(dataclasses.replace(tenant.reach, port=port), tenant.current, tenant.users, [query])
    assert 0 < sum(sizes) < 100_000


def test_a_query_that_does_not_let_itself_be_ended_is_cut(tenant: Tenant) -> None:
    tenant.as_base(
        "CREATE FUNCTION endless() RETURNS int LANGUAGE plpgsql AS $$ BEGIN LOOP BEGIN PERFORM pg_sleep(60); "
        "EXCEPTION WHEN query_canceled THEN NULL; END; END LOOP; END $$",
    )
    begun = time.monotonic()
    with pytest.raises(Unavailable):
        PostgresEngine(verify_seconds=0.2).verify(tenant.reach, tenant.current, tenant.users, ["SELECT endless()"])
    assert time.monotonic() - begun < 5


def test_what_takes_too_long_is_cut(tenant: Tenant) -> None:
    connection = tenant.server.connect(tenant.base, tenant.password, tenant.database)
    with (
        contextlib.closing(connection),
        pytest.raises(psycopg2.OperationalError),
        deadline(connection, 0.2),
        connection.cursor() as cursor,
    ):
        cursor.execute("SELECT pg_sleep(60)")


def test_a_server_that_asks_no_password_proves_nothing(installation: Installation) -> None:
    with postgres_server(installation, hba=["host all all 127.0.0.1/32 trust"]) as server:
        tenant = make_tenant(server)
        with pytest.raises(Unavailable, match="asks for none"):
            ENGINE.verify(reach(server), tenant.credential(tenant.base, "anything"), Users(tenant.base))


def test_session_whose_settings_a_pooler_dropped_is_not_used(tenant: Tenant) -> None:
    """As PgBouncer with ignore_startup_parameters=options makes it."""
    with (
        contextlib.closing(log_in(tenant.reach, tenant.admin, "postgres", {})) as connection,
        pytest.raises(Refused, match="a pooler in between drops them"),
    ):
        PostgresAdminSession(connection, tenant.reach, tenant.admin.username)


def test_a_session_of_somebody_else_is_no_login(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pooler may log in as a user of its own, whoever asked."""
    monkeypatch.setattr(engine, "_WHO", engine._WHO.replace("SESSION_USER", "'pooled'", 1))
    with pytest.raises(AuthenticationFailed, match="the session belongs to pooled"):
        tenant.verify(tenant.base, tenant.password)
