"""Logins that are certain to fail, doubtful ones, and failed checks: one test for every engine that has the case."""

from __future__ import annotations

import dataclasses
from contextlib import ExitStack

import psycopg2
import pymysql
import pytest

from rotated_secrets.databases.base import AuthenticationFailed, Unavailable
from sandbox.applications.base import Account
from sandbox.applications.engines import ENGINES
from sandbox.applications.mongo import MongoSide
from sandbox.applications.redis import RedisSide
from sandbox.waiting import eventually
from tests.life.conftest import for_engine
from tests.support.database_tenant import Tenant

MOST_CONNECTIONS = 100
"""More than any server here takes."""


@for_engine(*ENGINES)
def test_a_wrong_password_is_certain_and_in_no_message(tenant: Tenant) -> None:
    for password in ("Kanarienvogel", "Kanarienvögel €"):
        with pytest.raises(AuthenticationFailed, match=tenant.base) as verified:
            tenant.verify(tenant.with_password(password))
        with pytest.raises(AuthenticationFailed, match=tenant.base) as opened:
            tenant.open(tenant.with_password(password))
        with pytest.raises(AuthenticationFailed, match=tenant.admin.user) as admins:
            tenant.open(Account(tenant.admin.user, password))
        for error in (verified, opened, admins):
            assert "Kanarien" not in str(error.value)


@pytest.mark.parametrize(
    ("engine", "change"),
    [
        ("postgres", "ALTER ROLE {base} NOLOGIN"),
        ("postgres", "ALTER ROLE {base} VALID UNTIL '2001-01-01'"),
        ("postgres", "ALTER ROLE {base} PASSWORD NULL"),
        ("postgres", "ALTER ROLE {base} RENAME TO {base}_gone"),
        ("mysql", "DROP USER {base}"),
        ("mysql", "ALTER USER {base} ACCOUNT LOCK"),
        ("mysql", "ALTER USER {base} REQUIRE X509"),
        ("mariadb", "DROP USER {base}"),
        ("mariadb", "ALTER USER {base} ACCOUNT LOCK"),
        ("mongo", '{"dropUser": "{base}"}'),
        ("redis", "ACL SETUSER {base} off"),
    ],
)
def test_a_user_that_the_server_does_not_accept_is_an_authentication_failure(tenant: Tenant, change: str) -> None:
    tenant.run(change)
    with pytest.raises(AuthenticationFailed, match=tenant.base):
        tenant.verify()


@pytest.mark.parametrize(
    ("engine", "limit", "why"),
    [
        ("postgres", "ALTER ROLE {base} CONNECTION LIMIT 1", "too many connections"),
        ("mysql", "ALTER USER {base} WITH MAX_USER_CONNECTIONS 1", "resource limits"),
    ],
)
def test_a_user_at_its_limit_is_unavailable(tenant: Tenant, limit: str, why: str) -> None:
    tenant.run(limit)
    with tenant.connected(tenant.account), pytest.raises(Unavailable, match=why):
        tenant.verify()


@for_engine("postgres", "mysql", "mariadb")
def test_a_full_server_is_unavailable(tenant: Tenant) -> None:
    with ExitStack() as connections:
        try:
            for _ in range(MOST_CONNECTIONS):
                connections.enter_context(tenant.connected(tenant.account))
        except (psycopg2.OperationalError, pymysql.OperationalError):
            pass
        else:
            pytest.fail("the server is not full")
        with pytest.raises(Unavailable, match="too many connections"):
            tenant.verify()
        with pytest.raises(Unavailable, match="too many connections"):
            tenant.open()
    eventually(lambda: _lets_in(tenant), "the server is no longer full")


@pytest.mark.parametrize(
    ("engine", "database"),
    [
        ("postgres", "host=127.0.0.9 user=x"),
        ("mysql", "mysql"),
        ("mysql", "not`there'"),
        ("mariadb", "mysql"),
        ("mariadb", "nowhere"),
    ],
)
def test_a_database_that_does_not_let_the_user_in_is_a_failed_check(tenant: Tenant, database: str) -> None:
    """Which only a login with the right password finds out. Its name may be a password in the wrong key."""
    elsewhere = dataclasses.replace(tenant.account, database=database)
    (failed,) = tenant.verify(elsewhere)
    assert "the database that dbname names" in failed
    with pytest.raises(AuthenticationFailed):
        tenant.verify(dataclasses.replace(elsewhere, password="wrong"))


@pytest.mark.parametrize(
    ("engine", "patience"),
    [
        ("mongo", ("mongo.login.CONNECT_SECONDS", "mongo.login.LOGIN_SECONDS")),
        ("redis", ("redis.engine.LOGIN_SECONDS",)),
    ],
    ids=("mongo", "redis"),
)
def test_a_frozen_server_is_unavailable(
    tenant: Tenant, patience: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in patience:
        monkeypatch.setattr(f"rotated_secrets.databases.{name}", 0.3)
    assert isinstance(tenant.side, MongoSide | RedisSide)
    tenant.side.server.freeze()
    try:
        with pytest.raises(Unavailable):
            tenant.verify()
    finally:
        tenant.side.server.thaw()
    monkeypatch.undo()
    assert tenant.verify() == []


def _lets_in(tenant: Tenant) -> bool:
    try:
        return tenant.verify() == []
    except Unavailable:
        return False
