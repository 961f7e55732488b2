"""What is decided about two users from what the catalog said."""

from __future__ import annotations

import dataclasses

import pytest
from psycopg2.sql import SQL, Composable, Composed, Identifier, Literal

from rotated_secrets.databases.base import AuthenticationFailed, Server, Tls, Users
from rotated_secrets.databases.postgres import PostgresEngine
from rotated_secrets.databases.postgres.catalog import Admin, Belongings, Clone, Membership, Role, Seen, SettingKey
from rotated_secrets.databases.postgres.rights import (
    differences,
    expected_settings,
    missing_privilege,
    not_the_clone,
    starts_as,
    unequal,
    unusable_name,
)
from rotated_secrets.values import Credential, SecretText

BASE = Role(1, "app", frozenset(), True, True, -1, None, False)
CLONE = Clone(
    role=dataclasses.replace(BASE, oid=2, name="app_clone"),
    memberships=(Membership("app", admin=False, base_has_it=True),),
    settings={(None, "role"): "app"},
    belongings=(),
    uses_base=True,
    becomes_base=True,
)
ADMIN = Admin("admin", superuser=False, creates_roles=True, administers_base=True, administers_clone=True)
SEEN = Seen(170000, ADMIN, BASE, {}, CLONE)
SETS_TENANT = 'GRANT SET ON PARAMETER app."Tenant" TO admin'


def test_a_good_clone_is_the_clone_and_has_no_differences() -> None:
    assert not_the_clone(BASE, CLONE) is None
    assert list(differences(SEEN, BASE, CLONE)) == []
    assert missing_privilege(SEEN, BASE) is None


def test_a_membership_through_another_role_does_not_make_a_clone() -> None:
    """A superuser is taken for a member of every role."""
    assert "not a member of app" in str(not_the_clone(BASE, dataclasses.replace(CLONE, memberships=())))


def test_a_base_user_that_is_a_member_of_its_clone_gets_statements_that_work() -> None:
    """PostgreSQL refuses a circle, so no GRANT alone can be the advice."""
    circle = dataclasses.replace(CLONE, memberships=(), given_to_base=(("app", None), ("between", "admin")))
    assert str(not_the_clone(BASE, circle)).endswith(
        "REVOKE app_clone FROM app; REVOKE app_clone FROM between GRANTED BY admin; GRANT app TO app_clone"
    )


def test_a_clone_in_roles_that_its_base_user_is_not_in_gets_statements_that_work() -> None:
    held = (
        Membership("Audit", admin=False, base_has_it=False, grantors=("one", "two")),
        Membership("readers", admin=False, base_has_it=False),
    )
    assert str(not_the_clone(BASE, dataclasses.replace(CLONE, memberships=(*CLONE.memberships, *held)))) == (
        "it is a member of Audit, readers, which app is not; if it is the clone: "
        'REVOKE "Audit" FROM app_clone GRANTED BY one; REVOKE "Audit" FROM app_clone GRANTED BY two; '
        "REVOKE readers FROM app_clone"
    )


def test_what_is_owned_is_a_difference_only_where_sessions_start_as_the_base_user() -> None:
    owner = dataclasses.replace(CLONE, belongings=(Belongings("shop", owned=True, count=2),))
    assert not_the_clone(BASE, owner) is None
    assert [found.sentence for found in differences(SEEN, BASE, owner)] == [
        "app_clone owns 2 objects in database shop itself"
    ]
    undeclared = dataclasses.replace(owner, settings={(None, "role"): "somebody"})
    assert "ALTER ROLE app_clone SET role TO app" in str(not_the_clone(BASE, undeclared))


@pytest.mark.parametrize(("version", "lacks"), [(150000, False), (160000, True)])
def test_admin_option_is_needed_from_16_on(version: int, lacks: bool) -> None:
    seen = dataclasses.replace(SEEN, version=version, admin=dataclasses.replace(ADMIN, administers_clone=False))
    told = missing_privilege(seen, BASE)
    assert (told is not None) is lacks
    assert not lacks or "GRANT app_clone TO admin WITH ADMIN OPTION" in str(told)


def test_names_are_told_as_a_person_has_to_write_them() -> None:
    odd = dataclasses.replace(BASE, name='App "1"')
    told = missing_privilege(dataclasses.replace(SEEN, admin=dataclasses.replace(ADMIN, administers_base=False)), odd)
    assert 'GRANT "App ""1""" TO admin' in str(told)


