"""Setting passwords: who may, what the server logs of them, and what an existing user must be."""

from __future__ import annotations

import dataclasses

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Unavailable, Users
from rotated_secrets.values import SecretText
from sandbox.mysqld import MysqldServer
from tests.integration.mysql.conftest import ENGINE, Tenant, make_tenant, quoted

CANARY = "Kanarienvogel-7!'\\\"`%s\\' ü€"


def logs_in(tenant: Tenant, user: str, password: str) -> bool:
    try:
        return tenant.verify(user, password) == []
    except AuthenticationFailed:
        return False


@pytest.mark.parametrize("who", ["admin", "superuser"])
def test_a_missing_clone_is_created_complete_and_logs_in(tenant: Tenant, who: str) -> None:
    assert tenant.set_clone("first", admin=getattr(tenant, who)) == RightsReport()
    assert tenant.verify(tenant.clone, "first", "SELECT 1") == []
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_setting_again_replaces_the_password_and_nothing_else(tenant: Tenant) -> None:
    tenant.set_clone("first")
    assert tenant.set_clone("second") == RightsReport()
    assert logs_in(tenant, tenant.clone, "second")
    assert not logs_in(tenant, tenant.clone, "first")


def test_the_base_users_turn_comes_after_the_clones(tenant: Tenant) -> None:
    tenant.set_clone("first")
    assert tenant.set(tenant.base, "second") == RightsReport()
    assert logs_in(tenant, tenant.base, "second")
    assert logs_in(tenant, tenant.clone, "first")


@pytest.mark.parametrize("plugin", ["caching_sha2_password", "sha256_password"])
def test_the_plugin_of_an_account_is_kept(mysql: MysqldServer, plugin: str) -> None:
    tenant = make_tenant(mysql, plugin=plugin)
    tenant.set_clone("first")
    tenant.set(tenant.base, "second")
    for user, password in ((tenant.clone, "first"), (tenant.base, "second")):
        assert tenant.sql(f"SELECT plugin FROM mysql.user WHERE User = '{user}'") == [(plugin,)]
        assert logs_in(tenant, user, password)


def test_a_single_user_changes_its_own_password_without_an_admin(tenant: Tenant) -> None:
    tenant.set(tenant.base, "second", admin=tenant.current, alone=True)
    assert logs_in(tenant, tenant.base, "second")


def test_a_user_that_must_prove_its_password_to_change_it_does(tenant: Tenant) -> None:
    tenant.sql("ALTER USER {base} PASSWORD REQUIRE CURRENT")
    alone = Users(tenant.base)
    with tenant.open(tenant.current) as session:
        session.set_password(alone, tenant.credential(tenant.base, "second"), Rights.ENFORCE)
        session.set_password(alone, tenant.credential(tenant.base, tenant.password), Rights.ENFORCE)
    assert logs_in(tenant, tenant.base, tenant.password)


def test_an_admins_own_password_is_set_by_itself(tenant: Tenant) -> None:
    alone = Users(tenant.admin.username)
    changed = dataclasses.replace(tenant.admin, password=SecretText("changed"))
    with tenant.open() as session:
        session.check_users(alone)
        session.set_password(alone, changed, Rights.ENFORCE)
    assert ENGINE.verify(tenant.reach, changed, alone) == []


def test_no_password_reaches_a_log_of_the_server(tenant: Tenant) -> None:
    tenant.set_clone(CANARY)
    tenant.set(tenant.base, CANARY + "2")
    tenant.set(tenant.base, CANARY + "3", keep=CANARY + "2")
    tenant.set(tenant.base, CANARY + "3", alone=True)
    own = tenant.credential(tenant.base, CANARY + "3")
    tenant.sql("ALTER USER {base} PASSWORD REQUIRE CURRENT")
    tenant.set(tenant.base, CANARY + "4", admin=own, alone=True)
    tenant.verify(tenant.clone, CANARY, "SELECT 1")
    log = tenant.server.log()
    assert f"ALTER USER '{tenant.base}'@'{tenant.host}' IDENTIFIED WITH 'caching_sha2_password' BY <secret>" in log
    assert "Kanarienvogel" not in log
    assert tenant.admin.password.reveal() not in log
    assert b"Kanarienvogel" not in tenant.server.binlog()
    assert tenant.clone.encode() in tenant.server.binlog()
    for table in ("events_statements_history", "events_statements_history_long", "threads"):
        seen = "PROCESSLIST_INFO" if table == "threads" else "SQL_TEXT"
        # Taken apart, not to be found itself.
        found = f"SELECT COUNT(*) FROM performance_schema.{table} WHERE {seen} LIKE CONCAT('%Kanarien', 'vogel%')"
        assert tenant.sql(found) == [(0,)]


