"""AWS's rotation template and the operator take turns: what marks the clone survives the template's copying."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable

import pytest

from rotated_secrets.databases.base import Refused, RightsReport, Users
from rotated_secrets.databases.mariadb.mark import account_of_mark, role_of
from rotated_secrets.values import Credential, SecretText
from sandbox.mysqld import MysqldServer
from tests.integration.mariadb.conftest import Tenant, documented, make_tenant
from tests.support.template_grants import set_secret

ADMINS: dict[str, Callable[[Tenant], Credential]] = {
    "two admins": lambda tenant: tenant.admin,
    "one admin": lambda tenant: tenant.superuser,
}
"""The operator's. The template needs one that has every right WITH GRANT OPTION."""
each_admin = pytest.mark.parametrize("admin", ADMINS.values(), ids=ADMINS)


def by_template(tenant: Tenant, user: str, password: str) -> None:
    set_secret(tenant.server, tenant.superuser, tenant.users.alternate(user), user, password)


def shown(tenant: Tenant) -> str:
    """What SHOW GRANTS shows of the two users and their admin."""
    return "\n".join(
        str(line) for user in ("base", "clone", "admin") for (line,) in tenant.sql(f"SHOW GRANTS FOR {{{user}}}")
    )


@each_admin
@pytest.mark.parametrize("turns", ["OOTTOOTT", "TTOOTTOO", "OTOTOTOT", "OTTTOOTO"])
def test_operator_and_template_take_turns(tenant: Tenant, turns: str, admin: Callable[[Tenant], Credential]) -> None:
    before = tenant.described(tenant.base)
    for number, (turn, user) in enumerate(zip(turns, itertools.cycle([tenant.clone, tenant.base]), strict=False)):
        password = f"password-{number}"
        if turn == "T":
            by_template(tenant, user, password)
        else:
            assert tenant.set(user, password, admin=admin(tenant)) == RightsReport()
        assert tenant.verify(user, password) == []
        assert tenant.described(tenant.base) == tenant.described(tenant.clone) == before
    assert "rotated-secrets" not in shown(tenant)


@each_admin
@pytest.mark.parametrize("turn", ["clone", "base"])
def test_a_clone_is_still_known_after_the_template_set_its_password(
    tenant: Tenant, turn: str, admin: Callable[[Tenant], Credential]
) -> None:
    tenant.set_clone("first")
    by_template(tenant, tenant.base, "second")
    by_template(tenant, tenant.clone, "third")
    tenant.sql("REVOKE DELETE ON {schema}.* FROM {base}", "GRANT SELECT ON left_over.* TO {clone}")
    tenant.sql("GRANT ALL ON *.* TO {admin} WITH GRANT OPTION")
    assert len(tenant.set(getattr(tenant, turn), "fourth", admin=admin(tenant)).repaired) == 2
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    with pytest.raises(Refused, match="itself the clone of"):
        tenant.set(tenant.clone, "x", users=Users(tenant.clone, f"{tenant.clone}_2"))
    with pytest.raises(Refused, match="has a clone already"):
        tenant.set(f"{tenant.base}_2", "x", users=Users(tenant.base, f"{tenant.base}_2"))


def marked_by_a_role(tenant: Tenant, *, copied: bool) -> str:
    """The clone as an earlier version marked it; ``copied``: and a template gave its base user the mark too."""
    role = role_of(tenant.base)
    tenant.set_clone("first")
    tenant.server.sql(f"DROP USER {account_of_mark(tenant.clone).sql}")
    made = [f"CREATE OR REPLACE ROLE `{role}`", f"GRANT `{role}` TO `{tenant.clone}`@`%`"]
    made += [f"GRANT `{role}` TO `{tenant.base}`@`%`"] if copied else []
    tenant.server.sql(*made, user=tenant.admin.username, password=tenant.admin.password.reveal())
    # It is known by nothing but its mark.
    tenant.sql("REVOKE DELETE ON {schema}.* FROM {base}")
    return role


def another_admin(tenant: Tenant) -> Credential:
    """A second one with the privileges that the documentation names."""
    name, password = f"second_{tenant.schema}", secrets.token_urlsafe(12)
    tenant.server.sql(*documented(name, password, tenant.schema), logged=False)
    return Credential("mariadb", "localhost", name, SecretText(password))


@pytest.mark.parametrize("copied", [False, True], ids=["on the clone alone", "copied by a template"])
@pytest.mark.parametrize("turn", ["clone", "base"])
@pytest.mark.parametrize("whose", ["the same admin", "another admin"])
def test_a_mark_of_an_earlier_version_is_known_and_replaced(
    tenant: Tenant, turn: str, copied: bool, whose: str
) -> None:
    role = marked_by_a_role(tenant, copied=copied)
    admin = tenant.admin if whose == "the same admin" else another_admin(tenant)
    report = tenant.set(getattr(tenant, turn), "second", admin=admin)
    assert report.remaining == ()
    assert len(report.repaired) == 1
    assert "DELETE" in report.repaired[0]
    assert role not in shown(tenant)
    assert tenant.server.sql(f"SELECT 1 FROM mysql.roles_mapping WHERE Role = '{role}'") == []
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    for user in (tenant.clone, tenant.base):
        assert tenant.set(user, "third", admin=admin) == RightsReport()
    tenant.sql("REVOKE INSERT ON {schema}.* FROM {base}")
    assert tenant.set(tenant.base, "fourth", admin=admin).remaining == (), "known by the new mark"


def test_a_clone_that_a_template_made_is_known_from_the_operators_first_turn_on(tenant: Tenant) -> None:
    by_template(tenant, tenant.clone, "first")
    by_template(tenant, tenant.base, "second")
    assert tenant.set_clone("third") == RightsReport()
    tenant.sql("REVOKE DELETE ON {schema}.* FROM {base}")
    assert tenant.set(tenant.base, "fourth").remaining == ()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_a_locked_clone_stays_locked_when_its_mark_is_replaced_in_its_base_users_turn(tenant: Tenant) -> None:
    marked_by_a_role(tenant, copied=False)
    tenant.sql("ALTER USER {clone} ACCOUNT LOCK")
    tenant.set(tenant.base, "second")
    assert "ACCOUNT LOCK" in "".join(tenant.described(tenant.clone))


def test_an_admin_that_made_marks_of_an_earlier_version_gets_a_clone_without_them(tenant: Tenant) -> None:
    marked_by_a_role(tenant, copied=True)
    users = Users(tenant.admin.username, f"{tenant.admin.username}_clone")
    found = tenant.set(str(users.clone), "first", users=users, admin=tenant.superuser)
    assert found == RightsReport()


def test_names_of_any_kind_are_in_the_mark(mariadb: MysqldServer) -> None:
    tenant = make_tenant(mariadb, base=f"o'b`r\\ie\"\n\t {{é}} {secrets.token_hex(2)}")
    tenant.set_clone("first")
    tenant.sql("REVOKE DELETE ON {schema}.* FROM {base}")
    assert tenant.set_clone("second").remaining == ()
    with pytest.raises(Refused, match="itself the clone of"):
        tenant.set(tenant.clone, "x", users=Users(tenant.clone, f"{tenant.clone}_2"))
    with pytest.raises(Refused, match="has a clone already"):
        tenant.set(f"{tenant.base}_2", "x", users=Users(tenant.base, f"{tenant.base}_2"))
