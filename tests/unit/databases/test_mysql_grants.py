"""SHOW GRANTS is read outside of quotes, and two sets of rights become one by statements that lose nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rotated_secrets.databases.mysql.accounts import Account, identifier, literal, the_account, unusable_name
from rotated_secrets.databases.mysql.grants import (
    ALL,
    EVERYTHING,
    GRANT_OPTION,
    Dynamic,
    Member,
    On,
    Privilege,
    Proxy,
    Right,
    Withheld,
    beyond,
    differences,
)
from rotated_secrets.databases.mysql.show_grants import read

CLONE = Account("app_clone", "10.%")
TO = "'app_clone'@'10.%'"

LINES: list[tuple[str, set[Right]]] = [
    ("GRANT USAGE ON *.* TO `app`@`%`", set()),
    (
        "GRANT USAGE ON *.* TO `a`@`%` IDENTIFIED BY PASSWORD '*' REQUIRE SSL WITH GRANT OPTION MAX_USER_CONNECTIONS 5",
        {Privilege(EVERYTHING, GRANT_OPTION)},
    ),
    (
        "GRANT SELECT, CREATE TEMPORARY TABLES ON *.* TO 'app'@'%' REQUIRE ISSUER '/CN=WITH GRANT OPTION'",
        {Privilege(EVERYTHING, "SELECT"), Privilege(EVERYTHING, "CREATE TEMPORARY TABLES")},
    ),
    ("GRANT ALL PRIVILEGES ON `a TO b`.* TO `app`@`%`", {Privilege(On("a TO b"), ALL)}),
    ("GRANT SELECT ON ``` TO ``x`.* TO `app`@`%`", {Privilege(On("` TO `x"), "SELECT")}),
    (r"GRANT SELECT ON `x\_y`.* TO `app`@`%`", {Privilege(On(r"x\_y"), "SELECT")}),
    (
        "GRANT SELECT (`a, b`, `c)`), INSERT, UPDATE (`d`) ON `s`.`t``u` TO `app`@`%` WITH GRANT OPTION",
        {
            Privilege(On("s", "t`u"), "SELECT", "a, b"),
            Privilege(On("s", "t`u"), "SELECT", "c)"),
            Privilege(On("s", "t`u"), "INSERT"),
            Privilege(On("s", "t`u"), "UPDATE", "d"),
            Privilege(On("s", "t`u"), GRANT_OPTION),
        },
    ),
    (
        "GRANT EXECUTE, ALTER ROUTINE ON PROCEDURE `s`.`p` TO `app`@`%`",
        {Privilege(On("s", "p", "PROCEDURE"), "EXECUTE"), Privilege(On("s", "p", "PROCEDURE"), "ALTER ROUTINE")},
    ),
    ("GRANT EXECUTE ON PACKAGE BODY `s`.`p` TO `app`@`%`", {Privilege(On("s", "p", "PACKAGE BODY"), "EXECUTE")}),
    (
        "GRANT BACKUP_ADMIN,XA_RECOVER_ADMIN ON *.* TO `app`@`%` WITH GRANT OPTION",
        {Dynamic("BACKUP_ADMIN", True), Dynamic("XA_RECOVER_ADMIN", True)},
    ),
    ("REVOKE SELECT, UPDATE ON `mysql`.* FROM `app`@`%`", {Withheld("mysql", "SELECT"), Withheld("mysql", "UPDATE")}),
    ("GRANT `r`@`%`,`TO`@`10.%` TO `app`@`%` WITH ADMIN OPTION", {Member("r", "%", True), Member("TO", "10.%", True)}),
    ("GRANT `r` TO `app`@`%`", {Member("r")}),
    ("GRANT PROXY ON ``@`` TO `app`@`%` WITH GRANT OPTION", {Proxy(Account("", ""), True)}),
    ("SET DEFAULT ROLE `r` FOR `app`@`%`", set()),
]


@pytest.mark.parametrize(("line", "rights"), LINES, ids=lambda value: value[:60] if isinstance(value, str) else "")
def test_a_line_is_read(line: str, rights: set[Right]) -> None:
    assert read([line]) == rights


APP = Account("app")
UNKNOWN = [
    "",
    "GRANT",
    "GRANT SELECT",
    "GRANT SELECT ON",
    "GRANT SELECT ON `s.* TO `app`@`%`",
    "GRANT SELECT ON `s`.* FROM `app`@`%`",
    "GRANT (`a`) ON `s`.`t` TO `app`@`%`",
    "REVOKE SELECT ON `s`.`t` FROM `app`@`%`",
    "DENY SELECT ON `s`.* TO `app`@`%`",
    "LOCK ACCOUNT",
]


@pytest.mark.parametrize("line", UNKNOWN)
def test_an_unknown_line_stops_nothing_and_the_others_are_read(line: str) -> None:
    lines = ["GRANT USAGE ON *.* TO `app`@`%`", line, "GRANT SELECT ON `shop`.* TO `app`@`%`"]
    assert Privilege(On("shop"), "SELECT") in read(lines, APP)
    assert len(read(lines, APP)) == 2
    assert differences(read(lines, APP), frozenset({Privilege(On("shop"), "SELECT")}), CLONE)[0].lacks is False


@pytest.mark.parametrize("line", UNKNOWN)
def test_unknown_lines_of_two_accounts_are_compared_as_they_stand(line: str) -> None:
    of_clone = line.replace("`app`", "`app_clone`")
    assert read([line], APP) == read([of_clone], Account("app_clone"))
    base, clone = read([line], APP), read([], CLONE)
    (lacking,), (beside,) = differences(base, clone, CLONE), differences(clone, base, CLONE)
    assert not lacking.lacks
    assert lacking.repairs == beside.repairs == ()
    assert beyond(clone, base), "what has an unknown line more is not taken over"


@pytest.mark.parametrize("hidden", ["*6BB4837EB74329105EE4568DDA7DC67ED2CA2AD9", "it's"])
def test_an_unknown_line_is_told_without_what_may_be_a_password(hidden: str) -> None:
    line = f"DENY SELECT ON `s`.* TO `app`@`%` IDENTIFIED BY PASSWORD {literal(hidden)} REQUIRE SSL"
    (difference,) = differences(read([line], APP), frozenset(), CLONE)
    assert "DENY SELECT ON `s` . * TO" in difference.sentence
    assert hidden not in difference.sentence
    assert read([line], APP) == read([line.replace(literal(hidden), "'other'")], APP)
    for line in (f"LOCK {literal(hidden)} TO `app`@`%`", f"GRANT AS 0x{hidden.encode().hex()} TO"):
        (difference,) = differences(read([line], APP), frozenset(), CLONE)
        assert hidden not in difference.sentence
        assert hidden.encode().hex() not in difference.sentence.lower()


@pytest.mark.parametrize(
    "line",
    [
        "GRANT SELECT, INSERT ON `test`.* TO PUBLIC",
        "GRANT USAGE ON *.* TO PUBLIC",
        "GRANT `r` TO PUBLIC",
        "GRANT EXECUTE ON FUNCTION `s`.`f` TO PUBLIC WITH GRANT OPTION",
        "DENY SELECT ON `s`.* TO PUBLIC",
        "GRANT SELECT ON `s`.* TO `app`",
        "GRANT SELECT ON `s`.* TO `reader`",
        "GRANT `reader` TO `writer` WITH ADMIN OPTION",
        "GRANT SELECT ON `s`.* TO `other`@`%`",
        "REVOKE SELECT ON `mysql`.* FROM `other`@`%`",
        "GRANT PROXY ON ''@'%' TO 'other'@'%'",
        "LOCK SOMETHING FOR `other`@`%`",
    ],
)
def test_a_line_about_another_is_no_right_of_the_account(line: str) -> None:
    assert read([line], APP) == frozenset()


def test_a_session_has_what_its_lines_give_to_roles_and_to_the_public() -> None:
    lines = ["GRANT USAGE ON *.* TO `app`@`%`", "GRANT CREATE USER ON *.* TO `r`", "GRANT PROCESS ON *.* TO PUBLIC"]
    assert read(lines) == {Privilege(EVERYTHING, "CREATE USER"), Privilege(EVERYTHING, "PROCESS")}


NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=0x24F), min_size=1, max_size=12)
PLACES = st.one_of(
    st.just(EVERYTHING),
    st.builds(On, NAMES),
    st.builds(On, NAMES, NAMES),
    st.builds(On, NAMES, NAMES, st.sampled_from(["PROCEDURE", "FUNCTION"])),
)
STATIC = st.sampled_from(["SELECT", "INSERT", "CREATE VIEW", "EXECUTE", ALL, GRANT_OPTION])
RIGHTS = st.frozensets(
    st.one_of(
        st.builds(Privilege, PLACES, STATIC),
        st.builds(Privilege, st.builds(On, NAMES, NAMES), st.sampled_from(["SELECT", "UPDATE"]), NAMES),
        st.builds(Dynamic, st.sampled_from(["BACKUP_ADMIN", "XA_RECOVER_ADMIN"]), st.booleans()),
        st.builds(Member, NAMES, NAMES, st.booleans()),
        st.builds(Proxy, st.builds(Account, NAMES, NAMES), st.booleans()),
    ),
    max_size=6,
)


@given(RIGHTS)
def test_what_is_granted_is_what_is_read(rights: frozenset[Right]) -> None:
    repairs = [one for difference in differences(rights, frozenset(), CLONE) for one in difference.repairs]
    assert read(repairs) == rights


@given(RIGHTS)
def test_equal_rights_are_left_alone(rights: frozenset[Right]) -> None:
    assert differences(rights, rights, CLONE) == ()
    assert beyond(rights, rights) == ()


@given(RIGHTS, RIGHTS)
def test_no_statement_takes_what_the_base_user_has(base: frozenset[Right], clone: frozenset[Right]) -> None:
    """But for a grant option of MySQL's, which goes with its privilege alone, and comes back in the same repair."""
    for difference in differences(base, clone, CLONE):
        for statement in difference.repairs:
            if statement.startswith("REVOKE ") and len(difference.repairs) == 1:
                taken = read([statement.replace("REVOKE ", "GRANT ", 1).replace(f" FROM {TO}", f" TO {TO}")])
                assert not any(right in base for right in taken if not isinstance(right, Dynamic | Member | Proxy))
                assert not any(isinstance(right, Privilege) and right.name == ALL for right in taken)


