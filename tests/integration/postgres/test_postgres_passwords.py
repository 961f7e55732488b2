"""Setting passwords: who may, what the server learns of them, and what an existing user must be."""

from __future__ import annotations

import psycopg2
import pytest
from psycopg2.sql import SQL, Identifier, Literal

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Users
from sandbox.postgres import Installation, postgres_server
from tests.integration.postgres.conftest import ENGINE, Tenant, make_tenant

CANARY = "Kanarienvogel-7!'\\\"%s"


@pytest.mark.parametrize("who", ["admin", "superuser"])
def test_a_missing_clone_is_created_complete_and_logs_in(tenant: Tenant, who: str) -> None:
    assert tenant.set_clone("first", admin=getattr(tenant, who)) == RightsReport()
    assert tenant.verify(tenant.clone, "first", "SELECT 1") == []


def test_setting_again_replaces_the_password_and_nothing_else(tenant: Tenant) -> None:
    tenant.set_clone("first")
    assert tenant.set_clone("second") == RightsReport()
    assert tenant.verify(tenant.clone, "second") == []
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.clone, "first")


def test_the_base_users_turn_comes_after_the_clones(tenant: Tenant) -> None:
    tenant.set_clone("first")
    with tenant.open() as session:
        pending = tenant.credential(tenant.base, "second")
        assert session.set_password(tenant.users, pending, Rights.ENFORCE) == RightsReport()
    assert tenant.verify(tenant.base, "second") == []
    assert tenant.verify(tenant.clone, "first") == []


def test_a_single_user_changes_its_own_password_without_an_admin(tenant: Tenant) -> None:
    alone = Users(tenant.base)
    with tenant.open(tenant.current) as session:
        session.check_users(alone)
        session.set_password(alone, tenant.credential(tenant.base, "second"), Rights.ENFORCE)
    assert ENGINE.verify(tenant.reach, tenant.credential(tenant.base, "second"), alone) == []


def test_no_password_reaches_the_servers_log(tenant: Tenant) -> None:
    tenant.set_clone(CANARY)
    with tenant.open() as session:
        session.set_password(tenant.users, tenant.credential(tenant.base, CANARY), Rights.ENFORCE)
    tenant.verify(tenant.clone, CANARY, "SELECT 1")
    log = tenant.server.log()
    assert f"{tenant.clone}" in log
    assert "Kanarienvogel" not in log
    assert tenant.admin.password.reveal() not in log
    assert "SCRAM-SHA-256$" in log


def test_a_server_that_stores_md5_gets_md5(installation: Installation) -> None:
    settings = {"password_encryption": "md5"}
    with postgres_server(installation, settings=settings, hba=["host all all 127.0.0.1/32 md5"]) as server:
        tenant = make_tenant(server)
        tenant.set_clone(CANARY)
        stored = server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %s", params=(tenant.clone,))
        assert stored[0][0].startswith("md5")
        assert tenant.verify(tenant.clone, CANARY) == []
        assert "Kanarienvogel" not in server.log()


def test_a_locked_user_is_out_until_its_password_is_set(tenant: Tenant) -> None:
    tenant.set_clone("first")
    with tenant.open() as session:
        session.disable_login(tenant.clone)
    with pytest.raises(AuthenticationFailed):
        tenant.verify(tenant.clone, "first")
    tenant.set_clone("second")
    assert tenant.verify(tenant.clone, "second") == []


def test_a_clone_that_was_never_made_is_not_locked_out(tenant: Tenant) -> None:
    with tenant.open() as session:
        session.disable_login(tenant.clone)
    assert tenant.set_clone("first") == RightsReport()


@pytest.mark.parametrize(
    "name", ['we"ird', "a TO postgres", "semi;colon --", "per%cent %s", "line\nbreak", "dot.ted", "Ünï", "back\\slash'"]
)
def test_hostile_names_are_names_and_nothing_else(tenant: Tenant, name: str) -> None:
    base = f"{name} {tenant.base}"
    odd = make_tenant(tenant.server, base=base, database=f"{name} {tenant.database}")
    odd.as_base(SQL("CREATE SCHEMA {}").format(Identifier(name)))
    odd.as_admin("ALTER ROLE {} IN DATABASE {} SET search_path TO {}, public", base, odd.database, name)
    assert odd.set_clone("first") == RightsReport()
    assert odd.verify(odd.clone, "first", "SELECT 1") == []
    shown = odd.as_user(odd.clone, "first", "SHOW search_path")
    assert shown == odd.as_base("SHOW search_path")
    with odd.open() as session:
        assert session.sessions_of(odd.clone) == ()
    odd.as_admin("DROP DATABASE {} WITH (FORCE)", odd.database)


def test_a_name_the_server_would_cut_is_refused_by_its_bytes() -> None:
    ENGINE.check_username("ü" * 31)
    with pytest.raises(Refused, match="64 bytes"):
        ENGINE.check_username("ü" * 32)


def test_a_name_the_server_would_cut_reaches_no_statement(tenant: Tenant) -> None:
    long = Users(tenant.base, tenant.base + "x" * 60)
    with tenant.open() as session:
        with pytest.raises(Refused, match="63"):
            session.check_users(long)
        with pytest.raises(Refused, match="63"):
            session.set_password(long, tenant.credential(str(long.clone), "first"), Rights.ENFORCE)
    assert "x" * 40 not in tenant.server.log()


