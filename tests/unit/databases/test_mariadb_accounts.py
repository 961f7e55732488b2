"""What is read of an account of MariaDB, and what of it becomes a statement."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rotated_secrets.databases.mariadb.clone import Seen, clone_of, not_the_clone, other_default_role, parity
from rotated_secrets.databases.mariadb.hashes import ED25519, NATIVE, hashed, native_hash, no_passwords_hash
from rotated_secrets.databases.mariadb.mark import Mark, account_of_mark, mark_statements, role_of, without_roles
from rotated_secrets.databases.mariadb.own_password import own_entries
from rotated_secrets.databases.mariadb.state import Entry, State, identified, unsettable, with_passwords
from rotated_secrets.databases.mysql.accounts import Account
from rotated_secrets.databases.mysql.grants import Member, On, Privilege
from rotated_secrets.values import SecretText

NEW, OLD = SecretText("new"), SecretText("old")
HASH_OF_NEW = native_hash(b"new")


def state(user: str = "app", **row: Any) -> State:
    return State.read(user, "%", json.dumps({"plugin": NATIVE, "authentication_string": "*A", **row}))


def test_the_hash_is_the_servers_own() -> None:
    # SELECT PASSWORD('a'), and IDENTIFIED VIA ed25519 USING PASSWORD('hello world'), on a server.
    assert native_hash(b"a") == "*667F407DE7C6AD07358FA38DAED7828A72014B4E"
    pytest.importorskip("nacl")
    assert hashed(ED25519, SecretText("hello world")) == "aD2NBFjvbsTP7yUVf12IznoLujNP0QL6/H4nUUENVxg"


def test_an_account_with_one_way_to_log_in() -> None:
    assert state().entries == (Entry(NATIVE, "*A"),)


def test_alternatives_have_an_empty_place_for_the_first() -> None:
    found = state(auth_or=[{"plugin": "unix_socket"}, {}, {"plugin": ED25519, "authentication_string": "K"}])
    assert found.entries == (Entry("unix_socket", ""), Entry(NATIVE, "*A"), Entry(ED25519, "K"))
    assert found.plugins == (NATIVE, ED25519)


def test_terms_are_the_clauses_that_make_them() -> None:
    found = state(
        ssl_type=3,
        ssl_cipher="",
        x509_issuer="/CN=it's",
        x509_subject="/CN=\\",
        max_questions=5,
        max_statement_time=12.5,
        password_lifetime=0,
    ).terms
    assert found.require == r"REQUIRE ISSUER '/CN=it''s' AND SUBJECT '/CN=\\'"
    assert found.limits == (
        "WITH MAX_QUERIES_PER_HOUR 5 MAX_UPDATES_PER_HOUR 0 MAX_CONNECTIONS_PER_HOUR 0 MAX_USER_CONNECTIONS 0 "
        "MAX_STATEMENT_TIME 12.5"
    )
    assert found.lifetime == "PASSWORD EXPIRE NEVER"


def test_what_is_left_out_and_what_is_nought_are_the_same_terms() -> None:
    nought: dict[str, Any] = {"ssl_type": 0, "max_questions": 0, "max_statement_time": 0.0, "password_lifetime": -1}
    assert state(**nought).terms == state().terms


def test_ways_without_a_password_stay_where_they_are() -> None:
    entries = (Entry("unix_socket", ""), Entry(NATIVE, "*A"), Entry("gssapi", "app@REALM"), Entry(NATIVE, "*B"))
    assert with_passwords(entries, [NEW]) == (
        Entry("unix_socket", ""),
        Entry(NATIVE, HASH_OF_NEW),
        Entry("gssapi", "app@REALM"),
    )


def test_the_password_that_is_kept_comes_first() -> None:
    found = with_passwords((Entry(NATIVE, "*A"),), [OLD, NEW])
    assert found == (Entry(NATIVE, native_hash(b"old")), Entry(NATIVE, HASH_OF_NEW))
    assert with_passwords(found, [NEW, NEW]) == (Entry(NATIVE, HASH_OF_NEW),)


@pytest.mark.parametrize("plugin", ["unix_socket", "pam", "gssapi", "parsec", "mysql_old_password"])
def test_who_has_no_password_that_can_be_computed_is_named(plugin: str) -> None:
    assert plugin in (unsettable([Entry(plugin, "x")]) or "")


def test_a_password_of_an_unknown_kind_beside_a_known_one_would_stay_valid() -> None:
    assert "parsec" in (unsettable([Entry(NATIVE, "*A"), Entry("parsec", "x")]) or "")
    assert unsettable([Entry(NATIVE, "*A"), Entry("unix_socket", "")]) is None


def test_what_a_plugin_keeps_is_shown_by_no_repr() -> None:
    assert "secret" not in repr(Entry(NATIVE, "secret"))


def test_names_and_texts_are_quoted() -> None:
    assert identified([Entry("a`b", "it's"), Entry("unix_socket", "")]) == (
        "IDENTIFIED VIA `a``b` USING 'it''s' OR `unix_socket`"
    )


@pytest.mark.parametrize(
    ("shown", "entries"),
    [
        ("CREATE USER `x`@`%` IDENTIFIED BY PASSWORD '*A' REQUIRE SSL", [Entry(NATIVE, "*A")]),
        ("CREATE USER `x`@`%`", [Entry(NATIVE, "")]),
        ("CREATE USER `x`@`%` REQUIRE SSL", [Entry(NATIVE, "")]),
        (
            "CREATE USER `IDENTIFIED VIA ``x`@`%` IDENTIFIED VIA unix_socket OR ed25519 USING 'K OR x' WITH MAX_USER_C",
            [Entry("unix_socket", ""), Entry(ED25519, "K OR x")],
        ),
        (
            "CREATE USER `x`@`%` IDENTIFIED VIA ed25519 USING 'K' OR unix_socket A_LATER CLAUSE OR 'more'",
            [Entry(ED25519, "K"), Entry("unix_socket", "")],
        ),
        ("CREATE USER `x`@`%` IDENTIFIED BY PASSWORD '*A' A_LATER CLAUSE", [Entry(NATIVE, "*A")]),
        (
            r"CREATE USER `x`@`%` IDENTIFIED VIA mysql_native_password USING '*A' OR pam USING 'it\'s OR' ACCOUNT LOCK",
            [Entry(NATIVE, "*A"), Entry("pam", r"it\'s OR")],
        ),
    ],
)
def test_what_a_user_sees_of_itself(shown: str, entries: list[Entry]) -> None:
    assert list(own_entries(shown)) == entries


SELECT = Privilege(On("shop"), "SELECT")
DELETE = Privilege(On("shop"), "DELETE")


def seen(found: State, *rights: Privilege | Member) -> Seen:
    return Seen(found, frozenset(rights))


WRITTEN: dict[str, Any] = {
    **dict.fromkeys(("max_questions", "max_updates", "max_connections", "max_user_connections"), 0),
    **{"max_statement_time": 0.0, "password_lifetime": -1, "account_locked": False},
}
"""What CREATE USER of the operator writes where its clauses say nothing but defaults."""


@pytest.mark.parametrize("name", ["app", "a" * 80, "o'b`r\\ie\"\n"])
def test_a_marked_clone_is_the_clone_whatever_it_may_do(name: str) -> None:
    base = seen(state(name), SELECT)
    clone = Seen(state("app_clone", **WRITTEN), frozenset({SELECT, DELETE}), Mark(f"{name}@%", "app_clone@%"))
    assert not_the_clone(base, clone) is None
    assert clone_of(clone) == name
    assert "clone of " in (not_the_clone(seen(state("another"), SELECT), clone) or "")
    assert len(account_of_mark(name).user) <= 80


@pytest.mark.parametrize("left_out", WRITTEN)
def test_a_mark_is_not_of_an_account_that_was_made_again_by_another(left_out: str) -> None:
    row = {key: value for key, value in WRITTEN.items() if key != left_out}
    clone = Seen(state("app_clone", **row), frozenset({SELECT, DELETE}), Mark("app@%", "app_clone@%"))
    assert not_the_clone(seen(state(), SELECT), clone)
    assert clone_of(clone) is None


@pytest.mark.parametrize("mark", [Mark("app@%", "app_clone@10.%"), Mark("app@%", "another@%"), None])
def test_a_mark_that_names_another_account_proves_nothing(mark: Mark | None) -> None:
    clone = Seen(state("app_clone", **WRITTEN), frozenset({SELECT}), mark)
    assert not_the_clone(seen(state(), SELECT, DELETE), clone)
    assert clone_of(clone) is None


@pytest.mark.parametrize("name", ["app", "a" * 80])
def test_the_role_of_an_earlier_version_marks_the_clone_until_it_has_the_other_mark(name: str) -> None:
    role = role_of(name)
    assert len(role) <= 80
    rights, roles = without_roles(frozenset({SELECT, DELETE, Member(role), Member("reader")}))
    assert rights == {SELECT, DELETE, Member("reader")}
    clone = Seen(state("app_clone"), rights, None, roles)
    assert not_the_clone(seen(state(name), SELECT), clone) is None
    assert not_the_clone(seen(state("another"), SELECT), clone)
    assert clone_of(Seen(state(name), rights, None, roles)) is None, "a copy of the clone's mark on its base user"


def test_who_made_such_a_role_is_not_marked_by_it() -> None:
    """The server gives it to its creator WITH ADMIN OPTION: the operator's admin has one for each clone."""
    rights, roles = without_roles(frozenset({SELECT, Member(role_of("app"), admin=True)}))
    assert rights == {SELECT}
    assert not roles


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "null", "{", "[" * 100_000, "{}", '{"x509_issuer": "a@%"}'),
        *('{"x509_issuer": 1, "x509_subject": 2}', '{"is_role": true, "x509_issuer": "a@%", "x509_subject": "b@%"}'),
    ],
)
def test_what_is_no_mark_is_read_as_none(text: str) -> None:
    assert Mark.read(text) is None


