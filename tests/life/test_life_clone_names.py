"""A user that only has the clone's name, and the clone of a clone: refused alike by engines that mark clones."""

from __future__ import annotations

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, Users
from sandbox.applications.base import Account
from tests.life.conftest import for_engine
from tests.support.database_tenant import Tenant

ALL = ("postgres", "mysql", "mariadb", "mongo", "redis")
AGAIN = "delete this RotatedSecret and create it again with rotation.cloneSuffix: _clone"


@for_engine(*ALL)
def test_a_clone_gets_no_clone_of_its_own(tenant: Tenant) -> None:
    """A resource with another suffix, made while the clone is current."""
    clone = tenant.clone.user
    users = Users(clone, f"{clone}_CLONE")
    third = Account(f"{clone}_CLONE", "third-Password-1", tenant.account.database)
    with tenant.open() as session:
        tenant.set_clone(session)
        with pytest.raises(Refused, match=f"itself the clone of {tenant.base}; {AGAIN}$"):
            session.check_users(users)
        with pytest.raises(Refused, match="itself the clone"):
            session.set_password(users, tenant.credential(third), Rights.ENFORCE)
        session.check_users(Users(clone))
    assert tenant.side.users(tenant.base) == {tenant.base, clone}


@for_engine(*ALL)
def test_a_user_that_has_a_clone_gets_no_second_one(tenant: Tenant) -> None:
    """A resource with another suffix, made while the base user is current."""
    clone = tenant.clone.user
    users = Users(tenant.base, f"{tenant.base}_b")
    third = Account(f"{tenant.base}_b", "third-Password-1", tenant.account.database)
    why = f"has a clone already, {clone}, made for another rotation.cloneSuffix.*: {AGAIN}, or drop user {clone}$"
    with tenant.open() as session:
        tenant.set_clone(session)
        with pytest.raises(Refused, match=why):
            session.check_users(users)
        with pytest.raises(Refused, match=why):
            session.set_password(users, tenant.credential(third), Rights.ENFORCE)
        session.check_users(tenant.users)
        session.check_users(Users(tenant.base))
    assert tenant.side.users(tenant.base) == {tenant.base, clone}


@pytest.mark.parametrize("turn", ["base", "clone"])
@pytest.mark.parametrize(
    ("engine", "why"),
    [("mysql", r"not have all rights .*ALTER USER .* ATTRIBUTE"), ("mariadb", "not have all rights")],
    ids=("mysql", "mariadb"),
)
def test_who_has_some_of_the_base_users_rights_gets_neither_its_password_nor_the_rest(
    tenant: Tenant, turn: str, why: str
) -> None:
    """Another tenant owns a user of the clone's name, and proves it by logging in."""
    theirs = Account(tenant.clone.user, "their-Password-1", tenant.account.database)
    tenant.run(f"CREATE USER {{clone}} IDENTIFIED BY '{theirs.password}'", "GRANT SELECT ON {database}.* TO {clone}")
    before = _described(tenant)
    stolen = tenant.with_password("stolen") if turn == "base" else tenant.clone
    with tenant.open() as session:
        session.try_lock(tenant.base)
        with pytest.raises(Refused, match=why):
            session.check_users(tenant.users)
        with pytest.raises(Refused, match=why):
            session.set_password(tenant.users, tenant.credential(stolen), Rights.ENFORCE)
    assert tenant.verify() == []
    assert _described(tenant) == before
    tenant.side.log_in(theirs)


def _described(tenant: Tenant) -> list[tuple[object, ...]]:
    """All that the server says of the user with the clone's name, its password's hash as well."""
    return tenant.run("SHOW GRANTS FOR {clone}") + tenant.run("SHOW CREATE USER {clone}")
