"""Whose password may be set, what a clone lacks, and what an admin lacks: decided on what the server shows alone."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from rotated_secrets.api.rotation import Strategy
from rotated_secrets.databases.base import Refused
from rotated_secrets.databases.mongo import DocumentDbEngine, MongoEngine
from rotated_secrets.databases.mongo.users import (
    MARK,
    Account,
    Role,
    differences,
    may,
    missing_privilege,
    not_the_clone,
    read_account,
    shell,
    unusable_name,
)

READ, WRITE = Role("read", "shop"), Role("readWrite", "shop")
BASE = Account("app", "shop", frozenset({READ, WRITE}), frozenset({"SCRAM-SHA-256"}))
CLONE = dataclasses.replace(BASE, name="app_clone", clone_of="app")


def privilege(*actions: str, **resource: Any) -> dict[str, Any]:
    return {"resource": resource, "actions": list(actions)}


def test_an_account_is_read_as_the_server_shows_it() -> None:
    shown = {
        "_id": "shop.app_clone",
        "user": "app_clone",
        "db": "shop",
        "roles": [{"role": "read", "db": "shop"}],
        "mechanisms": ["SCRAM-SHA-1"],
        "authenticationRestrictions": [{"clientSource": ["10.0.0.0/8"], "serverAddress": ["10.0.0.1"]}],
        "customData": {"team": "x", MARK: "app"},
    }
    account = read_account(shown)
    assert account.clone_of == "app"
    assert account.custom == {"team": "x"}
    assert account.restriction_documents() == shown["authenticationRestrictions"]
    assert "team" not in repr(account)


def test_an_account_of_a_server_that_keeps_roles_alone_is_read() -> None:
    account = read_account({"_id": "app", "user": "app", "db": "admin", "roles": [{"role": "read", "db": "shop"}]})
    assert account == Account("app", "admin", frozenset({READ}))


@pytest.mark.parametrize("noise", [None, 5, ["app"], {"a": 1}, ""])
def test_a_mark_that_is_no_name_is_none(noise: object) -> None:
    noisy = read_account({"user": "app_clone", "db": "shop", "customData": {MARK: noise}})
    assert "no roles at all" in str(not_the_clone(BASE, noisy))


def test_equal_users_differ_in_nothing_whatever_the_order() -> None:
    assert list(differences(BASE, CLONE)) == []


def test_the_mark_proves_a_clone_whatever_its_base_user_lost() -> None:
    assert not_the_clone(dataclasses.replace(BASE, roles=frozenset()), CLONE) is None


def test_without_the_mark_a_user_is_taken_for_the_clone_only_as_the_base_users_equal() -> None:
    unmarked = dataclasses.replace(CLONE, clone_of=None)
    assert not_the_clone(BASE, unmarked) is None
    told = not_the_clone(BASE, dataclasses.replace(unmarked, roles=frozenset({READ})))
    assert told is not None
    assert shell("shop", "grantRolesToUser", "app_clone", [WRITE.document()]) in told


def test_roles_of_another_database_are_other_roles() -> None:
    stranger = dataclasses.replace(CLONE, clone_of=None, roles=frozenset({Role("read", "hr")}))
    told = not_the_clone(BASE, stranger)
    assert told is not None
    assert "read@hr" in told
    assert shell("shop", "revokeRolesFromUser", "app_clone", [{"role": "read", "db": "hr"}]) in told


def test_a_name_is_quoted_in_commands_as_the_shell_needs_it() -> None:
    assert shell("a", "grantRolesToUser", 'o"x', ["r"]) == 'db.getSiblingDB("a").grantRolesToUser("o\\"x", ["r"])'


@pytest.mark.parametrize(
    ("resource", "covered"),
    [
        ({"db": "shop", "collection": ""}, True),
        ({"db": "", "collection": ""}, True),
        ({"anyResource": True}, True),
        ({"db": "hr", "collection": ""}, False),
        ({"db": "shop", "collection": "prices"}, False),
        ({"cluster": True}, False),
    ],
    ids=str,
)
def test_a_privilege_covers_its_database(resource: dict[str, Any], covered: bool) -> None:
    assert may([privilege("viewUser", **resource)], "viewUser", "shop") is covered
    assert not may([privilege("viewRole", **resource)], "viewUser", "shop")


def test_each_privilege_that_is_missing_is_told_with_its_command() -> None:
    held: list[dict[str, Any]] = []
    told = []
    while (
        lacking := missing_privilege(
            held, admin="rotator", source="admin", itself=False, base=BASE, clone=None, clones=True
        )
    ) is not None:
        action = lacking.split()[2]
        assert lacking.endswith('.grantRolesToUser("rotator", [{"role": "userAdmin", "db": "shop"}])')
        told.append(action)
        held.append(privilege(action, db="shop", collection=""))
    assert told == ["viewUser", "changePassword", "changeCustomData", "createUser", "grantRole"]


@pytest.mark.parametrize("name", ["", "a\x00b", "__system", "x" * 129])
def test_names_that_no_user_has_are_told(name: str) -> None:
    assert unusable_name(name)
    with pytest.raises(Refused):
        MongoEngine().check_username(name)


def test_names_with_any_other_sign_are_fine() -> None:
    for name in ("app", "a.b@c d/é$", "x" * 128):
        MongoEngine().check_username(name)


def test_documentdb_takes_shorter_names_and_passwords_without_some_signs() -> None:
    engine = DocumentDbEngine()
    engine.check_username("x" * 63)
    with pytest.raises(Refused, match="at most 63"):
        engine.check_username("x" * 64)
    assert engine.passwords.longest == 100
    assert set('/"@ ') == set(engine.passwords.excluded)
    assert engine.strategies == {Strategy.SINGLE_USER, Strategy.ALTERNATING_USERS}