def test_terms_are_written_out_with_the_mark_where_they_are_not() -> None:
    made, terms = mark_statements(Account("app"), state("app_clone", max_questions=5, account_locked=True))
    assert made.startswith(f"CREATE OR REPLACE USER '{account_of_mark('app_clone').user}'@'localhost' IDENTIFIED VIA")
    assert made.endswith("REQUIRE ISSUER 'app@%' AND SUBJECT 'app_clone@%' ACCOUNT LOCK")
    assert "MAX_QUERIES_PER_HOUR 5" in terms
    assert terms.endswith("PASSWORD EXPIRE DEFAULT ACCOUNT LOCK"), "what is locked stays locked"
    assert mark_statements(Account("app"), state("app_clone", **WRITTEN)) == (made,)


def test_what_has_our_placeholder_for_a_password_is_the_clone_only_locked_and_without_rights() -> None:
    """A user may write it in itself, and lock nobody."""
    placeholder: dict[str, Any] = {"authentication_string": no_passwords_hash("app")}
    base = seen(state(), SELECT, DELETE)
    assert not_the_clone(base, seen(state("app_clone", **placeholder))) is not None
    assert not_the_clone(base, seen(state("app_clone", account_locked=True, **placeholder))) is None
    assert not_the_clone(base, seen(state("app_clone", account_locked=True, **placeholder), SELECT)) is not None


