"""Logins and verify queries, as far as they are MariaDB's own; tests/life has what engines share."""

from __future__ import annotations

import dataclasses

import pytest

from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import (
    AuthenticationFailed,
    DatabaseError,
    Tls,
    Unavailable,
)
from sandbox.mariadb import mariadb_server
from tests.integration.mariadb.conftest import ENGINE, Tenant, make_tenant, reach


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