@pytest.mark.parametrize(
    ("stored", "written"),
    [
        ('"$user", public', ["$user", "public"]),
        ('"a, b", "c""d"', ["a, b", 'c"d']),
        ('""', [""]),
        ("", [""]),
        ("one", ["one"]),
    ],
)
def test_lists_of_names_are_written_name_by_name(stored: str, written: list[str]) -> None:
    seen = dataclasses.replace(SEEN, base_settings={("shop", "search_path"): stored})
    (found,) = differences(seen, BASE, CLONE)
    assert found.repair == SQL("ALTER ROLE {}{} SET {} TO {}").format(
        Identifier("app_clone"),
        SQL(" IN DATABASE {}").format(Identifier("shop")),
        Identifier("search_path"),
        SQL(", ").join([Literal(name) for name in written]),
    )


def test_settings_values_are_not_told() -> None:
    seen = dataclasses.replace(SEEN, base_settings={(None, "app.key"): "canary"})
    (found,) = differences(seen, BASE, CLONE)
    assert "canary" not in found.sentence
    assert "canary" not in repr(seen)


def test_the_clones_sessions_start_as_whoever_the_base_users_start_as() -> None:
    assert expected_settings(with_settings({}), "app") == {(None, "role"): "app"}
    assert expected_settings(with_settings({(None, "role"): "owners"}), "app") == {(None, "role"): "owners"}
    assert expected_settings(with_settings({("shop", "role"): "none"}), "app") == {
        (None, "role"): "app",
        ("shop", "role"): "app",
    }


def test_a_role_that_is_set_for_a_database_or_for_all_users_is_set_for_the_clone_itself() -> None:
    of_all = {("shop", "role"): "owners", (None, "work_mem"): "8MB"}
    assert expected_settings(with_settings({}, of_all), "app") == {(None, "role"): "app", ("shop", "role"): "owners"}
    assert expected_settings(with_settings({}, {(None, "role"): "owners"}), "app") == {(None, "role"): "owners"}


@pytest.mark.parametrize(
    ("of_base", "of_all", "role"),
    [
        ({("shop", "role"): "owners", (None, "role"): "readers"}, {}, "owners"),
        ({(None, "role"): "readers"}, {("shop", "role"): "owners"}, "readers"),
        ({}, {("shop", "role"): "owners", (None, "role"): "readers"}, "owners"),
        ({}, {("other", "role"): "owners", (None, "role"): "readers"}, "readers"),
        ({(None, "role"): "none"}, {("shop", "role"): "owners"}, "app"),
        ({(None, "role"): "gone"}, {("shop", "role"): "owners"}, "owners"),
        ({("shop", "role"): "gone"}, {(None, "role"): "not_ours"}, "app"),
    ],
)
def test_the_most_special_role_that_the_base_user_may_become_decides(
    of_base: dict[SettingKey, str], of_all: dict[SettingKey, str], role: str
) -> None:
    assert starts_as(with_settings(of_base, of_all), "app", "shop") == role


def with_settings(of_base: dict[SettingKey, str], of_all: dict[SettingKey, str] | None = None) -> Seen:
    """The base user may become owners and readers, and no other role."""
    becomes = frozenset({"owners", "readers"})
    return dataclasses.replace(SEEN, base_settings=of_base, everyones_settings=of_all or {}, base_becomes=becomes)


def test_a_name_that_is_no_text_is_refused_in_words_that_are() -> None:
    told = unusable_name("app\ud800")
    assert told is not None and "surrogate" in told
    told.encode()


@pytest.mark.parametrize("field", ["username", "password", "dbname"])
def test_what_is_no_text_is_never_sent(field: str) -> None:
    texts = {"username": "app", "password": "secret", "dbname": "shop"} | {field: "half\udc00"}
    credential = Credential(
        "postgres", "db.example", texts["username"], SecretText(texts["password"]), dbname=texts["dbname"]
    )
    nowhere = Server("db.example", ("192.0.2.1",), 5432, Tls())
    with pytest.raises(AuthenticationFailed, match="surrogate") as told:
        PostgresEngine().verify(nowhere, credential, Users(texts["username"]))
    str(told.value).encode()


def test_a_marked_user_is_the_clone_without_its_membership() -> None:
    """It lost that with the admin that had granted it."""
    marked = dataclasses.replace(CLONE.role, comment="rotated-secrets: clone of app")
    lost = dataclasses.replace(CLONE, role=marked, memberships=(), uses_base=False, becomes_base=False)
    assert not_the_clone(BASE, lost) is None
    others = dataclasses.replace(marked, comment="rotated-secrets: clone of other")
    assert "not a member of app" in str(not_the_clone(BASE, dataclasses.replace(lost, role=others)))
    more = dataclasses.replace(marked, attributes=frozenset({"CREATEDB"}))
    assert "it has CREATEDB" in str(not_the_clone(BASE, dataclasses.replace(lost, role=more)))


