"""What a message tells to run is run as it stands, and the next rotation works."""

from __future__ import annotations

import re

import pytest

from rotated_secrets.databases.base import AuthenticationFailed, Refused, RightsReport, Users
from tests.integration.mariadb.conftest import Tenant

GONE = {
    "a table": (
        ["CREATE TABLE {schema}.t (a INT)", "GRANT SELECT, UPDATE ON {schema}.t TO {base}"],
        ["DROP TABLE {schema}.t"],
    ),
    "a table, with its option": (
        ["CREATE TABLE {schema}.t (a INT)", "GRANT SELECT ON {schema}.t TO {base} WITH GRANT OPTION"],
        ["DROP TABLE {schema}.t"],
    ),
    "columns": (
        ["CREATE TABLE {schema}.t (a INT, b INT)", "GRANT SELECT (a, b), UPDATE (b) ON {schema}.t TO {base}"],
        ["DROP TABLE {schema}.t"],
    ),
    "a view": (
        ["CREATE VIEW {schema}.v AS SELECT 1 AS a", "GRANT SELECT ON {schema}.v TO {base}"],
        ["DROP VIEW {schema}.v"],
    ),
    "a view's table": (
        [
            "CREATE TABLE {schema}.t (a INT, b INT)",
            "CREATE VIEW {schema}.v AS SELECT a, b FROM {schema}.t",
            "GRANT SELECT (a), UPDATE (b) ON {schema}.v TO {base}",
        ],
        ["DROP TABLE {schema}.t"],
    ),
    "a sequence": (
        ["CREATE SEQUENCE {schema}.s", "GRANT SELECT, INSERT ON {schema}.s TO {base}"],
        ["DROP SEQUENCE {schema}.s"],
    ),
    "a package": (
        [
            "SET sql_mode = 'ORACLE'",
            "CREATE PACKAGE {schema}.p AS PROCEDURE say; END",
            "CREATE PACKAGE BODY {schema}.p AS PROCEDURE say AS BEGIN SELECT 1; END; END",
            "GRANT EXECUTE ON PACKAGE {schema}.p TO {base} WITH GRANT OPTION",
            "GRANT EXECUTE ON PACKAGE BODY {schema}.p TO {base}",
        ],
        ["DROP DATABASE {schema}", "CREATE DATABASE {schema}"],
    ),
    "a function": (
        [
            "CREATE FUNCTION {schema}.f() RETURNS INT DETERMINISTIC RETURN 1",
            "GRANT EXECUTE ON FUNCTION {schema}.f TO {base}",
        ],
        ["DROP DATABASE {schema}", "CREATE DATABASE {schema}"],
    ),
    "a procedure": (
        ["CREATE PROCEDURE {schema}.p() SELECT 1", "GRANT EXECUTE ON PROCEDURE {schema}.p TO {base} WITH GRANT OPTION"],
        ["DROP DATABASE {schema}", "CREATE DATABASE {schema}"],
    ),
}
each_gone = pytest.mark.parametrize(("made", "dropped"), GONE.values(), ids=GONE)


def advised(told: str, verb: str) -> list[str]:
    """The statements of a message that begin with ``verb``, and those that set the mode for them."""
    statement = rf"{verb} .*? (?:TO|FROM) '[^']*'@'[^']*'(?: WITH \w+ OPTION)?"
    return re.findall(rf"(?:run:|;) (SET SESSION sql_mode = '\w+'|{statement})", told)


def follow_grants(tenant: Tenant) -> None:
    """Run what each refusal tells, which is something else each time, until the clone is made."""
    done: set[str] = set()
    while True:
        try:
            assert tenant.set_clone("followed") == RightsReport()
        except Refused as told:
            statements = advised(str(told), "GRANT")
            assert set(statements) - done, f"circular: {told}"
            tenant.server.sql(*statements)
            done.update(statements)
        else:
            return


@each_gone
def test_a_right_to_what_is_gone_is_no_lack_and_its_revoke_is_told(
    tenant: Tenant, made: list[str], dropped: list[str]
) -> None:
    tenant.sql(*made, *dropped)
    report = tenant.set_clone("first")
    assert report.repaired == ()
    assert tenant.verify(tenant.clone, "first") == []
    assert all(re.search("which is gone; run: (SET .*; )?REVOKE", sentence) for sentence in report.remaining)
    statements = [one for sentence in report.remaining for one in advised(sentence, "REVOKE")]
    assert len([one for one in statements if one.startswith("REVOKE")]) == len(report.remaining) > 0
    assert tenant.set(tenant.base, "second").remaining == report.remaining
    tenant.server.sql(*statements)
    assert tenant.set_clone("third") == RightsReport()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


