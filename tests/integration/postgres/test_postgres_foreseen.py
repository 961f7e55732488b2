"""What the admin could not make equal is found before anything is changed, with what has to be run so that it can."""

from __future__ import annotations

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import ChecksRights, Refused, RightsReport, Users
from tests.integration.postgres.conftest import Tenant


def refusal(tenant: Tenant) -> str | None:
    """Look as a rotation does before its first step; return why it does not begin."""
    with tenant.open() as session:
        assert isinstance(session, ChecksRights)
        try:
            session.check_users(tenant.users)
            session.check_rights(tenant.users)
        except Refused as refused:
            return str(refused)
    return None


def follow(tenant: Tenant, told: str | None) -> None:
    assert told is not None
    _, _, advice = told.partition("; run: ")
    statements, _, _ = advice.partition(" (as a superuser)")
    for statement in statements.partition(", or ")[0].split("; "):
        tenant.server.sql(statement)


def exists(tenant: Tenant, user: str) -> bool:
    return bool(tenant.server.sql("SELECT 1 FROM pg_roles WHERE rolname = %s", params=(user,)))


def assert_a_whole_clone(tenant: Tenant) -> None:
    assert refusal(tenant) is None
    assert tenant.set_clone("first").remaining == ()
    assert tenant.verify(tenant.clone, "first") == []
    with tenant.open() as session:
        assert session.set_password(tenant.users, tenant.current, Rights.ENFORCE) == RightsReport()
    assert tenant.set_clone("second") == RightsReport()


@pytest.mark.parametrize("attribute", ["CREATEDB", "REPLICATION", "BYPASSRLS"])
@pytest.mark.parametrize("made_before", [True, False])
def test_an_attribute_that_the_admin_cannot_give(tenant: Tenant, attribute: str, made_before: bool) -> None:
    if made_before:
        tenant.set_clone("first")
    tenant.as_admin("ALTER ROLE {} " + attribute, tenant.base)
    told = refusal(tenant)
    if tenant.server.major < 16 and attribute == "CREATEDB":
        assert told is None
    else:
        assert told is not None
        assert attribute in told
        assert exists(tenant, tenant.clone) is made_before
        follow(tenant, told)
    assert_a_whole_clone(tenant)


@pytest.mark.parametrize("setting", ["app.tenant", "log_statement", '"App"."Tenant"'])
def test_a_setting_that_the_admin_cannot_make(tenant: Tenant, setting: str) -> None:
    if tenant.server.major < 15:
        pytest.skip("GRANT SET ON PARAMETER came with PostgreSQL 15")
    tenant.as_admin("ALTER ROLE {} SET " + setting + " TO 'none'", tenant.base)
    tenant.as_admin("ALTER ROLE {} IN DATABASE {} SET " + setting + " TO 'all'", tenant.base, tenant.database)
    told = refusal(tenant)
    assert told is not None
    assert "GRANT SET ON PARAMETER" in told
    assert not exists(tenant, tenant.clone)
    follow(tenant, told)
    assert_a_whole_clone(tenant)
    shown = f"SHOW {setting}"
    assert tenant.as_user(tenant.clone, "second", shown) == tenant.as_base(shown) == [("all",)]


def test_everything_that_is_missing_is_told_at_once(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} BYPASSRLS", tenant.base)
    for setting in ("app.tenant", "app.region"):
        tenant.as_admin("ALTER ROLE {} SET " + setting + " TO 'one'", tenant.base)
    follow(tenant, refusal(tenant))
    assert_a_whole_clone(tenant)


def test_what_the_admin_can_give_is_tried_out_and_taken_back(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} SET work_mem TO '8MB'", tenant.base)
    assert refusal(tenant) is None
    assert not exists(tenant, tenant.clone)
    tenant.set_clone("first")
    tenant.as_admin("ALTER ROLE {} SET work_mem TO '9MB'", tenant.base)
    assert refusal(tenant) is None
    assert tenant.as_user(tenant.clone, "first", "SHOW work_mem") == [("8MB",)]


def test_what_the_clone_has_beyond_its_base_user_stops_no_rotation(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.as_base("CREATE TABLE prices (amount int)")
    tenant.as_admin("GRANT SELECT ON prices TO {}", tenant.clone, dbname=tenant.database)
    assert refusal(tenant) is None


def test_a_base_user_without_a_clone_has_nothing_to_compare(tenant: Tenant) -> None:
    tenant.as_admin("ALTER ROLE {} SET app.tenant TO 'one'", tenant.base)
    with tenant.open(tenant.current) as session:
        assert isinstance(session, ChecksRights)
        session.check_rights(Users(tenant.base))


@pytest.mark.parametrize("who", ["admin", "current"])
def test_a_replication_user_whose_password_only_a_superuser_sets(tenant: Tenant, who: str) -> None:
    tenant.as_admin("ALTER ROLE {} REPLICATION", tenant.base)
    alone = Users(tenant.base)
    with tenant.open(getattr(tenant, who)) as session:
        if tenant.server.major < 16:
            with pytest.raises(Refused) as refused:
                session.check_users(alone)
            follow(tenant, str(refused.value))
        session.check_users(alone)
        session.set_password(alone, tenant.credential(tenant.base, "own-1"), Rights.ENFORCE)
    assert tenant.verify(tenant.base, "own-1") == []
