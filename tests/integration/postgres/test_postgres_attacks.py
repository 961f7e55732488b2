"""A tenant who owns the database, and whatever is in it, gets nothing from the admin's session.

The admin's session is made to run in the tenant's own database here, the worst case: `postgres` does not let it in.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest
from psycopg2.sql import SQL, Identifier

from rotated_secrets.api.rotation import Rights
from rotated_secrets.api.spec import TlsMode
from rotated_secrets.databases.base import AuthenticationFailed, RightsReport, Tls, Unavailable
from rotated_secrets.values import SecretText
from sandbox.postgres import Installation, PostgresServer, postgres_server
from tests.integration.postgres.conftest import ENGINE, Tenant, make_tenant

HBA = (
    "host postgres postgres 127.0.0.1/32 scram-sha-256",
    "host postgres all 127.0.0.1/32 reject",
    "host all all 127.0.0.1/32 scram-sha-256",
)
LOOK_ALIKES = (
    "pg_has_role(oid, oid, text) RETURNS boolean",
    "pg_has_role(oid, oid) RETURNS boolean",
    "now() RETURNS timestamptz",
    "host(inet) RETURNS text",
    "unnest(text[]) RETURNS text",
    "substr(text, int) RETURNS text",
    "starts_with(text, text) RETURNS boolean",
    "pg_backend_pid() RETURNS int",
    "pg_try_advisory_lock(bigint) RETURNS boolean",
    "name_is_text(name, text) RETURNS boolean",
    "name_is_name(name, name) RETURNS boolean",
    "oid_is_oid(oid, oid) RETURNS boolean",
    "int_is_not_int(int, int) RETURNS boolean",
)
OPERATORS = (
    "CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = text, FUNCTION = public.name_is_text)",
    "CREATE OPERATOR public.= (LEFTARG = name, RIGHTARG = name, FUNCTION = public.name_is_name)",
    "CREATE OPERATOR public.= (LEFTARG = oid, RIGHTARG = oid, FUNCTION = public.oid_is_oid)",
    "CREATE OPERATOR public.<> (LEFTARG = int, RIGHTARG = int, FUNCTION = public.int_is_not_int)",
)
RELATIONS = (
    "CREATE VIEW public.pg_roles AS SELECT * FROM pg_catalog.pg_roles WHERE public.now() IS NULL",
    "CREATE VIEW public.pg_stat_activity AS SELECT * FROM pg_catalog.pg_stat_activity WHERE public.now() IS NULL",
    "CREATE DOMAIN public.name AS pg_catalog.text CHECK (public.now() IS NULL)",
    "CREATE DOMAIN public.int8 AS pg_catalog.text CHECK (public.now() IS NULL)",
)


@pytest.fixture(scope="module")
def walled(installation: Installation) -> Iterator[PostgresServer]:
    """A server whose database `postgres` is closed to every admin but the sandbox's own."""
    with postgres_server(installation, hba=HBA) as server:
        yield server


@pytest.fixture
def tenant(walled: PostgresServer) -> Tenant:
    """A tenant whose admin is a superuser, and has to work in the tenant's database."""
    made = make_tenant(walled)
    made.as_admin("ALTER ROLE {} SUPERUSER", made.admin.username)
    return dataclasses.replace(made, admin=dataclasses.replace(made.admin, dbname=made.database))


@pytest.fixture
def trapped(tenant: Tenant) -> Tenant:
    """Whoever calls a look-alike with the rights to do so makes the tenant a superuser."""
    grab = SQL(
        "BEGIN IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER) "
        "THEN ALTER ROLE {} SUPERUSER; END IF; RETURN NULL; END"
    ).format(Identifier(tenant.base))
    for look_alike in LOOK_ALIKES:
        head = SQL("CREATE FUNCTION public.") + SQL(look_alike)
        tenant.as_base(head + SQL(" LANGUAGE plpgsql AS $trap$ ") + grab + SQL(" $trap$"))
    tenant.as_base(
        *OPERATORS,
        *RELATIONS,
        SQL("ALTER DATABASE {} SET search_path TO public, pg_catalog").format(Identifier(tenant.database)),
        SQL("ALTER ROLE {} SET search_path TO public, pg_catalog").format(Identifier(tenant.base)),
    )
    return tenant


