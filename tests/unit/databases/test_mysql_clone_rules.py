"""Whose password may be set is proven; what a clone is bound by is its base user's."""

from __future__ import annotations

import re
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rotated_secrets.databases.base import Refused
from rotated_secrets.databases.mysql.accounts import Account
from rotated_secrets.databases.mysql.admin import MySqlAdminSession
from rotated_secrets.databases.mysql.catalog import User
from rotated_secrets.databases.mysql.clones import misplaced, no_password, not_the_clone
from rotated_secrets.databases.mysql.grants import ALL, EVERYTHING, Member, On, Privilege
from rotated_secrets.databases.mysql.options import Options, differences, made_for_clone, marked
from rotated_secrets.values import SecretText

BASE = Account("app", "10.%")
CLONE = Account("app_clone", "10.%")
SHA2 = "caching_sha2_password"
SELECT = Privilege(On("shop"), "SELECT")
MARK = {"rotated-secrets": {"clone-of": "app@10.%"}}


def user(account: Account, *rights: Privilege, attributes: dict[str, Any] | None = None, **changes: Any) -> User:
    options = Options(SHA2, attributes=attributes or {})
    made = User(account, options, False, False, False, b"hash", None, frozenset(rights))
    return replace(made, **changes)


def test_without_a_mark_a_user_is_taken_for_the_clone_only_as_the_base_users_equal() -> None:
    insert = Privilege(On("shop"), "INSERT")
    base = user(BASE, SELECT, insert)
    assert not_the_clone(base, user(CLONE, SELECT, insert)) is None
    assert "not have all rights of app@10.%: INSERT on `shop`.*" in str(not_the_clone(base, user(CLONE, SELECT)))
    assert "not have all rights" in str(not_the_clone(user(BASE, Privilege(On("shop"), ALL)), user(CLONE, SELECT)))


def test_a_marked_user_is_the_clone_whatever_it_can_do() -> None:
    base = user(BASE, SELECT)
    assert not_the_clone(base, user(CLONE, Privilege(EVERYTHING, "DROP"), attributes=MARK)) is None
    assert not_the_clone(base, user(CLONE, attributes=MARK, locked=True)) is None


@pytest.mark.parametrize(
    ("clone", "why"),
    [
        (
            user(CLONE, SELECT, Privilege(EVERYTHING, "SELECT")),
            r"rights that app@10\.% does not have: SELECT on \*\.\*",
        ),
        (user(CLONE), "no rights at all"),
        (user(CLONE, SELECT, locked=True), "a role, or locked"),
        (user(CLONE, SELECT, primary=b""), "a role, or locked"),
        (user(CLONE, SELECT, attributes={"rotated-secrets": {"clone-of": "app@%"}}), "clone of app@%"),
    ],
)
def test_any_other_is_not_and_the_statement_that_makes_it_one_is_told(clone: User, why: str) -> None:
    told = str(not_the_clone(user(BASE, SELECT), clone))
    assert re.search(why, told)
    assert """ALTER USER 'app_clone'@'10.%' ATTRIBUTE '{"rotated-secrets": {"clone-of": "app@10.%"}}'""" in told


@pytest.mark.parametrize(
    "junk", [{"rotated-secrets": 1}, {"rotated-secrets": {"clone-of": 1}}, {"clone-of": "app@10.%"}]
)
def test_what_is_no_mark_proves_nothing(junk: dict[str, Any]) -> None:
    assert not_the_clone(user(BASE), user(CLONE, SELECT, attributes=junk)) is not None


def test_a_clone_has_its_base_users_host_part() -> None:
    assert misplaced(BASE, (CLONE,)) is None
    assert misplaced(BASE, ()) is None
    told = misplaced(BASE, (CLONE, Account("app_clone", "%")))
    assert told is not None
    assert "RENAME USER 'app_clone'@'%' TO 'app_clone'@'10.%'" in told


def test_a_user_without_a_password_of_the_servers_is_not_rotated() -> None:
    assert no_password(user(BASE)) is None
    assert "auth_socket" in str(no_password(user(BASE, options=Options("auth_socket"))))
    assert "multi-factor" in str(no_password(user(BASE, has_factors=True)))


