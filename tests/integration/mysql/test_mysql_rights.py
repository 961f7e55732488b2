"""Base and clone can do exactly the same things, or it is told where not."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport
from rotated_secrets.databases.mysql.login import Session
from sandbox.mysqld import MysqldServer
from tests.integration.mysql.conftest import HOST, Tenant, heard, make_tenant
from tests.support.template_grants import set_secret

EVERYTHING = (
    "CREATE TABLE {schema}.prices (amount int, note int)",
    "CREATE PROCEDURE {schema}.total() SELECT 1",
    "CREATE FUNCTION {schema}.one() RETURNS int DETERMINISTIC RETURN 1",
    "GRANT SELECT, INSERT ON *.* TO {base} WITH GRANT OPTION",
    "REVOKE SELECT ON mysql.* FROM {base}",
    "REVOKE INSERT ON performance_schema.* FROM {base}",
    "GRANT BACKUP_ADMIN ON *.* TO {base}",
    "GRANT XA_RECOVER_ADMIN ON *.* TO {base} WITH GRANT OPTION",
    "GRANT ALL ON `a TO b`.* TO {base}",
    "GRANT UPDATE, CREATE VIEW ON `x\\_y`.* TO {base} WITH GRANT OPTION",
    "GRANT SELECT (amount), UPDATE (note, amount), DELETE ON {schema}.prices TO {base}",
    "GRANT EXECUTE ON PROCEDURE {schema}.total TO {base} WITH GRANT OPTION",
    "GRANT EXECUTE, ALTER ROUTINE ON FUNCTION {schema}.one TO {base}",
    "ALTER USER {base} REQUIRE SSL WITH MAX_QUERIES_PER_HOUR 70000 MAX_USER_CONNECTIONS 40",
    "ALTER USER {base} PASSWORD EXPIRE INTERVAL 90 DAY PASSWORD HISTORY 3 PASSWORD REUSE INTERVAL 1 DAY",
    "ALTER USER {base} PASSWORD REQUIRE CURRENT OPTIONAL FAILED_LOGIN_ATTEMPTS 4 PASSWORD_LOCK_TIME 2",
    """ALTER USER {base} ATTRIBUTE '{"team": {"name": "O''Brien \\\\\\\\", "size": 3}, "comment": "mine"}'""",
)


def role_of(tenant: Tenant) -> str:
    return f"{tenant.base}_role"


def with_role(tenant: Tenant, options: str = "") -> None:
    role = role_of(tenant)
    tenant.sql(
        f"CREATE ROLE {role}",
        f"GRANT SELECT ON {{schema}}.* TO {role}",
        f"GRANT {role} TO {{base}} {options}",
        f"SET DEFAULT ROLE {role} TO {{base}}",
        f"GRANT {role} TO {{admin}} WITH ADMIN OPTION",
    )


def test_everything_that_the_base_user_has_the_clone_has(tenant: Tenant) -> None:
    tenant.sql(*EVERYTHING)
    with_role(tenant, "WITH ADMIN OPTION")
    assert tenant.set_clone("first", admin=tenant.superuser) == RightsReport()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    assert len(tenant.described(tenant.clone)) == 13
    assert tenant.set_clone("second", admin=tenant.superuser) == RightsReport()
    assert tenant.verify(tenant.clone, "second", "SELECT amount FROM prices") == []


def test_everything_that_the_base_user_loses_the_clone_loses(tenant: Tenant) -> None:
    tenant.sql(*EVERYTHING)
    with_role(tenant, "WITH ADMIN OPTION")
    tenant.set_clone("first", admin=tenant.superuser)
    tenant.sql(
        "REVOKE ALL, GRANT OPTION FROM {base}",
        f"REVOKE {role_of(tenant)} FROM {{base}}",
        "GRANT SELECT ON {schema}.* TO {base}",
        "ALTER USER {base} REQUIRE NONE WITH MAX_QUERIES_PER_HOUR 0 MAX_USER_CONNECTIONS 0",
        "ALTER USER {base} PASSWORD EXPIRE DEFAULT PASSWORD HISTORY DEFAULT PASSWORD REUSE INTERVAL DEFAULT",
        "ALTER USER {base} PASSWORD REQUIRE CURRENT DEFAULT FAILED_LOGIN_ATTEMPTS 0 PASSWORD_LOCK_TIME 0",
        """ALTER USER {base} ATTRIBUTE '{"team": null, "comment": null}'""",
    )
    report = tenant.set_clone("second", admin=tenant.superuser)
    assert report.remaining == ()
    assert f"{tenant.clone} has BACKUP_ADMIN by itself" in report.repaired
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    assert tenant.set(tenant.base, "third", admin=tenant.superuser) == RightsReport()


@pytest.mark.parametrize("turn", ["clone", "base"])
def test_what_changed_between_rotations_is_followed_in_everybodys_turn(tenant: Tenant, turn: str) -> None:
    tenant.set_clone("first")
    tenant.sql("REVOKE DROP ON {schema}.* FROM {base}", "GRANT GRANT OPTION ON {schema}.* TO {base}")
    report = tenant.set(getattr(tenant, turn), "second")
    schema = f"`{tenant.schema}`.*"
    assert set(report.repaired) == {
        f"{tenant.clone} lacks GRANT OPTION on {schema}",
        f"{tenant.clone} has DROP on {schema} by itself",
    }
    assert report.remaining == ()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_an_equal_clone_is_not_touched(tenant: Tenant) -> None:
    tenant.set_clone("first")
    begun = len(heard(tenant.server))
    tenant.set(tenant.base, "second")
    since = heard(tenant.server)[begun:]
    assert f"ALTER USER '{tenant.base}'" in since
    assert "GRANT ALL" not in since
    assert "REVOKE" not in since
    assert f"ALTER USER '{tenant.clone}'" not in since


def test_what_goes_on_is_never_taken_away_for_a_moment(tenant: Tenant) -> None:
    """ALL becomes one privilege, and the application's session goes on using it."""
    tenant.sql("CREATE TABLE {schema}.prices (amount int)")
    tenant.set_clone("first")
    tenant.sql("REVOKE ALL ON {schema}.* FROM {base}", "GRANT SELECT ON {schema}.* TO {base}")
    begun = len(heard(tenant.server))
    assert tenant.set(tenant.base, "second").remaining == ()
    revoked = [line for line in heard(tenant.server)[begun:].splitlines() if "REVOKE" in line]
    assert revoked
    assert not any("SELECT" in line or "ALL" in line for line in revoked)
    assert tenant.verify(tenant.clone, "first", "SELECT amount FROM prices") == []
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_a_grant_option_of_a_dynamic_privilege_and_an_admin_option_of_a_role_come_and_go(tenant: Tenant) -> None:
    with_role(tenant)
    tenant.sql("GRANT BACKUP_ADMIN ON *.* TO {base}")
    tenant.set_clone("first", admin=tenant.superuser)
    role = role_of(tenant)
    for change in (
        "GRANT BACKUP_ADMIN ON *.* TO {base} WITH GRANT OPTION",
        f"GRANT {role} TO {{base}} WITH ADMIN OPTION",
    ):
        tenant.sql(change)
    assert len(tenant.set_clone("second", admin=tenant.superuser).repaired) == 2
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    tenant.sql(
        "REVOKE BACKUP_ADMIN ON *.* FROM {base}", "GRANT BACKUP_ADMIN ON *.* TO {base}", f"GRANT {role} TO {{base}}"
    )
    assert tenant.set_clone("third", admin=tenant.superuser).remaining == ()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_a_lost_grant_option_takes_no_others_with_it(tenant: Tenant) -> None:
    tenant.sql(
        "GRANT SELECT ON *.* TO {base} WITH GRANT OPTION",
        "GRANT BACKUP_ADMIN, XA_RECOVER_ADMIN ON *.* TO {base} WITH GRANT OPTION",
    )
    tenant.set_clone("first", admin=tenant.superuser)
    tenant.sql(
        "REVOKE XA_RECOVER_ADMIN ON *.* FROM {base}",
        "REVOKE GRANT OPTION ON *.* FROM {base}",
        "GRANT BACKUP_ADMIN ON *.* TO {base} WITH GRANT OPTION",
    )
    assert tenant.set_clone("second", admin=tenant.superuser).remaining == ()
    stored = "SELECT PRIV, WITH_GRANT_OPTION FROM mysql.global_grants WHERE USER = '{}'"
    assert tenant.sql(stored.format(tenant.clone)) == tenant.sql(stored.format(tenant.base)) == [("BACKUP_ADMIN", "Y")]
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_a_restriction_is_set_and_lifted(tenant: Tenant) -> None:
    tenant.sql("GRANT SELECT, INSERT ON *.* TO {base}")
    tenant.set_clone("first", admin=tenant.superuser)
    tenant.sql("REVOKE SELECT ON mysql.* FROM {base}")
    report = tenant.set_clone("second", admin=tenant.superuser)
    assert report.repaired == (f"{tenant.clone} has SELECT on `mysql`.* by itself",)
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    tenant.sql("GRANT SELECT ON mysql.* TO {base}")
    report = tenant.set_clone("third", admin=tenant.superuser)
    assert report.repaired == (f"{tenant.clone} lacks SELECT on `mysql`.*",)
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_mandatory_roles_are_nobodys_own(another: MysqldServer) -> None:
    tenant = make_tenant(another)
    another.sql(f"CREATE ROLE {role_of(tenant)}", f"SET GLOBAL mandatory_roles = '{role_of(tenant)}'")
    try:
        assert tenant.set_clone("first") == RightsReport()
        assert tenant.set_clone("second") == RightsReport()
        assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    finally:
        another.sql("SET GLOBAL mandatory_roles = ''")