def tenant_is_superuser(tenant: Tenant) -> bool:
    found = tenant.server.sql("SELECT rolsuper FROM pg_roles WHERE rolname = %s", params=(tenant.base,))
    return bool(found[0][0])


def rotate_everything(tenant: Tenant) -> None:
    """Every statement that an admin's session has."""
    with tenant.open() as session:
        assert session.try_lock(tenant.base)
        session.check_users(tenant.users)
        made = session.set_password(tenant.users, tenant.credential(tenant.clone, "first"), Rights.ENFORCE)
        assert made == RightsReport()
        assert session.sessions_of(tenant.clone) == ()
        session.disable_login(tenant.clone)
        again = session.set_password(tenant.users, tenant.credential(tenant.clone, "second"), Rights.ENFORCE)
        assert again == RightsReport()
        session.check_users(tenant.users)
        base = session.set_password(tenant.users, tenant.current, Rights.ENFORCE)
        assert base == RightsReport()
    assert tenant.verify(tenant.clone, "second") == []
    assert tenant.verify(tenant.base, tenant.password) == []


def test_the_session_really_is_in_the_tenants_database(tenant: Tenant) -> None:
    with tenant.open():
        seen = tenant.as_admin(
            "SELECT datname FROM pg_stat_activity WHERE usename = {}::regrole::name".replace(
                "{}::regrole::name", f"'{tenant.admin.username}'"
            )
        )
    assert seen == [(tenant.database,)]


@pytest.mark.parametrize(
    "careless",
    [
        "SELECT pg_has_role(1::oid, 1::oid, 'USAGE'::text)",
        "SELECT 1 WHERE 'a'::pg_catalog.name = 'a'::pg_catalog.name",
        "SELECT now()",
    ],
)
def test_the_traps_catch_a_careless_session(trapped: Tenant, careless: str) -> None:
    """Else the tests below would prove nothing."""
    admin = trapped.admin
    trapped.server.sql(careless, user=admin.username, password=admin.password.reveal(), dbname=trapped.database)
    assert tenant_is_superuser(trapped)


def test_look_alikes_of_functions_operators_views_and_types_are_not_called(trapped: Tenant) -> None:
    rotate_everything(trapped)
    assert not tenant_is_superuser(trapped)


def test_look_alikes_that_come_first_for_every_user_are_not_called(trapped: Tenant) -> None:
    trapped.as_admin("ALTER ROLE {} SET search_path TO public, pg_catalog", trapped.admin.username)
    trapped.as_admin("ALTER ROLE ALL SET search_path TO public, pg_catalog")
    try:
        rotate_everything(trapped)
    finally:
        trapped.as_admin("ALTER ROLE ALL RESET search_path")
    assert not tenant_is_superuser(trapped)