BOUND = Options(
    SHA2,
    require=(("ISSUER", "/CN=o'brien"), ("SUBJECT", "/CN=x")),
    limits=(5, 0, 0, 7),
    lifetime=0,
    history=3,
    reuse_days=30,
    require_current=False,
    failed_logins=4,
    lock_days=-1,
    default_roles=frozenset({Member("r", "%")}),
    attributes={"comment": "mine", "team": {"name": "a", "size": 3}},
)


def test_a_new_clone_is_bound_as_its_base_user_is() -> None:
    assert made_for_clone(Options(SHA2)) == ""
    assert made_for_clone(BOUND) == (
        "REQUIRE ISSUER '/CN=o''brien' AND SUBJECT '/CN=x' WITH MAX_QUERIES_PER_HOUR 5 MAX_USER_CONNECTIONS 7 "
        "PASSWORD EXPIRE NEVER PASSWORD HISTORY 3 PASSWORD REUSE INTERVAL 30 DAY PASSWORD REQUIRE CURRENT OPTIONAL "
        "FAILED_LOGIN_ATTEMPTS 4 PASSWORD_LOCK_TIME UNBOUNDED"
    )
    mark = '{"rotated-secrets": {"clone-of": "app@10.%", "unfinished": true}}'
    assert marked(Options(SHA2), BASE) == f"ATTRIBUTE '{mark}'"


def test_each_difference_is_one_statement_and_an_equal_clone_has_none() -> None:
    assert list(differences(BOUND, BASE, replace(BOUND, attributes=BOUND.attributes | MARK), CLONE)) == []  # type: ignore[operator]
    repairs = [one for each in differences(Options(SHA2), BASE, BOUND, CLONE) for one in each.repairs]
    to = "ALTER USER 'app_clone'@'10.%' "
    assert repairs == [
        f"{to}REQUIRE NONE",
        f"{to}WITH MAX_QUERIES_PER_HOUR 0",
        f"{to}WITH MAX_USER_CONNECTIONS 0",
        f"{to}PASSWORD EXPIRE DEFAULT",
        f"{to}PASSWORD HISTORY DEFAULT",
        f"{to}PASSWORD REUSE INTERVAL DEFAULT",
        f"{to}PASSWORD REQUIRE CURRENT DEFAULT",
        f"{to}FAILED_LOGIN_ATTEMPTS 0 PASSWORD_LOCK_TIME 0",
        f"{to}DEFAULT ROLE NONE",
        to + """ATTRIBUTE '{"comment": null, "rotated-secrets": {"clone-of": "app@10.%"}, "team": null}'""",
    ]


def test_attributes_are_patched_and_not_shown() -> None:
    base = Options(SHA2, attributes={"team": {"name": "b"}, "canary": "Kanarienvogel"})
    clone = Options(SHA2, attributes=MARK | {"team": {"name": "a", "size": 3}})
    (difference,) = differences(base, BASE, clone, CLONE)
    assert '{"canary": "Kanarienvogel", "team": {"name": "b", "size": null}}' in difference.repairs[0]
    assert "Kanarienvogel" not in difference.sentence


def test_mariadb_is_told_from_mysql() -> None:
    session = cast(Any, SimpleNamespace(is_mariadb=True, server="db.example:3306", user="app"))
    with pytest.raises(Refused, match="write engine: mariadb"):
        MySqlAdminSession(session, BASE, SecretText("x"))


def test_a_session_that_is_another_users_is_refused() -> None:
    session = cast(Any, SimpleNamespace(is_mariadb=False, version=(8, 0, 21), server="db.example:3306", user="app"))
    with pytest.raises(Refused, match="belongs to proxied@%"):
        MySqlAdminSession(session, Account("proxied"), SecretText("x"))


@pytest.mark.parametrize("version", [(5, 7, 44), (8, 0, 20)])
def test_a_server_that_is_too_old_is_refused_as_soon_as_a_session_opens(version: tuple[int, ...]) -> None:
    """A user's own session as well: it would set the password first."""
    session = cast(Any, SimpleNamespace(is_mariadb=False, version=version, server="db.example:3306", user="app"))
    with pytest.raises(Refused, match=r"MySQL 8\.0\.21 or later is needed"):
        MySqlAdminSession(session, BASE, SecretText("x"))