def test_without_a_mark_nothing_may_be_won_by_its_password() -> None:
    clone = state("app_clone")
    assert not_the_clone(seen(state(), SELECT, DELETE), seen(clone, SELECT, DELETE)) is None
    assert "not have all rights of app: DELETE" in (
        not_the_clone(seen(state(), SELECT, DELETE), seen(clone, SELECT)) or ""
    )
    assert "DELETE" in (not_the_clone(seen(state(), SELECT), seen(clone, SELECT, DELETE)) or "")
    assert "no rights" in (not_the_clone(seen(state(), SELECT), seen(clone)) or "")


def test_a_default_role_that_the_base_user_no_longer_has_is_none() -> None:
    base, clone = seen(state(default_role="gone")), seen(state("app_clone"))
    assert other_default_role(base, clone) == ()
    base = seen(state(default_role="r"), Member("r"))
    (difference,) = other_default_role(base, clone)
    assert difference.repairs == ("SET DEFAULT ROLE `r` FOR 'app_clone'@'%'",)


def test_what_the_clone_lacks_holds_only_the_clone_back() -> None:
    base, clone = seen(state(), SELECT), seen(state("app_clone"))
    assert [each.lacks for each in parity(base, clone, its_turn=True)] == [True]
    assert [each.lacks for each in parity(base, clone, its_turn=False)] == [False]
