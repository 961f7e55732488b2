"""A session of the clone starts as the same role as a session of the base user, whatever decides that."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from psycopg2.sql import SQL, Identifier, Literal

from rotated_secrets.databases.base import RightsReport
from tests.integration.postgres.conftest import Tenant


@pytest.fixture
def own(tenant: Tenant) -> str:
    """A role that the base user may become, and that may make tables."""
    role = f"{tenant.base}_own"
    tenant.as_admin("CREATE ROLE {}", role)
    tenant.as_admin("GRANT {} TO {}", role, tenant.base)
    tenant.as_admin("GRANT CREATE ON SCHEMA public TO {}", role, dbname=tenant.database)
    return role


@pytest.fixture
def all_roles(tenant: Tenant) -> Iterator[Tenant]:
    """What is set for all users does not hold for the superuser that puts it back."""
    tenant.as_admin("ALTER ROLE {} SET role TO none", tenant.superuser.username)
    yield tenant
    tenant.as_admin("ALTER ROLE ALL RESET role")
    tenant.as_admin("ALTER ROLE {} RESET role", tenant.superuser.username)


def starts_as(tenant: Tenant, user: str, password: str) -> str:
    ((role,),) = tenant.as_user(user, password, "SELECT CURRENT_USER::text")
    return str(role)


def assert_equal(tenant: Tenant, role: str) -> None:
    """Both users' sessions, and what they make, are the same; and a rotation has nothing to repair."""
    assert starts_as(tenant, tenant.base, tenant.password) == role
    report = tenant.set_clone("first")
    assert report.remaining == ()
    assert starts_as(tenant, tenant.clone, "first") == role
    assert tenant.verify(tenant.clone, "first") == []
    assert tenant.verify(tenant.base, tenant.password) == []
    tenant.as_user(tenant.clone, "first", "CREATE TABLE stray (id int)")
    assert tenant.as_base("SELECT tableowner FROM pg_tables WHERE tablename = 'stray'") == [(role,)]
    assert tenant.set_clone("second") == RightsReport()


@pytest.mark.parametrize("made_before", [True, False])
@pytest.mark.parametrize("statement", ["ALTER DATABASE {database}", "ALTER ROLE ALL IN DATABASE {database}"])
def test_a_role_that_is_set_for_the_database(tenant: Tenant, own: str, statement: str, made_before: bool) -> None:
    if made_before:
        tenant.set_clone("first")
    setting = SQL(statement + " SET role TO {role}").format(database=Identifier(tenant.database), role=Identifier(own))
    tenant.server.sql(setting)
    if made_before:
        (failed,) = tenant.verify(tenant.clone, "first")
        assert failed.startswith(f"the session of {tenant.clone} runs as {tenant.base} instead of {own}")
    assert_equal(tenant, own)


def test_a_role_that_is_set_for_all_users(all_roles: Tenant, own: str) -> None:
    all_roles.as_admin("ALTER ROLE ALL SET role TO {}", own)
    assert_equal(all_roles, own)


def test_a_role_that_is_no_longer_set_for_the_database(tenant: Tenant, own: str) -> None:
    tenant.as_admin("ALTER DATABASE {} SET role TO {}", tenant.database, own)
    tenant.set_clone("first")
    tenant.as_admin("ALTER DATABASE {} RESET role", tenant.database)
    assert_equal(tenant, tenant.base)


@pytest.mark.parametrize(
    "whose", ["ALTER ROLE {base}", "ALTER ROLE {base} IN DATABASE {shop}", "ALTER DATABASE {shop}"]
)
@pytest.mark.parametrize("why", ["gone", "no member"])
def test_a_role_without_effect_on_the_base_user_is_none_for_the_clone(
    tenant: Tenant, own: str, whose: str, why: str
) -> None:
    names = {"base": Identifier(tenant.base), "shop": Identifier(tenant.database), "own": Identifier(own)}
    tenant.as_admin("DROP OWNED BY {}", own, dbname=tenant.database)
    tenant.server.sql(SQL(whose + " SET role TO {own}").format(**names))
    if why == "gone":
        tenant.as_admin("DROP ROLE {}", own)
    else:
        tenant.as_admin("REVOKE {} FROM {}", own, tenant.base)
    assert_equal(tenant, tenant.base)


def test_a_role_without_effect_leaves_it_to_the_next_place_that_sets_one(tenant: Tenant, own: str) -> None:
    tenant.as_admin("CREATE ROLE {}", f"{own}_closed")
    tenant.as_admin("ALTER ROLE {} SET role TO {}", tenant.base, f"{own}_closed")
    tenant.as_admin("ALTER DATABASE {} SET role TO {}", tenant.database, own)
    assert_equal(tenant, own)


def test_none_for_the_base_user_takes_precedence_over_a_role_of_its_database(tenant: Tenant, own: str) -> None:
    tenant.as_admin("ALTER DATABASE {} SET role TO {}", tenant.database, own)
    tenant.as_admin("ALTER ROLE {} SET role TO none", tenant.base)
    assert_equal(tenant, tenant.base)


def test_other_settings_of_the_database_hold_for_both_users_and_are_not_copied(tenant: Tenant) -> None:
    tenant.as_admin("ALTER DATABASE {} SET work_mem TO '8MB'", tenant.database)
    tenant.set_clone("first")
    for user, password in ((tenant.base, tenant.password), (tenant.clone, "first")):
        assert tenant.as_user(user, password, "SHOW work_mem") == [("8MB",)]
    tenant.as_admin("ALTER DATABASE {} SET work_mem TO '9MB'", tenant.database)
    assert tenant.as_user(tenant.clone, "first", "SHOW work_mem") == [("9MB",)]


def test_a_trigger_that_changes_every_session_is_no_reason_to_roll_back(tenant: Tenant, own: str) -> None:
    if tenant.server.major < 17:
        pytest.skip("login triggers came with PostgreSQL 17")
    tenant.as_base(
        SQL(
            "CREATE FUNCTION public.become() RETURNS event_trigger LANGUAGE plpgsql AS $body$ "
            "BEGIN IF pg_has_role(SESSION_USER, {name}, 'SET') THEN SET ROLE {role}; END IF; END $body$"
        ).format(name=Literal(own), role=Identifier(own))
    )
    event = "CREATE EVENT TRIGGER become ON login EXECUTE FUNCTION public.become()"
    tenant.as_admin(event, dbname=tenant.database)
    assert_equal(tenant, own)
