"""A tenant that owns a schema gains nothing from the admin's session, nor from what is looked at as itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from pymysql import MySQLError

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, RightsReport, Users
from sandbox.mysql import mysql_server
from sandbox.mysqld import MysqldServer
from tests.integration.mysql.conftest import ENGINE, Tenant, make_tenant

BUILT_IN = ("GET_LOCK", "HEX", "CONVERT", "JSON_EXTRACT", "JSON_UNQUOTE", "CURRENT_USER", "CURRENT_ROLE", "COUNT")


def rotate_everything(tenant: Tenant) -> None:
    with tenant.open() as session:
        assert session.try_lock(tenant.base)
        session.check_users(tenant.users)
        made = session.set_password(tenant.users, tenant.credential(tenant.clone, "first"), Rights.ENFORCE)
        assert made == RightsReport()
        assert session.sessions_of(tenant.clone) == ()
        session.disable_login(tenant.clone)
        session.set_password(tenant.users, tenant.credential(tenant.clone, "second"), Rights.ENFORCE)
        session.set_password(tenant.users, tenant.current, Rights.ENFORCE)
    assert tenant.verify(tenant.clone, "second") == []
    assert tenant.verify(tenant.base, tenant.password) == []


def test_the_admins_session_is_in_no_schema(tenant: Tenant) -> None:
    with tenant.open(dataclasses.replace(tenant.admin, dbname=tenant.schema)):
        seen = tenant.sql(f"SELECT DB FROM performance_schema.processlist WHERE USER = '{tenant.admin.username}'")
    assert seen == [(None,)]


def test_look_alikes_of_functions_and_tables_are_not_called(tenant: Tenant) -> None:
    tenant.as_base(
        "CREATE TABLE trapped (by_whom text)",
        *(
            f"CREATE FUNCTION `{name}`(x text) RETURNS text MODIFIES SQL DATA "
            "BEGIN INSERT INTO trapped VALUES (CURRENT_USER()); RETURN '1'; END"
            for name in BUILT_IN
        ),
        "CREATE VIEW user AS SELECT 1 AS User, 2 AS Host",
        "CREATE VIEW threads AS SELECT 1 AS PROCESSLIST_ID",
    )
    rotate_everything(tenant)
    with tenant.open(dataclasses.replace(tenant.admin, dbname=tenant.schema)) as session:
        session.check_users(tenant.users)
    assert tenant.as_base("SELECT * FROM trapped") == []


def test_views_that_would_run_as_who_looks_are_not_run(tenant: Tenant) -> None:
    """The catalog is asked for definers, and must not open what they define."""
    tenant.as_base(
        "CREATE TABLE trapped (by_whom text)",
        "CREATE FUNCTION trap() RETURNS int MODIFIES SQL DATA SQL SECURITY INVOKER "
        "BEGIN INSERT INTO trapped VALUES (CURRENT_USER()); RETURN 1; END",
        "CREATE SQL SECURITY INVOKER VIEW baited AS SELECT trap() AS x",
    )
    rotate_everything(tenant)
    assert tenant.as_base("SELECT * FROM trapped") == []


@pytest.mark.parametrize("victim", ["admin", "root_like"])
def test_a_suffix_that_makes_somebody_elses_name_is_refused(tenant: Tenant, victim: str) -> None:
    """Whoever writes a RotatedSecret chooses the suffix: `app` and `_reports` is the user `app_reports`."""
    name = tenant.base + "_reports"
    grants = {
        "admin": "GRANT ALL ON *.* TO `{}`@'{}' WITH GRANT OPTION",
        "root_like": "GRANT SELECT ON mysql.* TO `{}`@'{}'",
    }
    tenant.sql(f"CREATE USER `{name}`@'{tenant.host}' IDENTIFIED BY 'theirs'", grants[victim].format(name, tenant.host))
    users = Users(tenant.base, name)
    with tenant.open(tenant.superuser) as session:
        with pytest.raises(Refused, match="not provably the clone"):
            session.check_users(users)
        with pytest.raises(Refused, match="not provably the clone"):
            session.set_password(users, tenant.credential(name, "stolen"), Rights.IGNORE)
    assert ENGINE.verify(tenant.reach, tenant.credential(name, "theirs", dbname=None), users) == []


def test_name_of_a_database_that_does_not_exist_is_not_shown_for_it_may_be_a_password(tenant: Tenant) -> None:
    wrong = tenant.credential(tenant.base, tenant.password, dbname="hunter2canary")
    (failure,) = ENGINE.verify(tenant.reach, wrong, Users(tenant.base, None))
    assert "the database that dbname names" in failure
    assert "canary" not in failure


def test_a_tenant_cannot_mark_a_user_as_its_clone(tenant: Tenant) -> None:
    tenant.sql("CREATE USER {clone} IDENTIFIED BY 'theirs'", "GRANT PROCESS ON *.* TO {clone}")
    mark = f"""ATTRIBUTE '{{"rotated-secrets": {{"clone-of": "{tenant.base}@{tenant.host}"}}}}'"""
    for whom in ("USER()", "{clone}", "{base}"):
        with pytest.raises(MySQLError):
            tenant.as_base(f"ALTER USER {whom} {mark}")


@pytest.fixture(scope="module")
def hostile() -> Iterator[MysqldServer]:
    """A server whose defaults break every statement that depends on them."""
    settings = {
        "sql-mode": "ANSI,NO_BACKSLASH_ESCAPES,TRADITIONAL,PAD_CHAR_TO_FULL_LENGTH,REAL_AS_FLOAT",
        "init-connect": "SET sql_select_limit = 0, sql_quote_show_create = 0, lock_wait_timeout = 1, autocommit = 0",
        "character-set-server": "latin1",
        "collation-server": "latin1_german2_ci",
        "lc-messages": "de_DE",
        "wait-timeout": "1",
        "interactive-timeout": "1",
        "max-execution-time": "1",
        "completion-type": "CHAIN",
        "transaction-isolation": "SERIALIZABLE",
        "show-create-table-verbosity": "ON",
        "print-identified-with-as-hex": "ON",
    }
    with mysql_server(settings=settings) as server:
        yield server


def test_the_servers_defaults_do_not_hold_for_the_session(hostile: MysqldServer) -> None:
    tenant = make_tenant(hostile, base="wöird `\"' name", schema='sch`e"ma')
    rotate_everything(tenant)
    # To be compared as text.
    hostile.sql("SET GLOBAL sql_mode = ''", "SET GLOBAL print_identified_with_as_hex = OFF")
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_a_missing_privilege_is_named_whatever_the_servers_language(hostile: MysqldServer) -> None:
    tenant = make_tenant(hostile)
    tenant.sql("GRANT SYSTEM_USER ON *.* TO {base}")
    with pytest.raises(Refused, match="it needs the privilege SYSTEM_USER"):
        tenant.set(tenant.base, "second", alone=True)
