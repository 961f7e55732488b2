"""Base and clone can do exactly the same things, or it is told where not."""

from __future__ import annotations

import pytest
from psycopg2.sql import SQL, Identifier, Literal

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, RightsReport, Users
from rotated_secrets.databases.postgres.admin import PostgresAdminSession
from tests.integration.postgres.conftest import Tenant


def joining(tenant: Tenant) -> str:
    if tenant.server.major >= 16:
        return f"GRANT {tenant.base} TO {tenant.clone} WITH INHERIT TRUE, SET TRUE"
    return f"ALTER ROLE {tenant.clone} INHERIT; GRANT {tenant.base} TO {tenant.clone}"


def follow(tenant: Tenant, told: str) -> None:
    """Do as it is told, in the tenant's database."""
    _, _, statements = told.partition(" run: ")
    for statement in statements.split("; "):
        tenant.server.sql(statement, dbname=tenant.database)


def test_what_the_clone_creates_belongs_to_the_base_user(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.as_user(tenant.clone, "first", "CREATE TABLE prices (amount int)", "CREATE SCHEMA depot")
    assert tenant.as_base("SELECT tableowner FROM pg_tables WHERE tablename = 'prices'") == [(tenant.base,)]
    assert tenant.as_base("SELECT nspowner::regrole::text FROM pg_namespace WHERE nspname = 'depot'") == [
        (tenant.base,)
    ]
    assert tenant.set_clone("second") == RightsReport()


def test_a_login_is_not_proof_of_rights(tenant: Tenant) -> None:
    """Without the membership the server lets the clone in all the same, with a warning nobody sees."""
    tenant.set_clone("first")
    tenant.as_admin("REVOKE {} FROM {} CASCADE", tenant.base, tenant.clone)
    if tenant.server.major >= 16:
        tenant.as_admin("REVOKE {} FROM {} GRANTED BY {}", tenant.base, tenant.clone, tenant.admin.username)
    failed = tenant.verify(tenant.clone, "first")
    assert failed == [
        f"the session of {tenant.clone} runs as {tenant.clone} instead of {tenant.base}",
        f"{tenant.clone} is not a member of {tenant.base}, or does not inherit its rights; run: {joining(tenant)}",
    ]
    tenant.as_admin("COMMENT ON ROLE {} IS NULL", tenant.clone)
    with tenant.open() as session, pytest.raises(Refused, match=f"GRANT {tenant.base} TO {tenant.clone}"):
        session.check_users(tenant.users)


def test_the_clone_gets_the_base_users_settings_limits_and_attributes(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} CREATEDB BYPASSRLS CONNECTION LIMIT 7 VALID UNTIL '2100-01-01'", tenant.base)
    tenant.as_admin("""ALTER ROLE {} SET search_path TO "$user", 'it''s, "odd"', public""", tenant.base)
    tenant.as_admin("ALTER ROLE {} IN DATABASE {} SET work_mem TO '8MB'", tenant.base, tenant.database)
    tenant.as_admin("ALTER ROLE {} SET app.tenant TO 'x=y, ''z'''", tenant.base)
    tenant.as_admin("ALTER ROLE {} SET temp_tablespaces TO ''", tenant.base)
    assert tenant.set_clone("first", admin=tenant.superuser) == RightsReport()
    for setting in ("search_path", "work_mem", "app.tenant", "temp_tablespaces"):
        shown = tenant.as_user(tenant.clone, "first", f"SHOW {setting}")
        assert shown == tenant.as_base(f"SHOW {setting}")
    assert tenant.server.sql(
        "SELECT rolcreatedb, rolbypassrls, rolconnlimit, rolvaliduntil::date::text FROM pg_roles WHERE rolname = %s",
        params=(tenant.clone,),
    ) == [(True, True, 7, "2100-01-01")]


def test_enforce_repairs_what_drifted_and_says_so(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.as_admin("ALTER ROLE {} SET work_mem TO '8MB'", tenant.base)
    tenant.as_admin("ALTER ROLE {} SET statement_timeout TO '1s'", tenant.clone)
    tenant.as_admin("ALTER ROLE {} IN DATABASE {} SET role TO 'none'", tenant.clone, tenant.database)
    tenant.as_admin("ALTER ROLE {} CONNECTION LIMIT 1", tenant.clone)
    report = tenant.set_clone("second")
    assert report.remaining == ()
    assert set(report.repaired) == {
        f"{tenant.clone} has connection limit 1 instead of -1",
        f"{tenant.clone} has another work_mem than {tenant.base}",
        f"{tenant.clone} has another statement_timeout than {tenant.base}",
        f"{tenant.clone} has another role than {tenant.base} in database {tenant.database}",
    }
    assert tenant.verify(tenant.clone, "second") == []
    assert tenant.set_clone("third") == RightsReport()


def test_a_base_user_that_acts_as_a_group_has_a_clone_that_does(tenant: Tenant) -> None:
    group = f"{tenant.base}_owners"
    tenant.as_admin("CREATE ROLE {}", group)
    tenant.as_admin("GRANT {} TO {}", group, tenant.base)
    tenant.as_admin("ALTER ROLE {} SET role TO {}", tenant.base, group)
    assert tenant.set_clone("first") == RightsReport()
    assert tenant.as_user(tenant.clone, "first", "SELECT CURRENT_USER::text") == [(group,)]
    assert tenant.verify(tenant.clone, "first") == []
    assert tenant.verify(tenant.base, tenant.password) == []


@pytest.mark.parametrize(("mode", "told"), [(Rights.REPORT, True), (Rights.IGNORE, False)])
def test_report_and_ignore_repair_nothing(tenant: Tenant, mode: Rights, told: bool) -> None:
    tenant.set_clone("first")
    tenant.as_admin("ALTER ROLE {} SET work_mem TO '8MB'", tenant.base)
    expected = (f"{tenant.clone} has another work_mem than {tenant.base}",) if told else ()
    assert tenant.set_clone("second", rights=mode) == RightsReport(remaining=expected)
    assert tenant.as_user(tenant.clone, "second", "SHOW work_mem") == [("4MB",)]


def test_a_setting_that_the_admin_may_not_copy_is_told_with_its_reason(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} SET log_statement TO 'none'", tenant.base)
    report = tenant.set_clone("first")
    assert report.repaired == ()
    (told,) = report.remaining
    assert told.startswith(f"{tenant.clone} has another log_statement than {tenant.base} (permission denied")
    assert tenant.verify(tenant.clone, "first") == []


@pytest.mark.parametrize("who", ["admin", "superuser"])
def test_objects_the_clone_owns_go_to_the_base_user(tenant: Tenant, who: str) -> None:
    admin = getattr(tenant, who)
    tenant.set_clone("first", admin=admin)
    tenant.as_base(SQL("GRANT CREATE ON SCHEMA public TO {}").format(Identifier(tenant.base)))
    tenant.as_user(tenant.clone, "first", "SET ROLE NONE", "CREATE TABLE stray (id int)")
    report = tenant.set_clone("second", admin=admin)
    assert report == RightsReport(repaired=(f"{tenant.clone} owns 1 object in database {tenant.database} itself",))
    assert tenant.as_base("SELECT tableowner FROM pg_tables WHERE tablename = 'stray'") == [(tenant.base,)]


def test_objects_the_clone_owns_are_told_when_it_is_the_base_users_turn(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.as_user(tenant.clone, "first", "SET ROLE NONE", "CREATE TABLE stray (id int)")
    with tenant.open() as session:
        report = session.set_password(tenant.users, tenant.current, Rights.ENFORCE)
    assert report.remaining == (f"{tenant.clone} owns 1 object in database {tenant.database} itself",)


def test_what_was_granted_to_the_clone_alone_is_told_and_left(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.as_base("CREATE TABLE prices (amount int)")
    tenant.as_admin("GRANT SELECT ON prices TO {}", tenant.clone, dbname=tenant.database)
    assert tenant.set_clone("second").remaining == (
        f"{tenant.clone} is named in the privileges of 1 object in database {tenant.database} itself",
    )


@pytest.mark.parametrize("turn", ["base", "clone"])
def test_default_privileges_of_the_clone_are_told_as_what_they_are(tenant: Tenant, turn: str) -> None:
    """Reassigning what is owned leaves them alone."""
    tenant.set_clone("first")
    tenant.as_user(tenant.clone, "first", "SET ROLE NONE", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    told = (
        f"{tenant.clone} has 1 default privilege in database {tenant.database} itself, which its sessions do not use, "
        f"because they start as {tenant.base}; in that database run: "
        f"REASSIGN OWNED BY {tenant.clone} TO {tenant.base}; DROP OWNED BY {tenant.clone}"
    )
    credential = tenant.current if turn == "base" else tenant.credential(tenant.clone, "first")
    with tenant.open() as session:
        for _ in range(2):
            report = session.set_password(tenant.users, credential, Rights.ENFORCE)
            assert report == RightsReport(remaining=(told,))
    follow(tenant, told)
    assert tenant.set_clone("second") == RightsReport()
    assert tenant.verify(tenant.clone, "second") == []


def test_nothing_is_reassigned_where_the_clone_owns_no_object(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.as_user(tenant.clone, "first", "SET ROLE NONE", "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC")
    tenant.set_clone("second")
    assert f'REASSIGN OWNED BY "{tenant.clone}"' not in tenant.server.log()


def test_what_is_still_there_is_not_told_as_repaired(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server may take a statement that changes nothing."""
    tenant.set_clone("first")
    tenant.as_user(tenant.clone, "first", "SET ROLE NONE", "CREATE SCHEMA depot")
    monkeypatch.setattr(PostgresAdminSession, "_reassign_in", lambda *_: None)
    assert tenant.set_clone("second") == RightsReport(
        remaining=(f"{tenant.clone} owns 1 object in database {tenant.database} itself",)
    )


def test_a_user_mapping_of_the_clone_is_told_as_what_it_is(tenant: Tenant) -> None:
    tenant.set_clone("first")
    for statement in ("CREATE FOREIGN DATA WRAPPER elsewhere", "CREATE SERVER other FOREIGN DATA WRAPPER elsewhere"):
        tenant.as_admin(statement, dbname=tenant.database)
    tenant.as_admin("CREATE USER MAPPING FOR {} SERVER other", tenant.clone, dbname=tenant.database)
    report = tenant.set_clone("second")
    (told,) = report.remaining
    assert report.repaired == ()
    assert told.startswith(f"{tenant.clone} has 1 user mapping in database {tenant.database} itself")
    follow(tenant, told)
    assert tenant.set_clone("third") == RightsReport()


def test_default_privileges_are_told_beside_objects_that_are_reassigned(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.as_user(
        *(tenant.clone, "first", "SET ROLE NONE", "CREATE SCHEMA depot"),
        "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC",
    )
    report = tenant.set_clone("second")
    assert report.repaired == (f"{tenant.clone} owns 1 object in database {tenant.database} itself",)
    (told,) = report.remaining
    assert told.startswith(f"{tenant.clone} has 1 default privilege")


def test_a_database_that_the_clone_owns_goes_to_the_base_user(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} CREATEDB", tenant.base)
    tenant.set_clone("first", admin=tenant.superuser)
    tenant.as_admin("CREATE DATABASE {}", f"{tenant.database}_2")
    tenant.as_admin("ALTER DATABASE {} OWNER TO {}", f"{tenant.database}_2", tenant.clone)
    try:
        assert tenant.set_clone("second", admin=tenant.superuser) == RightsReport(
            repaired=(f"{tenant.clone} owns 1 object that all databases share itself",)
        )
    finally:
        tenant.as_admin("DROP DATABASE {}", f"{tenant.database}_2")


def test_memberships_beside_the_base_users_are_taken_away(tenant: Tenant) -> None:
    group = f"{tenant.base}_readers"
    tenant.as_admin("CREATE ROLE {}", group)
    tenant.as_admin("GRANT {} TO {}", group, tenant.base)
    if tenant.server.major >= 16:
        tenant.as_admin("GRANT {} TO {} WITH ADMIN OPTION", group, tenant.admin.username)
    tenant.set_clone("first")
    tenant.server.sql(
        SQL("GRANT {} TO {}").format(Identifier(group), Identifier(tenant.clone)),
        user=tenant.admin.username,
        password=tenant.admin.password.reveal(),
    )
    assert tenant.set_clone("second") == RightsReport(
        repaired=(f"{tenant.clone} is a member of {group} by itself, not through {tenant.base}",)
    )


def test_a_membership_without_inheritance_is_repaired(tenant: Tenant) -> None:
    tenant.set_clone("first")
    if tenant.server.major >= 16:
        tenant.server.sql(
            SQL("GRANT {} TO {} WITH INHERIT FALSE").format(Identifier(tenant.base), Identifier(tenant.clone)),
            user=tenant.admin.username,
            password=tenant.admin.password.reveal(),
        )
    else:
        tenant.as_admin("ALTER ROLE {} NOINHERIT", tenant.clone)
    assert tenant.verify(tenant.clone, "first") == [
        f"{tenant.clone} is not a member of {tenant.base}, or does not inherit its rights; run: {joining(tenant)}"
    ]
    assert tenant.set_clone("second") == RightsReport(
        repaired=(f"{tenant.clone} does not inherit {tenant.base}'s rights",)
    )
    assert tenant.verify(tenant.clone, "second") == []


def test_an_attribute_that_the_base_user_lost_makes_the_clone_refused(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} CREATEDB", tenant.base)
    tenant.set_clone("first", admin=tenant.superuser)
    tenant.as_admin("ALTER ROLE {} NOCREATEDB", tenant.base)
    with (
        tenant.open(tenant.superuser) as session,
        pytest.raises(Refused, match=f"ALTER ROLE {tenant.clone} NOCREATEDB"),
    ):
        session.check_users(tenant.users)


def comment_on(tenant: Tenant, user: str) -> str | None:
    ((found,),) = tenant.server.sql(SQL("SELECT shobj_description({}::regrole, 'pg_authid')").format(Literal(user)))
    return None if found is None else str(found)


def test_a_clone_is_marked_by_a_comment(tenant: Tenant) -> None:
    tenant.set_clone("first")
    assert comment_on(tenant, tenant.clone) == f"rotated-secrets: clone of {tenant.base}"
    assert comment_on(tenant, tenant.base) is None


def test_a_clone_without_a_comment_gets_the_mark_in_either_users_turn(tenant: Tenant) -> None:
    """An earlier version of the operator made it."""
    for turn in (tenant.base, tenant.clone):
        tenant.set_clone("first")
        tenant.as_admin("COMMENT ON ROLE {} IS NULL", tenant.clone)
        with tenant.open() as session:
            assert (
                session.set_password(tenant.users, tenant.credential(turn, "second"), Rights.IGNORE) == RightsReport()
            )
        assert comment_on(tenant, tenant.clone) == f"rotated-secrets: clone of {tenant.base}"


def test_a_persons_comment_stays(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.as_admin("COMMENT ON ROLE {} IS 'second user of the shop'", tenant.clone)
    assert tenant.set_clone("second") == RightsReport()
    assert comment_on(tenant, tenant.clone) == "second user of the shop"


def test_a_mark_that_the_admin_may_not_write_stops_nothing(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.as_admin("COMMENT ON ROLE {} IS NULL", tenant.clone)
    itself = tenant.credential(tenant.base, tenant.password)
    with tenant.open(itself) as session:
        session.set_password(Users(tenant.base), tenant.credential(tenant.base, "own-1"), Rights.ENFORCE)
    assert comment_on(tenant, tenant.clone) is None