def statements(base: set[Right], clone: set[Right]) -> list[str]:
    found = differences(frozenset(base), frozenset(clone), CLONE)
    return [one for difference in found for one in difference.repairs]


SHOP = On("shop")


@pytest.mark.parametrize(
    ("base", "clone", "expected"),
    [
        (
            {Privilege(SHOP, "SELECT"), Privilege(SHOP, "INSERT"), Privilege(SHOP, GRANT_OPTION)},
            set(),
            [f"GRANT INSERT, SELECT ON `shop`.* TO {TO}", f"GRANT USAGE ON `shop`.* TO {TO} WITH GRANT OPTION"],
        ),
        ({Privilege(SHOP, ALL)}, {Privilege(SHOP, "SELECT")}, [f"GRANT ALL PRIVILEGES ON `shop`.* TO {TO}"]),
        ({Privilege(On("s", "t"), "SELECT", "a`b")}, set(), [f"GRANT SELECT (`a``b`) ON `s`.`t` TO {TO}"]),
        (
            {Dynamic("BACKUP_ADMIN")},
            {Dynamic("BACKUP_ADMIN", True)},
            [f"REVOKE BACKUP_ADMIN ON *.* FROM {TO}", f"GRANT BACKUP_ADMIN ON *.* TO {TO}"],
        ),
        (
            {Dynamic("BACKUP_ADMIN", True)},
            {Dynamic("BACKUP_ADMIN", True), Dynamic("ROLE_ADMIN"), Privilege(EVERYTHING, GRANT_OPTION)},
            [
                f"REVOKE ROLE_ADMIN ON *.* FROM {TO}",
                f"REVOKE GRANT OPTION ON *.* FROM {TO}",
                f"GRANT BACKUP_ADMIN ON *.* TO {TO} WITH GRANT OPTION",
            ],
        ),
        ({Member("r", "%")}, {Member("r", "%", True)}, [f"GRANT `r`@`%` TO {TO}"]),
        ({Member("r")}, {Member("r", None, True)}, [f"REVOKE ADMIN OPTION FOR `r` FROM {TO}"]),
        ({Member("r", "%", True)}, {Member("r", "%")}, [f"GRANT `r`@`%` TO {TO} WITH ADMIN OPTION"]),
        (
            {Privilege(EVERYTHING, "SELECT"), Withheld("mysql", "SELECT")},
            set(),
            [f"GRANT SELECT ON *.* TO {TO}", f"REVOKE SELECT ON `mysql`.* FROM {TO}"],
        ),
        (
            {Privilege(EVERYTHING, "SELECT")},
            {Privilege(EVERYTHING, "SELECT"), Withheld("mysql", "SELECT")},
            [f"GRANT SELECT ON `mysql`.* TO {TO}"],
        ),
        (set(), {Privilege(EVERYTHING, "SELECT"), Withheld("mysql", "SELECT")}, [f"REVOKE SELECT ON *.* FROM {TO}"]),
    ],
)
def test_statements(base: set[Right], clone: set[Right], expected: list[str]) -> None:
    assert statements(base, clone) == expected


