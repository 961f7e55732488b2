"""The clone can do exactly what its base user can, and only what is provably the clone is touched."""

from __future__ import annotations

from typing import Any

import pytest

from rotated_secrets.api.rotation import Rights
from rotated_secrets.databases.base import Refused, RightsReport
from sandbox.mongo import Document, MongoServer
from tests.integration.mongo.conftest import Tenant, make_tenant, make_user
from tests.support.mongo_shell import run_shell

MARK = "rotatedSecretsCloneOf"


@pytest.fixture
def rich(mongo: MongoServer) -> Tenant:
    """A tenant whose base user has everything that a user of MongoDB can have."""
    custom: Document = {"team": "payments", "pager": {"level": 2}}
    made = make_tenant(
        mongo,
        customData=custom,
        mechanisms=["SCRAM-SHA-1"],
        authenticationRestrictions=[
            {"clientSource": ["127.0.0.1", "10.0.0.0/8"]},
            {"clientSource": ["::1"], "serverAddress": ["127.0.0.1"]},
        ],
    )
    elsewhere = f"hr_{made.database}"
    for database, role in ((elsewhere, "readsPeople"), (made.database, "readsPrices")):
        privilege = {"resource": {"db": database, "collection": "c"}, "actions": ["find"]}
        made.as_admin({"createRole": role, "privileges": [privilege], "roles": []}, database)
        grant(made, made.base, role, database)
    grant(made, made.base, "clusterMonitor", "admin")
    return made


def grant(tenant: Tenant, user: str, role: str, database: str) -> None:
    tenant.as_admin({"grantRolesToUser": user, "roles": [{"role": role, "db": database}]})


def revoke(tenant: Tenant, user: str, role: str, database: str) -> None:
    tenant.as_admin({"revokeRolesFromUser": user, "roles": [{"role": role, "db": database}]})


def test_a_clone_has_all_that_its_base_user_has(rich: Tenant) -> None:
    assert rich.set_clone("first") == RightsReport()
    shown = rich.shown(rich.clone)
    assert shown == rich.shown(rich.base)
    assert shown["mechanisms"] == ["SCRAM-SHA-1"]
    assert len(shown["roles"]) == 4
    assert len(shown["restrictions"]) == 2
    assert rich.verify(rich.clone, "first") == []


def test_turns_change_nothing_but_passwords(rich: Tenant) -> None:
    before = rich.shown(rich.base)
    for turn, user in enumerate((rich.clone, rich.base, rich.clone, rich.base)):
        assert rich.set(user, f"turn-{turn}") == RightsReport()
        assert rich.shown(rich.base) == rich.shown(rich.clone) == before


def test_what_the_base_user_was_given_or_lost_the_clone_is_given_or_loses(rich: Tenant) -> None:
    rich.set_clone("first")
    grant(rich, rich.base, "dbAdmin", rich.database)
    revoke(rich, rich.base, "readsPeople", f"hr_{rich.database}")
    rich.as_admin({"updateUser": rich.base, "customData": {"team": "orders"}, "authenticationRestrictions": []})
    report = rich.set_clone("second")
    assert report == RightsReport(
        repaired=(
            f"{rich.clone} lacks role dbAdmin@{rich.database}",
            f"{rich.clone} has role readsPeople@hr_{rich.database}, which {rich.base} does not have",
            f"{rich.clone} has other authentication restrictions than {rich.base}",
            f"{rich.clone} has other customData than {rich.base}",
        )
    )
    assert rich.shown(rich.clone) == rich.shown(rich.base)
    assert rich.verify(rich.clone, "second") == []


def test_mechanisms_follow_with_the_next_password(rich: Tenant) -> None:
    rich.set_clone("first")
    password = {"pwd": rich.password, "mechanisms": ["SCRAM-SHA-1", "SCRAM-SHA-256"]}
    rich.as_admin({"updateUser": rich.base, **password})
    assert rich.set(rich.base, "second").remaining == (
        f"{rich.clone} logs in by SCRAM-SHA-1 instead of SCRAM-SHA-1 and SCRAM-SHA-256",
    )
    assert len(rich.set_clone("third").repaired) == 1
    assert rich.shown(rich.clone) == rich.shown(rich.base)


def test_the_active_clone_is_mended_when_its_base_user_has_its_turn(rich: Tenant) -> None:
    rich.set_clone("first")
    grant(rich, rich.base, "dbAdmin", rich.database)
    assert rich.set(rich.base, "second").repaired == (f"{rich.clone} lacks role dbAdmin@{rich.database}",)
    assert rich.shown(rich.clone) == rich.shown(rich.base)
    assert rich.verify(rich.clone, "first") == []


def test_report_tells_and_ignore_does_not_look(rich: Tenant) -> None:
    rich.set_clone("first")
    revoke(rich, rich.base, "readWrite", rich.database)
    before = rich.shown(rich.clone)
    lost = f"{rich.clone} has role readWrite@{rich.database}, which {rich.base} does not have"
    assert rich.set_clone("second", Rights.REPORT) == RightsReport(remaining=(lost,))
    assert rich.set_clone("third", Rights.IGNORE) == RightsReport()
    assert rich.set(rich.base, "fourth", Rights.REPORT) == RightsReport(remaining=(lost,))
    assert rich.shown(rich.clone) == before
    assert rich.verify(rich.clone, "third") == []


def test_a_clone_made_where_rights_are_ignored_is_complete(rich: Tenant) -> None:
    assert rich.set_clone("first", Rights.IGNORE) == RightsReport()
    assert rich.shown(rich.clone) == rich.shown(rich.base)


# ---- whose password may be set