@each_gone
def test_what_is_gone_after_the_clone_had_it_is_no_difference(
    tenant: Tenant, made: list[str], dropped: list[str]
) -> None:
    tenant.sql(*made)
    tenant.set_clone("first")
    tenant.sql(*dropped)
    for user in (tenant.base, tenant.clone):
        assert tenant.set(user, "second") == RightsReport()
    tenant.sql("REVOKE ALL PRIVILEGES, GRANT OPTION FROM {base}", "GRANT SELECT ON {schema}.* TO {base}")
    assert tenant.set(tenant.base, "third").remaining == ()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


def test_one_column_that_is_gone_holds_no_other_back(tenant: Tenant) -> None:
    tenant.sql(
        "CREATE TABLE {schema}.t (a INT, b INT)",
        "REVOKE ALL ON {schema}.* FROM {base}",
        "GRANT SELECT (a, b), INSERT ON {schema}.t TO {base}",
        "ALTER TABLE {schema}.t DROP COLUMN b",
    )
    (remaining,) = tenant.set_clone("first").remaining
    assert tenant.verify(tenant.clone, "first", "SELECT a FROM t") == []
    tenant.server.sql(*advised(remaining, "REVOKE"))
    assert tenant.set_clone("second") == RightsReport()


def test_a_dropped_database_is_no_lack_for_an_admin_that_may_give_everything(tenant: Tenant) -> None:
    gone = f"gone_{tenant.schema}"
    tenant.sql(
        "GRANT ALL ON *.* TO {admin} WITH GRANT OPTION",
        f"CREATE DATABASE {gone}",
        f"CREATE TABLE {gone}.t (a INT)",
        f"GRANT SELECT ON {gone}.t TO {{base}}",
        f"GRANT SELECT ON {gone}.* TO {{base}}",
        f"DROP DATABASE {gone}",
    )
    (remaining,) = tenant.set_clone("first").remaining
    tenant.server.sql(*advised(remaining, "REVOKE"))
    assert tenant.set_clone("second") == RightsReport()
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)


@pytest.mark.parametrize(
    "granted",
    [
        "PROCESS ON *.*",
        "USAGE ON *.* TO {base} WITH GRANT OPTION",
        "SELECT ON other_{schema}.*",
        "SELECT ON other_{schema}.* TO {base} WITH GRANT OPTION",
        "SELECT ON other_{schema}.t",
        "SELECT (a) ON other_{schema}.t",
        "EXECUTE ON FUNCTION other_{schema}.f",
        "EXECUTE ON PACKAGE other_{schema}.p",
        "EXECUTE ON PACKAGE BODY other_{schema}.p TO {base} WITH GRANT OPTION",
        "role_{schema}",
        "role_{schema} TO {base} WITH ADMIN OPTION",
        "PROXY ON nobody@'%'",
        "PROXY ON nobody@'10.%'",
        "PROXY ON nobody@'10.0.0.0/255.0.0.0' TO {base} WITH GRANT OPTION",
    ],
)
def test_what_the_admin_lacks_is_told_as_the_grant_that_it_takes(tenant: Tenant, granted: str) -> None:
    other = f"other_{tenant.schema}"
    granted = granted.replace("{schema}", tenant.schema)
    tenant.sql(
        f"CREATE DATABASE {other}",
        f"CREATE TABLE {other}.t (a INT)",
        f"CREATE FUNCTION {other}.f() RETURNS INT DETERMINISTIC RETURN 1",
        f"CREATE ROLE role_{tenant.schema}",
        "SET sql_mode = 'ORACLE'",
        f"CREATE PACKAGE {other}.p AS PROCEDURE say; END",
        f"CREATE PACKAGE BODY {other}.p AS PROCEDURE say AS BEGIN SELECT 1; END; END",
        f"GRANT {granted}" + ("" if " TO " in granted else " TO {base}"),
    )
    with pytest.raises(Refused):
        tenant.set_clone("first")
    follow_grants(tenant)
    assert tenant.described(tenant.clone) == tenant.described(tenant.base)
    tenant.sql(f"DROP DATABASE {other}")


def test_what_is_gone_where_the_admin_may_not_look_is_told_with_both_ways_out(tenant: Tenant) -> None:
    other = f"other_{tenant.schema}"
    tenant.sql(f"CREATE DATABASE {other}", f"CREATE TABLE {other}.t (a INT)", f"GRANT SELECT ON {other}.t TO {{base}}")
    tenant.sql(f"DROP DATABASE {other}")
    with pytest.raises(Refused, match="something that is gone") as told:
        tenant.set_clone("first")
    tenant.server.sql(*advised(str(told.value), "REVOKE"))
    assert tenant.set_clone("second") == RightsReport()