def test_a_missing_base_user_is_refused(tenant: Tenant) -> None:
    with tenant.open() as session, pytest.raises(Refused, match="does not exist"):
        session.check_users(Users("nobody_here", "nobody_here_clone"))


def test_a_base_user_whose_password_expired_is_refused(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} VALID UNTIL '2001-01-01'", tenant.base)
    with tenant.open() as session, pytest.raises(Refused, match="VALID UNTIL 'infinity'"):
        session.check_users(tenant.users)


def test_an_admin_without_createrole_is_told_what_to_run(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} NOCREATEROLE", tenant.admin.username)
    with tenant.open() as session, pytest.raises(Refused, match=f"ALTER ROLE {tenant.admin.username} CREATEROLE"):
        session.check_users(tenant.users)


def test_an_admin_without_admin_option_is_told_what_to_run(tenant: Tenant) -> None:
    if tenant.server.major < 16:
        pytest.skip("before PostgreSQL 16 CREATEROLE was enough")
    tenant.as_admin("REVOKE {} FROM {}", tenant.base, tenant.admin.username)
    needed = f"GRANT {tenant.base} TO {tenant.admin.username} WITH ADMIN OPTION"
    with tenant.open() as session, pytest.raises(Refused, match=needed):
        session.check_users(tenant.users)


def test_only_a_superuser_changes_a_superuser(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} SUPERUSER", tenant.base)
    with tenant.open() as session, pytest.raises(Refused, match="superuser"):
        session.check_users(tenant.users)
    assert tenant.set_clone("first", admin=tenant.superuser) == RightsReport()
    assert tenant.verify(tenant.clone, "first") == []


@pytest.mark.parametrize(
    ("made_by", "why"),
    [
        (("CREATE ROLE {clone} LOGIN",), "not a member"),
        (("CREATE ROLE {clone} LOGIN CREATEDB", "GRANT {base} TO {clone}"), "CREATEDB"),
        (("CREATE ROLE {clone} LOGIN", "GRANT {base}, pg_monitor TO {clone}"), "pg_monitor"),
        (
            ("CREATE ROLE {clone}", "GRANT {base} TO {clone}", "GRANT CREATE ON DATABASE {db} TO {clone}"),
            "privileges of",
        ),
        (("CREATE ROLE {clone}", "GRANT {base} TO {clone}", "CREATE SCHEMA AUTHORIZATION {clone}"), "owns 1 object"),
    ],
)
def test_a_user_with_the_clones_name_is_refused_before_anything_changes(
    tenant: Tenant, made_by: tuple[str, ...], why: str
) -> None:
    names = {"base": Identifier(tenant.base), "clone": Identifier(tenant.clone), "db": Identifier(tenant.database)}
    tenant.server.sql(*(SQL(statement).format(**names) for statement in made_by), dbname=tenant.database)
    tenant.as_admin("GRANT {} TO {} WITH ADMIN OPTION", tenant.clone, tenant.admin.username)
    before = tenant.server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %s", params=(tenant.clone,))
    pending = tenant.credential(tenant.clone, "stolen")
    with tenant.open() as session:
        with pytest.raises(Refused, match=why):
            session.check_users(tenant.users)
        with pytest.raises(Refused, match=why):
            session.set_password(tenant.users, pending, Rights.IGNORE)
    assert tenant.server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %s", params=(tenant.clone,)) == before
    assert f'ALTER ROLE "{tenant.clone}"' not in tenant.server.log()


def test_a_clone_made_by_another_rotator_is_adopted_and_completed(tenant: Tenant) -> None:
    tenant.server.sql(
        SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(Identifier(tenant.clone), Literal("old")),
        SQL("GRANT {} TO {}").format(Identifier(tenant.base), Identifier(tenant.clone)),
        SQL("GRANT {} TO {} WITH ADMIN OPTION").format(Identifier(tenant.clone), Identifier(tenant.admin.username)),
    )
    report = tenant.set_clone("new")
    assert report == RightsReport(repaired=(f"{tenant.clone} has another role than {tenant.base}",))
    assert tenant.verify(tenant.clone, "new") == []


def test_a_credential_of_a_third_user_is_refused(tenant: Tenant) -> None:
    third = tenant.credential(tenant.server.admin_user, "stolen")
    with tenant.open(tenant.superuser) as session, pytest.raises(Refused, match="neither"):
        session.set_password(tenant.users, third, Rights.ENFORCE)
    assert tenant.server.sql("SELECT 1") == [(1,)]


def test_users_are_two_however_often_passwords_are_set(tenant: Tenant) -> None:
    for turn in range(3):
        tenant.set_clone(f"clone-{turn}")
        with tenant.open() as session:
            session.set_password(tenant.users, tenant.credential(tenant.base, f"base-{turn}"), Rights.ENFORCE)
    found = tenant.server.sql("SELECT count(*) FROM pg_roles WHERE rolname LIKE %s", params=(tenant.base + "%",))
    assert found == [(2,)]


def test_an_error_of_a_statement_does_not_quote_it(tenant: Tenant) -> None:
    """The driver's own text would: the verifier is no password, but is nobody else's either."""
    tenant.as_admin("ALTER ROLE {} NOCREATEROLE", tenant.admin.username)
    with tenant.open() as session, pytest.raises(Refused) as refused:
        session.disable_login(tenant.base)
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__
    assert "permission denied" in str(refused.value)
    assert not isinstance(refused.value, psycopg2.Error)