def test_all_is_taken_apart_and_what_stays_stays() -> None:
    (revoked,) = statements({Privilege(SHOP, "SELECT")}, {Privilege(SHOP, ALL)})
    assert "DROP" in revoked
    assert "SELECT" not in revoked


@pytest.mark.parametrize(
    ("clone", "more"),
    [
        ({Privilege(SHOP, "SELECT")}, False),
        ({Privilege(SHOP, "SELECT"), Privilege(SHOP, GRANT_OPTION)}, True),
        ({Privilege(EVERYTHING, "SELECT"), Withheld("mysql", "SELECT")}, False),
        ({Privilege(EVERYTHING, "SELECT")}, True),
        ({Member("r", "%")}, True),
    ],
)
def test_more_than_the_base_user_has_is_more(clone: set[Right], more: bool) -> None:
    base: set[Right] = {Privilege(SHOP, ALL), Privilege(EVERYTHING, "SELECT"), Withheld("mysql", "SELECT")}
    assert bool(beyond(frozenset(base), frozenset(clone))) is more


def test_names_and_texts_are_quoted() -> None:
    assert identifier("a`b") == "`a``b`"
    assert literal("a'b\\c\0") == "'a''b\\\\c\\0'"
    assert Account("o'brien", "10.%").sql == "'o''brien'@'10.%'"


@pytest.mark.parametrize(
    ("hosts", "chosen"),
    [
        (["%"], "%"),
        (["localhost"], "localhost"),
        (["10.%", "localhost", "::1"], "10.%"),
        (["10.%", "%"], None),
        (["localhost", "127.0.0.1"], None),
        ([], None),
    ],
)
def test_a_user_name_means_one_account_or_none(hosts: list[str], chosen: str | None) -> None:
    found = the_account(Account("app", host) for host in hosts)
    assert (found and found.host) == chosen


@pytest.mark.parametrize("name", ["", "x" * 33, "mysql.sys", "rdsadmin", "a ", "a\0b", "🐦", "\ud800"])
def test_names_that_the_server_would_change_or_keep_are_unusable(name: str) -> None:
    assert unusable_name(name, 32)
    assert unusable_name("x" * 32, 32) is None