def test_a_clone_as_aws_makes_it_is_taken_over_and_completed(rich: Tenant) -> None:
    (base,) = rich.as_admin({"usersInfo": rich.base})["users"]
    make_user(rich.server, rich.clone, rich.database, base["roles"])
    report = rich.set_clone("first")
    assert len(report.repaired) == 3
    assert report.remaining == ()
    assert rich.shown(rich.clone) == rich.shown(rich.base)
    # From now on it is known, whatever its base user loses.
    revoke(rich, rich.base, "readWrite", rich.database)
    assert len(rich.set_clone("second").repaired) == 1


@pytest.mark.parametrize(
    ("own", "why"),
    [
        (
            {"roles": ["dbOwner"]},
            r"it has dbOwner@\S+, which \S+ does not have; if it is the clone: .*revokeRolesFromUser",
        ),
        ({}, "no roles at all"),
        ({"roles": ["readWrite"], "customData": {"team": "strangers"}}, "it has other customData than"),
        ({"roles": ["readWrite"], "customData": {MARK: "somebody"}}, "says that it is the clone of somebody"),
        (
            {"roles": ["readWrite"], "authenticationRestrictions": [{"clientSource": ["10.1.2.3"]}]},
            "has other authentication restrictions",
        ),
    ],
    ids=["roles", "no roles", "custom data", "mark", "restrictions"],
)
def test_a_stranger_of_the_clones_name_is_left_alone(tenant: Tenant, own: dict[str, Any], why: str) -> None:
    roles = own.pop("roles", [])
    make_user(tenant.server, tenant.clone, tenant.database, roles, **own)
    before = tenant.as_admin({"usersInfo": tenant.clone, "showCredentials": True})
    with tenant.open() as session:
        with pytest.raises(Refused, match=why):
            session.check_users(tenant.users)
        for user in (tenant.clone, tenant.base):
            with pytest.raises(Refused, match=why):
                session.set_password(tenant.users, tenant.credential(user, "taken"), Rights.ENFORCE)
    after = tenant.as_admin({"usersInfo": tenant.clone, "showCredentials": True})
    assert after["users"] == before["users"]


@pytest.mark.parametrize("turn", ["base", "clone"])
def test_who_has_some_of_the_base_users_roles_gets_neither_its_password_nor_the_rest(rich: Tenant, turn: str) -> None:
    """Another tenant owns a user of the clone's name, and proves it by logging in."""
    make_user(rich.server, rich.clone, rich.database, ["readWrite"])
    before = rich.as_admin({"usersInfo": rich.clone, "showCredentials": True})["users"]
    with pytest.raises(Refused, match=r"it lacks .*grantRolesToUser"):
        rich.set(getattr(rich, turn), "stolen")
    assert rich.verify(rich.base, rich.password) == []
    assert rich.as_admin({"usersInfo": rich.clone, "showCredentials": True})["users"] == before


def test_the_commands_that_make_a_user_the_clone_do(tenant: Tenant) -> None:
    make_user(tenant.server, tenant.clone, tenant.database, ["dbOwner"])
    tenant.as_admin({"revokeRolesFromUser": tenant.clone, "roles": ["dbOwner"]})
    tenant.as_admin({"grantRolesToUser": tenant.clone, "roles": ["readWrite"]})
    assert tenant.set_clone("first").remaining == ()
    tenant.as_admin({"updateUser": tenant.clone, "customData": {"own": 1}})
    with pytest.raises(Refused, match="other customData than"):
        tenant.set_clone("second")
    tenant.as_admin({"updateUser": tenant.clone, "customData": {MARK: tenant.base}})
    assert tenant.set_clone("second").remaining == ()


def test_a_right_that_the_admin_may_not_give_stops_the_rotation_before_the_password(rich: Tenant) -> None:
    rich.set_clone("first")
    keeps_locks = {"role": "keepsLocks", "db": "admin"}
    owner = make_user(rich.server, f"owner_{rich.base}", rich.database, ["userAdmin", keeps_locks])
    assert rich.set_clone("second", admin=owner) == RightsReport()
    grant(rich, rich.base, "read", f"hr_{rich.database}")
    with pytest.raises(Refused, match=f"lacks grantRole on database hr_{rich.database}; run: db.getSiblingDB"):
        rich.set_clone("third", admin=owner)
    revoke(rich, rich.base, "read", f"hr_{rich.database}")
    grant(rich, rich.clone, "read", f"hr_{rich.database}")
    with pytest.raises(Refused, match=f"revoke roles of database hr_{rich.database}"):
        rich.set_clone("third", admin=owner)
    assert rich.verify(rich.clone, "second") == []
    remaining = rich.set(rich.base, "fourth", admin=owner).remaining
    assert len(remaining) == 1
    assert "(could not revoke" in remaining[0]
    assert run_shell(rich.server, remaining[0]) == 1
    assert rich.set_clone("third", admin=owner) == RightsReport()


def test_a_clone_that_cannot_be_made_complete_is_not_made(rich: Tenant) -> None:
    keeps_locks = {"role": "keepsLocks", "db": "admin"}
    owner = make_user(rich.server, f"owner_{rich.base}", rich.database, ["userAdmin", keeps_locks])
    with pytest.raises(Refused, match=r"lacks grantRole on database admin"):
        rich.set_clone("first", admin=owner)
    assert not rich.exists(rich.clone)


def test_a_clone_that_may_look_is_tested_for_the_roles_of_its_base_user(tenant: Tenant) -> None:
    grant(tenant, tenant.base, "userAdmin", tenant.database)
    tenant.set_clone("first")
    assert tenant.verify(tenant.clone, "first") == []
    revoke(tenant, tenant.clone, "readWrite", tenant.database)
    assert tenant.verify(tenant.clone, "first") == [f"{tenant.clone} lacks role readWrite@{tenant.database}"]