@pytest.mark.parametrize("granted", ["PROCESS ON *.*", "SELECT ON mysql.*", "role_{schema}"])
def test_what_the_admin_may_not_take_from_the_clone_is_told_as_the_revoke(tenant: Tenant, granted: str) -> None:
    granted = granted.replace("{schema}", tenant.schema)
    tenant.set_clone("first")
    tenant.sql(f"CREATE ROLE role_{tenant.schema}", f"GRANT {granted} TO {{clone}}")
    (remaining,) = tenant.set(tenant.base, "second").remaining
    statements = advised(remaining, "REVOKE")
    assert statements, remaining
    tenant.server.sql(*statements)
    assert tenant.set_clone("third") == RightsReport()


@pytest.mark.parametrize("setting", ["tx_read_only", "max_join_size"])
def test_a_setting_for_all_sessions_does_not_hold_for_the_operators(tenant: Tenant, setting: str) -> None:
    tenant.server.sql(f"SET GLOBAL {setting} = 1")
    try:
        for user in (tenant.clone, tenant.base, tenant.clone):
            assert tenant.set(user, f"password of {user}") == RightsReport()
            assert tenant.verify(user, f"password of {user}", "SELECT 1") == []
        own = tenant.credential(tenant.base, f"password of {tenant.base}")
        tenant.set(tenant.base, "own", users=Users(tenant.base), admin=own)
    finally:
        tenant.server.sql(f"SET GLOBAL {setting} = DEFAULT")


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", " {}", "{}\t"])
def test_white_space_around_a_password_is_told(tenant: Tenant, around: str) -> None:
    with pytest.raises(AuthenticationFailed, match="begins or ends with white space") as told:
        tenant.verify(tenant.base, around.format(tenant.password))
    assert tenant.password not in str(told.value)
    assert tenant.verify(tenant.base, around.format(tenant.password).strip()) == []
    with pytest.raises(AuthenticationFailed) as told:
        tenant.verify(tenant.base, "wrong")
    assert "white space" not in str(told.value)


def test_a_user_that_was_never_made_is_locked_out_already(tenant: Tenant) -> None:
    with tenant.open() as session:
        session.disable_login(tenant.clone)
    assert tenant.set_clone("first") == RightsReport()


def test_a_query_that_max_join_size_forbids_the_application_is_told_so(tenant: Tenant) -> None:
    tenant.sql("CREATE TABLE {schema}.t (a INT)", "INSERT INTO {schema}.t VALUES (1), (2), (3), (4)")
    tenant.server.sql("SET GLOBAL max_join_size = 2")
    try:
        (failure,) = tenant.verify(tenant.base, tenant.password, "SELECT 1 FROM t, t AS u, t AS v")
        assert "max_join_size forbids it" in failure
        assert tenant.verify(tenant.base, tenant.password, "SELECT 1") == []
    finally:
        tenant.server.sql("SET GLOBAL max_join_size = DEFAULT")


def test_a_view_whose_definer_is_gone_is_no_lack_for_an_admin_that_may_give_everything(tenant: Tenant) -> None:
    owner = f"owner_{tenant.schema}"
    tenant.sql(
        f"CREATE USER {owner}",
        f"GRANT ALL ON {{schema}}.* TO {owner}",
        "CREATE TABLE {schema}.t (a INT)",
        f"CREATE DEFINER = {owner} VIEW {{schema}}.v AS SELECT a FROM {{schema}}.t",
        "GRANT SELECT (a) ON {schema}.v TO {base}",
        f"DROP USER {owner}",
    )
    (remaining,) = tenant.set(tenant.clone, "first", admin=tenant.superuser).remaining
    tenant.server.sql(*advised(remaining, "REVOKE"))
    assert tenant.set_clone("second") == RightsReport()


def test_a_user_that_init_connect_turns_away_has_logged_in(tenant: Tenant) -> None:
    tenant.sql("CREATE PROCEDURE {schema}.admit() IF USER() LIKE '%_clone@%' THEN SIGNAL SQLSTATE '45000'; END IF")
    tenant.set_clone("first")
    tenant.server.sql(f"SET GLOBAL init_connect = 'CALL {tenant.schema}.admit()'")
    try:
        (failure,) = tenant.verify(tenant.clone, "first")
        assert "init_connect fails for this user" in failure
        assert tenant.verify(tenant.base, tenant.password) == []
        with pytest.raises(AuthenticationFailed):
            tenant.verify(tenant.clone, "wrong")
    finally:
        tenant.server.sql("SET GLOBAL init_connect = ''")
    assert tenant.verify(tenant.clone, "first") == []
