"""Who is connected, who holds the lock, how a login is protected, and what an answer that never comes does."""

from __future__ import annotations

import contextlib
import dataclasses

import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import (
    AuthenticationFailed,
    DatabaseError,
    SessionCount,
    Tls,
    Unavailable,
)
from rotated_secrets.databases.mariadb import MariaDbEngine
from sandbox.mariadb import mariadb_server
from sandbox.tls import CertificateAuthority
from sandbox.waiting import eventually
from tests.integration.mariadb.conftest import ENGINE, Tenant, make_tenant, reach


def test_sessions_are_counted_by_client_and_database(tenant: Tenant) -> None:
    tenant.sql("GRANT PROCESS ON *.* TO {admin}")
    with tenant.open() as session, contextlib.ExitStack() as applications:
        assert session.sessions_of(tenant.base) == ()
        for database in (tenant.schema, tenant.schema, None):
            applications.enter_context(tenant.server.connect(tenant.base, tenant.password, database))
        assert session.sessions_of(tenant.base) == (
            SessionCount("127.0.0.1", "", 1),
            SessionCount("127.0.0.1", tenant.schema, 2),
        )


def test_who_may_not_see_sessions_says_so(tenant: Tenant) -> None:
    with tenant.open() as session, tenant.server.connect(tenant.base, tenant.password):
        assert session.sessions_of(tenant.base) is None


def test_one_operator_holds_the_lock_of_a_user(tenant: Tenant) -> None:
    with tenant.open() as first, tenant.open() as second:
        assert first.try_lock(tenant.base)
        assert first.try_lock(tenant.base)
        assert not second.try_lock(tenant.base)
        assert second.try_lock(f"another-{tenant.base}")
    with tenant.open() as third:
        eventually(lambda: third.try_lock(tenant.base), "the lock is free once its session has ended")


def test_a_holder_that_sends_nothing_loses_its_lock_and_its_session(tenant: Tenant) -> None:
    with MariaDbEngine(idle_seconds=1).open_admin(tenant.reach, tenant.admin) as frozen, tenant.open() as other:
        assert frozen.try_lock(tenant.base)
        eventually(lambda: other.try_lock(tenant.base), "the lock is free", every=0.1)
        with pytest.raises(Unavailable):
            frozen.check_users(tenant.users)


def test_a_login_is_verified_against_the_authority_and_the_name(tenant: Tenant) -> None:
    stranger = CertificateAuthority.create().certificate
    where = tenant.reach
    assert ENGINE.verify(where, tenant.current, tenant.users) == []
    for wrong in (
        dataclasses.replace(where, tls=Tls(TlsMode.VERIFY_FULL, stranger)),
        dataclasses.replace(where, tls=Tls(TlsMode.VERIFY_CA, stranger)),
        dataclasses.replace(where, host="db.example.com"),
    ):
        with pytest.raises(Unavailable, match="certificate"):
            ENGINE.verify(wrong, tenant.current, tenant.users)
    unverified = dataclasses.replace(where, tls=Tls(TlsMode.REQUIRE, stranger))
    assert ENGINE.verify(unverified, tenant.current, tenant.users) == []


def test_a_server_without_tls_gets_nothing_that_was_to_be_protected() -> None:
    with mariadb_server(tls=False) as plain:
        tenant = make_tenant(plain)
        protected = dataclasses.replace(reach(plain), tls=Tls(TlsMode.REQUIRE))
        with pytest.raises(Unavailable, match="TLS"):
            ENGINE.verify(protected, tenant.current, tenant.users)
        open_ = dataclasses.replace(protected, tls=Tls(TlsMode.DISABLE))
        assert ENGINE.verify(open_, tenant.current, tenant.users) == []


def test_a_user_that_requires_tls_gets_it_or_is_told(tenant: Tenant) -> None:
    tenant.sql("ALTER USER {base} REQUIRE SSL")
    assert tenant.verify(tenant.base, tenant.password) == []
    with pytest.raises(DatabaseError, match="TLS"):
        ENGINE.verify(dataclasses.replace(tenant.reach, tls=Tls(TlsMode.DISABLE)), tenant.current, tenant.users)


def test_verify_queries_run_read_only_as_the_user(tenant: Tenant) -> None:
    tenant.sql("CREATE TABLE {schema}.prices (id INT)")
    assert tenant.verify(tenant.base, tenant.password, "SELECT id FROM prices", "SELECT '%'") == []
    failed = tenant.verify(
        tenant.base, tenant.password, "DELETE FROM prices", "SELECT * FROM mysql.user", "SELECT 1; SELECT 2"
    )
    assert len(failed) == 3
    assert "mysql" not in " ".join(failed)


def test_a_database_that_is_not_there_is_a_failed_check(tenant: Tenant) -> None:
    gone = dataclasses.replace(tenant.current, dbname="nowhere")
    failed = ENGINE.verify(tenant.reach, gone, tenant.users)
    assert len(failed) == 1
    assert "nowhere" in failed[0]


def test_a_server_that_is_down_is_unavailable_and_comes_back() -> None:
    with mariadb_server() as server:
        tenant = make_tenant(server)
        tenant.set_clone("first")
        with tenant.open() as session:
            server.kill()
            with pytest.raises(Unavailable):
                session.check_users(tenant.users)
        with pytest.raises(Unavailable):
            tenant.verify(tenant.base, tenant.password)
        server.start()
        assert tenant.verify(tenant.clone, "first") == []


@pytest.mark.parametrize("query", ["SELECT 1 INTO OUTFILE '{path}'", "SELECT 1 /*M!100000into*/ DUMPFILE '{path}'"])
def test_a_query_writes_no_file(tenant: Tenant, query: str) -> None:
    path = tenant.server.directory / "written"
    (failed,) = ENGINE.verify(tenant.reach, tenant.superuser, tenant.users, [query.format(path=path)])
    assert "INTO" in failed
    assert not path.exists()


def test_a_user_that_is_kept_out_after_wrong_passwords_is_doubtful_until_privileges_are_flushed() -> None:
    with mariadb_server() as server:
        tenant = make_tenant(server)
        server.sql("SET GLOBAL max_password_errors = 1")
        with pytest.raises(AuthenticationFailed):
            tenant.verify(tenant.base, "wrong")
        with pytest.raises(Unavailable, match="runs: FLUSH PRIVILEGES"):
            tenant.verify(tenant.base, tenant.password)
        server.sql("FLUSH PRIVILEGES")
        assert tenant.verify(tenant.base, tenant.password) == []
