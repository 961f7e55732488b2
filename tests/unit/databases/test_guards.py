"""The checks before a user is changed, which all engines share."""

from __future__ import annotations

import pytest

from rotated_secrets.databases.base import Refused, Server, Tls, Users
from rotated_secrets.databases.guards import (
    check_is_base_or_clone,
    check_is_no_clone,
    check_is_only_clone,
    check_keeps_nothing,
    check_keeps_own,
    check_names,
    no_such_user,
    not_provably_the_clone,
)
from rotated_secrets.values import Credential, Endpoint, SecretValue

SERVER = Server("db.example.com", ("192.0.2.1",), 5432, Tls())
USERS = Users("app", "app_clone")


def credential(user: str) -> Credential:
    return Credential.of(
        SecretValue.parse(f'{{"username": "{user}", "password": "Kanarienvogel"}}'), Endpoint("redis", "h")
    )


@pytest.mark.parametrize("user", ["app", "app_clone"])
def test_the_two_users_of_a_credential_may_be_changed(user: str) -> None:
    check_is_base_or_clone(USERS, user)


@pytest.mark.parametrize(("users", "user"), [(USERS, "root"), (Users("app"), "app_clone"), (USERS, "APP"), (USERS, "")])
def test_no_other_user_may_be_changed(users: Users, user: str) -> None:
    with pytest.raises(Refused, match=f"user {user} is neither app nor its clone"):
        check_is_base_or_clone(users, user)


@pytest.mark.parametrize("bad", ["app", "app_clone"])
def test_both_names_are_checked(bad: str) -> None:
    with pytest.raises(Refused, match=f"^{bad} is too long$"):
        check_names(USERS, lambda name: f"{name} is too long" if name == bad else None)


def test_the_name_of_a_clone_that_there_is_not_is_not_checked() -> None:
    check_names(Users("app"), lambda name: None if name == "app" else "bad")


def test_a_second_password_is_refused_where_a_user_has_one() -> None:
    check_keeps_nothing("Redshift", "app", None)
    with pytest.raises(Refused, match=r"^Redshift has one password a user, .* app ") as refused:
        check_keeps_nothing("Redshift", "app", credential("app"))
    assert "Kanarienvogel" not in str(refused.value)


def test_only_a_users_own_password_can_be_kept_for_it() -> None:
    check_keeps_own("app", None)
    check_keeps_own("app", credential("app"))
    with pytest.raises(Refused, match="of user root cannot be kept for user app") as refused:
        check_keeps_own("app", credential("root"))
    assert "Kanarienvogel" not in str(refused.value)


@pytest.mark.parametrize(
    ("base", "next_step"),
    [
        ("app_clone", "delete this RotatedSecret and create it again with rotation.cloneSuffix: _clone"),
        ("elsewhere", "correct the secret value"),
    ],
)
def test_a_clone_gets_no_clone(base: str, next_step: str) -> None:
    check_is_no_clone(base, None, "at db")
    with pytest.raises(Refused, match=f"^user {base} at db gets no clone: .* of app; {next_step}$"):
        check_is_no_clone(base, "app", "at db")


def test_mark_of_itself_says_nothing() -> None:
    """AWS's rotation template gives a base user all roles of its clone."""
    check_is_no_clone("app", "app", "at db")


def test_a_user_with_a_clone_gets_no_other_one() -> None:
    check_is_only_clone("app", [], "at db")
    check_is_only_clone("app", ["app"], "at db")
    again = "delete this RotatedSecret and create it again with rotation.cloneSuffix: _clone, or drop user app_clone$"
    with pytest.raises(Refused, match=f"^user app at db has a clone already, app_clone, .*: {again}"):
        check_is_only_clone("app", ["app", "app_clone"], "at db")
    with pytest.raises(Refused, match=r"has a clone already, other, .*: drop user other$"):
        check_is_only_clone("app", ["other"], "at db")


def test_refusals_name_user_server_and_what_to_do() -> None:
    assert str(no_such_user("app", SERVER)) == (
        "user app does not exist at db.example.com:5432; create it, or correct the secret value"
    )
    told = str(not_provably_the_clone("app_clone", "app", f"at {SERVER}", "run: GRANT …"))
    assert told == "user app_clone at db.example.com:5432 is not provably the clone of app: run: GRANT …"