def test_a_default_role_that_is_mandatory_no_more_is_none(another: MysqldServer) -> None:
    tenant = make_tenant(another)
    with_role(tenant)
    once = f"{tenant.base}_once"
    tenant.sql(
        f"CREATE ROLE {once}",
        f"SET GLOBAL mandatory_roles = '{once}'",
        f"SET DEFAULT ROLE {once}, {role_of(tenant)} TO {{base}}",
        "SET GLOBAL mandatory_roles = ''",
    )
    assert tenant.set_clone("first") == RightsReport()
    own = another.sql("SELECT CURRENT_ROLE()", user=tenant.clone, password="first")
    assert own == [(f"`{role_of(tenant)}`@`%`",)]
    assert tenant.set(tenant.base, "second") == RightsReport()


def test_reported_differences_stay(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.sql("REVOKE DROP ON {schema}.* FROM {clone}", "GRANT SELECT ON mysql.* TO {clone}")
    report = tenant.set_clone("second", Rights.REPORT)
    assert report.repaired == ()
    assert len(report.remaining) == 2
    assert tenant.set_clone("third", Rights.IGNORE) == RightsReport()
    assert tenant.described(tenant.clone) != tenant.described(tenant.base)
    assert tenant.verify(tenant.clone, "third") == []


@pytest.mark.parametrize("rights", list(Rights))
def test_a_new_clone_is_complete_whatever_is_asked_for(tenant: Tenant, rights: Rights) -> None:
    with_role(tenant)
    tenant.sql("ALTER USER {base} REQUIRE SSL")
    assert tenant.set_clone("first", rights) == RightsReport()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_a_clone_that_was_left_half_made_is_completed_before_it_is_let_in(tenant: Tenant) -> None:
    tenant.set_clone("first")
    unfinished = """ATTRIBUTE '{"rotated-secrets": {"unfinished": true}}'"""
    tenant.sql("REVOKE ALL ON {schema}.* FROM {clone}", f"ALTER USER {{clone}} ACCOUNT LOCK {unfinished}")
    assert tenant.set_clone("first", Rights.IGNORE) == RightsReport()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    assert tenant.verify(tenant.clone, "first") == []
    tenant.sql("GRANT PROCESS ON *.* TO {clone}")
    assert tenant.set_clone("second", Rights.REPORT).repaired == ()


def test_a_clone_that_somebody_locked_is_a_finished_one(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.sql("GRANT PROCESS ON *.* TO {clone}", "ALTER USER {clone} ACCOUNT LOCK")
    before = tenant.sql("SHOW GRANTS FOR {clone}")
    assert tenant.set_clone("second", Rights.IGNORE) == RightsReport()
    assert tenant.sql("SHOW GRANTS FOR {clone}") == before
    assert tenant.verify(tenant.clone, "second") == []


@pytest.mark.parametrize("rights", list(Rights))
def test_a_clone_that_was_taken_over_is_known_from_then_on(tenant: Tenant, rights: Rights) -> None:
    tenant.sql("CREATE USER {clone} IDENTIFIED BY 'old'", "GRANT ALL ON {schema}.* TO {clone}")
    assert tenant.set_clone("first", rights) == RightsReport()
    tenant.sql("REVOKE DROP ON {schema}.* FROM {base}")
    tenant.set_clone("second", rights)
    assert tenant.verify(tenant.clone, "second") == []


def test_a_clone_that_cannot_be_given_a_right_is_not_let_in_and_it_is_told_what_to_run(tenant: Tenant) -> None:
    with_role(tenant)
    tenant.sql("GRANT PROCESS ON *.* TO {base}", f"REVOKE {role_of(tenant)} FROM {{admin}}")
    with pytest.raises(Refused) as told:
        tenant.set_clone("first")
    admin = f"'{tenant.admin.username}'@'%'"
    assert f"run: GRANT PROCESS ON *.* TO {admin} WITH GRANT OPTION" in str(told.value)
    assert f"run: GRANT `{role_of(tenant)}`@`%` TO {admin} WITH ADMIN OPTION" in str(told.value)
    with pytest.raises(AuthenticationFailed, match="ACCOUNT LOCK"):
        tenant.verify(tenant.clone, "first")
    tenant.sql("GRANT PROCESS ON *.* TO {admin} WITH GRANT OPTION")
    tenant.sql(f"GRANT `{role_of(tenant)}`@`%` TO {{admin}} WITH ADMIN OPTION")
    assert tenant.set_clone("first") == RightsReport()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_an_existing_clone_that_lacks_what_cannot_be_given_keeps_its_password(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.sql("GRANT PROCESS ON *.* TO {base}")
    with pytest.raises(Refused, match="lacks PROCESS"):
        tenant.set_clone("second")
    assert tenant.verify(tenant.clone, "first") == []
    report = tenant.set(tenant.base, "third")
    (remaining,) = report.remaining
    assert remaining.startswith(f"{tenant.clone} lacks PROCESS on *.* (the admin may not pass it on")
    assert tenant.verify(tenant.base, "third") == []


def test_objects_that_run_as_the_clone_are_told(tenant: Tenant) -> None:
    tenant.sql("CREATE TABLE {schema}.prices (amount int)")
    tenant.set_clone("first")
    with contextlib.closing(tenant.server.connect(tenant.clone, "first", tenant.schema)) as session:
        for statement in (
            "CREATE VIEW cheap AS SELECT 1 AS amount",
            "CREATE VIEW dear AS SELECT 2 AS amount",
            "CREATE PROCEDURE total() SELECT 1",
            "CREATE TRIGGER counted BEFORE INSERT ON prices FOR EACH ROW SET @n = 1",
        ):
            session.cursor().execute(statement)
    where = f"in schema {tenant.schema}"
    expected = [f"{tenant.clone} is the DEFINER of {what} {where}" for what in ("1 procedure", "1 trigger", "2 views")]
    assert list(tenant.set_clone("second").remaining) == expected
    assert tenant.verify(tenant.clone, "second", "SELECT amount FROM cheap") == []


def test_proxies_are_copied(another: MysqldServer) -> None:
    tenant = make_tenant(another)
    another.sql(
        "REPLACE INTO mysql.proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant, Grantor) "
        f"VALUES ('%', '{another.admin_user}', '', '', 1, '')",
        "FLUSH PRIVILEGES",
    )
    tenant.sql("GRANT PROXY ON nobody@'%' TO {base} WITH GRANT OPTION")
    assert tenant.set_clone("first", admin=tenant.superuser) == RightsReport()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    tenant.sql("GRANT PROXY ON nobody@'%' TO {base}")
    assert tenant.set_clone("second", admin=tenant.superuser).remaining == ()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    tenant.sql("REVOKE PROXY ON nobody@'%' FROM {base}")
    assert tenant.set_clone("third", admin=tenant.superuser).remaining == ()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_patterns_of_schemas_stay_patterns(another: MysqldServer) -> None:
    tenant = make_tenant(another)
    tenant.sql(r"GRANT SELECT ON `shop\_%`.* TO {base}", r"GRANT SELECT ON `a_b`.* TO {base}")
    assert tenant.set_clone("first", admin=tenant.superuser) == RightsReport()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    assert tenant.set_clone("second", admin=tenant.superuser) == RightsReport()


def test_a_line_that_a_later_server_shows_is_noted_and_stops_nothing(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant.sql("GRANT PROCESS ON *.* TO {base}", "GRANT PROCESS ON *.* TO {admin} WITH GRANT OPTION")
    ask = Session.ask

    def with_more(session: Session, statement: str, *arguments: float) -> tuple[tuple[object, ...], ...]:
        rows = ask(session, statement, *arguments)
        if statement.startswith(f"SHOW GRANTS FOR '{tenant.base}'@"):
            return (*rows, (f"DENY SELECT ON `mysql`.* TO `{tenant.base}`@`{tenant.host}`",))
        return rows

    monkeypatch.setattr(Session, "ask", with_more)
    for user in (tenant.clone, tenant.base):
        (remaining,) = tenant.set(user, "first").remaining
        assert "DENY SELECT ON `mysql`" in remaining
        assert tenant.verify(user, "first") == []
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_the_template_copies_nothing_that_marks_the_clone(another: MysqldServer) -> None:
    tenant = dataclasses.replace(make_tenant(another), host="%")
    tenant.sql(f"RENAME USER '{tenant.base}'@'{HOST}' TO '{tenant.base}'@'%'")
    before = tenant.described(tenant.base)
    turns = zip("OOTTOOTT", itertools.cycle([tenant.clone, tenant.base]), strict=False)
    for number, (turn, user) in enumerate(turns):
        if turn == "O":
            assert tenant.set(user, f"password-{number}") == RightsReport()
        else:
            # It sends the last statement as MySQL 8 takes it, and this server is a later one that takes it too.
            set_secret(another, tenant.superuser, tenant.users.alternate(user), user, f"password-{number}")
        assert tenant.verify(user, f"password-{number}") == []
        assert tenant.described(tenant.base) == tenant.described(tenant.clone) == before
    ((attributes,),) = tenant.sql(f"SELECT User_attributes FROM mysql.user WHERE User = '{tenant.base}'")
    assert "rotated-secrets" not in str(attributes)
    tenant.sql("REVOKE DROP ON {schema}.* FROM {base}")
    assert len(tenant.set_clone("later").repaired) == 1, "it is known by its mark still"
