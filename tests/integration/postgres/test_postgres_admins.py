"""The clone and its rights outlive the admin that made it, and each advice about an admin is one that works."""

from __future__ import annotations

import dataclasses
import secrets

import pytest
from psycopg2.sql import SQL, Identifier, Literal

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, RightsReport
from rotated_secrets.values import Credential, SecretText
from tests.integration.postgres.conftest import Tenant


def another_admin(tenant: Tenant, *administers: str) -> Tenant:
    """The tenant with another admin, which may change these users from PostgreSQL 16 on."""
    name, password = f"second_{secrets.token_hex(4)}", secrets.token_urlsafe(12)
    tenant.server.sql(
        SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(Identifier(name), Literal(password)), logged=False
    )
    if tenant.server.major >= 16:
        for role in administers:
            tenant.as_admin("GRANT {} TO {} WITH ADMIN OPTION", role, name)
    return dataclasses.replace(tenant, admin=Credential("postgres", "localhost", name, SecretText(password)))


def drop(tenant: Tenant, admin: Credential) -> None:
    """As a person drops an admin whom the server does not let go because of what it granted."""
    tenant.as_admin("DROP OWNED BY {}", admin.username)
    tenant.as_admin("DROP ROLE {}", admin.username)


def run(tenant: Tenant, told: str) -> None:
    """Follow an advice as it is written."""
    _, _, statements = told.partition("; run: ")
    assert statements, told
    for statement in statements.split("; "):
        tenant.server.sql(statement)


@pytest.mark.parametrize("turn", ["base", "clone"])
def test_the_clone_outlives_each_of_the_admins_that_have_rotated(tenant: Tenant, turn: str) -> None:
    tenant.set_clone("first")
    second = another_admin(tenant, tenant.base, tenant.clone)
    credential = second.current if turn == "base" else second.credential(second.clone, "first")
    with second.open() as session:
        session.check_users(second.users)
        assert session.set_password(second.users, credential, Rights.ENFORCE) == RightsReport()
    drop(tenant, tenant.admin)
    assert tenant.verify(tenant.clone, "first") == []
    assert second.set_clone("second") == RightsReport()
    third = another_admin(tenant, tenant.base, tenant.clone)
    assert third.set_clone("third") == RightsReport()
    drop(tenant, second.admin)
    assert tenant.verify(tenant.clone, "third") == []


@pytest.mark.parametrize("mode", [Rights.REPORT, Rights.IGNORE])
def test_holding_the_clone_repairs_nothing_that_is_only_to_be_told(tenant: Tenant, mode: Rights) -> None:
    if tenant.server.major < 16:
        pytest.skip("a membership has options from PostgreSQL 16 on")
    tenant.set_clone("first")
    tenant.server.sql(
        SQL("GRANT {} TO {} WITH INHERIT FALSE").format(Identifier(tenant.base), Identifier(tenant.clone)),
        user=tenant.admin.username,
        password=tenant.admin.password.reveal(),
    )
    tenant.set_clone("second", rights=mode)
    assert len(tenant.verify(tenant.clone, "second")) == 1


def test_rights_lost_with_an_admin_are_told_with_a_statement_that_gives_them_back(tenant: Tenant) -> None:
    tenant.set_clone("first")
    drop(tenant, tenant.admin)
    if tenant.server.major >= 16:
        *_, told = tenant.verify(tenant.clone, "first")
        run(tenant, told)
    assert tenant.verify(tenant.clone, "first") == []


def test_rights_that_a_clone_without_inheritance_lacks_are_told_with_statements_that_give_them(tenant: Tenant) -> None:
    tenant.set_clone("first")
    tenant.as_admin("ALTER ROLE {} NOINHERIT", tenant.clone)
    if tenant.server.major >= 16:
        drop(tenant, tenant.admin)
    *_, told = tenant.verify(tenant.clone, "first")
    run(tenant, told)
    assert tenant.verify(tenant.clone, "first") == []


def test_a_new_admin_is_told_at_once_all_that_it_lacks_and_then_repairs_the_clone(tenant: Tenant) -> None:
    tenant.set_clone("first")
    drop(tenant, tenant.admin)
    second = another_admin(tenant)
    tenant.as_admin("ALTER ROLE {} NOCREATEROLE", second.admin.username)
    with second.open() as session, pytest.raises(Refused) as refused:
        session.check_users(second.users)
    run(tenant, str(refused.value))
    report = second.set_clone("second")
    lost = (f"{tenant.clone} does not inherit {tenant.base}'s rights",) if tenant.server.major >= 16 else ()
    assert report == RightsReport(repaired=lost)
    assert tenant.verify(tenant.clone, "second") == []


def test_a_stranger_that_lost_no_membership_is_still_no_clone(tenant: Tenant) -> None:
    """Its comment is a person's: nothing says that it ever was the clone."""
    tenant.as_admin("CREATE ROLE {} LOGIN", tenant.clone)
    tenant.as_admin("COMMENT ON ROLE {} IS 'rotated-secrets: clone of another'", tenant.clone)
    with tenant.open(tenant.superuser) as session, pytest.raises(Refused, match="is not a member of"):
        session.check_users(tenant.users)


def test_what_several_admins_granted_the_clone_is_revoked_from_each(tenant: Tenant) -> None:
    group = f"{tenant.base}_readers"
    tenant.as_admin("CREATE ROLE {}", group)
    tenant.as_admin("GRANT {} TO {}", group, tenant.base)
    tenant.set_clone("first")
    second = another_admin(tenant, group)
    tenant.as_admin("GRANT {} TO {}", group, tenant.clone)
    tenant.server.sql(
        SQL("GRANT {} TO {}").format(Identifier(group), Identifier(tenant.clone)),
        user=second.admin.username,
        password=second.admin.password.reveal(),
    )
    assert tenant.set_clone("second", admin=tenant.superuser) == RightsReport(
        repaired=(f"{tenant.clone} is a member of {group} by itself, not through {tenant.base}",)
    )
    assert tenant.set_clone("third", admin=tenant.superuser) == RightsReport()