def test_everything_that_an_admin_lacks_is_told_in_one_sentence() -> None:
    admin = Admin("admin", superuser=False, creates_roles=False, administers_base=False, administers_clone=False)
    told = missing_privilege(dataclasses.replace(SEEN, admin=admin), BASE)
    assert told == (
        "admin lacks CREATEROLE and ADMIN OPTION on app and app_clone (from PostgreSQL 16 CREATEROLE alone is not "
        "enough); run: ALTER ROLE admin CREATEROLE; GRANT app, app_clone TO admin WITH ADMIN OPTION"
    )


@pytest.mark.parametrize(
    ("version", "by"), [(150000, ""), (160000, ' GRANTED BY "one"; REVOKE "readers" FROM "app_clone" GRANTED BY "two"')]
)
def test_a_membership_is_revoked_from_each_grantor_from_16_on(version: int, by: str) -> None:
    readers = Membership("readers", admin=False, base_has_it=True, grantors=("one", "two"))
    clone = dataclasses.replace(CLONE, memberships=(*CLONE.memberships, readers))
    (found,) = differences(dataclasses.replace(SEEN, version=version), BASE, clone)
    assert found.repair is not None
    assert written(found.repair) == f'REVOKE "readers" FROM "app_clone"{by}'


def written(statement: Composable) -> str:
    """A statement without a connection: names alone are in it."""
    if isinstance(statement, Composed):
        return "".join(written(part) for part in statement.seq)
    return f'"{statement.string}"' if isinstance(statement, Identifier) else str(getattr(statement, "string", ""))


@pytest.mark.parametrize(
    ("version", "made", "needed"),
    [
        (140000, True, {"ALTER ROLE app_clone BYPASSRLS", "ALTER ROLE admin SUPERUSER"}),
        (150000, True, {"ALTER ROLE app_clone BYPASSRLS", SETS_TENANT}),
        (150000, False, {"CREATE ROLE app_clone BYPASSRLS; GRANT app TO app_clone", SETS_TENANT}),
        (160000, False, {"ALTER ROLE admin BYPASSRLS", SETS_TENANT}),
    ],
)
def test_a_difference_says_what_lets_the_admin_repair_it(version: int, made: bool, needed: set[str]) -> None:
    base = dataclasses.replace(BASE, attributes=frozenset({"BYPASSRLS"}))
    settings: dict[SettingKey, str] = {(None, "app.Tenant"): "one"}
    seen = dataclasses.replace(SEEN, version=version, base_settings=settings, clone=CLONE if made else None)
    found = list(differences(seen, base, CLONE))
    assert {each.needs for each in found} == needed
    assert all(each.lacks for each in found)
    told = unequal(Users("app", "app_clone"), found, {found[0].sentence: "permission denied"})
    assert told.startswith("user app_clone cannot be made equal to app: app_clone lacks BYPASSRLS (permission denied)")


@pytest.mark.parametrize(("version", "refused"), [(150000, True), (160000, False)])
@pytest.mark.parametrize("itself", [True, False])
def test_a_replication_user_is_a_superusers_to_change_before_16(version: int, refused: bool, itself: bool) -> None:
    base = dataclasses.replace(BASE, attributes=frozenset({"REPLICATION"}))
    admin = dataclasses.replace(ADMIN, name="app") if itself else ADMIN
    told = missing_privilege(dataclasses.replace(SEEN, version=version, admin=admin, clone=None), base)
    assert (told is not None) is refused
    assert not refused or "ALTER ROLE app NOREPLICATION" in str(told)


def test_what_reassigning_leaves_alone_is_told_as_what_it_is() -> None:
    kinds = (
        Belongings("shop", owned=True, count=1, kind="default privilege"),
        Belongings("shop", owned=True, count=2, kind="user mapping"),
        Belongings("shop", owned=False, count=1, kind="default privilege"),
        Belongings(None, owned=False, count=1, kind="membership"),
    )
    told = [found.sentence for found in differences(SEEN, BASE, dataclasses.replace(CLONE, belongings=kinds))]
    unused = (
        " itself, which its sessions do not use, because they start as app; in that database run: "
        "REASSIGN OWNED BY app_clone TO app; DROP OWNED BY app_clone"
    )
    assert told == [
        f"app_clone has 1 default privilege in database shop{unused}",
        f"app_clone has 2 user mappings in database shop{unused}",
        "app_clone is named in the privileges of 1 default privilege in database shop itself",
        "app_clone is named in the privileges of 1 membership that all databases share itself",
    ]