@pytest.mark.parametrize("mode", ["", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES", "ANSI,NO_BACKSLASH_ESCAPES,TRADITIONAL"])
def test_a_password_is_what_it_is_whatever_the_servers_sql_mode(tenant: Tenant, mode: str) -> None:
    before = tenant.sql("SELECT @@GLOBAL.sql_mode")[0][0]
    tenant.sql(f"SET GLOBAL sql_mode = '{mode}'", "SET GLOBAL sql_quote_show_create = 0")
    try:
        tenant.set_clone(CANARY)
        assert tenant.set_clone(CANARY) == RightsReport()
        assert logs_in(tenant, tenant.clone, CANARY)
    finally:
        tenant.sql(f"SET GLOBAL sql_mode = '{before}'", "SET GLOBAL sql_quote_show_create = 1")
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_a_locked_user_is_out_until_its_password_is_set(tenant: Tenant) -> None:
    tenant.set_clone("first")
    with tenant.open() as session:
        session.disable_login(tenant.clone)
    with pytest.raises(AuthenticationFailed, match="ACCOUNT LOCK"):
        tenant.verify(tenant.clone, "first")
    tenant.set_clone("first")
    assert logs_in(tenant, tenant.clone, "first")


def test_a_user_whose_password_expired_does_not_log_in_until_it_is_set(tenant: Tenant) -> None:
    tenant.sql("ALTER USER {base} PASSWORD EXPIRE")
    with pytest.raises(AuthenticationFailed, match="expired"):
        tenant.verify(tenant.base, tenant.password)
    tenant.set(tenant.base, tenant.password)
    assert logs_in(tenant, tenant.base, tenant.password)


def test_a_user_that_is_locked_for_a_while_is_doubtful_and_free_when_its_password_is_set(tenant: Tenant) -> None:
    tenant.sql("ALTER USER {base} FAILED_LOGIN_ATTEMPTS 1 PASSWORD_LOCK_TIME UNBOUNDED")
    with pytest.raises((AuthenticationFailed, Unavailable)):
        tenant.verify(tenant.base, "wrong")
    with pytest.raises(Unavailable, match="FAILED_LOGIN_ATTEMPTS"):
        tenant.verify(tenant.base, tenant.password)
    tenant.set(tenant.base, tenant.password)
    assert logs_in(tenant, tenant.base, tenant.password)


@pytest.mark.parametrize(
    "name",
    ["we`ird", "a TO b", "semi;colon --", "per%cent %s", "line\nbreak", "dot.ted", "Ünï", "back\\slash'", "at@x"],
)
def test_hostile_names_are_names_and_nothing_else(mysql: MysqldServer, name: str) -> None:
    odd = make_tenant(mysql, base=f"{name} base", schema=f"{name} shop")
    odd.sql("CREATE TABLE {schema}.`a``b` (`c, d` int)", "GRANT SELECT (`c, d`) ON {schema}.`a``b` TO {base}")
    try:
        assert odd.set_clone("first") == RightsReport()
        assert odd.verify(odd.clone, "first", "SELECT 1") == []
        assert odd.described(odd.clone) == odd.described(odd.base)
        assert odd.set_clone("second") == RightsReport()
        with odd.open() as session:
            assert session.sessions_of(odd.clone) == ()
            session.disable_login(odd.clone)
    finally:
        odd.sql("DROP DATABASE {schema}", "DROP USER {base}, {clone}")


def test_a_name_the_server_would_not_take_is_refused_by_its_length(tenant: Tenant) -> None:
    ENGINE.check_username("ü" * 32)
    for name in ("ü" * 33, "", "trailing ", "emoji 🐦", "mysql.sys"):
        with pytest.raises(Refused):
            ENGINE.check_username(name)
    long = Users(tenant.base, tenant.base + "x" * 30)
    with tenant.open() as session:
        with pytest.raises(Refused, match="32"):
            session.check_users(long)
        with pytest.raises(Refused, match="32"):
            session.set_password(long, tenant.credential(str(long.clone), "first"), Rights.ENFORCE)


def test_a_missing_base_user_is_refused(tenant: Tenant) -> None:
    with tenant.open() as session, pytest.raises(Refused, match="does not exist"):
        session.check_users(Users("nobody_here", "nobody_here_clone"))


def test_a_user_name_with_several_accounts_is_refused(tenant: Tenant) -> None:
    """Pods would meet one or the other, and each has a password of its own."""
    tenant.sql(f"CREATE USER {quoted(tenant.base)}@'10.%' IDENTIFIED BY 'another'")
    with tenant.open() as session, pytest.raises(Refused, match=r"2 accounts at .*@10\.% and .*@127\.%"):
        session.check_users(tenant.users)
    assert logs_in(tenant, tenant.base, tenant.password)


def test_an_account_for_the_servers_own_machine_is_nobodys_business(tenant: Tenant) -> None:
    tenant.sql(f"CREATE USER {quoted(tenant.base)}@localhost IDENTIFIED BY 'another'")
    tenant.set_clone("first")
    assert tenant.sql(f"SELECT Host FROM mysql.user WHERE User = '{tenant.clone}'") == [(tenant.host,)]


@pytest.mark.parametrize(
    ("revoked", "needed"),
    [
        ("REVOKE CREATE USER ON *.* FROM {admin}", r"GRANT CREATE USER ON \*\.\* TO 'admin_\w+'@'%'"),
        ("REVOKE SELECT ON mysql.* FROM {admin}", r"GRANT SELECT ON mysql\.\* TO 'admin_\w+'@'%'"),
    ],
)
def test_an_admin_that_lacks_a_privilege_is_told_what_to_run(tenant: Tenant, revoked: str, needed: str) -> None:
    tenant.sql(revoked)
    with tenant.open() as session, pytest.raises(Refused, match=needed):
        session.check_users(tenant.users)


def test_privileges_by_an_active_role_count(tenant: Tenant) -> None:
    role = f"{tenant.admin.username}_role"
    tenant.sql(
        f"CREATE ROLE {role}",
        f"GRANT CREATE USER ON *.* TO {role}",
        f"GRANT SELECT ON mysql.* TO {role}",
        "REVOKE CREATE USER ON *.* FROM {admin}",
        "REVOKE SELECT ON mysql.* FROM {admin}",
        f"GRANT {role} TO {{admin}}",
        f"SET DEFAULT ROLE {role} TO {{admin}}",
    )
    assert tenant.set_clone("first") == RightsReport()
    assert logs_in(tenant, tenant.clone, "first")


def test_only_an_admin_with_system_user_changes_a_system_user(tenant: Tenant) -> None:
    tenant.sql("GRANT SYSTEM_USER ON *.* TO {base}")
    with pytest.raises(Refused, match="SYSTEM_USER"):
        tenant.set(tenant.base, "second", alone=True)
    tenant.set(tenant.base, "second", admin=tenant.superuser, alone=True)
    assert logs_in(tenant, tenant.base, "second")


@pytest.mark.parametrize(
    ("made_by", "why"),
    [
        (("CREATE USER {clone} IDENTIFIED BY 'x'",), "no rights at all"),
        (("CREATE USER {clone} IDENTIFIED BY 'x'", "GRANT PROCESS ON *.* TO {clone}"), r"PROCESS on \*\.\*"),
        (
            ("CREATE USER {clone} IDENTIFIED BY 'x'", "GRANT SELECT ON {schema}.* TO {clone} WITH GRANT OPTION"),
            "GRANT OPTION",
        ),
        (("CREATE USER {clone} IDENTIFIED BY 'x'", "GRANT SELECT ON mysql.* TO {clone}"), "SELECT on `mysql`"),
        (("CREATE ROLE {clone}", "GRANT SELECT ON {schema}.* TO {clone}"), "role"),
        (
            ('CREATE USER {clone} IDENTIFIED BY \'x\' ATTRIBUTE \'{"rotated-secrets": {"clone-of": "them@%"}}\'',),
            "them",
        ),
    ],
)
def test_a_user_with_the_clones_name_is_refused_before_anything_changes(
    tenant: Tenant, made_by: tuple[str, ...], why: str
) -> None:
    tenant.sql(*made_by)
    before = tenant.sql("SHOW CREATE USER {clone}")
    pending = tenant.credential(tenant.clone, "stolen")
    with tenant.open() as session:
        with pytest.raises(Refused, match=why):
            session.check_users(tenant.users)
        with pytest.raises(Refused, match=why):
            session.set_password(tenant.users, pending, Rights.IGNORE)
    assert tenant.sql("SHOW CREATE USER {clone}") == before


def test_the_statement_that_a_refusal_names_makes_it_the_clone(tenant: Tenant) -> None:
    tenant.sql("CREATE USER {clone} IDENTIFIED BY 'x'", "GRANT PROCESS ON *.* TO {clone}")
    with pytest.raises(Refused) as told:
        tenant.set_clone("first")
    statement = str(told.value).partition("if it is the clone: ")[2]
    tenant.server.sql(statement)
    report = tenant.set_clone("first", admin=tenant.superuser)
    assert f"{tenant.clone} has PROCESS on *.* by itself" in report.repaired
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_a_clone_with_another_host_part_is_refused(tenant: Tenant) -> None:
    tenant.sql(f"CREATE USER {quoted(tenant.clone)}@'%' IDENTIFIED BY 'x'")
    with tenant.open() as session, pytest.raises(Refused, match=r"RENAME USER .* TO .*127"):
        session.check_users(tenant.users)


def test_a_clone_made_by_awss_template_is_adopted_and_completed(tenant: Tenant) -> None:
    """CREATE USER, and the lines of SHOW GRANTS with the user's name replaced: no options, no mark."""
    tenant.sql("ALTER USER {base} REQUIRE SSL WITH MAX_USER_CONNECTIONS 40")
    tenant.sql("CREATE USER {clone} IDENTIFIED BY 'old'", "GRANT ALL ON {schema}.* TO {clone}")
    report = tenant.set_clone("new")
    assert f"{tenant.clone} has another REQUIRE than its base user" in report.repaired
    assert report.remaining == ()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    assert logs_in(tenant, tenant.clone, "new")
    assert not logs_in(tenant, tenant.clone, "old")


def test_a_clone_of_an_older_plugin_gets_its_base_users(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.sql("ALTER USER {clone} IDENTIFIED WITH sha256_password BY 'first'")
    other = f"{tenant.clone} logs in by another plug-in than {tenant.base}"
    assert tenant.set_clone("first", Rights.REPORT) == RightsReport(remaining=(other,))
    assert tenant.set_clone("second") == RightsReport(repaired=(other,))
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    assert logs_in(tenant, tenant.clone, "second")


def test_a_credential_of_a_third_user_is_refused(tenant: Tenant) -> None:
    third = tenant.credential(tenant.admin.username, "stolen")
    with tenant.open(tenant.superuser) as session, pytest.raises(Refused, match="neither"):
        session.set_password(tenant.users, third, Rights.ENFORCE)


def test_users_are_two_however_often_passwords_are_set(tenant: Tenant) -> None:
    for turn in range(3):
        tenant.set_clone(f"clone-{turn}")
        tenant.set(tenant.base, f"base-{turn}")
    found = tenant.sql(f"SELECT User FROM mysql.user WHERE User LIKE '{tenant.base}%' ORDER BY User")
    assert found == [(tenant.base,), (tenant.clone,)]


def test_a_password_is_set_again_where_none_may_be_used_twice(tenant: Tenant) -> None:
    """A crash right after the statement: the same password comes again."""
    tenant.sql("ALTER USER {base} PASSWORD HISTORY 5 PASSWORD REUSE INTERVAL 30 DAY")
    for _ in range(2):
        tenant.set_clone("first")
        tenant.set(tenant.base, "base-2")
    for own in ("base-2", "base-3"):
        tenant.set(tenant.base, "base-3", admin=tenant.credential(tenant.base, own), alone=True)
    with pytest.raises(Refused, match="PASSWORD HISTORY 0"):
        tenant.set(tenant.base, "base-2")
    assert logs_in(tenant, tenant.base, "base-3")
    assert logs_in(tenant, tenant.clone, "first")


def test_a_password_policy_is_named(another: MysqldServer) -> None:
    tenant = make_tenant(another)
    another.sql("INSTALL COMPONENT 'file://component_validate_password'", "SET GLOBAL validate_password.length = 30")
    try:
        for user in (tenant.clone, tenant.base):
            with pytest.raises(Refused, match=r"validate_password\.length=30") as told:
                tenant.set(user, "too-short")
            assert "too-short" not in str(told.value)
        tenant.set_clone("Long-enough-and-of-every-kind-1234")
    finally:
        another.sql("UNINSTALL COMPONENT 'file://component_validate_password'")


@pytest.mark.parametrize("variable", ["read_only", "super_read_only"])
def test_a_read_only_server_is_unavailable(another: MysqldServer, variable: str) -> None:
    tenant = make_tenant(another)
    admin = tenant.superuser if variable == "super_read_only" else tenant.admin
    another.sql(f"SET GLOBAL {variable} = ON")
    try:
        with pytest.raises(Unavailable, match="read-only"):
            tenant.set_clone("first", admin=admin)
        assert logs_in(tenant, tenant.base, tenant.password)
    finally:
        another.sql("SET GLOBAL super_read_only = OFF", "SET GLOBAL read_only = OFF")
