"""What it means that a statement failed which makes the clone its base user's equal."""

from __future__ import annotations

import contextlib
from typing import Any, cast

import pytest

from rotated_secrets.databases.base import Refused
from rotated_secrets.databases.mysql.accounts import Account
from rotated_secrets.databases.mysql.errors import ServerError
from rotated_secrets.databases.mysql.repairs import run_repair
from rotated_secrets.databases.parity import ObjectGone

BASE, CLONE, ADMIN = Account("app", "10.%"), Account("app_clone", "10.%"), Account("rotator")
TO, ITS = "'app_clone'@'10.%'", "'app'@'10.%'"


class Failing:
    """A session whose statements fail."""

    def __init__(self, error: ServerError) -> None:
        self.error = error

    def ask(self, _: str) -> None:
        raise self.error


def failed(statement: str, code: int, text: str = "") -> Refused:
    with pytest.raises(Refused) as told:
        run_repair(cast(Any, Failing(ServerError(code, text))), statement, BASE, CLONE, ADMIN)
    return told.value


@pytest.mark.parametrize("code", [1049, 1054, 1146, 1305, 1356, 1449, 1959, 3523, 3929])
@pytest.mark.parametrize(
    ("statement", "clean_up"),
    [
        (f"GRANT SELECT ON `s`.`t` TO {TO}", f"REVOKE SELECT ON `s`.`t` FROM {ITS}"),
        (f"GRANT SELECT (`GRANT TO`) ON `s`.`t` TO {TO}", f"REVOKE SELECT (`GRANT TO`) ON `s`.`t` FROM {ITS}"),
        (f"GRANT USAGE ON `s`.`t` TO {TO} WITH GRANT OPTION", f"REVOKE GRANT OPTION ON `s`.`t` FROM {ITS}"),
        (f"GRANT EXECUTE ON FUNCTION `s`.`f` TO {TO}", f"REVOKE EXECUTE ON FUNCTION `s`.`f` FROM {ITS}"),
        (f"GRANT X_ADMIN ON *.* TO {TO} WITH GRANT OPTION", f"REVOKE X_ADMIN ON *.* FROM {ITS}"),
        (f"GRANT `r` TO {TO} WITH ADMIN OPTION", f"REVOKE `r` FROM {ITS}"),
    ],
)
def test_what_is_gone_is_told_with_the_revoke_that_cleans_up(statement: str, clean_up: str, code: int) -> None:
    told = failed(statement, code)
    assert isinstance(told, ObjectGone)
    assert str(told) == f"which is gone; run: {clean_up}"


@pytest.mark.parametrize(
    ("statement", "to_run"),
    [
        (f"GRANT EVENT ON *.* TO {TO}", "GRANT EVENT ON *.* TO 'rotator'@'%' WITH GRANT OPTION"),
        (
            f"GRANT USAGE ON *.* TO {TO} WITH GRANT OPTION",
            "GRANT USAGE ON *.* TO 'rotator'@'%' WITH GRANT OPTION",
        ),
        (
            f"GRANT X_ADMIN ON *.* TO {TO} WITH GRANT OPTION",
            "GRANT X_ADMIN ON *.* TO 'rotator'@'%' WITH GRANT OPTION; "
            "GRANT USAGE ON *.* TO 'rotator'@'%' WITH GRANT OPTION",
        ),
        (f"GRANT `r`@`%` TO {TO}", "GRANT `r`@`%` TO 'rotator'@'%' WITH ADMIN OPTION"),
        (
            f"GRANT SELECT ON `s`.`t` TO {TO}",
            "GRANT SELECT ON `s`.`t` TO 'rotator'@'%' WITH GRANT OPTION; if it is for something that is gone, run: "
            f"REVOKE SELECT ON `s`.`t` FROM {ITS}",
        ),
        (f"REVOKE EVENT ON *.* FROM {TO}", f"REVOKE EVENT ON *.* FROM {TO}"),
        (f"GRANT PROXY ON 'n'@'10.%' TO {TO}", f"GRANT PROXY ON 'n'@'10.%' TO {TO}"),
    ],
)
def test_what_the_admin_may_not_do_is_told_with_the_statement_that_helps(statement: str, to_run: str) -> None:
    told = failed(statement, 1142)
    assert not isinstance(told, ObjectGone)
    assert str(told).partition("run: ")[2] == to_run


class Recording:
    """A session that takes every statement, but for those that fail."""

    def __init__(self, failing: str = "nothing") -> None:
        self.failing = failing
        self.modes = ["STRICT_TRANS_TABLES"]
        self.asked: list[tuple[str, str]] = []

    def ask(self, statement: str) -> object:
        if statement == "SELECT @@SESSION.sql_mode":
            return ((self.modes[-1],),)
        self.asked.append((self.modes[-1], statement))
        if self.failing in statement:
            raise ServerError(1142)
        return ()

    def pin(self, settings: dict[str, str]) -> None:
        self.modes.append(settings["sql_mode"])


@pytest.mark.parametrize("on", ["PACKAGE `s`.`p`", "PACKAGE BODY `s`.`p`"])
@pytest.mark.parametrize("failing", ["nothing", "EXECUTE"])
def test_a_package_is_named_in_mode_oracle_alone(on: str, failing: str) -> None:
    session = Recording(failing)
    with contextlib.suppress(Refused):
        run_repair(cast(Any, session), f"GRANT EXECUTE ON {on} TO {TO}", BASE, CLONE, ADMIN)
    run_repair(cast(Any, session), f"GRANT SELECT ON `ON PACKAGE`.* TO {TO}", BASE, CLONE, ADMIN)
    assert [mode for mode, _ in session.asked] == ["STRICT_TRANS_TABLES,ORACLE", "STRICT_TRANS_TABLES"]


def test_a_statement_about_a_package_is_told_with_its_mode() -> None:
    with pytest.raises(Refused) as told:
        session = cast(Any, Recording("PACKAGE"))
        run_repair(session, f"GRANT EXECUTE ON PACKAGE `s`.`p` TO {TO}", BASE, CLONE, ADMIN)
    assert str(told.value) == (
        "the admin may not pass it on; run: SET SESSION sql_mode = 'ORACLE'; "
        "GRANT EXECUTE ON PACKAGE `s`.`p` TO 'rotator'@'%' WITH GRANT OPTION; if it is for something that is gone, "
        f"run: SET SESSION sql_mode = 'ORACLE'; REVOKE EXECUTE ON PACKAGE `s`.`p` FROM {ITS}"
    )


@pytest.mark.parametrize("statement", [f"GRANT X_ADMIN ON *.* TO {TO}", f"ALTER USER {TO} REQUIRE SSL"])
def test_a_user_with_system_user_takes_an_admin_with_it(statement: str) -> None:
    text = "Access denied; you need (at least one of) the SYSTEM_USER privilege(s) for this operation"
    assert "GRANT SYSTEM_USER ON *.* TO 'rotator'@'%'" in str(failed(statement, 1227, text))


def test_no_statement_with_attributes_is_shown() -> None:
    """People keep all sorts of things in comments."""
    assert "canary" not in str(failed(f"ALTER USER {TO} ATTRIBUTE 'canary'", 1142))


def test_what_may_succeed_later_is_no_refusal() -> None:
    with pytest.raises(ServerError):
        run_repair(cast(Any, Failing(ServerError(1205))), f"GRANT `r` TO {TO}", BASE, CLONE, ADMIN)