@pytest.mark.parametrize(
    "settings",
    [
        {"role": "{tenant}"},
        # Nobody else can log in at all any more.
        {"local_preload_libraries": "not_there"},
        {
            "default_transaction_read_only": "on",
            "default_transaction_isolation": "serializable",
            "default_transaction_deferrable": "on",
            "statement_timeout": "1",
            "lock_timeout": "1",
            "idle_session_timeout": "1",
            "idle_in_transaction_session_timeout": "1",
            "exit_on_error": "on",
            "quote_all_identifiers": "on",
            "standard_conforming_strings": "off",
            "transform_null_equals": "on",
            "client_encoding": "LATIN1",
            "DateStyle": "German",
            "TimeZone": "Pacific/Apia",
            "row_security": "off",
            "default_tablespace": "not_there",
            "debug_print_parse": "on",
        },
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_of_the_database_do_not_hold_for_the_session(tenant: Tenant, settings: dict[str, str]) -> None:
    database = Identifier(tenant.database)
    for setting, value in settings.items():
        named = Identifier(setting), Identifier(value.format(tenant=tenant.base))
        tenant.server.sql(SQL("ALTER DATABASE {} SET {} TO {}").format(database, *named))
    with tenant.open() as session:
        assert session.try_lock(tenant.base)
        session.check_users(tenant.users)
        report = session.set_password(tenant.users, tenant.credential(tenant.clone, "first"), Rights.ENFORCE)
    assert report == RightsReport()
    assert "parse tree" not in tenant.server.log()


def test_a_database_cannot_weaken_what_is_stored(tenant: Tenant) -> None:
    tenant.as_base(SQL("ALTER DATABASE {} SET password_encryption TO 'md5'").format(Identifier(tenant.database)))
    tenant.set_clone("first")
    stored = tenant.server.sql("SELECT rolpassword FROM pg_authid WHERE rolname = %s", params=(tenant.clone,))
    assert stored[0][0].startswith("SCRAM-SHA-256$")


def test_a_database_cannot_have_the_password_forgotten_in_a_crash(tenant: Tenant) -> None:
    tenant.as_base(SQL("ALTER DATABASE {} SET synchronous_commit TO off").format(Identifier(tenant.database)))
    tenant.set_clone("first")
    tenant.server.kill()
    tenant.server.start()
    assert tenant.verify(tenant.clone, "first") == []


def test_an_event_trigger_on_the_tenants_function_does_not_fire(trapped: Tenant) -> None:
    """Roles are no objects of the database, and what is reassigned there is so by the clone, never by the admin."""
    trapped.as_base(
        SQL(
            "CREATE FUNCTION public.on_event() RETURNS event_trigger LANGUAGE plpgsql AS $trap$ BEGIN "
            "IF (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname OPERATOR(pg_catalog.=) CURRENT_USER) "
            "THEN ALTER ROLE {} SUPERUSER; END IF; END $trap$"
        ).format(Identifier(trapped.base))
    )
    for event in ("ddl_command_start", "ddl_command_end"):
        trapped.as_admin(
            "CREATE EVENT TRIGGER {} ON " + event + " EXECUTE FUNCTION public.on_event()",
            f"on_{event}",
            dbname=trapped.database,
        )
    rotate_everything(trapped)
    trapped.as_user(trapped.clone, "second", "SET ROLE NONE", "CREATE SCHEMA mine", "CREATE TABLE mine.stray (id int)")
    trapped.as_base(SQL("GRANT USAGE ON SCHEMA public TO {}").format(Identifier(trapped.clone)))
    trapped.set_clone("third")
    assert not tenant_is_superuser(trapped)


def test_a_users_settings_do_not_change_what_verify_sees(trapped: Tenant) -> None:
    trapped.set_clone("first")
    trapped.as_admin("REVOKE {} FROM {} CASCADE", trapped.base, trapped.clone)
    failed = ENGINE.verify(trapped.reach, trapped.credential(trapped.clone, "first"), trapped.users)
    assert len(failed) == 2


def test_a_server_that_turns_one_away_before_it_has_seen_a_password_is_no_proof_of_it(
    tls_installation: Installation,
) -> None:
    with postgres_server(tls_installation, hba=["hostssl all all 127.0.0.1/32 scram-sha-256"]) as server:
        tenant = make_tenant(server)
        assert tenant.verify(tenant.base, tenant.password) == []
        plain = dataclasses.replace(tenant.reach, tls=Tls(TlsMode.DISABLE))
        for password in ("wrong", tenant.password):
            with pytest.raises(Unavailable, match="before the password was checked"):
                ENGINE.verify(plain, tenant.credential(tenant.base, password), tenant.users)
        with pytest.raises(Unavailable, match="before the password was checked"):
            ENGINE.open_admin(plain, tenant.credential(tenant.base, "wrong"))


def test_a_closed_database_is_told_only_to_who_knows_the_password(tenant: Tenant) -> None:
    tenant.as_admin("REVOKE CONNECT ON DATABASE {} FROM PUBLIC, {}", tenant.database, tenant.base)
    tenant.as_admin("ALTER DATABASE {} OWNER TO {}", tenant.database, tenant.superuser.username)
    gone = tenant.credential(tenant.base, tenant.password, dbname="gone")
    for credential in (tenant.current, gone):
        wrong = dataclasses.replace(credential, password=SecretText("wrong"))
        (failure,) = ENGINE.verify(tenant.reach, credential, tenant.users)
        assert "the database that dbname names" in failure
        assert str(credential.dbname) not in failure.replace(credential.username, ""), "it may be a password"
        with pytest.raises(AuthenticationFailed):
            ENGINE.verify(tenant.reach, wrong, tenant.users)
